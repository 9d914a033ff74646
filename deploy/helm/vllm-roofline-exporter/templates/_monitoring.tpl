{{- /* monitoring.kind, `auto` resolved. */}}
{{- define "vllm-roofline-exporter.monitoringKind" -}}
{{- if ne .Values.monitoring.kind "auto" -}}
{{ .Values.monitoring.kind }}
{{- else if include "vllm-roofline-exporter.operator" (list . "PodMonitor") -}}
podmonitor
{{- else -}}
none
{{- end }}
{{- end }}

{{- /* "true" where the cluster knows a kind of the Prometheus operator: call with (list . KIND). */}}
{{- define "vllm-roofline-exporter.operator" -}}
{{- $versions := (index . 0).Capabilities.APIVersions }}
{{- if or ($versions.Has "monitoring.coreos.com/v1") ($versions.Has (printf "monitoring.coreos.com/v1/%s" (index . 1))) }}true{{ end }}
{{- end }}

{{- /* Labels of the pods that are scraped. Helm merges maps, so a default in values.yaml would stay beside the user's own labels. */}}
{{- define "vllm-roofline-exporter.scrapeLabels" -}}
{{- if eq .Values.mode "standalone" -}}
{{ include "vllm-roofline-exporter.selectorLabels" . }}
{{- else -}}
{{ toYaml (.Values.monitoring.matchLabels | default (dict "vllm-roofline-exporter/scrape" "true")) }}
{{- end }}
{{- end }}

{{- define "vllm-roofline-exporter.podLabels" -}}
{{ include "vllm-roofline-exporter.scrapeLabels" . }}
{{- end }}

{{- /* What kind `annotations` asks of the pods; empty for the others. */}}
{{- define "vllm-roofline-exporter.podAnnotations" -}}
{{- if eq (include "vllm-roofline-exporter.monitoringKind" .) "annotations" -}}
prometheus.io/scrape: "true"
prometheus.io/port: "10860"
prometheus.io/path: /metrics
{{- end }}
{{- end }}

{{- /* One endpoint, as Prometheus operator and VictoriaMetrics write it: call with (list . RELABELINGS METRIC-RELABELINGS), the names of
       the two fields. */}}
{{- define "vllm-roofline-exporter.endpoint" -}}
{{- $monitoring := (index . 0).Values.monitoring }}
{{- $relabelings := list }}
{{- range $to, $from := $monitoring.targetLabels }}
{{- $source := printf "__meta_kubernetes_pod_label_%s" (regexReplaceAll "[^a-zA-Z0-9_]" $from "_") }}
{{- $relabelings = append $relabelings (dict "action" "replace" "sourceLabels" (list $source) "targetLabel" $to) }}
{{- end }}
port: roofline
path: /metrics
interval: {{ $monitoring.interval }}
scrapeTimeout: {{ $monitoring.scrapeTimeout }}
{{- with concat $relabelings $monitoring.relabelings }}
{{ index $ 1 }}:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $monitoring.metricRelabelings }}
{{ index $ 2 }}:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- define "vllm-roofline-exporter.namespaceSelector" -}}
{{- with .Values.monitoring.namespaces }}
namespaceSelector:
  {{- if has "*" . }}
  any: true
  {{- else }}
  matchNames:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end }}
{{- end }}

{{- /* The object that holds rules, for each kind of monitoring. */}}
{{- define "vllm-roofline-exporter.rulesKind" -}}
{{- $kind := include "vllm-roofline-exporter.monitoringKind" . }}
{{- if eq $kind "victoriametrics" -}}
{apiVersion: operator.victoriametrics.com/v1beta1, kind: VMRule}
{{- else if ne $kind "gmp" -}}
{apiVersion: monitoring.coreos.com/v1, kind: PrometheusRule}
{{- else if .Values.clusterWide -}}
{apiVersion: monitoring.googleapis.com/v1, kind: ClusterRules}
{{- else -}}
{apiVersion: monitoring.googleapis.com/v1, kind: Rules}
{{- end }}
{{- end }}

{{- /* "true" where rules are wanted. A kind that is `auto` or no operator's own does not say that the cluster knows PrometheusRule. */}}
{{- define "vllm-roofline-exporter.rulesWanted" -}}
{{- $known := or (has .Values.monitoring.kind (list "podmonitor" "servicemonitor" "gmp" "victoriametrics")) (include "vllm-roofline-exporter.operator" (list . "PrometheusRule")) }}
{{- $switch := toString .Values.prometheusRule.enabled }}
{{- if or (eq $switch "true") (and $known (include "vllm-roofline-exporter.clusterWide" (list . $switch))) }}true{{ end }}
{{- end }}
