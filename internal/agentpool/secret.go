package agentpool

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"conclave"
	"conclave/internal/a2awire"
	"conclave/internal/agent"
	"conclave/internal/identity"
)

// Agents can ask each other what only the one who is asked may read. The data
// part of such a message holds a JWE; the hub delivers it as it is, and keeps no
// more than that. The question carries the key for the answer.

// secret is what a JWE holds.
type secret struct {
	To      string          `json:"to"` // the address that was asked: the hub can't pass the message off as one to somebody else
	Text    string          `json:"text"`
	Data    json.RawMessage `json:"data,omitempty"`
	ReplyTo string          `json:"reply_to,omitempty"` // of a question: the X25519 key that the answer is encrypted for
}

// encrypted is the data part of an encrypted message.
type encrypted struct {
	JWE json.RawMessage `json:"jwe"`
}

// shownInstead is the text of an encrypted message, for whoever watches.
const shownInstead = "(encrypted)"

func encrypt(s secret, keys ...string) (json.RawMessage, error) {
	plain, err := json.Marshal(s)
	if err != nil {
		return nil, fmt.Errorf("encoding a message: %w", err)
	}
	e := encrypted{}
	if e.JWE, err = identity.Encrypt(plain, keys...); err != nil {
		return nil, err
	}
	return json.Marshal(e)
}

func decrypt(key *identity.SecretKey, e encrypted) (secret, error) {
	plain, err := key.Decrypt(e.JWE)
	if err != nil {
		return secret{}, err
	}
	var s secret
	if err := json.Unmarshal(plain, &s); err != nil {
		return s, conclave.Errorf(conclave.ErrInvalid, "what was encrypted is no message: want to, text, data and reply_to")
	}
	return s, nil
}

// encryptedIn returns the encrypted message in a data part, if there is one.
func encryptedIn(data json.RawMessage) (e encrypted, ok bool) {
	return e, json.Unmarshal(data, &e) == nil && len(e.JWE) > 0
}

// recipients returns the keys of those who have an address, and who of them has
// none. ErrDenied when nobody could read the message: it is not sent in clear.
func (p *Pool) recipients(ctx context.Context, self conclave.AgentName, to string) (keys []string, without []conclave.AgentName, err error) {
	agents, err := p.opts.Hub.Agents(ctx, conclave.ListAgents{})
	if err != nil {
		return nil, nil, fmt.Errorf("looking for keys of %s: %w", to, err)
	}
	for _, a := range agents {
		switch {
		case a.Name == self || to != "agents/"+string(a.Name) && to != "roles/"+string(a.Role):
		case a.EncryptionKey == "":
			without = append(without, a.Name)
		default:
			keys = append(keys, a.EncryptionKey)
		}
	}
	if len(keys) == 0 && len(without) > 0 {
		return nil, nil, conclave.Errorf(conclave.ErrDenied, "%s publishes no key to encrypt for, and what %s asks is not sent in clear", to, self)
	}
	return keys, without, nil // without either, the hub says that there is nobody
}

// conceal makes a question one that only those who are asked can read.
func (p *Pool) conceal(ctx context.Context, h *hosted, m *conclave.SendMessage) error {
	keys, without, err := p.recipients(ctx, h.Name(), m.To)
	if err != nil || len(keys) == 0 {
		m.Text = shownInstead // nobody is there: not even then in clear
		return err
	}
	if m.Data, err = encrypt(secret{To: m.To, Text: m.Text, ReplyTo: h.secret.Public()}, keys...); err != nil {
		return fmt.Errorf("encrypting a question for %s: %w", m.To, err)
	}
	m.Text = shownInstead
	if strings.HasPrefix(m.To, "roles/") {
		m.Exclude = append(m.Exclude, without...)
	}
	return nil
}

// reveal returns the text of an answer.
func (h *hosted) reveal(task conclave.Task) (string, error) {
	e, ok := encryptedIn(task.Reply)
	if !ok {
		return "", conclave.Errorf(conclave.ErrDenied, "%s answered an encrypted question in clear", task.Agent)
	}
	s, err := decrypt(h.secret, e)
	return s.Text, err
}

// handleSecret answers an encrypted message so that only its sender can read the
// answer. What it keeps for a second delivery is encrypted as well.
func (p *Pool) handleSecret(ctx context.Context, h *hosted, in a2awire.Incoming, e encrypted, ask func(context.Context, string, string) (string, error)) (a2awire.Outgoing, error) {
	if h.secret == nil {
		return a2awire.Outgoing{}, conclave.Errorf(conclave.ErrUnsupported, "%s has no key to read encrypted messages with", h.Name())
	}
	kept := p.opts.Receipts
	if kept != nil {
		reply, ok, err := kept.Get(ctx, h.Name(), in.MessageID)
		if err != nil {
			return a2awire.Outgoing{}, fmt.Errorf("looking for an earlier reply to %s: %w", in.MessageID, err)
		}
		if ok {
			return a2awire.Outgoing{Text: shownInstead, Data: reply}, nil
		}
	}
	s, err := decrypt(h.secret, e)
	if err != nil {
		return a2awire.Outgoing{}, err
	}
	if !slices.Contains([]string{"agents/" + string(h.Name()), "roles/" + string(h.Spec().Role)}, s.To) {
		return a2awire.Outgoing{}, conclave.Errorf(conclave.ErrDenied, "the message was encrypted for %s, not for %s", s.To, h.Name())
	}
	if len(s.Data) > 0 { // the hub could not judge who may give out such work
		return a2awire.Outgoing{}, conclave.Errorf(conclave.ErrDenied, "an encrypted message is a question in prose; an assignment is given in clear")
	}
	if err := identity.CheckSecretKey(s.ReplyTo); err != nil {
		return a2awire.Outgoing{}, fmt.Errorf("reply_to of an encrypted message: %w", err)
	}
	answer, err := h.Handle(ctx, agent.Message{Task: hubTask(in), Text: s.Text, Ask: ask})
	if err != nil {
		if errors.Is(err, context.Canceled) {
			return a2awire.Outgoing{}, err
		}
		// Its text may quote the question, and whoever watches reads it.
		return a2awire.Outgoing{}, conclave.Errorf(conclave.KindOf(err), "%s could not answer an encrypted message", h.Name())
	}
	data, err := encrypt(secret{To: "reply", Text: answer.Text, Data: answer.Data}, s.ReplyTo)
	if err != nil {
		return a2awire.Outgoing{}, fmt.Errorf("encrypting an answer: %w", err)
	}
	if kept != nil {
		if err := kept.Put(ctx, h.Name(), in.MessageID, data); err != nil {
			return a2awire.Outgoing{}, fmt.Errorf("keeping the reply to %s: %w", in.MessageID, err)
		}
	}
	return a2awire.Outgoing{Text: shownInstead, Data: data}, nil
}
