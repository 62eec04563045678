{{/* The host's settings file: what the chart sets, with host.settings beside it. */}}

{{- define "roadstead.settings" -}}
{{- $values := .Values -}}
{{- $set := dict
  "listen" "0.0.0.0:7411"
  "data_dir" "/var/lib/roadstead/data"
  "drain_timeout" (printf "%ds" (int $values.host.drainSeconds))
  "metrics" (dict "listen" "0.0.0.0:7412" "insecure_no_auth" true)
-}}
{{- if $values.auth.insecureNoAuth -}}
{{- $_ := set $set "insecure_no_auth" true -}}
{{- end -}}
{{- if $values.auth.policy.secret -}}
{{- $_ := set $set "auth" (printf "/etc/roadstead/auth/%s" $values.auth.policy.key) -}}
{{- end -}}
{{- $_ := set $set "pool" (include "roadstead.pool" . | fromJson) -}}
{{- if $values.tls.secret -}}
{{- $_ := set $set "tls_cert" "/etc/roadstead/tls/tls.crt" -}}
{{- $_ := set $set "tls_key" "/etc/roadstead/tls/tls.key" -}}
{{- end -}}
{{- if eq $values.catalog.kind "kubernetes" -}}
{{- $namespaces := include "roadstead.namespaces" . | fromJsonArray -}}
{{- $_ := set $set "catalog" (dict "kubernetes" (dict "namespaces" $namespaces)) -}}
{{- end -}}
{{- if include "roadstead.controlled" . -}}
{{- $address := printf "https://%s.%s.svc:%d" (include "roadstead.controller" .) .Release.Namespace (int $values.controller.port) -}}
{{- $folder := "/etc/roadstead/controller" -}}
{{- $_ := set $set "controller" (dict "address" $address "ca" (printf "%s/ca.crt" $folder) "cert" (printf "%s/tls.crt" $folder) "key" (printf "%s/tls.key" $folder)) -}}
{{- end -}}
{{- if $values.native.enabled -}}
{{- $_ := set $set "native" (dict "enabled" true) -}}
{{- end -}}
{{- with $values.blobs -}}
{{- if eq .kind "shared" -}}
{{- $_ := set $set "blobs" (dict "kind" "directory" "path" "/var/lib/roadstead-blobs") -}}
{{- else if ne .kind "local" -}}
{{- $_ := set $set "blobs" (dict "kind" .kind "bucket" .bucket "prefix" .prefix) -}}
{{- end -}}
{{- end -}}
{{- if $values.secrets -}}
{{- $secrets := dict -}}
{{- range $name, $secret := $values.secrets -}}
{{- $_ := set $secrets $name (dict "file" (printf "/etc/roadstead/secrets/%s" $name) "to" $secret.to) -}}
{{- end -}}
{{- $_ := set $set "offers" (dict "secrets" $secrets) -}}
{{- end -}}
{{- include "roadstead.toml" (mergeOverwrite (deepCopy $values.host.settings) $set) -}}
{{- end -}}

{{/* A map as TOML: plain values first, then a table for each map. */}}
{{- define "roadstead.toml" -}}
{{- $map := . -}}
{{- range $key := keys $map | sortAlpha }}
{{- $value := index $map $key }}
{{- if not (kindIs "map" $value) }}
{{ include "roadstead.tomlKey" $key }} = {{ include "roadstead.tomlValue" $value }}
{{- end }}
{{- end }}
{{- range $key := keys $map | sortAlpha }}
{{- $value := index $map $key }}
{{- if kindIs "map" $value }}
[{{ include "roadstead.tomlKey" $key }}]
{{- range $inner := keys $value | sortAlpha }}
{{ include "roadstead.tomlKey" $inner }} = {{ include "roadstead.tomlValue" (index $value $inner) }}
{{- end }}
{{- end }}
{{- end }}
{{- end -}}

{{/* A value on one line. Numbers of a values file are floating: whole ones are written as such. */}}
{{- define "roadstead.tomlValue" -}}
{{- if kindIs "map" . -}}
{ {{- range $at, $key := keys . | sortAlpha }}{{ if $at }}, {{ end }}{{ include "roadstead.tomlKey" $key }} = {{ include "roadstead.tomlValue" (index $ $key) }}{{ end -}} }
{{- else if kindIs "slice" . -}}
[{{- range $at, $value := . }}{{ if $at }}, {{ end }}{{ include "roadstead.tomlValue" $value }}{{ end -}}]
{{- else if and (kindIs "float64" .) (eq (float64 (int64 .)) .) -}}
{{ int64 . }}
{{- else -}}
{{ toJson . }}
{{- end -}}
{{- end -}}

{{- define "roadstead.tomlKey" -}}
{{- regexMatch "^[-_A-Za-z0-9]+$" . | ternary . (toJson .) -}}
{{- end -}}

{{/* The pool; with its secret, also every host that there may be, by the name that its pod has. */}}
{{- define "roadstead.pool" -}}
{{- $name := include "roadstead.fullname" . -}}
{{- $pool := dict "name" $name -}}
{{- if include "roadstead.poolSecret" . -}}
{{- $_ := set $pool "key_file" "/etc/roadstead/pool/key" -}}
{{- $scheme := ternary "https" "http" (ne .Values.tls.secret "") -}}
{{- $most := include "roadstead.mostHosts" . | int -}}
{{- if gt $most 1 -}}
{{- $peers := dict -}}
{{- range $at := until $most -}}
{{- $host := printf "%s-%d" $name $at -}}
{{- $_ := set $peers $host (printf "%s://%s.%s-hosts.%s.svc:7411" $scheme $host $name $.Release.Namespace) -}}
{{- end -}}
{{- $_ := set $pool "peers" $peers -}}
{{- if .Values.tls.secret -}}
{{- $_ := set $pool "ca" "/etc/roadstead/pool/ca.crt" -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- toJson $pool -}}
{{- end -}}
