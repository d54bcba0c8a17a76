package a2awire

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/a2aproject/a2a-go/v2/a2a"
	"github.com/a2aproject/a2a-go/v2/a2acompat/a2av0"
	"github.com/a2aproject/a2a-go/v2/a2asrv"
	a2alog "github.com/a2aproject/a2a-go/v2/log"

	"conclave"
)

// VotingExtension is the URI of the extension by which a card publishes the key
// of its agent's ballots: params.jwk is an Ed25519 key (RFC 8037).
const VotingExtension = "urn:conclave:a2a:voting:1"

// RawCard is a card as it was fetched.
type RawCard struct {
	URL        string // where it is
	Body       []byte
	Signatures []CardSignature
}

// FetchCard gets the card at an address, or of the agent at an address.
// ErrInvalid for what is no address or no card, ErrNotFound when there is none,
// ErrUnavailable when nobody answers, ErrDenied when rt does not connect there.
func FetchCard(ctx context.Context, address string, rt http.RoundTripper) (RawCard, error) {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" || u.User != nil || u.Scheme != "http" && u.Scheme != "https" {
		return RawCard{}, conclave.Errorf(conclave.ErrInvalid, "%.200q is no address of an agent card: want https://HOST/… or http://HOST/…", address)
	}
	u.Fragment = ""
	if !strings.HasSuffix(u.Path, ".json") {
		u.Path = strings.TrimSuffix(u.Path, "/") + a2asrv.WellKnownAgentCardPath
	}
	body, err := get(ctx, u.String(), rt)
	if err != nil {
		return RawCard{}, fmt.Errorf("fetching the card %s: %w", u, err)
	}
	card := RawCard{URL: u.String(), Body: body}
	if _, err := decodeObject(body); err != nil {
		return card, fmt.Errorf("reading the card %s: %w", u, err)
	}
	var signed struct {
		Signatures []CardSignature `json:"signatures"`
	}
	if err := json.Unmarshal(body, &signed); err != nil {
		return card, conclave.Errorf(conclave.ErrInvalid, "the signatures of the card %s are no list of {protected, signature}", u)
	}
	card.Signatures = signed.Signatures
	return card, nil
}

// FetchKeys gets the key set at an address, as [FetchCard] gets a card.
func FetchKeys(ctx context.Context, address string, rt http.RoundTripper) ([]byte, error) {
	body, err := get(ctx, address, rt)
	if err != nil {
		return nil, fmt.Errorf("fetching the keys %s: %w", address, err)
	}
	return body, nil
}

// get follows redirects within the origin only: who trusts an origin does not
// trust whom it points to.
func get(ctx context.Context, address string, rt http.RoundTripper) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, conclave.Errorf(conclave.ErrInvalid, "the address %.200q: %w", address, err)
	}
	req.Header.Set("Accept", "application/json")
	client := &http.Client{Transport: rt, CheckRedirect: func(next *http.Request, via []*http.Request) error {
		if len(via) >= 5 || !SameOrigin(next.URL.String(), address) {
			return conclave.Errorf(conclave.ErrDenied, "it redirects to %s, which is elsewhere; give that address if it is meant", next.URL.Redacted())
		}
		return nil
	}}
	resp, err := client.Do(req)
	switch {
	case errors.Is(err, conclave.ErrDenied), err != nil && ctx.Err() != nil:
		return nil, err
	case err != nil:
		return nil, conclave.Errorf(conclave.ErrUnavailable, "%s does not answer: %w", req.URL.Host, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, conclave.Errorf(statusKind(resp.StatusCode), "%s answers %s", req.URL.Host, resp.Status)
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, MaxCard+1))
	switch {
	case err != nil:
		return nil, conclave.Errorf(conclave.ErrUnavailable, "the connection to %s broke: %w", req.URL.Host, err)
	case len(body) > MaxCard:
		return nil, conclave.Errorf(conclave.ErrInvalid, "it is larger than %d KiB", MaxCard>>10)
	}
	return body, nil
}

// SameOrigin reports whether two addresses have the same scheme, host and port.
func SameOrigin(a, b string) bool {
	x, errX := url.Parse(a)
	y, errY := url.Parse(b)
	return errX == nil && errY == nil && x.Host != "" && origin(x) == origin(y)
}

func origin(u *url.URL) string {
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	return u.Scheme + "://" + strings.ToLower(u.Hostname()) + ":" + port
}

// ReadCard reads what a card says, from one of its signed forms or from the whole
// of it. The report's URL, signature, signer and pin are the caller's to fill in.
// ErrInvalid when it is no card of A2A 1.0 or 0.3.
func ReadCard(form []byte) (conclave.CardReport, error) {
	card, err := a2av0.NewAgentCardParser()(form)
	if err != nil {
		return conclave.CardReport{}, conclave.Errorf(conclave.ErrInvalid, "it is no agent card of A2A 1.0 or 0.3: %w", err)
	}
	out := conclave.CardReport{Name: card.Name, Description: card.Description, Version: card.Version, Skills: []conclave.CardSkill{}, Interfaces: []conclave.CardInterface{}}
	if card.Provider != nil {
		out.Provider = card.Provider.Org
	}
	for _, s := range card.Skills {
		if s.Tags == nil {
			s.Tags = []string{}
		}
		out.Skills = append(out.Skills, conclave.CardSkill{ID: s.ID, Name: s.Name, Description: s.Description, Tags: s.Tags})
	}
	for _, i := range card.SupportedInterfaces {
		if i == nil {
			continue
		}
		out.Interfaces = append(out.Interfaces, conclave.CardInterface{URL: i.URL, Binding: string(i.ProtocolBinding), Version: string(i.ProtocolVersion)})
	}
	for _, e := range card.Capabilities.Extensions {
		if e.URI == VotingExtension {
			if out.PublicKey, err = publicKey(e, "Ed25519"); err != nil {
				return out, err
			}
		}
		if e.URI == EncryptionExtension {
			if out.EncryptionKey, err = publicKey(e, "X25519"); err != nil {
				return out, err
			}
		}
	}
	if strings.TrimSpace(card.Name) == "" {
		return out, conclave.Errorf(conclave.ErrInvalid, "it is no agent card: it has no name")
	}
	return out, nil
}

// publicKey returns the key of a curve that an extension gives, in base64.
func publicKey(e a2a.AgentExtension, curve string) (string, error) {
	jwk, _ := e.Params["jwk"].(map[string]any)
	x, _ := jwk["x"].(string)
	raw, err := base64.RawURLEncoding.DecodeString(x)
	if err != nil || len(raw) != 32 || jwk["kty"] != "OKP" || jwk["crv"] != curve || jwk["d"] != nil {
		return "", conclave.Errorf(conclave.ErrInvalid, `the extension %s wants params {"jwk": {"kty": "OKP", "crv": "%s", "x": …}}`, e.URI, curve)
	}
	return base64.StdEncoding.EncodeToString(raw), nil
}

// Usable returns the interfaces that we speak, the best first.
func Usable(all []conclave.CardInterface) []conclave.CardInterface {
	var out []conclave.CardInterface
	for _, version := range []string{string(a2a.Version), string(a2av0.Version)} {
		for _, binding := range []a2a.TransportProtocol{a2a.TransportProtocolJSONRPC, a2a.TransportProtocolHTTPJSON} {
			for _, i := range all {
				// A patch number changes nothing on the wire.
				same := i.Version == version || strings.HasPrefix(i.Version, version+".")
				u, err := url.Parse(i.URL)
				if same && i.Binding == string(binding) && err == nil && u.Host != "" && (u.Scheme == "http" || u.Scheme == "https") {
					i.Version = version
					out = append(out, i)
				}
			}
		}
	}
	return out
}

func endpoints(list []conclave.CardInterface) []*a2a.AgentInterface {
	var out []*a2a.AgentInterface
	for _, i := range list {
		out = append(out, &a2a.AgentInterface{URL: i.URL, ProtocolBinding: a2a.TransportProtocol(i.Binding), ProtocolVersion: a2a.ProtocolVersion(i.Version)})
	}
	return out
}

// Ping asks the agent for a task that does not exist. Whatever it answers in the
// protocol's words will do. ErrUnavailable when it does not, ErrDenied when it
// does not let us.
func (c *Client) Ping(ctx context.Context) error {
	_, err := c.sdk.GetTask(a2alog.AttachLogger(ctx, c.logger), &a2a.GetTaskRequest{ID: a2a.TaskID(conclave.NewID("ping"))})
	if err = fromError(err); err == nil {
		return nil
	}
	kind := conclave.KindOf(err)
	if slices.Contains([]error{conclave.ErrUnavailable, conclave.ErrDenied, conclave.ErrTimeout}, kind) {
		return err
	}
	return nil
}
