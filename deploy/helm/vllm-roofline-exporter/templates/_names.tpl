{{- define "vllm-roofline-exporter.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "vllm-roofline-exporter.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 52 | trimSuffix "-" }}
{{- else if contains (include "vllm-roofline-exporter.name" .) .Release.Name }}
{{- .Release.Name | trunc 52 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name (include "vllm-roofline-exporter.name" .) | trunc 52 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{- define "vllm-roofline-exporter.selectorLabels" -}}
app.kubernetes.io/name: {{ include "vllm-roofline-exporter.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- /* Labels of our Service alone: the Service beside the dcgm-exporter is of the same release. */}}
{{- define "vllm-roofline-exporter.serviceLabels" -}}
{{ include "vllm-roofline-exporter.selectorLabels" . }}
app.kubernetes.io/component: exporter
{{- end }}

{{- define "vllm-roofline-exporter.labels" -}}
{{ include "vllm-roofline-exporter.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- /* The metadata of an object: call with (dict "root" . "name" NAME), and where there are any "namespace", "labels" and "annotations", or
       "clusterScoped". */}}
{{- define "vllm-roofline-exporter.metadata" -}}
name: {{ .name }}
{{- if not .clusterScoped }}
namespace: {{ .namespace | default .root.Release.Namespace }}
{{- end }}
labels:
  {{- include "vllm-roofline-exporter.labels" .root | nindent 2 }}
  {{- with .labels }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- with merge (dict) (default dict .annotations) .root.Values.commonAnnotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- define "vllm-roofline-exporter.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end }}
{{- end }}

{{- /* "true" where an object that a cluster needs once is wanted: call with (list . SWITCH), SWITCH being auto, true or false. */}}
{{- define "vllm-roofline-exporter.clusterWide" -}}
{{- $switch := toString (index . 1) }}
{{- if or (eq $switch "true") (and (eq $switch "auto") (index . 0).Values.clusterWide) }}true{{ end }}
{{- end }}
