package restwire

import (
	"fmt"
	"reflect"

	"conclave"
)

// enums lists the values of the types that have a fixed set of them. Types that
// users or later versions extend are not here: roles, kinds of assignment,
// services and kinds of event.
func enums() map[reflect.Type][]any {
	return map[reflect.Type][]any{
		reflect.TypeFor[conclave.AgentState]():       {conclave.AgentLive, conclave.AgentLost, conclave.AgentGone},
		reflect.TypeFor[conclave.ApprovalState]():    {conclave.ApprovalOpen, conclave.ApprovalDecided, conclave.ApprovalAll},
		reflect.TypeFor[conclave.CardState]():        {conclave.CardVerified, conclave.CardUnsigned, conclave.CardInvalid},
		reflect.TypeFor[conclave.ComplianceStatus](): {conclave.ComplianceMet, conclave.ComplianceNotMet, conclave.ComplianceNotChecked},
		reflect.TypeFor[conclave.LicenceVerdict]():   {conclave.LicenceOwn, conclave.LicenceAllowed, conclave.LicenceUnlisted, conclave.LicenceDenied, conclave.LicenceUnknown},
		reflect.TypeFor[conclave.EscalationState]():  {conclave.EscalationAsked, conclave.EscalationWaiting, conclave.EscalationAnswered},
		reflect.TypeFor[conclave.Level]():            {conclave.LevelError, conclave.LevelWarning, conclave.LevelNote},
		reflect.TypeFor[conclave.MotionKind]():       {conclave.MotionApprove, conclave.MotionRank},
		reflect.TypeFor[conclave.MotionState]():      {conclave.MotionOpen, conclave.MotionWaiting, conclave.MotionDecided},
		reflect.TypeFor[conclave.Outcome]():          {conclave.OutcomeApproved, conclave.OutcomeRejected, conclave.OutcomeChosen, conclave.OutcomeUndecided},
		reflect.TypeFor[conclave.Permission]():       {conclave.PermitRead, conclave.PermitSpeak, conclave.PermitWork, conclave.PermitApprove, conclave.PermitService, conclave.PermitAdmin},
		reflect.TypeFor[conclave.RunStatus]():        {conclave.RunRunning, conclave.RunWaiting, conclave.RunDone, conclave.RunFailed, conclave.RunNeedsModel, conclave.RunRejected, conclave.RunCancelled},
		reflect.TypeFor[conclave.StepState]():        {conclave.StepBlocked, conclave.StepReady, conclave.StepRunning, conclave.StepWaiting, conclave.StepDone, conclave.StepFailed, conclave.StepCancelled},
		reflect.TypeFor[conclave.TaskState]():        {conclave.TaskSubmitted, conclave.TaskWorking, conclave.TaskCompleted, conclave.TaskFailed, conclave.TaskCanceled, conclave.TaskRejected, conclave.TaskInputRequired},
		reflect.TypeFor[conclave.Verdict]():          {conclave.VerdictApprove, conclave.VerdictReject, conclave.VerdictAbstain},
		reflect.TypeFor[conclave.WorktreeState]():    {conclave.WorktreeLeased, conclave.WorktreeMerged, conclave.WorktreeReleased},
	}
}

// Enum lists the values of a type that has a fixed set of them; nil for another.
func Enum(t reflect.Type) []string {
	var out []string
	for _, v := range enums()[t] {
		out = append(out, fmt.Sprint(v))
	}
	return out
}
