{{/* SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors */}}
{{/* SPDX-License-Identifier: GPL-3.0-or-later */}}

{{- define "lab.labels" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/component: gpu-operator
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- with .Values.operator.labels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "lab.image" -}}
{{ .Values.operator.repository }}/{{ .Values.operator.image }}:{{ .Values.operator.version | default .Chart.AppVersion }}
{{- end -}}

{{/* The image of a component and whether it is on: the block that most of them share. */}}
{{- define "lab.component" -}}
enabled: {{ .values.enabled }}
repository: {{ .values.repository | quote }}
image: {{ .values.image | quote }}
version: {{ .values.version | default .chart.AppVersion | quote }}
imagePullPolicy: {{ .values.imagePullPolicy | default "IfNotPresent" }}
{{- with .values.env }}
env: {{ toYaml . | nindent 2 }}
{{- end }}
{{- with .values.resources }}
resources: {{ toYaml . | nindent 2 }}
{{- end }}
{{- end -}}
