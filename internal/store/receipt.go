package store

import (
	"context"

	"conclave"
)

// Receipts keeps what agents answered.
func (db *DB) Receipts() Receipts { return Receipts{db} }

// Receipts implements agent.Receipts.
type Receipts struct{ db *DB }

// Get returns the answer of an agent to a message.
func (r Receipts) Get(ctx context.Context, agent conclave.AgentName, message conclave.MessageID) (reply []byte, ok bool, err error) {
	err = r.db.View(ctx, func(tx *Tx) error {
		var text string
		ok, err = tx.scan([]any{&text}, `SELECT reply FROM receipts WHERE agent = $1 AND message = $2`, string(agent), string(message))
		reply = []byte(text)
		return err
	})
	return reply, ok, err
}

// Put keeps an answer; the first one stays.
func (r Receipts) Put(ctx context.Context, agent conclave.AgentName, message conclave.MessageID, reply []byte) error {
	return r.db.Update(ctx, func(tx *Tx) error {
		now, err := tx.Now()
		if err != nil {
			return err
		}
		_, err = tx.exec(`INSERT INTO receipts (agent, message, reply, at) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING`,
			string(agent), string(message), string(reply), now.UnixMicro())
		return err
	})
}
