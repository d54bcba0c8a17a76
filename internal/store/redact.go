package store

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"time"

	"conclave"
	"conclave/internal/identity"
)

// The text of a conversation that was removed is taken out of its sealed events
// too, by the sealer, because it holds the key: a redaction says, signed, which
// hash the event had when it was sealed and which one it has now. So the chain
// still verifies, and nobody without the key can pass a change off as one. An
// event that is not as it was sealed is left as it is, for the verification to find.

// redaction is the signed word that an event's text was taken out.
type redaction struct {
	Tenant    conclave.TenantID `json:"tenant"`
	Seq       int64             `json:"seq"`
	Before    string            `json:"before"` // hex SHA-256, as in the checkpoint
	After     string            `json:"after"`
	At        time.Time         `json:"at"`
	PublicKey string            `json:"public_key"`
	Signature string            `json:"signature"`
}

func (r redaction) payload() ([]byte, error) {
	r.Signature = ""
	return identity.Canonical(r)
}

// redactBatch is how many events one transaction takes the text out of.
const redactBatch = 500

// redact takes the text of removed conversations out of what is sealed.
func (s *Sealer) redact(ctx context.Context) error {
	type gone struct {
		tenant       conclave.TenantID
		conversation string
	}
	var list []gone
	err := s.db.View(ctx, func(tx *Tx) error {
		rows, err := tx.query(`SELECT tenant, conversation FROM expired ORDER BY at LIMIT 1000`)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var g gone
			if err := rows.Scan(&g.tenant, &g.conversation); err != nil {
				return fmt.Errorf("read a removed conversation: %w", err)
			}
			list = append(list, g)
		}
		return rows.Err()
	})
	if err != nil {
		return err
	}
	for _, g := range list {
		for more := true; more; {
			if more, err = s.redactSome(ctx, g.tenant, g.conversation); err != nil {
				return fmt.Errorf("take the text of conversation %s out of the record: %w", g.conversation, err)
			}
		}
	}
	return nil
}

// redactSome takes the text out of some events of a conversation, and reports
// whether there may be more that are sealed.
func (s *Sealer) redactSome(ctx context.Context, tenant conclave.TenantID, conversation string) (more bool, err error) {
	err = s.db.Update(ctx, func(tx *Tx) error {
		more = false
		var sealed int64
		if _, err := tx.scan([]any{&sealed}, `SELECT coalesce(max(last), 0) FROM seals WHERE tenant = $1`, string(tenant)); err != nil {
			return err
		}
		// The last event is that of the removal: all texts come before it.
		var last int64
		if _, err := tx.scan([]any{&last}, `SELECT coalesce(max(seq), 0) FROM events WHERE conversation = $1 AND tenant = $2 AND kind = $3`,
			conversation, string(tenant), string(conclave.EventConversationGone)); err != nil {
			return err
		}
		if sealed < last {
			return nil // the next look does it
		}
		events, err := s.texts(tx, tenant, conversation, last)
		if err != nil {
			return err
		}
		leaves := sealedLeaves{tx: tx, tenant: tenant}
		for _, e := range events {
			if err := s.redactOne(tx, &leaves, e); err != nil {
				return err
			}
		}
		if more = len(events) == redactBatch; more {
			return nil
		}
		_, err = tx.exec(`DELETE FROM expired WHERE tenant = $1 AND conversation = $2`, string(tenant), conversation)
		return err
	})
	return more, err
}

// texts returns events of a conversation that hold what was said.
func (s *Sealer) texts(tx *Tx, tenant conclave.TenantID, conversation string, last int64) ([]sealedEvent, error) {
	rows, err := tx.query(`SELECT seq, tenant, at, kind, actor, run, step, conversation, subject, text, data FROM events e
		WHERE conversation = $1 AND tenant = $2 AND seq <= $3 AND kind IN ($4, $5)
		AND NOT EXISTS (SELECT 1 FROM redactions r WHERE r.tenant = e.tenant AND r.seq = e.seq) ORDER BY seq LIMIT $6`,
		conversation, string(tenant), last, string(conclave.EventMessageSent), string(conclave.EventPublished), redactBatch)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var list []sealedEvent
	for rows.Next() {
		var e sealedEvent
		if err := rows.Scan(&e.seq, &e.tenant, &e.at, &e.kind, &e.actor, &e.run, &e.step, &e.conversation, &e.subject, &e.text, &e.data); err != nil {
			return nil, fmt.Errorf("read an event: %w", err)
		}
		list = append(list, e)
	}
	return list, rows.Err()
}

func (s *Sealer) redactOne(tx *Tx, leaves *sealedLeaves, e sealedEvent) error {
	hash := e.hash()
	r := redaction{Tenant: conclave.TenantID(e.tenant), Seq: e.seq, Before: hex.EncodeToString(hash[:]), PublicKey: s.key.Public()}
	if was, ok, err := leaves.find(e.seq); err != nil || !ok || was != hash {
		// It stays for the verification to find; that it was looked at is noted, so
		// that the next look does not stop at it.
		r.Before = ""
		if err != nil {
			return err
		}
	} else {
		var data map[string]any
		if err := json.Unmarshal([]byte(e.data), &data); err != nil {
			return fmt.Errorf("read event %d: %w", e.seq, err)
		}
		data["text"], data["expired"] = "", true
		text, err := json.Marshal(data)
		if err != nil {
			return fmt.Errorf("write event %d: %w", e.seq, err)
		}
		e.data = string(text)
		if _, err := tx.exec(`UPDATE events SET data = $2 WHERE seq = $1`, e.seq, e.data); err != nil {
			return err
		}
	}
	hash = e.hash()
	r.After = hex.EncodeToString(hash[:])
	var err error
	if r.At, err = tx.Now(); err != nil {
		return err
	}
	payload, err := r.payload()
	if err != nil {
		return err
	}
	r.Signature = s.key.Sign(payload)
	doc, err := encode(r)
	if err != nil {
		return err
	}
	_, err = tx.exec(`INSERT INTO redactions (tenant, seq, doc) VALUES ($1, $2, $3)`, e.tenant, e.seq, doc)
	return err
}

func (e *sealedEvent) hash() [sha256.Size]byte { return sha256.Sum256(e.appendCanonical(nil)) }

// sealedLeaves finds what checkpoints say of events; asked in order, it reads
// each checkpoint once.
type sealedLeaves struct {
	tx     *Tx
	tenant conclave.TenantID
	upTo   int64
	hashes map[int64][sha256.Size]byte
}

func (l *sealedLeaves) find(seq int64) (hash [sha256.Size]byte, ok bool, err error) {
	if seq > l.upTo {
		var packed string
		found, err := l.tx.scan([]any{&l.upTo, &packed}, `SELECT last, leaves FROM seals WHERE tenant = $1 AND last >= $2 ORDER BY number LIMIT 1`, string(l.tenant), seq)
		if err != nil || !found {
			return hash, false, err
		}
		leaves, err := unpackLeaves(packed)
		if err != nil {
			return hash, false, nil // which the verification says
		}
		l.hashes = make(map[int64][sha256.Size]byte, len(leaves))
		for _, leaf := range leaves {
			l.hashes[leaf.seq] = leaf.hash
		}
	}
	hash, ok = l.hashes[seq]
	return hash, ok, nil
}

// redacted reports whether the difference between a leaf and the event that is
// there now is a redaction that the installation made.
func (v *verifier) redacted(was, is leaf) (bool, error) {
	r, found, err := getDoc[redaction](v.tx, `SELECT doc FROM redactions WHERE tenant = $1 AND seq = $2`, string(v.tenant), is.seq)
	if err != nil || !found {
		return false, err
	}
	if r.Tenant != v.tenant || r.Seq != is.seq || r.Before != hex.EncodeToString(was.hash[:]) || r.After != hex.EncodeToString(is.hash[:]) {
		return false, nil
	}
	payload, err := r.payload()
	if err != nil {
		return false, err
	}
	return v.signedBy(r.PublicKey, r.Signature, payload) == nil, nil
}
