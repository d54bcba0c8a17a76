// Package playbook plans, designs and writes code without a model, from
// declared knowledge: what it knows about English, resources and rules is in
// knowledge/, what it generates is in templates/. Its functions are pure and
// deterministic. What a task asks for and the playbook can't do is quoted in
// Spec.Uncovered; nothing is passed over.
package playbook

import (
	"fmt"

	"conclave"
)

// Build returns the files of one step. decisions maps the key of a question
// to the key of the chosen option; without one, the option that is the
// default holds. It fails with ErrUnsupported for an archetype that is planned
// only, ErrNotFound for a step that is not in the plan, and ErrConflict before
// it would overwrite a file of the repository.
func Build(spec Spec, facts Facts, decisions map[string]string, stepKey string) ([]File, error) {
	switch spec.Archetype {
	case Service:
		return buildService(spec, facts, decisions, stepKey)
	case CLI:
		return buildCLI(spec, facts, stepKey)
	case Library:
		return buildLibrary(spec, facts, stepKey)
	default:
		return nil, fmt.Errorf("building a task of archetype %q: %w", spec.Archetype, conclave.ErrUnsupported)
	}
}
