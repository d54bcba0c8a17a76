package identity

import (
	"fmt"

	"conclave"
)

// SignBallot fills in the ballot's public key and signature.
func SignBallot(k *Key, b *conclave.Ballot) error {
	b.PublicKey = k.Public()
	payload, err := ballotPayload(*b)
	if err != nil {
		return err
	}
	b.Signature = k.Sign(payload)
	return nil
}

// VerifyBallot checks that the ballot was signed by the key that it names, and
// not altered since. Whether that key is the voter's is for the caller to ask.
// ErrDenied.
func VerifyBallot(b conclave.Ballot) error {
	payload, err := ballotPayload(b)
	if err != nil {
		return err
	}
	if err := Verify(b.PublicKey, b.Signature, payload); err != nil {
		return fmt.Errorf("ballot of %s on %s: %w", b.Voter, b.Motion, err)
	}
	return nil
}

// SignDecision fills in the decision's public key and signature.
func SignDecision(k *Key, d *conclave.Decision) error {
	d.PublicKey = k.Public()
	payload, err := decisionPayload(*d)
	if err != nil {
		return err
	}
	d.Signature = k.Sign(payload)
	return nil
}

// VerifyDecision checks that the decision was signed by the key that it names,
// and not altered since. It does not check the ballots inside it. ErrDenied.
func VerifyDecision(d conclave.Decision) error {
	payload, err := decisionPayload(d)
	if err != nil {
		return err
	}
	if err := Verify(d.PublicKey, d.Signature, payload); err != nil {
		return fmt.Errorf("decision on %s: %w", d.Motion.ID, err)
	}
	return nil
}

func ballotPayload(b conclave.Ballot) ([]byte, error) {
	b.Signature = ""
	return Canonical(b)
}

func decisionPayload(d conclave.Decision) ([]byte, error) {
	d.Signature = ""
	return Canonical(d)
}
