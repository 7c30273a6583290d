{{- define "mafalda.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 50 | trimSuffix "-" -}}
{{- end -}}

{{/* The release's name, with the chart's behind it where it is not in it. */}}
{{- define "mafalda.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 50 | trimSuffix "-" -}}
{{- else if contains (include "mafalda.name" .) .Release.Name -}}
{{- .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name (include "mafalda.name" .) | trunc 50 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "mafalda.operator" -}}
{{- include "mafalda.fullname" . -}}-operator
{{- end -}}

{{- define "mafalda.serviceAccount" -}}
{{- default (ternary (include "mafalda.operator" .) "default" .Values.serviceAccount.create) .Values.serviceAccount.name -}}
{{- end -}}

{{/* What the operator's pods are selected by: it never changes. */}}
{{- define "mafalda.operator.selector" -}}
app.kubernetes.io/name: {{ include "mafalda.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: operator
{{- end -}}

{{- define "mafalda.labels" -}}
app.kubernetes.io/name: {{ include "mafalda.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/part-of: mafalda
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{/* Nobody, with nothing. */}}
{{- define "mafalda.podSecurity" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
seccompProfile:
  type: RuntimeDefault
{{- end -}}

{{- define "mafalda.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end -}}

{{/* A container of the operator's image that does one thing and ends. Takes a list: the chart's
context, the name, the arguments. */}}
{{- define "mafalda.once" -}}
{{- $context := index . 0 -}}
name: {{ index . 1 }}
image: {{ include "mafalda.image" (list $context "mafalda-operator") | quote }}
imagePullPolicy: {{ $context.Values.image.pullPolicy }}
args: {{ index . 2 | toJson }}
securityContext:
  {{- include "mafalda.containerSecurity" $context | nindent 2 }}
resources:
  requests: {cpu: 10m, memory: 32Mi}
  limits: {memory: 128Mi}
{{- end -}}

{{- define "mafalda.image" -}}
{{- $image := (index . 0).Values.image -}}
{{ $image.registry }}/{{ index . 1 }}:{{ $image.tag }}
{{- end -}}

{{/* `true` if the media pods of the MafaldaCluster have the addresses of their nodes. */}}
{{- define "mafalda.hostNetwork" -}}
{{- $exposure := .Values.cluster.spec.exposure | default dict -}}
{{- and .Values.cluster.enabled (eq ($exposure.type | default "HostPort") "HostNetwork") -}}
{{- end -}}
