# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later

{{- with .Values.devicePlugin.config }}
{{- if and .create .data }}
apiVersion: v1
kind: ConfigMap
metadata:
  name: {{ .name }}
  namespace: {{ $.Release.Namespace }}
  labels: {{- include "lab.labels" $ | nindent 4 }}
data: {{- toYaml .data | nindent 2 }}
{{- end }}
{{- end }}
