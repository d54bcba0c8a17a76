package main

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	_ "modernc.org/sqlite"

	"conclave"
)

// data is the stack's data directory.
func (s *session) data() string {
	return filepath.Join(s.dir, "home", ".local", "share", "conclave")
}

// addresses are those of the services that run.
func (s *session) addresses() (map[conclave.Service]string, error) {
	text, err := os.ReadFile(filepath.Join(s.data(), "services.json"))
	if err != nil {
		return nil, fmt.Errorf("read where the services are: %w", err)
	}
	found := map[conclave.Service]string{}
	return found, json.Unmarshal(text, &found)
}

// must runs a command that is to end well, and returns what it printed.
func (s *session) must(ctx context.Context, text string) (string, error) {
	code, err := s.run(ctx, text, 5*time.Minute)
	if err == nil && code != 0 {
		err = fmt.Errorf("%s ended with %d", text, code)
	}
	return strings.TrimSpace(s.last), err
}

// texts returns a column of the stack's database, read past the services.
func (s *session) texts(ctx context.Context, query string, args ...any) ([]string, error) {
	db, err := sql.Open("sqlite", "file:"+filepath.Join(s.data(), "conclave.db")+"?mode=ro&_pragma=busy_timeout(5000)")
	if err != nil {
		return nil, err
	}
	defer db.Close()
	rows, err := db.QueryContext(ctx, query, args...)
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

// open gets an address as a browser or a script does.
func open(ctx context.Context, client *http.Client, url, token string) (status int, body string, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return 0, "", err
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	return answer(client, req)
}

// post sends a document with the local token, and decodes what comes.
func (s *session) post(ctx context.Context, url string, in, out any) error {
	token, err := s.must(ctx, "bin/conclave token")
	if err != nil {
		return err
	}
	text, err := json.Marshal(in)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(text))
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+token)
	req.Header.Set("Content-Type", "application/json")
	status, body, err := answer(http.DefaultClient, req)
	if err != nil {
		return err
	}
	if status/100 != 2 {
		return fmt.Errorf("POST %s answers %d: %s", url, status, body)
	}
	return json.Unmarshal([]byte(body), out)
}

func answer(client *http.Client, req *http.Request) (int, string, error) {
	resp, err := client.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 8<<20))
	return resp.StatusCode, string(body), err
}

// until looks again and again, until what is looked for is there.
func until(ctx context.Context, within time.Duration, what string, look func() (bool, error)) error {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	again := time.NewTicker(50 * time.Millisecond)
	defer again.Stop()
	for {
		if found, err := look(); found || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s did not come within %v", what, within)
		case <-again.C:
		}
	}
}

// free reports whether a port of loopback can be had.
func free(port int) bool {
	l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", fmt.Sprint(port)))
	return err == nil && l.Close() == nil
}

// port returns the wanted port of loopback when it is free, else any that is; any for 0.
func port(wanted int) (int, error) {
	if wanted != 0 && free(wanted) {
		return wanted, nil
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}
