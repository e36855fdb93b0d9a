{{/* The configurations, as JSON: the file of the compose set, what this cluster changes in it, and the operator's `config`. */}}

{{/* Called with (dict "file" NAME "port" PORT "part" VALUES "root" $ "more" MAP). */}}
{{- define "blindrelay.config" -}}
{{- $config := .root.Files.Get (printf "files/%s.toml" .file) | fromToml -}}
{{- $_ := set $config "listen" (printf "0.0.0.0:%d" (int .port)) -}}
{{- if .part.tls -}}
{{- $_ := set $config "tls" (dict "certificate" (printf "%s.pem" .file) "key" (printf "%s.key" .file)) -}}
{{- else -}}
{{- $_ := unset $config "tls" -}}
{{- $_ := set $config "plaintext" true -}}
{{- end -}}
{{ mergeOverwrite $config .more (deepCopy .part.config) | toJson }}
{{- end }}

{{- define "blindrelay.relayConfig" -}}
{{- $more := dict "replica" (include "blindrelay.bridges" . | fromJsonArray) -}}
{{- if eq .Values.relay.dataPlane "envoy" -}}
{{- $_ := set $more "envoy" (dict "folder" "/run/blindrelay/envoy") -}}
{{- end -}}
{{- if .Values.ledger.enabled -}}
{{- $address := printf "%s:8470" (include "blindrelay.host" (dict "root" . "part" "ledger")) -}}
{{- $_ := set $more "ledger" (merge (dict "address" $address) (include "blindrelay.peer" (dict "part" .Values.ledger "ca" "ledgers-ca.pem") | fromJson)) -}}
{{- end -}}
{{- $config := include "blindrelay.config" (dict "file" "relay" "port" 8443 "part" .Values.relay "root" . "more" $more) | fromJson -}}
{{- if not (or .Values.ledger.enabled .Values.relay.config.ledger) -}}
{{- $_ := unset $config "ledger" -}}
{{- $_ := set $config "tokens" (default "tokens" .Values.relay.config.tokens) -}}
{{- end -}}
{{ toJson $config }}
{{- end }}

{{- define "blindrelay.ledgerConfig" -}}
{{- $bridges := list -}}
{{- range include "blindrelay.bridges" . | fromJsonArray }}{{ $bridges = append $bridges (omit . "proxy") }}{{ end -}}
{{- $more := dict "bridge" $bridges "admin_token" "/var/lib/blindrelay/admin-token" -}}
{{ include "blindrelay.config" (dict "file" "ledger" "port" 8470 "part" .Values.ledger "root" . "more" $more) }}
{{- end }}

{{- define "blindrelay.bridgeConfig" -}}
{{- $config := include "blindrelay.config" (dict "file" "bridge" "port" 8490 "part" .Values.bridge "root" . "more" (dict "tokens" "relay-tokens")) | fromJson -}}
{{- if not .Values.bridge.prices }}{{ $_ := unset $config "billing" }}{{ end -}}
{{- if .Values.bridge.config.signing_key }}{{ $_ := unset $config "identity_key" }}{{ end -}}
{{ toJson $config }}
{{- end }}

{{/* How a part connects to another one of this release. */}}
{{- define "blindrelay.peer" -}}
{{ ternary (dict "tls" (dict "ca" .ca)) (dict "plaintext" true) (ne .part.tls "") | toJson }}
{{- end }}

{{/* The bridge processes of this release, by the names of their pods, and those of `bridges`. */}}
{{- define "blindrelay.bridges" -}}
{{- $bridges := list -}}
{{- if .Values.bridge.enabled -}}
{{- $name := include "blindrelay.name" (dict "root" . "part" "bridge") -}}
{{- $host := include "blindrelay.host" (dict "root" . "part" "bridge") -}}
{{- range $number := until (int .Values.bridge.replicas) -}}
{{- $entry := merge (dict "address" (printf "%s-%d.%s:8490" $name $number $host) "identity" $.Values.bridge.identity "token_file" "bridge-token") (include "blindrelay.peer" (dict "part" $.Values.bridge "ca" "bridges-ca.pem") | fromJson) -}}
{{- if $.Values.bridge.nextIdentity }}{{ $_ := set $entry "next_identity" $.Values.bridge.nextIdentity }}{{ end -}}
{{- $bridges = append $bridges $entry -}}
{{- end -}}
{{- end -}}
{{ concat $bridges .Values.bridges | toJson }}
{{- end }}
