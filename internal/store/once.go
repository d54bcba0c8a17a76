package store

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"

	"conclave"
)

// once runs f in a transaction and keeps its result under the operation and the
// idempotency key, so that the same key gives the same result and no second
// effect. It returns ErrConflict when the key was used for another request.
// Without a key, f just runs.
func once[T any](ctx context.Context, db *DB, operation, key string, request any, f func(*Tx) (T, error)) (T, error) {
	var result T
	if key == "" {
		err := db.Update(ctx, func(tx *Tx) (err error) { result, err = f(tx); return err })
		return result, err
	}
	if len(key) > 256 {
		return result, conclave.Errorf(conclave.ErrInvalid, "idempotency key has %d bytes; at most 256", len(key))
	}
	asked, err := json.Marshal(request)
	if err != nil {
		return result, fmt.Errorf("encode the request: %w", err)
	}
	sum := sha256.Sum256(asked)
	hash := hex.EncodeToString(sum[:])
	tenant := string(tenantOf(ctx))
	err = db.Update(ctx, func(tx *Tx) error {
		var had, stored string
		found, err := tx.scan([]any{&had, &stored}, `SELECT request, result FROM answers WHERE tenant = $1 AND operation = $2 AND key = $3`, tenant, operation, key)
		if err != nil {
			return err
		}
		if found {
			if had != hash {
				return conclave.Errorf(conclave.ErrConflict, "idempotency key %q was used for another %s", key, operation)
			}
			var again T
			if err := json.Unmarshal([]byte(stored), &again); err != nil {
				return fmt.Errorf("decode the kept result: %w", err)
			}
			result = again
			return nil
		}
		if result, err = f(tx); err != nil {
			return err
		}
		encoded, err := json.Marshal(result)
		if err != nil {
			return fmt.Errorf("encode the result: %w", err)
		}
		now, err := tx.Now()
		if err != nil {
			return err
		}
		n, err := tx.exec(`INSERT INTO answers (tenant, operation, key, request, result, at) VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING`,
			tenant, operation, key, hash, string(encoded), now.UnixMicro())
		if err != nil {
			return err
		}
		if n == 0 { // two transactions with one key at once, on Postgres
			return conclave.Errorf(conclave.ErrConflict, "another request with the idempotency key %q is under way; ask again", key)
		}
		return nil
	})
	return result, err
}

// getDoc reads one document.
func getDoc[T any](tx *Tx, query string, args ...any) (doc T, found bool, err error) {
	var text string
	if found, err = tx.scan([]any{&text}, query, args...); err != nil || !found {
		return doc, found, err
	}
	if err := json.Unmarshal([]byte(text), &doc); err != nil {
		return doc, false, fmt.Errorf("decode a stored %T: %w", doc, err)
	}
	return doc, true, nil
}

// listDocs reads documents.
func listDocs[T any](tx *Tx, query string, args ...any) ([]T, error) {
	rows, err := tx.docs(query, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	docs := []T{}
	for rows.Next() {
		var text string
		if err := rows.Scan(&text); err != nil {
			return nil, fmt.Errorf("read a row: %w", err)
		}
		var doc T
		if err := json.Unmarshal([]byte(text), &doc); err != nil {
			return nil, fmt.Errorf("decode a stored %T: %w", doc, err)
		}
		docs = append(docs, doc)
	}
	return docs, rows.Err()
}

// encode writes a document as it is stored.
func encode(doc any) (string, error) {
	text, err := json.Marshal(doc)
	if err != nil {
		return "", fmt.Errorf("encode a %T: %w", doc, err)
	}
	return string(text), nil
}
