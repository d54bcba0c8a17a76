package store

import (
	"context"
	"strings"
	"time"

	"conclave"
)

// tokensKept is how long a token stays on the list after its end. Its events stay.
const tokensKept = 30 * 24 * time.Hour

// KeepToken puts a token that was made on the list, and who made it into the record.
func (db *DB) KeepToken(ctx context.Context, t conclave.Token) error {
	return db.Update(ctx, func(tx *Tx) error {
		now, err := tx.Now()
		if err != nil {
			return err
		}
		t.Minted = now
		doc, err := encode(t)
		if err != nil {
			return err
		}
		if _, err := tx.exec(`DELETE FROM tokens WHERE expires < $1`, now.Add(-tokensKept).UnixMicro()); err != nil {
			return err
		}
		if _, err := tx.exec(`INSERT INTO tokens (id, tenant, expires, revoked, doc) VALUES ($1, $2, $3, 0, $4)`, t.ID, string(t.Tenant), t.Expires.UnixMicro(), doc); err != nil {
			return err
		}
		return tx.tokenEvent(t, conclave.EventTokenMinted, t.MintedBy, "made a token for "+bearer(t)+", good until "+t.Expires.UTC().Format(time.RFC3339))
	})
}

// bearer names whose token it is, and what it is good for.
func bearer(t conclave.Token) string {
	may := make([]string, len(t.Permissions))
	for i, p := range t.Permissions {
		may[i] = string(p)
	}
	who := t.Human
	if t.Agent != "" {
		who = "agent " + string(t.Agent) + " of " + who
	}
	return who + " (" + strings.Join(may, ", ") + ")"
}

func (tx *Tx) tokenEvent(t conclave.Token, kind conclave.EventKind, actor, text string) error {
	doc, err := encode(t)
	if err != nil {
		return err
	}
	return tx.Append(conclave.Event{Tenant: t.Tenant, Kind: kind, Actor: actor, Subject: t.ID, Text: text, Data: []byte(doc)})
}

// RevokeToken takes a token back. ErrNotFound when none of that id was made for
// the tenant, ErrConflict when it was taken back before.
func (db *DB) RevokeToken(ctx context.Context, tenant conclave.TenantID, id, by string) (conclave.Token, error) {
	var t conclave.Token
	err := db.Update(ctx, func(tx *Tx) error {
		list, err := listDocs[conclave.Token](tx, `SELECT doc FROM tokens WHERE id = $1 AND tenant = $2`, id, string(tenant))
		if err != nil {
			return err
		}
		if len(list) == 0 {
			return conclave.Errorf(conclave.ErrNotFound, "no token %q was made for tenant %s; conclave token list shows the tokens", id, tenant)
		}
		if t = list[0]; t.Revoked != nil {
			return conclave.Errorf(conclave.ErrConflict, "token %s was revoked at %s by %s", id, t.Revoked.Format(time.RFC3339), t.RevokedBy)
		}
		now, err := tx.Now()
		if err != nil {
			return err
		}
		t.Revoked, t.RevokedBy = &now, by
		doc, err := encode(t)
		if err != nil {
			return err
		}
		if _, err := tx.exec(`UPDATE tokens SET revoked = $1, doc = $2 WHERE id = $3`, now.UnixMicro(), doc, id); err != nil {
			return err
		}
		return tx.tokenEvent(t, conclave.EventTokenRevoked, by, "took back the token of "+bearer(t))
	})
	return t, err
}

// Tokens lists a tenant's tokens, those that end last first.
func (db *DB) Tokens(ctx context.Context, tenant conclave.TenantID) (list []conclave.Token, err error) {
	err = db.View(ctx, func(tx *Tx) error {
		list, err = listDocs[conclave.Token](tx, `SELECT doc FROM tokens WHERE tenant = $1 ORDER BY expires DESC, id`, string(tenant))
		return err
	})
	return list, err
}

// RevokedTokens are the ids of tokens that were taken back and would be good.
func (db *DB) RevokedTokens(ctx context.Context) (ids []string, err error) {
	err = db.View(ctx, func(tx *Tx) error {
		ids = nil
		rows, err := tx.query(`SELECT id FROM tokens WHERE revoked > 0 AND expires > $1`, time.Now().Add(-time.Minute).UnixMicro()) // clocks differ
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var id string
			if err := rows.Scan(&id); err != nil {
				return err
			}
			ids = append(ids, id)
		}
		return rows.Err()
	})
	return ids, err
}
