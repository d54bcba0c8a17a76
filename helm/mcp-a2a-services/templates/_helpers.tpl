{{/* The services, the ports they listen on, and what they need. */}}
{{- define "conclave.services" -}}
model-router: {port: 8001, models: true, egress: true, public: true}
plan-management: {port: 8002}
git-worktree: {port: 8003, files: true, code: true, egress: true}
workflow-orchestrator: {port: 8004, files: true, code: true}
a2a-hub: {port: 8010, public: true}
agent-pool: {port: 8011, files: true, code: true, host: true}
collaboration-orchestrator: {port: 8012, files: true}
domain-experts: {port: 8013, files: true, code: true, host: true}
code-reviewers: {port: 8014, files: true, code: true, host: true}
qa-agents: {port: 8015, files: true, code: true, host: true}
agent-monitor: {port: 8016, public: true}
security-analysts: {port: 8017, files: true, code: true, host: true}
gateway: {port: 8080, public: true}
{{- end }}

{{- define "conclave.labels" -}}
app.kubernetes.io/name: conclave
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}

{{- define "conclave.secret" -}}
{{ .Values.secrets.existing | default (printf "%s-secrets" .Release.Name) }}
{{- end }}

{{- define "conclave.claim" -}}
{{ .Values.storage.existingClaim | default (printf "%s-files" .Release.Name) }}
{{- end }}

{{- define "conclave.database" -}}
{{ .Values.postgres.url | default (printf "postgres://conclave@%s-postgres:5432/conclave?sslmode=disable" .Release.Name) }}
{{- end }}

{{/* What the services speak. */}}
{{- define "conclave.scheme" -}}
{{ ternary "https" "http" (not (empty .Values.tls.secret)) }}
{{- end }}
