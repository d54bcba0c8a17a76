package store

import (
	"bufio"
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"

	"conclave"
)

// created finds the tables of the migrations, and serial those columns that the
// database numbers.
var (
	created = regexp.MustCompile(`(?s)CREATE TABLE (\w+) \((.*?)\n\);`)
	serial  = regexp.MustCompile(`(?m)^\s*(\w+) SERIAL,`)
)

type backupTable struct{ name, serial string }

// backupTables are the tables that hold what must not be lost. The queue's own
// are hints that a start makes again, and where services answer is no longer
// true somewhere else.
func backupTables() ([]backupTable, error) {
	entries, err := migrations.ReadDir("migrations")
	if err != nil {
		return nil, err
	}
	var list []backupTable
	for _, e := range entries {
		text, err := migrations.ReadFile("migrations/" + e.Name())
		if err != nil {
			return nil, err
		}
		for _, m := range created.FindAllStringSubmatch(string(text), -1) {
			if m[1] == "services" {
				continue
			}
			t := backupTable{name: m[1]}
			if s := serial.FindStringSubmatch(m[2]); s != nil {
				t.serial = s[1]
			}
			list = append(list, t)
		}
	}
	return list, nil
}

// Schema is the number of the newest migration.
func Schema() (int64, error) {
	entries, err := migrations.ReadDir("migrations")
	if err != nil || len(entries) == 0 {
		return 0, err
	}
	var n int64
	_, err = fmt.Sscanf(entries[len(entries)-1].Name(), "%d", &n)
	return n, err
}

// Export writes every table as JSON lines, one row a line, as they are at one
// moment. open is called for each table and returns where its lines go.
func (db *DB) Export(ctx context.Context, open func(table string) (io.Writer, error)) error {
	tables, err := backupTables()
	if err != nil {
		return err
	}
	o := &sql.TxOptions{}
	if db.postgres {
		o = &sql.TxOptions{ReadOnly: true, Isolation: sql.LevelRepeatableRead}
	}
	t, err := db.read.BeginTx(ctx, o)
	if err != nil {
		return unavailable(err)
	}
	defer t.Rollback() // it only reads
	tx := &Tx{ctx: ctx, db: db, tx: t, reading: true}
	for _, table := range tables {
		w, err := open(table.name)
		if err != nil {
			return err
		}
		if err := tx.export(table, w); err != nil {
			return fmt.Errorf("export the table %s: %w", table.name, err)
		}
	}
	return nil
}

func (tx *Tx) export(table backupTable, w io.Writer) error {
	rows, err := tx.query("SELECT * FROM " + table.name)
	if err != nil {
		return err
	}
	defer rows.Close()
	columns, err := rows.Columns()
	if err != nil {
		return err
	}
	out := bufio.NewWriter(w)
	enc := json.NewEncoder(out)
	enc.SetEscapeHTML(false)
	values, pointers := make([]any, len(columns)), make([]any, len(columns))
	for i := range values {
		pointers[i] = &values[i]
	}
	for rows.Next() {
		if err := rows.Scan(pointers...); err != nil {
			return err
		}
		row := make(map[string]any, len(columns))
		for i, c := range columns {
			if b, ok := values[i].([]byte); ok {
				values[i] = string(b)
			}
			row[c] = values[i]
		}
		if err := enc.Encode(row); err != nil {
			return err
		}
	}
	if err := rows.Err(); err != nil {
		return err
	}
	return out.Flush()
}

// Import fills an empty database with what Export wrote, all of it or nothing.
// next returns the lines of each table by name, and nil for one that the export
// did not have. ErrConflict when a table has rows already.
func (db *DB) Import(ctx context.Context, next func(table string) (io.Reader, error)) error {
	tables, err := backupTables()
	if err != nil {
		return err
	}
	return db.Update(ctx, func(tx *Tx) error {
		for _, table := range tables {
			var n int64
			if _, err := tx.scan([]any{&n}, "SELECT count(*) FROM "+table.name); err != nil {
				return err
			}
			if n > 0 {
				return conclave.Errorf(conclave.ErrConflict, "the database is not empty: %s has %d rows; restore into an empty one", table.name, n)
			}
		}
		for _, table := range tables {
			r, err := next(table.name)
			if err != nil {
				return err
			}
			if r == nil {
				continue
			}
			if err := tx.load(table, r); err != nil {
				return fmt.Errorf("restore the table %s: %w", table.name, err)
			}
		}
		return nil
	})
}

func (tx *Tx) load(table backupTable, r io.Reader) error {
	known, err := tx.columns(table.name)
	if err != nil {
		return err
	}
	lines := bufio.NewReader(r)
	for line := 1; ; line++ {
		text, err := lines.ReadBytes('\n')
		if err == io.EOF && len(bytes.TrimSpace(text)) == 0 {
			break
		}
		if err != nil && err != io.EOF {
			return err
		}
		d := json.NewDecoder(bytes.NewReader(text))
		d.UseNumber()
		var row map[string]any
		if err := d.Decode(&row); err != nil {
			return conclave.Errorf(conclave.ErrInvalid, "line %d is not a row: %w", line, err)
		}
		if err := tx.insert(table, known, row); err != nil {
			return fmt.Errorf("line %d: %w", line, err)
		}
	}
	if table.serial == "" || !tx.db.postgres {
		return nil // SQLite goes on after the highest number by itself
	}
	_, err = tx.exec(fmt.Sprintf(`SELECT setval(pg_get_serial_sequence('%s', '%s'), greatest(coalesce((SELECT max(%s) FROM %s), 0), 1))`,
		table.name, table.serial, table.serial, table.name))
	return err
}

func (tx *Tx) columns(table string) ([]string, error) {
	rows, err := tx.query("SELECT * FROM " + table + " LIMIT 0")
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	return rows.Columns()
}

func (tx *Tx) insert(table backupTable, known []string, row map[string]any) error {
	var columns, marks []string
	var args []any
	for _, c := range known {
		v, ok := row[c]
		if !ok {
			continue
		}
		if n, ok := v.(json.Number); ok {
			if i, err := n.Int64(); err == nil {
				v = i
			} else if v, err = n.Float64(); err != nil {
				return conclave.Errorf(conclave.ErrInvalid, "%s is %s, which is no number", c, n)
			}
		}
		args = append(args, v)
		columns = append(columns, c)
		marks = append(marks, fmt.Sprintf("$%d", len(args)))
	}
	for c := range row {
		if !slices.Contains(known, c) {
			return conclave.Errorf(conclave.ErrInvalid, "there is no column %q", c)
		}
	}
	over := ""
	if table.serial != "" && tx.db.postgres {
		over = " OVERRIDING SYSTEM VALUE"
	}
	_, err := tx.exec(fmt.Sprintf("INSERT INTO %s (%s)%s VALUES (%s)", table.name, strings.Join(columns, ", "), over, strings.Join(marks, ", ")), args...)
	return err
}
