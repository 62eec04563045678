{{/* Names, labels and the parts that several templates share. */}}

{{- define "roadstead.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- if contains $name .Release.Name -}}
{{- .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 50 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "roadstead.controller" -}}
{{ include "roadstead.fullname" . }}-controller
{{- end -}}

{{/* Whether there is one: `true` or nothing. */}}
{{- define "roadstead.controlled" -}}
{{- $asked := .Values.controller.enabled -}}
{{- if (kindIs "bool" $asked | ternary $asked (eq .Values.catalog.kind "kubernetes")) -}}
true
{{- end -}}
{{- end -}}

{{/* The Secrets by which controller and hosts know each other. */}}
{{- define "roadstead.controllerTls" -}}
{{ default (printf "%s-tls" (include "roadstead.controller" .)) .Values.controller.tls.secret }}
{{- end -}}

{{- define "roadstead.controllerHostsTls" -}}
{{ default (printf "%s-hosts" (include "roadstead.controller" .)) .Values.controller.tls.hosts }}
{{- end -}}

{{/* The most hosts that there may be. */}}
{{- define "roadstead.mostHosts" -}}
{{- ternary .Values.autoscaling.maxReplicas .Values.host.replicas .Values.autoscaling.enabled -}}
{{- end -}}

{{/* The Secret of the pool: named, or made here for hosts that have a cluster's catalog. */}}
{{- define "roadstead.poolSecret" -}}
{{- if .Values.pool.secret -}}
{{ .Values.pool.secret }}
{{- else if eq .Values.catalog.kind "kubernetes" -}}
{{ include "roadstead.fullname" . }}-pool
{{- end -}}
{{- end -}}

{{/* What a selector may name: it can never change. Takes a dict of root and component. */}}
{{- define "roadstead.selector" -}}
app.kubernetes.io/name: {{ default .root.Chart.Name .root.Values.nameOverride }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end -}}

{{- define "roadstead.labels" -}}
{{ include "roadstead.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" }}
{{- end -}}

{{- define "roadstead.image" -}}
{{- with .Values.image -}}
{{- if .digest -}}
{{ .repository }}@{{ .digest }}
{{- else -}}
{{ .repository }}:{{ default $.Chart.AppVersion .tag }}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* What Kubernetes' `restricted` profile asks for, and no more rights than that. */}}
{{- define "roadstead.podSecurity" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
fsGroupChangePolicy: OnRootMismatch
seccompProfile:
  type: RuntimeDefault
{{- end -}}

{{- define "roadstead.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end -}}

{{/* What native modules may be, as the controller reads it. */}}
{{- define "roadstead.native" -}}
{{- $native := .Values.native -}}
{{- $hosts := include "roadstead.selector" (dict "root" . "component" "host") | fromYaml -}}
{{- $state := dict "size" $native.state.size -}}
{{- if $native.state.storageClass -}}
{{- $_ := set $state "storageClass" $native.state.storageClass -}}
{{- end -}}
{{- dict
  "allow" $native.allow
  "hosts" (dict "namespace" .Release.Namespace "labels" $hosts)
  "state" $state
  "authority" (printf "%s/%s-native" .Release.Namespace (include "roadstead.controller" .))
  "imagePullSecrets" $native.imagePullSecrets | toPrettyJson -}}
{{- end -}}

{{/* Namespaces whose modules are served. */}}
{{- define "roadstead.namespaces" -}}
{{- .Values.catalog.namespaces | default (list .Release.Namespace) | uniq | sortAlpha | toJson -}}
{{- end -}}

{{/* Where pods go; takes the values of a component. */}}
{{- define "roadstead.placement" -}}
{{- with .priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with .nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .topologySpreadConstraints }}
topologySpreadConstraints:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* Secrets that are mounted whole, each as the folder of its name in /etc/roadstead. */}}
{{- define "roadstead.files" -}}
{{- $files := dict "auth" .Values.auth.policy.secret "tls" .Values.tls.secret -}}
{{- $_ := set $files "pool" (include "roadstead.poolSecret" .) -}}
{{- if include "roadstead.controlled" . -}}
{{- $_ := set $files "controller" (include "roadstead.controllerHostsTls" .) -}}
{{- end -}}
{{- range $name := keys $files -}}
{{- if not (index $files $name) -}}
{{- $_ := unset $files $name -}}
{{- end -}}
{{- end -}}
{{- toJson $files -}}
{{- end -}}
