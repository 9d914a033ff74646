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

{{- define "vllm-roofline-exporter.labels" -}}
{{ include "vllm-roofline-exporter.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- /* Labels of what a Prometheus operator has to find. */}}
{{- define "vllm-roofline-exporter.monitoringLabels" -}}
{{ include "vllm-roofline-exporter.labels" . }}
{{- with .Values.additionalLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "vllm-roofline-exporter.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end }}
{{- end }}

{{- /* "true" where a monitoring object is wanted: call with (list . "PodMonitor" .Values.podMonitor.enabled). */}}
{{- define "vllm-roofline-exporter.wanted" -}}
{{- $root := index . 0 }}
{{- $known := $root.Capabilities.APIVersions.Has (printf "monitoring.coreos.com/v1/%s" (index . 1)) }}
{{- $known = or $known ($root.Capabilities.APIVersions.Has "monitoring.coreos.com/v1") }}
{{- $enabled := toString (index . 2) }}
{{- if or (eq $enabled "true") (and (eq $enabled "auto") $known) }}true{{ end }}
{{- end }}
