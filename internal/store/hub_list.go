package store

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"conclave"
	"conclave/internal/hub"
)

func (s hubStore) Tasks(ctx context.Context, f hub.TaskFilter) ([]hub.Task, int, error) {
	var where []string
	var args []any
	add := func(condition string, values ...any) {
		for _, v := range values {
			args = append(args, v)
			condition = strings.Replace(condition, "?", fmt.Sprintf("$%d", len(args)), 1)
		}
		where = append(where, condition)
	}
	for column, value := range map[string]string{"tenant": string(f.Tenant), "asker": f.From, "address": f.To, "agent": string(f.Agent),
		"conversation": string(f.Conversation), "state": string(f.State)} {
		if value != "" {
			add(column+" = ?", value)
		}
	}
	if !f.UpdatedAfter.IsZero() {
		add("updated >= ?", f.UpdatedAfter.UnixMicro())
	}
	filter := func() string {
		if len(where) == 0 {
			return ""
		}
		return " WHERE " + strings.Join(where, " AND ")
	}
	var list []hub.Task
	var total int
	err := s.db.View(ctx, func(tx *Tx) error {
		if _, err := tx.scan([]any{&total}, `SELECT count(*) FROM tasks`+filter(), args...); err != nil {
			return err
		}
		if f.Before.ID != "" {
			at := f.Before.Updated.UnixMicro()
			add("(updated < ? OR (updated = ? AND id < ?))", at, at, string(f.Before.ID))
		}
		query := `SELECT doc FROM tasks` + filter() + ` ORDER BY updated DESC, id DESC`
		if f.Limit > 0 {
			query += fmt.Sprintf(" LIMIT %d", f.Limit)
		}
		now, err := tx.Now()
		if err != nil {
			return err
		}
		list, err = listDocs[hub.Task](tx, query, args...)
		for i := range list {
			list[i].Age = now.Sub(list[i].Request.Sent)
		}
		return err
	})
	return list, total, err
}

func (s hubStore) Messages(ctx context.Context, f hub.MessageFilter) ([]conclave.Message, error) {
	var list []conclave.Message
	err := s.db.View(ctx, func(tx *Tx) error {
		var after int64
		if f.After != "" {
			found, err := tx.scan([]any{&after}, `SELECT position FROM messages WHERE id = $1 AND tenant = $2`, string(f.After), string(f.Tenant))
			if err != nil {
				return err
			}
			if !found {
				return conclave.Errorf(conclave.ErrNotFound, "there is no message %q", f.After)
			}
		}
		limit := f.Limit
		if limit == 0 {
			limit = 1000
		}
		order := ""
		if f.Latest {
			order = " DESC"
		}
		// Each condition is there only when it is asked for: no index serves one that may say nothing.
		query, args := `SELECT doc FROM messages WHERE tenant = $1 AND position > $2`, []any{string(f.Tenant), after, limit}
		for _, c := range []struct{ column, value string }{{"task", string(f.Task)}, {"conversation", string(f.Conversation)}, {"run", string(f.Run)}} {
			if c.value != "" {
				args = append(args, c.value)
				query += fmt.Sprintf(" AND %s = $%d", c.column, len(args))
			}
		}
		var err error
		list, err = listDocs[conclave.Message](tx, query+` ORDER BY position`+order+` LIMIT $3`, args...)
		if f.Latest {
			slices.Reverse(list)
		}
		return err
	})
	return list, err
}

func (s hubStore) Queued(ctx context.Context, f hub.TaskFilter, max int) (n int, err error) {
	column, value := "address", f.To
	if f.From != "" {
		column, value = "asker", f.From
	}
	err = s.db.View(ctx, func(tx *Tx) error {
		_, err := tx.scan([]any{&n}, `SELECT count(*) FROM (SELECT 1 FROM tasks WHERE tenant = $1 AND `+column+` = $2 AND state = 'submitted' LIMIT $3) waiting`,
			string(f.Tenant), value, max)
		return err
	})
	return n, err
}
