{{/* A TOML file from a map: its scalars, then its tables and arrays of tables. */}}
{{- define "blindrelay.toml" -}}
{{- range $key, $value := . }}
{{- if not (or (kindIs "map" $value) (include "blindrelay.isTables" $value)) }}
{{ $key }} = {{ include "blindrelay.tomlValue" $value }}
{{- end }}
{{- end }}
{{- range $key, $value := . }}
{{- if kindIs "map" $value }}

[{{ $key }}]
{{- include "blindrelay.tomlLines" $value }}
{{- else if include "blindrelay.isTables" $value }}
{{- range $value }}

[[{{ $key }}]]
{{- include "blindrelay.tomlLines" . }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{- define "blindrelay.tomlLines" -}}
{{- range $key, $value := . }}
{{ $key }} = {{ include "blindrelay.tomlValue" $value }}
{{- end }}
{{- end }}

{{/* JSON's strings, numbers and truth values are TOML's too. Tables inside others are written in one line. */}}
{{- define "blindrelay.tomlValue" -}}
{{- if kindIs "map" . -}}
{ {{- range $index, $key := keys . | sortAlpha }}{{ if $index }},{{ end }} {{ $key }} = {{ include "blindrelay.tomlValue" (get $ $key) }}{{ end }} }
{{- else if kindIs "slice" . -}}
[{{ range $index, $value := . }}{{ if $index }}, {{ end }}{{ include "blindrelay.tomlValue" $value }}{{ end }}]
{{- else -}}
{{ toJson . }}
{{- end -}}
{{- end }}

{{- define "blindrelay.isTables" -}}
{{- if kindIs "slice" . }}{{ if . }}{{ if kindIs "map" (first .) }}true{{ end }}{{ end }}{{ end -}}
{{- end }}
