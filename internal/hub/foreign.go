package hub

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"conclave"
	"conclave/internal/a2awire"
	"conclave/internal/identity"
)

// fetchLimit bounds how long a card and its keys may take.
const fetchLimit = 10 * time.Second

var _ conclave.Directory = (*Hub)(nil)

// outside returns what reaches an agent of somebody else's.
func (h *Hub) outside(private bool) http.RoundTripper {
	if private {
		return h.opts.Inside
	}
	return h.opts.Foreign
}

// Inspect implements [conclave.Directory].
func (h *Hub) Inspect(ctx context.Context, in conclave.InspectCard) (conclave.CardReport, error) {
	report, err := h.inspect(ctx, in)
	if err != nil {
		return conclave.CardReport{}, err
	}
	agents, err := h.opts.Store.Agents(ctx, conclave.CallerFrom(ctx).Tenant, conclave.ListAgents{})
	if err != nil {
		return conclave.CardReport{}, fmt.Errorf("looking for who has the name %s: %w", report.Agent, err)
	}
	for _, a := range agents {
		if a.Name != report.Agent {
			continue
		}
		report.Known = a.Card != nil && a.Card.URL == report.URL && a.Card.Pin == report.Pin && a.PublicKey == report.PublicKey
		// What a human would decide now is later than any trust that was given.
		if err := MayReplace(a, conclave.Agent{Name: a.Name, PublicKey: report.PublicKey, Card: &conclave.CardTrust{URL: report.URL, Pin: report.Pin, At: h.opts.Clock()}}); err != nil && report.Problem == "" {
			report.Problem = conclave.Text(err)
		}
	}
	return report, nil
}

// inspect fetches and verifies a card, and reads from it what its signature
// covers. That it can't be registered is in the report's Problem.
func (h *Hub) inspect(ctx context.Context, in conclave.InspectCard) (conclave.CardReport, error) {
	ctx, cancel := context.WithTimeout(ctx, fetchLimit)
	defer cancel()
	raw, err := a2awire.FetchCard(ctx, in.URL, h.outside(in.Private))
	if err != nil {
		return conclave.CardReport{}, err
	}
	forms, err := a2awire.SignedForms(raw.Body)
	if err != nil {
		return conclave.CardReport{}, fmt.Errorf("reading the card %s: %w", raw.URL, err)
	}
	form, state, signer, err := h.verify(ctx, raw, forms, in)
	report, readErr := a2awire.ReadCard(form)
	if readErr != nil {
		return conclave.CardReport{}, fmt.Errorf("reading the card %s: %w", raw.URL, readErr)
	}
	report.URL, report.Signature, report.Agent = raw.URL, state, in.Name
	if report.Agent == "" {
		report.Agent = nameFor(report.Name)
	}
	switch state {
	case conclave.CardVerified:
		report.Pin = "key:" + signer.Thumbprint
		report.Signer = signer.KeyID + " (" + signer.Algorithm + "), " + signer.from
		if report.PublicKey == "" {
			report.PublicKey = signer.PublicKey
		}
	case conclave.CardUnsigned:
		sum := sha256.Sum256(forms[0])
		report.Pin = "card:" + hex.EncodeToString(sum[:])
	default:
		report.Problem = conclave.Text(err)
	}
	if report.Problem == "" && len(a2awire.Usable(report.Interfaces)) == 0 {
		report.Problem = "the card names no interface that is spoken here: JSONRPC or HTTP+JSON, in 1.0 or 0.3, at an http or https address"
	}
	return report, nil
}

// signed is whose signature a card has, and where that key is from.
type signed struct {
	identity.Signer
	from string
}

// verify returns the form of a card that one of its signatures covers, or the
// whole card when none does. The error says why an invalid one is invalid.
func (h *Hub) verify(ctx context.Context, raw a2awire.RawCard, forms [][]byte, in conclave.InspectCard) ([]byte, conclave.CardState, signed, error) {
	whole := forms[0]
	var given *identity.KeySet
	if in.Keys != "" {
		set, err := identity.ParseKeySet([]byte(in.Keys))
		if err != nil {
			return whole, conclave.CardInvalid, signed{}, fmt.Errorf("the keys that were given: %w", err)
		}
		given = &set
	}
	switch {
	case len(raw.Signatures) == 0 && given != nil:
		return whole, conclave.CardInvalid, signed{}, conclave.Errorf(conclave.ErrDenied, "keys were given, and the card is not signed")
	case len(raw.Signatures) == 0:
		return whole, conclave.CardUnsigned, signed{}, nil
	case len(raw.Signatures) > 8:
		return whole, conclave.CardInvalid, signed{}, conclave.Errorf(conclave.ErrDenied, "the card has %d signatures; at most 8 are looked at", len(raw.Signatures))
	}
	var why error
	sets := map[string]identity.KeySet{}
	for _, s := range raw.Signatures {
		signature := identity.Signature{Protected: s.Protected, Signature: s.Signature}
		keys, from, err := h.keysFor(ctx, raw.URL, signature, given, in.Private, sets)
		for i := 0; err == nil && i < len(forms); i++ {
			signer, verifyErr := keys.Verify(signature, forms[i], h.opts.Clock())
			if verifyErr == nil {
				return forms[i], conclave.CardVerified, signed{signer, from}, nil
			}
			why = verifyErr
		}
		if err != nil {
			why = err
		}
	}
	return whole, conclave.CardInvalid, signed{}, fmt.Errorf("the card's signature does not hold: %w", why)
}

// keysFor returns the keys that may have made a signature: those that were given,
// else those at its jku, which must be of the card's own origin. Whoever can
// forge a card can point it to keys of their own anywhere else.
func (h *Hub) keysFor(ctx context.Context, cardURL string, s identity.Signature, given *identity.KeySet, private bool, sets map[string]identity.KeySet) (identity.KeySet, string, error) {
	head, err := s.Head()
	switch {
	case err != nil:
		return identity.KeySet{}, "", err
	case given != nil:
		return *given, "of the keys that were given", nil
	case head.Jku == "":
		return identity.KeySet{}, "", conclave.Errorf(conclave.ErrDenied, "it does not say where its key %.80q is (jku); give the key with --keys", head.Kid)
	case !a2awire.SameOrigin(head.Jku, cardURL):
		return identity.KeySet{}, "", conclave.Errorf(conclave.ErrDenied, "its keys are at %.200q, which is not the card's own origin; give the key with --keys", head.Jku)
	}
	if u, err := url.Parse(head.Jku); err == nil && u.Scheme != "https" && !private {
		return identity.KeySet{}, "", conclave.Errorf(conclave.ErrDenied, "its keys are at %.200q, over plain HTTP, where anybody on the way can change them; give the key with --keys", head.Jku)
	}
	if set, ok := sets[head.Jku]; ok {
		return set, "published at " + head.Jku, nil
	}
	text, err := a2awire.FetchKeys(ctx, head.Jku, h.outside(private))
	if err != nil {
		return identity.KeySet{}, "", err
	}
	set, err := identity.ParseKeySet(text)
	if err != nil {
		return identity.KeySet{}, "", fmt.Errorf("the keys at %s: %w", head.Jku, err)
	}
	sets[head.Jku] = set
	return set, "published at " + head.Jku, nil
}

var notInName = regexp.MustCompile(`[^a-z0-9]+`)

// nameFor makes an agent's name from its card's.
func nameFor(name string) conclave.AgentName {
	short := strings.Trim(notInName.ReplaceAllString(strings.ToLower(name), "-"), "-")
	return conclave.AgentName(strings.TrimRight(short[:min(len(short), 63)], "-"))
}

// Adopt implements [conclave.Directory].
func (h *Hub) Adopt(ctx context.Context, in conclave.AdoptAgent) (conclave.Agent, error) {
	report, err := h.inspect(ctx, conclave.InspectCard{URL: in.URL, Name: in.Name, Keys: in.Keys, Private: in.Private})
	switch {
	case err != nil:
		return conclave.Agent{}, err
	case report.Signature == conclave.CardInvalid:
		return conclave.Agent{}, h.refuseCard(ctx, in, conclave.Errorf(conclave.ErrDenied, "%s", report.Problem))
	case report.Problem != "":
		return conclave.Agent{}, conclave.Errorf(conclave.ErrUnsupported, "%s", report.Problem)
	case in.Pin == "":
		return conclave.Agent{}, conclave.Errorf(conclave.ErrInvalid, "pin is missing: look at the card (agent_inspect), and give the pin that it shows")
	case in.Pin != report.Pin:
		return conclave.Agent{}, h.refuseCard(ctx, in, conclave.Errorf(conclave.ErrConflict, "the card has changed since it was looked at: its pin is %s, not %.100q; look at it again", report.Pin, in.Pin))
	}
	if in.Role == "" {
		in.Role = conclave.Role(report.Agent)
	}
	caller := conclave.CallerFrom(ctx)
	trust := &conclave.CardTrust{URL: report.URL, Keys: in.Keys, Private: in.Private, By: caller.Name(), At: h.opts.Clock().UTC().Truncate(time.Microsecond)}
	a, err := checkAgent(fromCard(conclave.Agent{Name: report.Agent, Role: in.Role, Capacity: in.Capacity, Brain: "foreign", PublicKey: report.PublicKey}, trust, report))
	if err != nil {
		return conclave.Agent{}, err
	}
	a.Card = trust
	if err := h.answers(ctx, a); err != nil {
		return conclave.Agent{}, fmt.Errorf("checking whether %s answers: %w", a.Name, err)
	}
	told, err := h.opts.Store.UpsertAgent(ctx, caller.Tenant, a)
	if errors.Is(err, conclave.ErrConflict) {
		err = h.refuseCard(ctx, in, err)
	}
	if err != nil {
		return conclave.Agent{}, fmt.Errorf("registering %s: %w", a.Name, err)
	}
	key := agentKey{caller.Tenant, a.Name}
	now := h.opts.Clock()
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.suspect, key)
	delete(h.clients, clientKey(caller.Tenant, a))
	h.beats[key] = &beat{told: told, asked: a, written: now, heard: now}
	return told, nil
}

// refuseCard records that a card was not taken.
func (h *Hub) refuseCard(ctx context.Context, in conclave.AdoptAgent, why error) error {
	c := conclave.CallerFrom(ctx)
	h.record(ctx, Refusal{Tenant: c.Tenant, Rule: "card", From: c.Name(), To: in.URL, Why: why.Error()})
	return why
}

// fromCard gives an agent what its card says, and the trust what it was in.
func fromCard(a conclave.Agent, trust *conclave.CardTrust, report conclave.CardReport) conclave.Agent {
	a.Description, a.Skills, a.Tags = report.Description, []string{}, nil
	for _, s := range report.Skills {
		if s.ID != "" && !slices.Contains(a.Skills, s.ID) {
			a.Skills = append(a.Skills, s.ID)
		}
		for _, tag := range s.Tags {
			if !slices.Contains(a.Tags, tag) {
				a.Tags = append(a.Tags, tag)
			}
		}
	}
	trust.Interfaces = a2awire.Usable(report.Interfaces)
	trust.Signature, trust.Signer, trust.Pin, trust.Problem = report.Signature, report.Signer, report.Pin, ""
	a.URL, a.Card, a.EncryptionKey = trust.Interfaces[0].URL, trust, report.EncryptionKey
	return a
}

// answers asks an agent at the interface that messages will go to.
func (h *Hub) answers(ctx context.Context, a conclave.Agent) error {
	ctx, cancel := context.WithTimeout(ctx, fetchLimit)
	defer cancel()
	client, err := a2awire.Dial(ctx, a2awire.DialOptions{Interfaces: a.Card.Interfaces, Transport: h.outside(a.Card.Private), Logger: h.opts.Logger})
	if err != nil {
		return err
	}
	return client.Ping(ctx)
}

// examine looks whether a foreign agent is there and still the one that was
// trusted. It returns the agent as its card describes it now, or with the problem
// that it has; the error says that it must get no work.
func (h *Hub) examine(ctx context.Context, a conclave.Agent) (conclave.Agent, error) {
	if a.Card == nil {
		ctx, cancel := context.WithTimeout(ctx, probeLimit)
		defer cancel()
		return a, a2awire.Probe(ctx, a.URL, h.opts.Transport)
	}
	trust := *a.Card
	a.Card = &trust
	report, err := h.inspect(ctx, conclave.InspectCard{URL: trust.URL, Name: a.Name, Keys: trust.Keys, Private: trust.Private})
	switch {
	case err != nil && (conclave.KindOf(err) == conclave.ErrUnavailable || conclave.KindOf(err) == conclave.ErrTimeout):
		return a, err // it is down, which is no fault of its card
	case err != nil:
		trust.Problem = conclave.Text(err)
	case report.Problem != "":
		trust.Problem = report.Problem
	case report.Pin != trust.Pin:
		trust.Problem = "its card is another one than was trusted: " + changed(trust.Pin, report.Pin) + "; look at it again with conclave agents register " + trust.URL
	case report.PublicKey != a.PublicKey:
		trust.Problem = "its card names another key for ballots than was trusted; look at it again with conclave agents register " + trust.URL
	default:
		a = fromCard(a, &trust, report)
		return a, h.answers(ctx, a)
	}
	return a, conclave.Errorf(conclave.ErrDenied, "%s: %s", a.Name, trust.Problem)
}

func changed(was, is string) string {
	signedBefore, signedNow := strings.HasPrefix(was, "key:"), strings.HasPrefix(is, "key:")
	switch {
	case signedBefore && signedNow:
		return "another key signed it"
	case signedBefore:
		return "it is no longer signed"
	case signedNow:
		return "it is signed now"
	}
	return "it says something else, and is not signed"
}

// Forget implements [conclave.Directory].
func (h *Hub) Forget(ctx context.Context, in conclave.NameAgent) (conclave.Agent, error) {
	caller := conclave.CallerFrom(ctx)
	a, err := h.opts.Store.Forget(ctx, caller.Tenant, in.Name, caller.Name())
	h.unsee()
	if err != nil {
		return conclave.Agent{}, fmt.Errorf("removing %s: %w", in.Name, err)
	}
	a.State = conclave.AgentLost
	key := agentKey{caller.Tenant, in.Name}
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.beats, key)
	delete(h.clients, clientKey(caller.Tenant, a))
	return a, nil
}
