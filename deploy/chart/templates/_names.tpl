{{- define "wireproof.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 50 | trimSuffix "-" }}
{{- else if contains .Chart.Name .Release.Name }}
{{- .Release.Name | trunc 50 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name .Chart.Name | trunc 50 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{- define "wireproof.selector" -}}
app.kubernetes.io/name: {{ .root.Chart.Name }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end }}

{{- define "wireproof.labels" -}}
{{ include "wireproof.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version }}
{{- with .root.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- /* A digest wins over a tag. */ -}}
{{- define "wireproof.image" -}}
{{- $image := index .root.Values.image .component -}}
{{- if $image.digest -}}
{{ $image.repository }}@{{ $image.digest }}
{{- else -}}
{{ $image.repository }}:{{ $image.tag | default .root.Chart.AppVersion }}
{{- end }}
{{- end }}

{{- /* The name that the collector's certificate is for. */ -}}
{{- define "wireproof.host" -}}
{{ include "wireproof.fullname" . }}.{{ .Release.Namespace }}.svc
{{- end }}

{{- /* Where agents find the CA of the collector's certificate; empty for those that everybody trusts. */ -}}
{{- define "wireproof.ca" -}}
{{- if .Values.agent.collectorCASecret -}}
{{ .Values.agent.collectorCASecret }}
{{- else if not .Values.agent.collectorURL -}}
{{ required "collector.tls.existingSecret is required: agents show their token to https:// only (see values.yaml)" .Values.collector.tls.existingSecret }}
{{- end }}
{{- end }}

{{- define "wireproof.secret" -}}
{{- required "auth.existingSecret is required: a Secret with the keys api-token and agent-token (see values.yaml)" .Values.auth.existingSecret }}
{{- end }}

{{- /* The volume with the agents' certificate and key; empty where they have none. */ -}}
{{- define "wireproof.agentCertificate" -}}
{{- $agent := .Values.agent -}}
{{- if and $agent.clientCertificateSecret $agent.clientCertificateVolume -}}
{{ fail "agents have one certificate: agent.clientCertificateSecret or agent.clientCertificateVolume (see values.yaml)" }}
{{- else if $agent.clientCertificateVolume -}}
{{ toYaml $agent.clientCertificateVolume }}
{{- else if $agent.clientCertificateSecret -}}
secret:
  secretName: {{ $agent.clientCertificateSecret | quote }}
  defaultMode: 0400
  items: [{ key: tls.crt, path: tls.crt }, { key: tls.key, path: tls.key }]
{{- end }}
{{- end }}

{{- /* The key of the agents' token; empty where a certificate stands in its place. */ -}}
{{- define "wireproof.agentToken" -}}
{{- if .Values.auth.agentTokenKey -}}
{{ .Values.auth.agentTokenKey }}
{{- else if not (include "wireproof.agentCertificate" .) -}}
{{ fail "auth.agentTokenKey is empty, so agents need a certificate: agent.clientCertificateSecret or agent.clientCertificateVolume (see values.yaml)" }}
{{- else if not (or .Values.agent.collectorURL .Values.collector.tls.clientCASecret) -}}
{{ fail "auth.agentTokenKey is empty, so the collector needs the CA of the agents' certificates: collector.tls.clientCASecret (see values.yaml)" }}
{{- end }}
{{- end }}
