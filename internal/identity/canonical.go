// Package identity answers who is asking and who said so: keys, signatures over
// canonical JSON, bearer tokens, and what each may do.
package identity

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"strconv"
	"strings"

	"github.com/gowebpki/jcs"

	"conclave"
)

const (
	// maxExactInteger is the largest integer that every IEEE 754 double at and
	// below it can tell from its neighbours (RFC 8785 §3.2.2.3, RFC 7493 §2.2).
	maxExactInteger = 1<<53 - 1
	// maxObjectKeys bounds the sort inside one object, which is quadratic.
	maxObjectKeys = 4096
)

// Hash returns "sha256:" and the hex digest of the canonical JSON (RFC 8785) of
// v. ErrInvalid when v has no canonical form.
func Hash(v any) (string, error) {
	text, err := Canonical(v)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(text)
	return "sha256:" + hex.EncodeToString(sum[:]), nil
}

// Canonical returns the canonical JSON of v.
func Canonical(v any) ([]byte, error) {
	plain, err := json.Marshal(v)
	if err != nil {
		return nil, conclave.Errorf(conclave.ErrInvalid, "encoding a %T as JSON: %w", v, err)
	}
	if err := checkUnambiguous(plain); err != nil {
		return nil, err
	}
	text, err := jcs.Transform(plain)
	if err != nil {
		return nil, conclave.Errorf(conclave.ErrInvalid, "making the JSON of a %T canonical: %w", v, err)
	}
	return text, nil
}

// checkUnambiguous refuses JSON for which two different values would have one
// canonical form: canonical numbers are doubles, so neighbouring large integers
// would be signed as the same.
func checkUnambiguous(text []byte) error {
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.UseNumber()
	var tokens []int // how many tokens each open object or array has had, innermost last
	for {
		tok, err := dec.Token()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return conclave.Errorf(conclave.ErrInvalid, "reading JSON: %w", err)
		}
		if delim, ok := tok.(json.Delim); ok && (delim == '}' || delim == ']') {
			tokens = tokens[:len(tokens)-1]
			continue
		}
		if n := len(tokens) - 1; n >= 0 && tokens[n] >= 0 {
			if tokens[n]++; tokens[n] > 2*maxObjectKeys {
				return conclave.Errorf(conclave.ErrInvalid, "a JSON object has more than %d members", maxObjectKeys)
			}
		}
		switch tok := tok.(type) {
		case json.Delim:
			if tok == '{' {
				tokens = append(tokens, 0)
			} else {
				tokens = append(tokens, -1) // arrays may be of any length
			}
		case json.Number:
			if !exact(string(tok)) {
				return conclave.Errorf(conclave.ErrInvalid, "the integer %s is too large for canonical JSON; use a string", tok)
			}
		}
	}
}

func exact(number string) bool {
	if strings.ContainsAny(number, ".eE") {
		return true
	}
	n, err := strconv.ParseInt(number, 10, 64)
	return err == nil && n >= -maxExactInteger && n <= maxExactInteger
}
