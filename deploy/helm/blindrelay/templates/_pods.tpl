{{/* What all pods have in common. Called with (dict "root" $ "part" NAME "values" VALUES "seconds" SECONDS). */}}
{{- define "blindrelay.pod" -}}
automountServiceAccountToken: false
enableServiceLinks: false
terminationGracePeriodSeconds: {{ .seconds }}
securityContext:
  runAsNonRoot: true
  runAsUser: 65532
  runAsGroup: 65532
  fsGroup: 65532
  seccompProfile: {type: RuntimeDefault}
topologySpreadConstraints:
- maxSkew: 1
  topologyKey: kubernetes.io/hostname
  whenUnsatisfiable: ScheduleAnyway
  labelSelector:
    matchLabels:
      {{- include "blindrelay.selector" . | nindent 6 }}
{{- with .root.Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- range $name := list "nodeSelector" "tolerations" "affinity" }}
{{- with get $.values $name }}
{{ $name }}:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}
{{- end }}

{{/* The metadata of a pod. It is replaced when its configuration has changed, which is read at the start alone. */}}
{{- define "blindrelay.podMetadata" -}}
labels:
  {{- include "blindrelay.labels" . | nindent 2 }}
annotations:
  checksum/config: {{ .config | sha256sum }}
{{- end }}

{{- define "blindrelay.containerSecurity" -}}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
{{- end }}

{{/* Called with a module. The health command asks the listener over TLS, which the kubelet's own gRPC probe cannot. */}}
{{- define "blindrelay.readiness" -}}
readinessProbe:
  exec: {command: [/usr/bin/python3, -m, blindrelay.{{ .module }}, health, --config, /etc/blindrelay/{{ .file }}.toml]}
  periodSeconds: 15
  timeoutSeconds: 10
{{- end }}

{{/* A part that listens is alive: one whose bridges or database are lost is not helped by a restart. */}}
{{- define "blindrelay.liveness" -}}
livenessProbe:
  tcpSocket: {port: {{ . }}}
  initialDelaySeconds: 10
  periodSeconds: 10
  failureThreshold: 6
{{- end }}

{{/* /etc/blindrelay: the configuration, with the files that it names beside it. */}}
{{- define "blindrelay.configVolume" -}}
- name: config
  projected:
    defaultMode: 0440
    sources:
    - configMap: {name: {{ include "blindrelay.name" . }}}
    - secret: {name: {{ .values.secret }}}
    {{- if .values.tls }}
    - secret:
        name: {{ .values.tls }}
        items: [{key: tls.crt, path: {{ .part }}.pem}, {key: tls.key, path: {{ .part }}.key}]
    {{- end }}
{{- end }}

{{/* At most one pod at a time is taken away, as when nodes are emptied. */}}
{{- define "blindrelay.disruption" -}}
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata:
  {{- include "blindrelay.metadata" . | nindent 2 }}
spec:
  maxUnavailable: 1
  selector:
    matchLabels:
      {{- include "blindrelay.selector" . | nindent 6 }}
{{- end }}
