package prove

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	_ "github.com/jackc/pgx/v5/stdlib"
	_ "modernc.org/sqlite"

	"conclave"
)

// records is the services' database, read past the services.
type records struct{ db *sql.DB }

func openRecords(url string) (*records, error) {
	driver, source := "pgx", url
	if path, ok := strings.CutPrefix(url, "sqlite:"); ok {
		driver, source = "sqlite", "file:"+path+"?mode=ro&_pragma=busy_timeout(5000)"
	}
	db, err := sql.Open(driver, source)
	if err == nil {
		err = db.Ping()
	}
	if err != nil {
		return nil, conclave.Errorf(conclave.ErrUnavailable, "open the database in which effects are looked up: %w", err)
	}
	db.SetMaxOpenConns(4)
	return &records{db}, nil
}

func (r *records) Close() { _ = r.db.Close() } // nothing was written

// number returns the one figure that a query gives.
func (r *records) number(ctx context.Context, query string, args ...any) (int64, error) {
	var n sql.NullInt64
	if err := r.db.QueryRowContext(ctx, query, args...).Scan(&n); err != nil {
		return 0, fmt.Errorf("%s: %w", query, err)
	}
	return n.Int64, nil
}

// text returns the one text that a query gives, and "" when there is no row.
func (r *records) text(ctx context.Context, query string, args ...any) (string, error) {
	var v string
	err := r.db.QueryRowContext(ctx, query, args...).Scan(&v)
	if errors.Is(err, sql.ErrNoRows) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("%s: %w", query, err)
	}
	return v, nil
}

// texts returns a column of texts.
func (r *records) texts(ctx context.Context, query string, args ...any) ([]string, error) {
	rows, err := r.db.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", query, err)
	}
	defer rows.Close()
	var list []string
	for rows.Next() {
		var v string
		if err := rows.Scan(&v); err != nil {
			return nil, fmt.Errorf("%s: %w", query, err)
		}
		list = append(list, v)
	}
	return list, rows.Err()
}

// document decodes the document that a query gives. It fails when there is none.
func (r *records) document(ctx context.Context, into any, query string, args ...any) error {
	text, err := r.text(ctx, query, args...)
	if err != nil {
		return err
	}
	if text == "" {
		return fmt.Errorf("there is no such row: %s %v", query, args)
	}
	return json.Unmarshal([]byte(text), into)
}
