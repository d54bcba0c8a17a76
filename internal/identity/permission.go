package identity

import "conclave"

// Roles lists the roles of people, from the least to the most.
func Roles() []string { return []string{"viewer", "developer", "approver", "operator", "admin"} }

// HumanPermissions returns what a person with a role may do. A role that is not
// one of [Roles] may do nothing. PermitService is no person's: it is what one
// service asks of another.
func HumanPermissions(role string) []conclave.Permission {
	switch role {
	case "viewer":
		return []conclave.Permission{conclave.PermitRead}
	case "developer":
		return []conclave.Permission{conclave.PermitRead, conclave.PermitSpeak, conclave.PermitWork}
	case "approver":
		return []conclave.Permission{conclave.PermitRead, conclave.PermitSpeak, conclave.PermitApprove}
	case "operator":
		return []conclave.Permission{conclave.PermitRead, conclave.PermitSpeak, conclave.PermitWork, conclave.PermitApprove}
	case "admin":
		return []conclave.Permission{conclave.PermitRead, conclave.PermitSpeak, conclave.PermitWork, conclave.PermitApprove, conclave.PermitAdmin}
	}
	return nil
}

// AgentPermissions returns what an agent may do on its own: see and speak.
// It starts no runs, approves nothing, and touches git only through the
// workflow that gave it a worktree.
func AgentPermissions() []conclave.Permission {
	return []conclave.Permission{conclave.PermitRead, conclave.PermitSpeak}
}
