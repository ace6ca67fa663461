# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later

apiVersion: apps/v1
kind: Deployment
metadata:
  name: gpu-operator
  namespace: {{ .Release.Namespace }}
  labels: {{- include "lab.labels" . | nindent 4 }}
    app: gpu-operator
spec:
  replicas: 1
  selector:
    matchLabels:
      app: gpu-operator
      app.kubernetes.io/component: gpu-operator
  template:
    metadata:
      labels: {{- include "lab.labels" . | nindent 8 }}
        app: gpu-operator
      {{- with .Values.operator.annotations }}
      annotations: {{- toYaml . | nindent 8 }}
      {{- end }}
    spec:
      serviceAccountName: gpu-operator
      {{- with .Values.operator.priorityClassName }}
      priorityClassName: {{ . }}
      {{- end }}
      containers:
        - name: gpu-operator
          image: {{ include "lab.image" . }}
          imagePullPolicy: {{ .Values.operator.imagePullPolicy }}
          command: [gpu-operator]
          {{- with .Values.operator.env }}
          env: {{- toYaml . | nindent 12 }}
          {{- end }}
          {{- with .Values.operator.resources }}
          resources: {{- toYaml . | nindent 12 }}
          {{- end }}
      {{- with .Values.operator.nodeSelector }}
      nodeSelector: {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- with .Values.operator.affinity }}
      affinity: {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- with .Values.operator.tolerations }}
      tolerations: {{- toYaml . | nindent 8 }}
      {{- end }}
