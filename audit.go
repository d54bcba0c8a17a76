package conclave

import (
	"context"
	"time"
)

// Checkpoint seals the events of one tenant that came after the checkpoint
// before it, up to the event Last. Its Head goes on from the previous one, so
// that one checkpoint vouches for everything before it.
type Checkpoint struct {
	Tenant    TenantID  `json:"tenant"`
	Number    int64     `json:"number"` // 1, 2, 3, …
	Last      int64     `json:"last"`   // seq of the last event that it seals
	Count     int64     `json:"count"`  // of the events that it seals
	Previous  string    `json:"previous"`
	Head      string    `json:"head"` // hex SHA-256 over Previous and the hash of each event in order
	At        time.Time `json:"at"`
	PublicKey string    `json:"public_key"` // ed25519, base64: the installation's
	Signature string    `json:"signature"`
}

// AuditProblem is something in the record that is not as it was sealed.
type AuditProblem struct {
	Tenant TenantID `json:"tenant"`
	Seq    int64    `json:"seq,omitempty"` // of the event; 0 when a checkpoint is bad
	Number int64    `json:"checkpoint"`    // in which the event was sealed, or ought to be
	What   string   `json:"what"`          // changed, removed, inserted or checkpoint
	Text   string   `json:"text"`
}

// AuditReport is what a verification found.
type AuditReport struct {
	OK       bool           `json:"ok"`
	Sealed   int64          `json:"sealed"`   // events that checkpoints vouch for
	Expired  int64          `json:"expired"`  // of them, those whose text was taken out after its time, with a signed word for it
	Unsealed int64          `json:"unsealed"` // events since then, which nothing vouches for yet
	Heads    []Checkpoint   `json:"heads"`    // the last checkpoint of each tenant
	Problems []AuditProblem `json:"problems"` // in the order of the record, at most 100; the first is the first bad event
}

// Audit seals the record and tells whether it is as it was sealed.
type Audit interface {
	// Verify recomputes the caller's tenant's chain from the events.
	Verify(ctx context.Context, in None) (AuditReport, error)
}

// AuditOperations are the audit's rows in the table of the monitor service.
func AuditOperations() []Operation {
	return []Operation{
		Op("audit_verify", "GET /audit", PermitRead, Reads, Audit.Verify, "Recomputes the hash chain over the record of events and names what was changed, removed or inserted."),
	}
}
