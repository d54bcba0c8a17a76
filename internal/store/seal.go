package store

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"conclave"
	"conclave/internal/identity"
)

// The record is sealed behind its writers: a sealer reads what has been
// committed, and adds one row for a batch of it. No writer waits for it, and it
// alters no event.

const (
	sealBatch = 2000            // events in one checkpoint, at the most
	sealAfter = 2 * time.Second // how long what is told stays unsealed, about
	leafSize  = 8 + sha256.Size
)

// sealedEvent is what is hashed of an event: all of its row, as it is stored.
type sealedEvent struct {
	seq, at                                               int64
	tenant, kind, actor, run, step, conversation, subject string
	text, data                                            string // data is the text of its JSON: a byte that changes is a change
}

// appendCanonical appends the event as canonical JSON (RFC 8785), which has the
// members in order. The library for it is much slower, and loses what is not
// UTF-8; here such bytes stand as they are, so that they are bound too.
func (e *sealedEvent) appendCanonical(b []byte) []byte {
	str := func(name, s string) { b = appendCanonicalString(append(append(b, name...), ':'), s) }
	num := func(name string, n int64) { b = strconv.AppendInt(append(append(b, name...), ':'), n, 10) }
	str(`{"actor"`, e.actor)
	num(`,"at"`, e.at)
	str(`,"conversation"`, e.conversation)
	str(`,"data"`, e.data)
	str(`,"kind"`, e.kind)
	str(`,"run"`, e.run)
	num(`,"seq"`, e.seq)
	str(`,"step"`, e.step)
	str(`,"subject"`, e.subject)
	str(`,"tenant"`, e.tenant)
	str(`,"text"`, e.text)
	return append(b, '}')
}

// appendCanonicalString writes a string as RFC 8785 §3.2.2.2 says.
func appendCanonicalString(b []byte, s string) []byte {
	b = append(b, '"')
	for i := range len(s) {
		switch c := s[i]; {
		case c == '"' || c == '\\':
			b = append(b, '\\', c)
		case c >= ' ':
			b = append(b, c)
		case c >= '\b' && c <= '\r' && c != '\v':
			b = append(b, '\\', "btn.fr"[c-'\b'])
		default:
			b = fmt.Appendf(b, "\\u%04x", c)
		}
	}
	return append(b, '"')
}

// leaf is an event in a checkpoint.
type leaf struct {
	seq  int64
	hash [sha256.Size]byte
}

func (tx *Tx) leavesAfter(tenant conclave.TenantID, after, upTo int64, limit int, yield func(leaf)) error {
	rows, err := tx.query(`SELECT seq, tenant, at, kind, actor, run, step, conversation, subject, text, data FROM events
		WHERE tenant = $1 AND seq > $2 AND seq <= $3 ORDER BY seq LIMIT $4`, string(tenant), after, upTo, limit)
	if err != nil {
		return err
	}
	defer rows.Close()
	var e sealedEvent
	var text []byte
	for rows.Next() {
		if err := rows.Scan(&e.seq, &e.tenant, &e.at, &e.kind, &e.actor, &e.run, &e.step, &e.conversation, &e.subject, &e.text, &e.data); err != nil {
			return fmt.Errorf("read an event: %w", err)
		}
		text = e.appendCanonical(text[:0])
		yield(leaf{e.seq, sha256.Sum256(text)})
	}
	return rows.Err()
}

func packLeaves(leaves []leaf) string {
	b := make([]byte, 0, len(leaves)*leafSize)
	for _, l := range leaves {
		b = binary.BigEndian.AppendUint64(b, uint64(l.seq))
		b = append(b, l.hash[:]...)
	}
	return base64.StdEncoding.EncodeToString(b)
}

func unpackLeaves(text string) ([]leaf, error) {
	b, err := base64.StdEncoding.Strict().DecodeString(text)
	if err != nil || len(b)%leafSize != 0 {
		return nil, errors.New("its leaves can't be read")
	}
	leaves := make([]leaf, 0, len(b)/leafSize)
	for ; len(b) > 0; b = b[leafSize:] {
		leaves = append(leaves, leaf{int64(binary.BigEndian.Uint64(b)), [sha256.Size]byte(b[8:leafSize])})
	}
	return leaves, nil
}

// chain returns the head that follows a head by way of leaves.
func chain(previous string, leaves []leaf) string {
	head := sha256.Sum256([]byte(previous))
	var link [2 * sha256.Size]byte
	for _, l := range leaves {
		copy(link[:], head[:])
		copy(link[sha256.Size:], l.hash[:])
		head = sha256.Sum256(link[:])
	}
	return hex.EncodeToString(head[:])
}

func checkpointPayload(c conclave.Checkpoint) ([]byte, error) {
	c.Signature = ""
	return identity.Canonical(c)
}

// Sealer seals the record.
type Sealer struct {
	db   *DB
	key  *identity.Key
	told func(conclave.Checkpoint) error
}

// Sealer returns a sealer that signs with the installation's key and tells each
// new checkpoint, so that it can be kept outside of the database. A nil told
// tells nobody.
func (db *DB) Sealer(key *identity.Key, told func(conclave.Checkpoint) error) *Sealer {
	if told == nil {
		told = func(conclave.Checkpoint) error { return nil }
	}
	return &Sealer{db, key, told}
}

// Run seals what is committed, soon after it is, until ctx ends. Nothing happens
// while nothing is written.
func (s *Sealer) Run(ctx context.Context, ready func()) error {
	heard, stop := s.db.bus.Subscribe("")
	defer stop()
	ready()
	for {
		if _, err := s.Seal(ctx); err != nil && ctx.Err() == nil {
			s.db.log.ErrorContext(ctx, "sealing the record; trying again with the next event", "error", err)
		}
		select {
		case <-heard:
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), 3*time.Second)
			defer cancel()
			if _, err := s.Seal(last); err != nil {
				s.db.log.WarnContext(ctx, "the last events are not sealed; the next start does it", "error", err)
			}
			return nil
		}
		select { // more events share the checkpoint
		case <-time.After(sealAfter):
		case <-ctx.Done():
		}
	}
}

// Seal seals every committed event that no checkpoint has, and returns how many
// they were. Two sealers at once don't harm each other.
func (s *Sealer) Seal(ctx context.Context) (sealed int, err error) {
	tenants, err := s.db.tenants(ctx)
	if err != nil {
		return 0, err
	}
	for _, tenant := range tenants {
		for {
			n, err := s.sealTenant(ctx, tenant)
			if err != nil {
				return sealed, fmt.Errorf("seal the events of tenant %s: %w", tenant, err)
			}
			sealed += n
			if n < sealBatch {
				break
			}
		}
	}
	return sealed, s.redact(ctx)
}

// tenants are those that have events or checkpoints.
func (db *DB) tenants(ctx context.Context) (list []conclave.TenantID, err error) {
	err = db.View(ctx, func(tx *Tx) error {
		rows, err := tx.query(`SELECT tenant FROM events GROUP BY tenant UNION SELECT tenant FROM seals GROUP BY tenant ORDER BY tenant`)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var t conclave.TenantID
			if err := rows.Scan(&t); err != nil {
				return fmt.Errorf("read a tenant: %w", err)
			}
			list = append(list, t)
		}
		return rows.Err()
	})
	return list, err
}

const endOfRecord = 1<<63 - 1

// settled is the highest number of which it is certain that no event below it
// is still to be committed.
func (tx *Tx) settled() (int64, error) {
	if !tx.db.postgres {
		return endOfRecord, nil // one writer: what is seen is in order
	}
	return tx.safeSeq()
}

func (s *Sealer) sealTenant(ctx context.Context, tenant conclave.TenantID) (int, error) {
	var leaves []leaf
	c := conclave.Checkpoint{Tenant: tenant, PublicKey: s.key.Public()}
	err := s.db.View(ctx, func(tx *Tx) error {
		upTo, err := tx.settled()
		if err != nil {
			return err
		}
		last, _, err := getDoc[conclave.Checkpoint](tx, `SELECT doc FROM seals WHERE tenant = $1 ORDER BY number DESC LIMIT 1`, string(tenant))
		if err != nil {
			return err
		}
		c.Number, c.Previous, c.Last = last.Number+1, last.Head, last.Last
		return tx.leavesAfter(tenant, last.Last, upTo, sealBatch, func(l leaf) { leaves = append(leaves, l) })
	})
	if err != nil || len(leaves) == 0 {
		return 0, err
	}
	c.Last, c.Count, c.Head = leaves[len(leaves)-1].seq, int64(len(leaves)), chain(c.Previous, leaves)
	kept := false
	err = s.db.Update(ctx, func(tx *Tx) error {
		if c.At, err = tx.Now(); err != nil {
			return err
		}
		payload, err := checkpointPayload(c)
		if err != nil {
			return err
		}
		c.Signature = s.key.Sign(payload)
		doc, err := encode(c)
		if err != nil {
			return err
		}
		n, err := tx.exec(`INSERT INTO seals (tenant, number, last, doc, leaves) VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING`,
			string(tenant), c.Number, c.Last, doc, packLeaves(leaves))
		kept = n == 1
		return err
	})
	if err != nil {
		return 0, err
	}
	if !kept { // another sealer was quicker; the next look begins after it
		return 0, nil
	}
	return len(leaves), s.told(c)
}

// maxProblems bounds a report; the first one is what matters.
const maxProblems = 100

// verifier recomputes the chain of one tenant.
type verifier struct {
	tx     *Tx
	tenant conclave.TenantID
	keys   []string
	report *conclave.AuditReport
}

// Verify recomputes the chains of the tenants, or of all when none is named,
// from the events. A checkpoint counts only when one of the keys signed it.
// known are checkpoints that somebody kept: each must still be in its chain.
func (db *DB) Verify(ctx context.Context, tenants []conclave.TenantID, keys []string, known []conclave.Checkpoint) (conclave.AuditReport, error) {
	report := conclave.AuditReport{Heads: []conclave.Checkpoint{}, Problems: []conclave.AuditProblem{}}
	if len(tenants) == 0 {
		var err error
		if tenants, err = db.tenants(ctx); err != nil {
			return report, err
		}
		for _, c := range known { // a tenant of which nothing is left
			if !slices.Contains(tenants, c.Tenant) {
				tenants = append(tenants, c.Tenant)
			}
		}
	}
	for _, tenant := range tenants {
		err := db.snapshot(ctx, func(tx *Tx) error {
			v := verifier{tx: tx, tenant: tenant, keys: keys, report: &report}
			return v.verify(known)
		})
		if err != nil {
			return report, fmt.Errorf("verify the record of tenant %s: %w", tenant, err)
		}
	}
	report.OK = len(report.Problems) == 0
	return report, nil
}

// snapshot runs f on one state of the database, although others write.
func (db *DB) snapshot(ctx context.Context, f func(*Tx) error) error {
	if !db.postgres {
		return db.View(ctx, f)
	}
	t, err := db.read.BeginTx(ctx, &sql.TxOptions{ReadOnly: true, Isolation: sql.LevelRepeatableRead})
	if err != nil {
		return unavailable(err)
	}
	defer t.Rollback() // a transaction that only reads has nothing to commit
	return f(&Tx{ctx: ctx, asks: ctx, db: db, tx: t, reading: true})
}

func (v *verifier) problem(number, seq int64, what, format string, args ...any) {
	if len(v.report.Problems) < maxProblems {
		v.report.Problems = append(v.report.Problems, conclave.AuditProblem{Tenant: v.tenant, Seq: seq, Number: number, What: what, Text: fmt.Sprintf(format, args...)})
	}
}

func (v *verifier) verify(known []conclave.Checkpoint) error {
	var last conclave.Checkpoint
	var at []int64
	rows, err := v.tx.query(`SELECT number FROM seals WHERE tenant = $1 ORDER BY number`, string(v.tenant))
	if err != nil {
		return err
	}
	for rows.Next() {
		var n int64
		if err := rows.Scan(&n); err != nil {
			return errors.Join(fmt.Errorf("read a checkpoint: %w", err), rows.Close())
		}
		at = append(at, n)
	}
	if err := errors.Join(rows.Err(), rows.Close()); err != nil {
		return err
	}
	for _, number := range at {
		if number != last.Number+1 {
			v.problem(last.Number+1, 0, "checkpoint", "checkpoint %d was removed", last.Number+1)
		}
		if last, err = v.checkpoint(number, last, known); err != nil {
			return err
		}
	}
	for _, k := range known {
		if k.Tenant == v.tenant && k.Number > last.Number {
			v.problem(k.Number, 0, "checkpoint", "checkpoint %d, which was made at %s, was removed with what it sealed", k.Number, k.At.Format(time.RFC3339))
			break
		}
	}
	if last.Number > 0 {
		v.report.Heads = append(v.report.Heads, last)
	}
	var unsealed int64
	if _, err := v.tx.scan([]any{&unsealed}, `SELECT count(*) FROM events WHERE tenant = $1 AND seq > $2`, string(v.tenant), last.Last); err != nil {
		return err
	}
	v.report.Unsealed += unsealed
	return nil
}

// checkpoint checks one checkpoint and the events that it seals.
func (v *verifier) checkpoint(number int64, before conclave.Checkpoint, known []conclave.Checkpoint) (conclave.Checkpoint, error) {
	var doc, packed string
	if _, err := v.tx.scan([]any{&doc, &packed}, `SELECT doc, leaves FROM seals WHERE tenant = $1 AND number = $2`, string(v.tenant), number); err != nil {
		return before, err
	}
	var c conclave.Checkpoint
	leaves, err := unpackLeaves(packed)
	if err == nil {
		err = json.Unmarshal([]byte(doc), &c)
	}
	switch {
	case err != nil:
	case c.Tenant != v.tenant || c.Number != number:
		err = fmt.Errorf("it is the checkpoint %d of tenant %s", c.Number, c.Tenant)
	case c.Previous != before.Head && number == before.Number+1:
		err = errors.New("it does not go on from the checkpoint before it")
	case len(leaves) == 0 || int64(len(leaves)) != c.Count || leaves[len(leaves)-1].seq != c.Last:
		err = errors.New("it names other events than it seals")
	case chain(c.Previous, leaves) != c.Head:
		err = errors.New("its head is not the hash of what it seals")
	default:
		err = v.signed(c)
	}
	for _, k := range known {
		if err == nil && k.Tenant == v.tenant && k.Number == number && k.Head != c.Head {
			err = errors.New("another checkpoint was made under this number")
		}
	}
	if err != nil {
		v.problem(number, 0, "checkpoint", "checkpoint %d is not as it was made: %s", number, err)
		if c.Last <= before.Last || len(leaves) == 0 {
			return conclave.Checkpoint{Tenant: v.tenant, Number: number, Head: c.Head, Last: before.Last}, nil
		}
	}
	after := before.Last
	if number == 1 {
		after = -endOfRecord // what has a number below the first one was inserted
	}
	ok, err := v.events(c, after, leaves)
	v.report.Sealed += ok
	return c, err
}

func (v *verifier) signed(c conclave.Checkpoint) error {
	payload, err := checkpointPayload(c)
	if err != nil {
		return err
	}
	return v.signedBy(c.PublicKey, c.Signature, payload)
}

// signedBy checks a signature of the installation.
func (v *verifier) signedBy(key, signature string, payload []byte) error {
	if err := identity.Verify(key, signature, payload); err != nil {
		return err
	}
	if slices.Contains(v.keys, key) {
		return nil
	}
	return fmt.Errorf("it is signed by the key %s, which is not the installation's", key)
}

// events compares the events after a number with the leaves, both in order.
func (v *verifier) events(c conclave.Checkpoint, after int64, leaves []leaf) (ok int64, err error) {
	i := 0
	removed := func(upTo int64) {
		for ; i < len(leaves) && leaves[i].seq < upTo; i++ {
			v.problem(c.Number, leaves[i].seq, "removed", "event %d was removed", leaves[i].seq)
		}
	}
	var differ [][2]leaf
	before := len(v.report.Problems)
	err = v.tx.leavesAfter(v.tenant, after, c.Last, endOfLimit, func(l leaf) {
		removed(l.seq)
		switch {
		case i >= len(leaves) || leaves[i].seq != l.seq:
			v.problem(c.Number, l.seq, "inserted", "event %d was inserted after its place was sealed", l.seq)
			return
		case !bytes.Equal(leaves[i].hash[:], l.hash[:]):
			differ = append(differ, [2]leaf{leaves[i], l})
		default:
			ok++
		}
		i++
	})
	removed(endOfRecord)
	for _, d := range differ { // which may be meant
		if err != nil {
			break
		}
		var meant bool
		if meant, err = v.redacted(d[0], d[1]); meant {
			ok++
			v.report.Expired++
		} else if err == nil {
			v.problem(c.Number, d[1].seq, "changed", "event %d was changed, or moved to another place", d[1].seq)
		}
	}
	slices.SortStableFunc(v.report.Problems[before:], func(a, b conclave.AuditProblem) int { return cmp.Compare(a.Seq, b.Seq) })
	return ok, err
}

const endOfLimit = 1<<31 - 1

// Audit returns the audit trail; a checkpoint counts when the key signed it.
func (db *DB) Audit(key string) conclave.Audit { return audit{db, key} }

type audit struct {
	db  *DB
	key string
}

func (a audit) Verify(ctx context.Context, _ conclave.None) (conclave.AuditReport, error) {
	return a.db.Verify(ctx, []conclave.TenantID{tenantOf(ctx)}, []string{a.key}, nil)
}
