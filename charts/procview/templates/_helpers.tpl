{{/* One place for what more than one object says. */}}

{{/* procview.labels COMPONENT-AND-ROOT: without managed-by, which helm adds itself when it is helm that installs. */}}
{{- define "procview.labels" -}}
{{ include "procview.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
{{- end }}

{{- define "procview.selector" -}}
app.kubernetes.io/name: procview
app.kubernetes.io/component: {{ .component }}
{{- end }}

{{- define "procview.image" -}}
{{- $image := .root.Values.image -}}
{{- printf "%s/procview-%s:%s" $image.registry .component ($image.tag | default .root.Chart.AppVersion) -}}
{{- with (index .root.Values .component).digest }}@{{ . }}{{ end -}}
{{- end }}

{{/* Where a pod may go, and with what its images are pulled. */}}
{{- define "procview.placement" -}}
{{- with .root.Values.image.pullSecrets -}}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{ end -}}
priorityClassName: {{ .of.priorityClassName | quote }}
nodeSelector:
  kubernetes.io/os: linux
  {{- with .of.nodeSelector }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- with .of.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .of.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- define "procview.log" -}}
- name: PROCVIEW_LOG
  value: {{ .Values.log.level }}
- name: PROCVIEW_LOG_FORMAT
  value: {{ .Values.log.format }}
{{- end }}

{{/* Namespaces whose pods are left alone, by the API server and once more by the webhook. */}}
{{- define "procview.excluded" -}}
{{- concat (list "kube-system" .Release.Namespace) .Values.webhook.excludeNamespaces | uniq | toJson -}}
{{- end }}

{{/* The Secret of the certificate: two names, since cert-manager's is of another type and would not replace ours. */}}
{{- define "procview.secret" -}}
procview-webhook-{{ if .Values.certManager.enabled }}certificate{{ else }}tls{{ end }}
{{- end }}
