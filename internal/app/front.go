package app

import (
	_ "embed"
	"html/template"
	"net/http"

	"conclave"
)

//go:embed front.html
var frontHTML string

// purposes say what each service is for, to whom opens its address in a browser.
func purposes() map[conclave.Service]string {
	return map[conclave.Service]string{
		conclave.ServiceModels:   "Chooses a model for each request, passes over providers that fail, and accounts for what it costs.",
		conclave.ServicePlans:    "Keeps plans: their versions, steps, dependencies and comments.",
		conclave.ServiceWorktree: "Leases isolated git worktrees, foresees conflicts, and merges in order.",
		conclave.ServiceWorkflow: "Drives each run from its plan to a branch that is ready to merge.",
		conclave.ServiceHub:      "The way between agents: who exists, who may speak, what was said; it delivers once an agent is there.",
		conclave.ServiceCouncil:  "Convenes agents, counts their signed votes, escalates, and learns whom to trust.",
		conclave.ServicePool:     "Hosts planners, architects and developers.",
		conclave.ServiceExperts:  "Hosts domain experts.",
		conclave.ServiceReview:   "Hosts reviewers of code.",
		conclave.ServiceQA:       "Hosts QA engineers.",
		conclave.ServiceSecurity: "Hosts security analysts.",
	}
}

// front answers a service's bare address: what it is, what it takes, and where
// its work is shown. All of it is in the public descriptions too.
func (a *App) front(s conclave.Service, operations []conclave.Operation) (http.Handler, error) {
	page, err := template.New("front").Parse(frontHTML)
	if err != nil {
		return nil, err
	}
	shown := map[string]any{"Service": s, "Purpose": purposes()[s], "URL": a.urls[s], "Operations": operations, "Page": a.urls[conclave.ServiceMonitor], "Version": Version}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.Header().Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'")
		if err := page.Execute(w, shown); err != nil {
			a.log.Debug("show a service's front page", "service", s, "error", err) // the caller has gone
		}
	}), nil
}
