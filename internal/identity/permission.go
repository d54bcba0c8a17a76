package identity

import "conclave"

// HumanPermissions returns what a person with a role may do: "admin",
// "operator" or "viewer". Any other role may do nothing. PermitService is no
// person's: it is what one service asks of another.
func HumanPermissions(role string) []conclave.Permission {
	switch role {
	case "admin":
		return []conclave.Permission{conclave.PermitRead, conclave.PermitSpeak, conclave.PermitWork, conclave.PermitApprove, conclave.PermitAdmin}
	case "operator":
		return []conclave.Permission{conclave.PermitRead, conclave.PermitSpeak, conclave.PermitWork, conclave.PermitApprove}
	case "viewer":
		return []conclave.Permission{conclave.PermitRead}
	}
	return nil
}

// AgentPermissions returns what an agent may do on its own: see and speak.
// It starts no runs, approves nothing, and touches git only through the
// workflow that gave it a worktree.
func AgentPermissions() []conclave.Permission {
	return []conclave.Permission{conclave.PermitRead, conclave.PermitSpeak}
}
