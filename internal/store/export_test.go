package store

import (
	"time"

	"conclave"
)

// Enqueue lets tests leave work without what it is about.
func (tx *Tx) Enqueue(kind, id string) error { return tx.enqueue(kind, id, 1, time.Time{}) }

// SettledWaiters is how many wait for a task's end in this process.
func (db *DB) SettledWaiters(id conclave.TaskID) int {
	db.settled.mu.Lock()
	defer db.settled.mu.Unlock()
	return len(db.settled.waiting[id])
}
