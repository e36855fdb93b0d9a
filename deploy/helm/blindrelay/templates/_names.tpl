{{/* Called with (dict "root" $ "part" "relay"). */}}
{{- define "blindrelay.name" -}}
{{- $release := .root.Release.Name -}}
{{- $full := ternary $release (printf "%s-blindrelay" $release) (contains "blindrelay" $release) -}}
{{ printf "%s-%s" (trunc 50 $full | trimSuffix "-") .part }}
{{- end }}

{{/* The host name of a Service of this release. */}}
{{- define "blindrelay.host" -}}
{{ include "blindrelay.name" . }}.{{ .root.Release.Namespace }}.svc
{{- end }}

{{- define "blindrelay.selector" -}}
app.kubernetes.io/name: blindrelay
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .part }}
{{- end }}

{{- define "blindrelay.labels" -}}
{{ include "blindrelay.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version }}
{{- end }}

{{- define "blindrelay.metadata" -}}
name: {{ include "blindrelay.name" . }}
namespace: {{ .root.Release.Namespace }}
labels:
  {{- include "blindrelay.labels" . | nindent 2 }}
{{- end }}
