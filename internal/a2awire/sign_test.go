package a2awire

import (
	"bytes"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"conclave"
)

func TestSignedForms(t *testing.T) {
	const card = `{"name":"Ünïcode","description":"","version":"1","unknown":{"b":1,"a":2},"signatures":[{"protected":"x","signature":"y"}],
		"capabilities":{"streaming":false},"supportedInterfaces":[],"defaultInputModes":["text/plain"],"defaultOutputModes":[],
		"skills":[{"id":"s","name":"S","description":"d","tags":[],"securityRequirements":[{"schemes":{"bearer":[]}}]}]}`
	forms, err := SignedForms([]byte(card))
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		`{"capabilities":{"streaming":false},"defaultInputModes":["text/plain"],"defaultOutputModes":[],"description":"","name":"Ünïcode","skills":[{"description":"d","id":"s","name":"S","securityRequirements":[{"schemes":{"bearer":[]}}],"tags":[]}],"supportedInterfaces":[],"unknown":{"a":2,"b":1},"version":"1"}`,
		`{"capabilities":{"streaming":false},"defaultInputModes":["text/plain"],"defaultOutputModes":[],"description":"","name":"Ünïcode","skills":[{"description":"d","id":"s","name":"S","securityRequirements":[{"schemes":{"bearer":{}}}],"tags":[]}],"supportedInterfaces":[],"version":"1"}`,
		`{"capabilities":{"streaming":false},"defaultInputModes":["text/plain"],"name":"Ünïcode","skills":[{"description":"d","id":"s","name":"S"}],"version":"1"}`,
	}
	if len(forms) != len(want) {
		t.Fatalf("%d forms, want %d", len(forms), len(want))
	}
	for i := range want {
		if string(forms[i]) != want[i] {
			t.Errorf("form %d is\n%s, want\n%s", i, forms[i], want[i])
		}
	}
	for name, bad := range map[string]string{
		"no JSON": `{"name":`, "no object": `["name"]`, "nothing": `null`, "a member twice": `{"name":"a","skills":[{"id":"1","id":"2"}]}`,
		"deep": strings.Repeat(`{"a":`, 40) + "1" + strings.Repeat("}", 40), "large": `{"name":"` + strings.Repeat("x", MaxCard) + `"}`,
	} {
		if _, err := SignedForms([]byte(bad)); !errors.Is(err, conclave.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestCardsAreSignedInEachForm(t *testing.T) {
	var payloads [][]byte
	h := NewServer(ServerOptions{Card: func(*http.Request) (Card, error) { return Card{Name: "dev-1", Description: "Builds"}, nil },
		Sign: func(_ *http.Request, payload []byte) (CardSignature, error) {
			payloads = append(payloads, payload)
			return CardSignature{Protected: "p", Signature: "s"}, nil
		}})
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest("GET", "/.well-known/agent-card.json", nil))
	forms, err := SignedForms(w.Body.Bytes())
	if err != nil || len(forms) != 4 || len(payloads) != 4 {
		t.Fatalf("%d forms, %d were signed, %v\n%s", len(forms), len(payloads), err, w.Body)
	}
	for i := range forms {
		if !bytes.Equal(forms[i], payloads[i]) {
			t.Errorf("form %d was signed as\n%s, and is\n%s", i, payloads[i], forms[i])
		}
	}
	if report, err := ReadCard(w.Body.Bytes()); err != nil || report.Name != "dev-1" || len(Usable(report.Interfaces)) != 4 {
		t.Errorf("read as %+v, %v", report, err)
	}
}

// FuzzSignedForms holds what reads the cards of strangers to errors.
func FuzzSignedForms(f *testing.F) {
	f.Add([]byte(`{"name":"a","skills":[{"id":"s","tags":["t"]}],"securityRequirements":[{"schemes":{"b":["c"]}}],"capabilities":{"extensions":[{"uri":"u","params":{"n":1e9}}]}}`))
	f.Add([]byte(`{"name":1,"supportedInterfaces":[null,{}],"signatures":7}`))
	f.Fuzz(func(t *testing.T, card []byte) {
		forms, err := SignedForms(card)
		if err != nil {
			if !errors.Is(err, conclave.ErrInvalid) {
				t.Fatalf("%v", err)
			}
			return
		}
		for _, form := range forms {
			again, err := SignedForms(form)
			if err != nil || !bytes.Equal(again[0], form) {
				t.Fatalf("%s is not canonical: %v", form, err)
			}
			_, _ = ReadCard(form) // whatever it says, it must not panic
		}
	})
}
