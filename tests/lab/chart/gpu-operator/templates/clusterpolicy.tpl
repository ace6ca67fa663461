# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later

{{- if .Values.clusterPolicy.deployCR }}
apiVersion: nvidia.com/v1
kind: ClusterPolicy
metadata:
  name: cluster-policy
  labels: {{- include "lab.labels" . | nindent 4 }}
spec:
  hostPaths: {{- toYaml .Values.hostPaths | nindent 4 }}
  operator:
    runtimeClass: {{ .Values.operator.runtimeClass }}
  daemonsets:
    labels:
      helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
      app.kubernetes.io/managed-by: gpu-operator
      {{- with .Values.daemonsets.labels }}
      {{- toYaml . | nindent 6 }}
      {{- end }}
    {{- with .Values.daemonsets.annotations }}
    annotations: {{- toYaml . | nindent 6 }}
    {{- end }}
    {{- with .Values.daemonsets.tolerations }}
    tolerations: {{- toYaml . | nindent 6 }}
    {{- end }}
    {{- with .Values.daemonsets.priorityClassName }}
    priorityClassName: {{ . }}
    {{- end }}
    {{- with .Values.daemonsets.updateStrategy }}
    updateStrategy: {{ . }}
    {{- end }}
    {{- with .Values.daemonsets.rollingUpdate }}
    rollingUpdate:
      maxUnavailable: {{ .maxUnavailable | quote }}
    {{- end }}
  validator:
    repository: {{ .Values.validator.repository }}
    image: {{ .Values.validator.image }}
    version: {{ .Values.validator.version | default .Chart.AppVersion | quote }}
  mig:
    {{- with .Values.mig.strategy }}
    strategy: {{ . }}
    {{- end }}
  psa:
    enabled: {{ .Values.psa.enabled }}
  cdi:
    enabled: {{ .Values.cdi.enabled }}
  sandboxWorkloads: {{- toYaml .Values.sandboxWorkloads | nindent 4 }}
  driver:
    {{- include "lab.component" (dict "values" .Values.driver "chart" .Chart) | nindent 4 }}
    useNvidiaDriverCRD: {{ .Values.driver.nvidiaDriverCRD.enabled }}
  toolkit:
    {{- include "lab.component" (dict "values" .Values.toolkit "chart" .Chart) | nindent 4 }}
    installDir: {{ .Values.toolkit.installDir }}
  devicePlugin:
    {{- include "lab.component" (dict "values" .Values.devicePlugin "chart" .Chart) | nindent 4 }}
    {{- with .Values.devicePlugin.config }}
    {{- if .name }}
    config:
      name: {{ .name | quote }}
      default: {{ .default | quote }}
    {{- end }}
    {{- end }}
    {{- with .Values.devicePlugin.mps }}
    mps: {{- toYaml . | nindent 6 }}
    {{- end }}
  dcgm:
    {{- include "lab.component" (dict "values" .Values.dcgm "chart" .Chart) | nindent 4 }}
  dcgmExporter:
    {{- include "lab.component" (dict "values" .Values.dcgmExporter "chart" .Chart) | nindent 4 }}
    {{- with .Values.dcgmExporter.config }}
    config:
      name: {{ .name | quote }}
    {{- end }}
    {{- with .Values.dcgmExporter.serviceMonitor }}
    serviceMonitor: {{- toYaml . | nindent 6 }}
    {{- end }}
  gfd:
    {{- include "lab.component" (dict "values" .Values.gfd "chart" .Chart) | nindent 4 }}
  migManager:
    {{- include "lab.component" (dict "values" .Values.migManager "chart" .Chart) | nindent 4 }}
    {{- with .Values.migManager.config }}
    config:
      name: {{ .name | quote }}
      default: {{ .default | quote }}
    {{- end }}
  nodeStatusExporter:
    {{- include "lab.component" (dict "values" .Values.nodeStatusExporter "chart" .Chart) | nindent 4 }}
{{- end }}
