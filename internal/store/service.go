package store

import (
	"context"

	"conclave"
	"conclave/internal/registry"
)

// Announce says that this process serves something at a URL. It replaces what
// this process's name announced for that service before.
func (db *DB) Announce(ctx context.Context, a registry.Address) error {
	return db.Update(ctx, func(tx *Tx) error {
		now, err := tx.Now()
		if err != nil {
			return err
		}
		if db.alone {
			_, err = tx.exec(`DELETE FROM services WHERE name = $1`, string(a.Service))
		} else {
			_, err = tx.exec(`DELETE FROM services WHERE name = $1 AND owner = $2`, string(a.Service), db.owner)
		}
		if err != nil {
			return err
		}
		_, err = tx.exec(`INSERT INTO services (name, address, owner, version, seen) VALUES ($1, $2, $3, $4, $5)
			ON CONFLICT (name, address) DO UPDATE SET owner = excluded.owner, version = excluded.version, seen = excluded.seen`,
			string(a.Service), a.URL, db.owner, a.Version, now.UnixMicro())
		return err
	})
}

// Withdraw forgets what this process announced.
func (db *DB) Withdraw(ctx context.Context) error {
	return db.Update(ctx, func(tx *Tx) error {
		_, err := tx.exec(`DELETE FROM services WHERE owner = $1`, db.owner)
		return err
	})
}

// Find lists where a service answers, what was announced last first.
func (db *DB) Find(ctx context.Context, s conclave.Service) ([]registry.Address, error) {
	var list []registry.Address
	err := db.View(ctx, func(tx *Tx) error {
		rows, err := tx.query(`SELECT address, version, seen FROM services WHERE name = $1 ORDER BY seen DESC`, string(s))
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			a := registry.Address{Service: s}
			var seen int64
			if err := rows.Scan(&a.URL, &a.Version, &seen); err != nil {
				return err
			}
			a.Seen = fromMicros(seen)
			list = append(list, a)
		}
		return rows.Err()
	})
	return list, err
}
