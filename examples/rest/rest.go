// Package rest is how the examples call Conclave's REST API: it needs nothing but
// the standard library.
package rest

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
)

// Call sends in as JSON to the gateway at CONCLAVE_URL (http://127.0.0.1:8080 when
// unset) with the token CONCLAVE_TOKEN, and decodes the answer into out; nil
// leaves either away. An error of the API is a problem document (RFC 9457), whose
// detail says what was wrong.
func Call(method, path string, in, out any) error {
	var body io.Reader
	if in != nil {
		text, err := json.Marshal(in)
		if err != nil {
			return fmt.Errorf("%s %s: %w", method, path, err)
		}
		body = bytes.NewReader(text)
	}
	req, err := http.NewRequest(method, cmp.Or(os.Getenv("CONCLAVE_URL"), "http://127.0.0.1:8080")+path, body)
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+os.Getenv("CONCLAVE_TOKEN"))
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		var problem struct{ Detail string }
		_ = json.NewDecoder(resp.Body).Decode(&problem) // the status says enough without it
		return fmt.Errorf("%s %s: %s: %s", method, path, resp.Status, problem.Detail)
	}
	if out == nil {
		return nil
	}
	if err := json.NewDecoder(resp.Body).Decode(out); err != nil {
		return fmt.Errorf("%s %s: read the answer: %w", method, path, err)
	}
	return nil
}
