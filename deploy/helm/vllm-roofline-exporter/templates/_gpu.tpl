{{- /* What a GPU access mode asks of the pod: templates of the pod's level, empty where there is nothing to ask. */}}
{{- define "vllm-roofline-exporter.podSpec" -}}
{{- if eq .Values.gpu.mode "nvml" }}
{{- with .Values.gpu.nvml.runtimeClassName }}
runtimeClassName: {{ . }}
{{- end }}
{{- if and (eq .Values.mode "sidecar") .Values.gpu.nvml.shareProcessNamespace }}
shareProcessNamespace: true
{{- end }}
{{- end }}
{{- end }}

{{- define "vllm-roofline-exporter.gpuArgs" -}}
- --gpu-source={{ get (dict "dcgm" "dcgm" "nvml" "nvml" "dra" "nvml" "none" "none") .Values.gpu.mode }}
{{- if eq .Values.gpu.mode "dcgm" }}
- --dcgm-url={{ include "vllm-roofline-exporter.dcgmUrl" . }}
{{- if eq .Values.mode "sidecar" }}
- --dcgm-pod=$(POD_NAMESPACE)/$(POD_NAME)
{{- else if .Values.gpu.dcgm.pod }}
- --dcgm-pod={{ .Values.gpu.dcgm.pod }}
{{- end }}
{{- end }}
{{- with .Values.gpu.name }}
- --gpu={{ . }}
{{- end }}
{{- with .Values.gpu.devices }}
- --gpu-devices={{ join "," . }}
{{- end }}
{{- end }}

{{- define "vllm-roofline-exporter.dcgmUrl" -}}
{{- $service := .Values.gpu.dcgm.service }}
{{- if .Values.gpu.dcgm.url -}}
{{ .Values.gpu.dcgm.url }}
{{- else if eq .Values.mode "standalone" -}}
{{ fail "mode is standalone and gpu.mode dcgm: set gpu.dcgm.url to the dcgm-exporter on vLLM's node, or gpu.mode to none" }}
{{- else -}}
http://{{ $service.name }}.{{ $service.namespace }}.svc:{{ int $service.port }}/metrics
{{- end }}
{{- end }}

{{- define "vllm-roofline-exporter.gpuEnv" -}}
{{- if and (eq .Values.gpu.mode "dcgm") (eq .Values.mode "sidecar") }}
- name: NODE_IP
  valueFrom: {fieldRef: {apiVersion: v1, fieldPath: status.hostIP}}
- name: POD_NAME
  valueFrom: {fieldRef: {apiVersion: v1, fieldPath: metadata.name}}
- name: POD_NAMESPACE
  valueFrom: {fieldRef: {apiVersion: v1, fieldPath: metadata.namespace}}
{{- else if eq .Values.gpu.mode "nvml" }}
- name: NVIDIA_VISIBLE_DEVICES
  value: {{ .Values.gpu.nvml.visibleDevices | quote }}
- name: NVIDIA_DRIVER_CAPABILITIES
  value: utility
{{- end }}
{{- end }}

{{- define "vllm-roofline-exporter.claimTemplateSpec" -}}
{{- $template := .Values.gpu.dra.template -}}
spec:
  devices:
    requests:
      - name: gpu
        exactly:
          deviceClassName: {{ $template.deviceClassName }}
          allocationMode: ExactCount
          count: {{ int $template.count }}
{{- end }}

{{- /* The spec of a ResourceClaimTemplate cannot change: another spec is another template. */}}
{{- define "vllm-roofline-exporter.claimTemplateName" -}}
{{ .Values.gpu.dra.template.name | trunc 54 | trimSuffix "-" }}-{{ include "vllm-roofline-exporter.claimTemplateSpec" . | sha256sum | trunc 8 }}
{{- end }}

{{- /* The pod's claims, where the template is made here; empty otherwise. */}}
{{- define "vllm-roofline-exporter.resourceClaims" -}}
{{- if and (eq .Values.gpu.mode "dra") .Values.gpu.dra.template.create -}}
- {name: {{ .Values.gpu.dra.claim }}, resourceClaimTemplateName: {{ include "vllm-roofline-exporter.claimTemplateName" . }}}
{{- end }}
{{- end }}
