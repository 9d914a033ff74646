{{- define "vllm-roofline-exporter.args" -}}
- serve
- --vllm-url={{ .Values.vllm.url }}
{{- if .Values.vllm.apiKeySecret.name }}
- --vllm-api-key-file=/etc/vllm-roofline/api-key/{{ .Values.vllm.apiKeySecret.key }}
{{- end }}
{{- if .Values.model.config }}
- --model=/etc/vllm-roofline/model/config.json
{{- end }}
{{- include "vllm-roofline-exporter.gpuArgs" . | nindent 0 }}
{{- if .Values.config }}
- --config.file=/etc/vllm-roofline/config/config.yaml
{{- end }}
{{- range $flag, $value := .Values.flags }}
{{- if kindIs "bool" $value }}
{{- if $value }}
- --{{ $flag }}
{{- end }}
{{- else if kindIs "float64" $value }}
- --{{ $flag }}={{ if eq (floor $value) $value }}{{ int64 $value }}{{ else }}{{ $value }}{{ end }}
{{- else }}
- {{ printf "--%s=%v" $flag $value | quote }}
{{- end }}
{{- end }}
{{- end }}

{{- define "vllm-roofline-exporter.env" -}}
{{- include "vllm-roofline-exporter.gpuEnv" . }}
{{- with .Values.model.hfHome }}
- name: HF_HOME
  value: {{ . | quote }}
{{- end }}
{{- if .Values.vllm.caSecret.name }}
- name: SSL_CERT_FILE
  value: /etc/vllm-roofline/ca/{{ .Values.vllm.caSecret.key }}
{{- end }}
{{- with .Values.env }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- /* In a pod of vLLM's, whose token is not ours to unmount: a mount at its place keeps it out of our container. */}}
{{- define "vllm-roofline-exporter.volumeMounts" -}}
{{- if eq .Values.mode "sidecar" }}
- {name: roofline-no-token, mountPath: /var/run/secrets/kubernetes.io/serviceaccount, readOnly: true}
{{- end }}
{{- if .Values.config }}
- {name: roofline-config, mountPath: /etc/vllm-roofline/config, readOnly: true}
{{- end }}
{{- if .Values.model.config }}
- {name: roofline-model, mountPath: /etc/vllm-roofline/model, readOnly: true}
{{- end }}
{{- if .Values.vllm.apiKeySecret.name }}
- {name: roofline-api-key, mountPath: /etc/vllm-roofline/api-key, readOnly: true}
{{- end }}
{{- if .Values.vllm.caSecret.name }}
- {name: roofline-ca, mountPath: /etc/vllm-roofline/ca, readOnly: true}
{{- end }}
{{- with .Values.model.volume }}
{{- if .name }}
- name: {{ .name }}
  mountPath: {{ required "model.volume.mountPath: where vLLM mounts the volume" .mountPath }}
  {{- with .subPath }}
  subPath: {{ . }}
  {{- end }}
  readOnly: true
{{- end }}
{{- end }}
{{- end }}

{{- /* The volumes that the container needs beside those the pod has. */}}
{{- define "vllm-roofline-exporter.volumes" -}}
{{- if eq .Values.mode "sidecar" }}
- name: roofline-no-token
  emptyDir: {sizeLimit: 1Mi}
{{- end }}
{{- if .Values.config }}
- name: roofline-config
  configMap: {name: {{ include "vllm-roofline-exporter.fullname" . }}-config}
{{- end }}
{{- if .Values.model.config }}
- name: roofline-model
  configMap: {name: {{ include "vllm-roofline-exporter.fullname" . }}-model}
{{- end }}
{{- with .Values.vllm.apiKeySecret }}
{{- if .name }}
- name: roofline-api-key
  secret: {secretName: {{ .name }}, items: [{key: {{ .key }}, path: {{ .key }}}]}
{{- end }}
{{- end }}
{{- with .Values.vllm.caSecret }}
{{- if .name }}
- name: roofline-ca
  secret: {secretName: {{ .name }}, items: [{key: {{ .key }}, path: {{ .key }}}]}
{{- end }}
{{- end }}
{{- end }}

{{- /* The container. No readiness probe: a sidecar's readiness is the pod's. No startup probe: nothing may wait for it. */}}
{{- define "vllm-roofline-exporter.container" -}}
name: roofline-exporter
image: {{ include "vllm-roofline-exporter.image" . }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
args:
  {{- include "vllm-roofline-exporter.args" . | nindent 2 }}
{{- with include "vllm-roofline-exporter.env" . | trim }}
env:
  {{- . | nindent 2 }}
{{- end }}
ports:
  - {name: roofline, containerPort: 10860, protocol: TCP}
livenessProbe:
  httpGet: {path: /-/healthy, port: 10860}
  periodSeconds: 30
  timeoutSeconds: 5
resources:
  {{- toYaml .Values.resources | nindent 2 }}
  {{- if eq .Values.gpu.mode "dra" }}
  claims: [{name: {{ .Values.gpu.dra.claim }}}]
  {{- end }}
securityContext:
  {{- toYaml .Values.securityContext | nindent 2 }}
{{- with include "vllm-roofline-exporter.volumeMounts" . | trim }}
volumeMounts:
  {{- . | nindent 2 }}
{{- end }}
{{- end }}

{{- /* The container as a sidecar, for the pod template of another chart: first of initContainers if native, else one of containers. */}}
{{- define "vllm-roofline-exporter.sidecar" -}}
{{ include "vllm-roofline-exporter.container" . }}
{{- if .Values.sidecar.native }}
restartPolicy: Always
{{- end }}
{{- end }}
