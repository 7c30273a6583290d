{{- define "mafalda.gateway" -}}
{{- include "mafalda.fullname" . -}}-gateway
{{- end -}}

{{/* What the gateway's pods are selected by: it never changes. */}}
{{- define "mafalda.gateway.selector" -}}
app.kubernetes.io/name: {{ include "mafalda.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: gateway
{{- end -}}

{{- define "mafalda.gateway.labels" -}}
{{ include "mafalda.labels" . }}
app.kubernetes.io/component: gateway
{{- end -}}

{{/* The MafaldaCluster that it is the endpoint of. */}}
{{- define "mafalda.gateway.cluster" -}}
{{- default .Values.cluster.name .Values.gateway.cluster -}}
{{- end -}}
