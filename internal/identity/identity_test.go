package identity_test

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lestrrat-go/jwx/v3/jwa"
	"github.com/lestrrat-go/jwx/v3/jwt"
	"pgregory.net/rapid"

	"conclave"
	"conclave/internal/identity"
)

func TestHash(t *testing.T) {
	// The digest of {"a":[1,"<é>"],"b":0.001} computed with sha256sum.
	got, err := identity.Hash(map[string]any{"b": 1e-3, "a": []any{1.0, "<é>"}})
	if err != nil {
		t.Fatal(err)
	}
	if want := "sha256:8250caa1363e98d8f967d8b2c68f7ab8e48ac16c25fd24180c238352a41a9124"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}

	type raw struct{ Data json.RawMessage }
	same := []string{`{"x":1,"y":[1.0,2]}`, ` { "y" : [ 1, 2e0 ], "x" : 1 } `}
	first, err1 := identity.Hash(raw{json.RawMessage(same[0])})
	second, err2 := identity.Hash(raw{json.RawMessage(same[1])})
	if err1 != nil || err2 != nil || first != second {
		t.Errorf("two spellings of one value: %s %v and %s %v", first, err1, second, err2)
	}
}

func TestHashRefusesAmbiguity(t *testing.T) {
	type raw struct{ Data json.RawMessage }
	for name, v := range map[string]any{
		"an integer beyond a double":   int64(1<<53 + 1),
		"the same, negative":           map[string]int64{"n": -(1<<53 + 1)},
		"a key twice":                  raw{json.RawMessage(`{"a":1,"a":2}`)},
		"broken JSON":                  raw{json.RawMessage(`{"a":`)},
		"half a surrogate pair as key": raw{json.RawMessage(`{"a":1,"\ud800":2}`)},
		"a channel":                    make(chan int),
		"very many keys":               manyKeys(5000),
	} {
		if got, err := identity.Hash(v); !errors.Is(err, conclave.ErrInvalid) {
			t.Errorf("%s: got %q, %v; want ErrInvalid", name, got, err)
		}
	}
	for name, v := range map[string]any{
		"the largest exact integer": int64(1<<53 - 1),
		"a long list":               make([]int, 20000),
		"nothing":                   nil,
		"many keys":                 manyKeys(4000),
	} {
		if _, err := identity.Hash(v); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func manyKeys(n int) map[int]bool {
	m := make(map[int]bool, n)
	for i := range n {
		m[i] = true
	}
	return m
}

// A value that went through JSON has the hash that it had before.
func TestHashSurvivesTheWire(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := conclave.PlanContent{
			Task: rapid.String().Draw(t, "task"), Summary: rapid.String().Draw(t, "summary"),
			Steps: []conclave.PlanStep{{Key: rapid.String().Draw(t, "key"), Writes: rapid.SliceOf(rapid.String()).Draw(t, "writes")}},
		}
		before, err := identity.Hash(p)
		if err != nil {
			t.Fatal(err)
		}
		text, err := json.Marshal(p)
		if err != nil {
			t.Fatal(err)
		}
		var back conclave.PlanContent
		if err := json.Unmarshal(text, &back); err != nil {
			t.Fatal(err)
		}
		if after, err := identity.Hash(back); err != nil || after != before {
			t.Fatalf("%s became %s, %v", before, after, err)
		}
	})
}

func TestKeyIsKept(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "keys")
	first, err := identity.LoadOrCreate(dir, "developer-2")
	if err != nil {
		t.Fatal(err)
	}
	again, err := identity.LoadOrCreate(dir, "developer-2")
	if err != nil {
		t.Fatal(err)
	}
	other, err := identity.LoadOrCreate(dir, "developer-3")
	if err != nil {
		t.Fatal(err)
	}
	if first.Public() != again.Public() || first.Public() == other.Public() {
		t.Errorf("keys: %s, again %s, another %s", first.Public(), again.Public(), other.Public())
	}
	if err := identity.Verify(first.Public(), again.Sign([]byte("text")), []byte("text")); err != nil {
		t.Error(err)
	}
	for path, want := range map[string]os.FileMode{dir: 0o700, filepath.Join(dir, "developer-2.key"): 0o600} {
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if got := info.Mode().Perm(); got != want {
			t.Errorf("%s has mode %04o, want %04o", path, got, want)
		}
	}
	files, err := os.ReadDir(dir)
	if err != nil || len(files) != 2 {
		t.Errorf("the folder holds %v, %v; want the two keys", files, err)
	}
}

func TestKeyNamesStayInTheFolder(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "keys")
	for _, name := range []string{"", ".", "..", "../x", "a/b", `a\b`, "/etc/passwd", ".hidden", "a\x00b", "a\n", strings.Repeat("a", 101)} {
		if _, err := identity.LoadOrCreate(dir, name); !errors.Is(err, conclave.ErrInvalid) {
			t.Errorf("%q: got %v, want ErrInvalid", name, err)
		}
	}
	if _, err := os.Stat(dir); !os.IsNotExist(err) {
		t.Errorf("refused names left a trace: %v", err)
	}
}

func TestBadKeyFiles(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string, mode os.FileMode) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name+".key"), []byte(text), mode); err != nil {
			t.Fatal(err)
		}
	}
	write("prose", "not a key", 0o600)
	write("empty", "", 0o600)
	if _, err := identity.LoadOrCreate(dir, "open"); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Join(dir, "open.key"), 0o644); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]error{"prose": conclave.ErrInvalid, "empty": conclave.ErrInvalid, "open": conclave.ErrDenied} {
		if _, err := identity.LoadOrCreate(dir, name); !errors.Is(err, want) {
			t.Errorf("%s: got %v, want %v", name, err, want)
		}
	}
}

func TestKeyIsCreatedOnce(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "keys")
	publics := make([]string, 16)
	var wg sync.WaitGroup
	for i := range publics {
		wg.Go(func() {
			k, err := identity.LoadOrCreate(dir, "shared")
			if err != nil {
				t.Error(err)
				return
			}
			publics[i] = k.Public()
		})
	}
	wg.Wait()
	for _, p := range publics {
		if p != publics[0] {
			t.Fatalf("the racers hold different keys: %q", publics)
		}
	}
}

func newKey(t *testing.T, name string) *identity.Key {
	t.Helper()
	k, err := identity.LoadOrCreate(t.TempDir(), name)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func sampleBallot() conclave.Ballot {
	return conclave.Ballot{
		Motion: "m1", Round: 1, Voter: "security-1", Role: conclave.RoleSecurity,
		Subject: conclave.Subject{Kind: "plan", ID: "p1", Hash: "sha256:aa"},
		Verdict: conclave.VerdictApprove, Ranking: []string{"A", "B"}, Reasons: []string{"sound"}, Evidence: []string{"sha256:bb"},
	}
}

// Every field but the signature is under the signature, whatever fields the
// struct gets later.
func TestAlteredBallotIsRefused(t *testing.T) {
	k := newKey(t, "voter")
	b := sampleBallot()
	if err := identity.SignBallot(k, &b); err != nil {
		t.Fatal(err)
	}
	if err := identity.VerifyBallot(b); err != nil {
		t.Fatal(err)
	}
	for i := range reflect.TypeFor[conclave.Ballot]().NumField() {
		altered := b
		alter(t, reflect.ValueOf(&altered).Elem().Field(i))
		name := reflect.TypeFor[conclave.Ballot]().Field(i).Name
		if err := identity.VerifyBallot(altered); !errors.Is(err, conclave.ErrDenied) {
			t.Errorf("with another %s: got %v, want ErrDenied", name, err)
		}
	}
	unsigned := sampleBallot()
	if err := identity.VerifyBallot(unsigned); !errors.Is(err, conclave.ErrDenied) {
		t.Errorf("unsigned: got %v, want ErrDenied", err)
	}
	resigned := b
	resigned.PublicKey = newKey(t, "other").Public()
	if err := identity.VerifyBallot(resigned); !errors.Is(err, conclave.ErrDenied) {
		t.Errorf("with another's key: got %v, want ErrDenied", err)
	}
}

func alter(t *testing.T, v reflect.Value) {
	t.Helper()
	switch v.Kind() {
	case reflect.String:
		v.SetString(v.String() + "x")
	case reflect.Int, reflect.Int64:
		v.SetInt(v.Int() + 1)
	case reflect.Float64:
		v.SetFloat(v.Float() + 0.5)
	case reflect.Bool:
		v.SetBool(!v.Bool())
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), v.Len()+1, v.Len()+1))
		if v.Type() == reflect.TypeFor[json.RawMessage]() {
			v.Set(reflect.ValueOf(json.RawMessage(`{"altered":true}`)))
		}
	case reflect.Struct:
		if at, ok := v.Interface().(time.Time); ok {
			v.Set(reflect.ValueOf(at.Add(time.Second)))
			return
		}
		alter(t, v.Field(0))
	default:
		t.Fatalf("can't alter a %s", v.Type())
	}
}

func TestAlteredDecisionIsRefused(t *testing.T) {
	k := newKey(t, "council")
	b := sampleBallot()
	if err := identity.SignBallot(newKey(t, "voter"), &b); err != nil {
		t.Fatal(err)
	}
	d := conclave.Decision{
		Motion:  conclave.Motion{ID: "m1", Deadline: time.Now(), Material: json.RawMessage(`{"b":1, "a":2}`)},
		Outcome: conclave.OutcomeApproved, Reason: "3 of 3", Ballots: []conclave.Ballot{b},
		DecidedBy: "vote", Decided: time.Now(),
	}
	if err := identity.SignDecision(k, &d); err != nil {
		t.Fatal(err)
	}
	text, err := json.MarshalIndent(d, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	var back conclave.Decision
	if err := json.Unmarshal(text, &back); err != nil {
		t.Fatal(err)
	}
	if err := identity.VerifyDecision(back); err != nil {
		t.Fatalf("after a trip through a file: %v", err)
	}
	for i := range reflect.TypeFor[conclave.Decision]().NumField() {
		altered := back
		alter(t, reflect.ValueOf(&altered).Elem().Field(i))
		name := reflect.TypeFor[conclave.Decision]().Field(i).Name
		if err := identity.VerifyDecision(altered); !errors.Is(err, conclave.ErrDenied) {
			t.Errorf("with another %s: got %v, want ErrDenied", name, err)
		}
	}
}

func newTokens(t *testing.T, secret string) *identity.Tokens {
	t.Helper()
	tokens, err := identity.NewTokens([]byte(secret))
	if err != nil {
		t.Fatal(err)
	}
	return tokens
}

const (
	secret      = "0123456789abcdef0123456789abcdef"
	otherSecret = "another-secret-of-the-same-length"
)

var caller = conclave.Caller{
	Tenant: conclave.DefaultTenant, Human: "ada", Agent: "developer-2", Service: conclave.ServicePool,
	Permissions: []conclave.Permission{conclave.PermitRead, conclave.PermitSpeak},
}

func TestTokenRoundTrip(t *testing.T) {
	tokens := newTokens(t, secret)
	for _, c := range []conclave.Caller{
		caller,
		{Tenant: "t2", Human: "grace", Permissions: identity.HumanPermissions("viewer")},
		{Tenant: "t2", Human: "nobody"},
	} {
		token, err := tokens.Mint(c, time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		got, err := tokens.Verify(token)
		if err != nil {
			t.Fatal(err)
		}
		if len(c.Permissions) == 0 {
			got.Permissions = nil
		}
		if !reflect.DeepEqual(got, c) {
			t.Errorf("got %+v, want %+v", got, c)
		}
	}
}

func TestMintRefusals(t *testing.T) {
	tokens := newTokens(t, secret)
	for name, c := range map[string]conclave.Caller{"no human": {Tenant: "t"}, "no tenant": {Human: "ada"}} {
		if _, err := tokens.Mint(c, time.Hour); !errors.Is(err, conclave.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := tokens.Mint(caller, 0); !errors.Is(err, conclave.ErrInvalid) {
		t.Errorf("no life: %v", err)
	}
	if _, err := identity.NewTokens([]byte(secret[:31])); !errors.Is(err, conclave.ErrInvalid) {
		t.Errorf("a short secret: %v", err)
	}
}

func TestTokenExpires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tokens := newTokens(t, secret)
		token, err := tokens.Mint(caller, time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(59 * time.Second) // the bubble's clock
		if _, err := tokens.Verify(token); err != nil {
			t.Errorf("after 59 s of 60: %v", err)
		}
		time.Sleep(10 * time.Second)
		_, err = tokens.Verify(token)
		if !errors.Is(err, conclave.ErrDenied) || !strings.Contains(err.Error(), "expired") {
			t.Errorf("after 69 s of 60: got %v, want ErrDenied and the reason", err)
		}
	})
}

func TestForeignTokens(t *testing.T) {
	tokens := newTokens(t, secret)
	genuine, err := tokens.Mint(caller, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	parts := strings.Split(genuine, ".")
	encode := func(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }
	admin := encode(`{"iss":"conclave","aud":["conclave"],"sub":"ada","tenant":"default","exp":99999999999,"permissions":["admin"]}`)
	build := func(change func(*jwt.Builder) *jwt.Builder) string {
		b := jwt.NewBuilder().Issuer("conclave").Audience([]string{"conclave"}).Subject("ada").
			Claim("tenant", "default")
		token, err := change(b).Build()
		if err != nil {
			t.Fatal(err)
		}
		signed, err := jwt.Sign(token, jwt.WithKey(jwa.HS256(), []byte(secret)))
		if err != nil {
			t.Fatal(err)
		}
		return string(signed)
	}
	forged, err := newTokens(t, otherSecret).Mint(caller, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	good := func(b *jwt.Builder) *jwt.Builder { return b.Expiration(time.Now().Add(time.Hour)) }
	if _, err := tokens.Verify(build(good)); err != nil {
		t.Fatalf("the control is refused: %v", err)
	}
	tests := []struct{ name, token, reason string }{
		{"another secret", forged, "forged"},
		{"another payload", parts[0] + "." + admin + "." + parts[2], "forged"},
		{"algorithm none", encode(`{"alg":"none","typ":"JWT"}`) + "." + admin + ".", "forged"},
		{"algorithm none with the old signature", encode(`{"alg":"none"}`) + "." + admin + "." + parts[2], "forged"},
		{"another algorithm", encode(`{"alg":"HS512"}`) + "." + parts[1] + "." + parts[2], "forged"},
		{"no signature", parts[0] + "." + parts[1] + ".", "forged"},
		{"no token", "", "forged"},
		{"prose", "open sesame", "forged"},
		{"a huge token", strings.Repeat("a", 1<<20), "bytes"},
		{"another issuer", build(func(b *jwt.Builder) *jwt.Builder { return good(b.Issuer("evil")) }), "issuer"},
		{"another audience", build(func(b *jwt.Builder) *jwt.Builder { return good(b.Audience([]string{"evil"})) }), "audience"},
		{"no expiry", build(func(b *jwt.Builder) *jwt.Builder { return b }), "no expiry"},
		{"from the future", build(func(b *jwt.Builder) *jwt.Builder { return good(b.IssuedAt(time.Now().Add(time.Hour))) }), "future"},
		{"no subject", build(func(b *jwt.Builder) *jwt.Builder { return good(b.Subject("")) }), "no human"},
		{"no tenant", build(func(b *jwt.Builder) *jwt.Builder { return good(b.Claim("tenant", "")) }), "no tenant"},
		{"permissions that are no list", build(func(b *jwt.Builder) *jwt.Builder { return good(b.Claim("permissions", "admin")) }), ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := tokens.Verify(tt.token)
			if !errors.Is(err, conclave.ErrDenied) {
				t.Fatalf("got %+v, %v; want ErrDenied", got, err)
			}
			if !strings.Contains(err.Error(), tt.reason) {
				t.Errorf("reason %q lacks %q", err, tt.reason)
			}
			if len(got.Permissions) > 0 {
				t.Errorf("refused, yet with permissions: %+v", got)
			}
		})
	}
}

func TestLoadSecret(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "home")
	first, err := identity.LoadSecret(dir)
	if err != nil {
		t.Fatal(err)
	}
	again, err := identity.LoadSecret(dir)
	if err != nil || string(again) != string(first) || len(first) < 32 {
		t.Errorf("first %d bytes, then %d, %v", len(first), len(again), err)
	}
	path := filepath.Join(dir, "secret")
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	if err := os.Chmod(path, 0o640); err != nil {
		t.Fatal(err)
	}
	if _, err := identity.LoadSecret(dir); !errors.Is(err, conclave.ErrDenied) {
		t.Errorf("a secret that the group can read: %v", err)
	}
}

func TestAuthenticate(t *testing.T) {
	tokens := newTokens(t, secret)
	token, err := tokens.Mint(caller, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	authenticate := identity.Authenticate(tokens)
	tests := []struct {
		name   string
		header http.Header
		ok     bool
	}{
		{"bearer", http.Header{"Authorization": {"Bearer " + token}}, true},
		{"bearer in lower case", http.Header{"Authorization": {"bearer " + token}}, true},
		{"api key", http.Header{"X-Api-Key": {token}}, true},
		{"nothing", http.Header{}, false},
		{"basic", http.Header{"Authorization": {"Basic " + token}}, false},
		{"a bad bearer beside a good key", http.Header{"Authorization": {"Bearer bad"}, "X-Api-Key": {token}}, false},
		{"an empty bearer", http.Header{"Authorization": {"Bearer "}}, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := authenticate(&http.Request{Header: tt.header})
			if tt.ok && (err != nil || got.Human != "ada") {
				t.Errorf("got %+v, %v", got, err)
			}
			if !tt.ok && !errors.Is(err, conclave.ErrDenied) {
				t.Errorf("got %+v, %v; want ErrDenied", got, err)
			}
		})
	}
}

func TestGuardLocal(t *testing.T) {
	reached := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	h := identity.GuardLocal("Conclave.example.org", "10.0.0.5")(reached)
	tests := []struct {
		host, origin string
		ok           bool
	}{
		{"localhost:8080", "", true},
		{"LOCALHOST", "", true},
		{"localhost.:80", "", true},
		{"127.0.0.1:8080", "http://127.0.0.1:8080", true},
		{"127.8.8.8", "", true},
		{"[::1]:8080", "http://[::1]:8080", true},
		{"::1", "", true},
		{"conclave.example.org", "https://conclave.example.org", true},
		{"10.0.0.5:8080", "", true},
		{"evil.example:8080", "", false},
		{"localhost.evil.example", "", false},
		{"127.0.0.1.evil.example", "", false},
		{"127.0.0.1@evil.example", "", false},
		{"192.168.1.1", "", false},
		{"0.0.0.0", "", false},
		{"", "", false},
		{"localhost", "http://evil.example", false},
		{"localhost", "https://localhost.evil.example", false},
		{"localhost", "null", false},
		{"localhost", "file://localhost", false},
		{"localhost", "http://localhost@evil.example", false},
		{"localhost", "%zz", false},
	}
	for _, tt := range tests {
		r := httptest.NewRequest(http.MethodGet, "http://x/", nil)
		r.Host = tt.host
		if tt.origin != "" {
			r.Header.Set("Origin", tt.origin)
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		want := http.StatusForbidden
		if tt.ok {
			want = http.StatusNoContent
		}
		if w.Code != want {
			t.Errorf("host %q origin %q: got %d, want %d", tt.host, tt.origin, w.Code, want)
		}
		if !tt.ok && strings.TrimSpace(w.Body.String()) == "" {
			t.Errorf("host %q origin %q: refused without a reason", tt.host, tt.origin)
		}
	}
}

func TestPermissions(t *testing.T) {
	may := func(ps []conclave.Permission, p conclave.Permission) bool {
		return conclave.Caller{Permissions: ps}.May(p)
	}
	for _, role := range identity.Roles() {
		if ps := identity.HumanPermissions(role); !may(ps, conclave.PermitRead) || may(ps, conclave.PermitService) {
			t.Errorf("%s: %v", role, ps)
		}
	}
	if may(identity.HumanPermissions("operator"), conclave.PermitAdmin) || may(identity.HumanPermissions("viewer"), conclave.PermitSpeak) {
		t.Error("a lesser role holds a greater's permission")
	}
	if ps := identity.HumanPermissions("owner"); len(ps) != 0 {
		t.Errorf("an unknown role may %v", ps)
	}
	if ps := identity.AgentPermissions(); may(ps, conclave.PermitApprove) || may(ps, conclave.PermitWork) || !may(ps, conclave.PermitSpeak) {
		t.Errorf("agents may %v", ps)
	}
}
