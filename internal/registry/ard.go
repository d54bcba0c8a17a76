package registry

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"conclave"
)

// Where the catalog is, and below which path it is searched: Agentic Resource
// Discovery, version 0.9.
const (
	CatalogPath = "/.well-known/ai-catalog.json"
	SearchPath  = "/search"
	ARDPrefix   = "/ard"
)

// Media types of what a catalog lists.
const (
	typeAgent    = "application/a2a-agent-card+json"
	typeMCP      = "application/mcp-server-card+json"
	typeRegistry = "application/ai-registry+json"
)

// Entry is something that can be discovered (ARD §4.2): by reference, or with its
// whole description.
type Entry struct {
	Identifier   string         `json:"identifier"`
	DisplayName  string         `json:"displayName"`
	Type         string         `json:"type"`
	URL          string         `json:"url,omitempty"`
	Data         map[string]any `json:"data,omitempty"`
	Description  string         `json:"description,omitempty"`
	Tags         []string       `json:"tags,omitempty"`
	Capabilities []string       `json:"capabilities,omitempty"`
	Version      string         `json:"version,omitempty"`
	Metadata     map[string]any `json:"metadata,omitempty"`
}

// found is an entry as a search returns it.
type found struct {
	Entry
	Score  int    `json:"score"`
	Source string `json:"source"`
}

// CatalogOptions says what a catalog lists.
type CatalogOptions struct {
	// Agents lists the agents that the caller in ctx may see; required.
	Agents func(ctx context.Context) ([]conclave.Agent, error)
	// Services are tables that are also served as MCP, each below where MCP says.
	Services []conclave.Table
	// MCP is the address of a service's MCP endpoint. ErrUnavailable for a service
	// that does not run.
	MCP func(conclave.Service) (string, error)
	// Cards is the address below which agents' cards are: CARDS/NAME/.well-known/….
	// Empty: at the origin that was asked.
	Cards     string
	Publisher string // domain name in identifiers; "localhost" when empty
	Version   string
	Logger    *slog.Logger // nil: slog.Default()
}

// Catalog serves ARD: the catalog, which is public as the cards that it lists are,
// and the search, the list and the facets below [ARDPrefix], which need a caller.
type Catalog struct {
	opts CatalogOptions
	mux  *http.ServeMux
}

// NewCatalog makes a catalog. ErrInvalid without Agents.
func NewCatalog(o CatalogOptions) (*Catalog, error) {
	if o.Agents == nil {
		return nil, conclave.Errorf(conclave.ErrInvalid, "a catalog needs agents")
	}
	o.Publisher = cmp.Or(o.Publisher, "localhost")
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	c := &Catalog{opts: o, mux: http.NewServeMux()}
	c.mux.HandleFunc("GET "+CatalogPath, c.catalog)
	for _, prefix := range []string{"", ARDPrefix} {
		c.mux.HandleFunc("POST "+prefix+SearchPath, c.known(c.search))
	}
	c.mux.HandleFunc("GET "+ARDPrefix+"/agents", c.known(c.list))
	c.mux.HandleFunc("POST "+ARDPrefix+"/explore", c.known(c.explore))
	c.mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		c.fail(w, r, conclave.Errorf(conclave.ErrNotFound, "there is no %s %s; there are GET %s, POST %s, GET %s/agents and POST %s/explore", r.Method, r.URL.Path, CatalogPath, SearchPath, ARDPrefix, ARDPrefix))
	})
	return c, nil
}

// ServeHTTP implements http.Handler.
func (c *Catalog) ServeHTTP(w http.ResponseWriter, r *http.Request) { c.mux.ServeHTTP(w, r) }

// known asks who searches, as every operation that reads does.
func (c *Catalog) known(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		caller := conclave.CallerFrom(r.Context())
		switch {
		case caller.Name() == "":
			w.Header().Set("WWW-Authenticate", `Bearer realm="conclave"`)
			writeError(w, http.StatusUnauthorized, "UNAUTHENTICATED", "send Authorization: Bearer TOKEN")
		case !caller.May(conclave.PermitRead):
			writeError(w, http.StatusForbidden, "PERMISSION_DENIED", "searching needs the permission "+string(conclave.PermitRead))
		default:
			next(w, r)
		}
	}
}

func (c *Catalog) catalog(w http.ResponseWriter, r *http.Request) {
	ctx := r.Context()
	if conclave.CallerFrom(ctx).Tenant == "" {
		ctx = conclave.WithCaller(ctx, conclave.Caller{Tenant: conclave.DefaultTenant})
	}
	entries, err := c.entries(ctx, origin(r))
	if err != nil {
		c.fail(w, r, err)
		return
	}
	w.Header().Set("Access-Control-Allow-Origin", "*")
	w.Header().Set("Cache-Control", "public, max-age=60")
	reply(w, http.StatusOK, map[string]any{"specVersion": "1.0", "host": map[string]string{"displayName": "Conclave", "identifier": c.opts.Publisher}, "entries": entries})
}

// origin is the scheme and host by which the catalog was asked.
func origin(r *http.Request) string {
	if r.TLS != nil {
		return "https://" + r.Host
	}
	return "http://" + r.Host
}

// entries are what there is to be found: agents, services, and the search itself.
func (c *Catalog) entries(ctx context.Context, origin string) ([]Entry, error) {
	agents, err := c.opts.Agents(ctx)
	if err != nil {
		return nil, fmt.Errorf("listing agents for a catalog: %w", err)
	}
	cards := cmp.Or(c.opts.Cards, origin+"/a2a/agents")
	entries := []Entry{}
	for _, a := range agents {
		tags := append([]string{string(a.Role)}, a.Tags...)
		meta := map[string]any{"role": string(a.Role), "state": string(a.State)}
		if a.Card != nil {
			meta["signature"] = string(a.Card.Signature)
		}
		entries = append(entries, Entry{
			Identifier: c.identifier("agents", string(a.Name)), DisplayName: string(a.Name), Type: typeAgent,
			URL:         cards + "/" + string(a.Name) + "/.well-known/agent-card.json",
			Description: a.Description, Tags: tags, Capabilities: a.Skills, Metadata: meta,
		})
	}
	for _, t := range c.opts.Services {
		address, err := c.opts.MCP(t.Service)
		if errors.Is(err, conclave.ErrUnavailable) || errors.Is(err, conclave.ErrNotFound) {
			continue // it does not run, so there is nothing to be found
		}
		if err != nil {
			return nil, fmt.Errorf("looking for %s: %w", t.Service, err)
		}
		entries = append(entries, c.service(t, address))
	}
	return append(entries, Entry{
		Identifier: c.identifier("registry", "conclave"), DisplayName: "Conclave's registry", Type: typeRegistry, URL: origin + ARDPrefix,
		Description: "Searches the agents and services of this installation.", Tags: []string{"registry", "search"},
	}), nil
}

// service describes a service with its tools in the entry itself.
func (c *Catalog) service(t conclave.Table, address string) Entry {
	e := Entry{Identifier: c.identifier("services", string(t.Service)), DisplayName: string(t.Service), Type: typeMCP, Version: c.opts.Version, Tags: []string{"mcp"}}
	tools := []map[string]string{}
	var does []string
	for _, op := range t.Operations {
		if op.Effect == conclave.Streams {
			continue
		}
		tools = append(tools, map[string]string{"name": op.Name, "description": op.Summary})
		e.Capabilities = append(e.Capabilities, op.Name)
		if op.Tool {
			does = append(does, op.Summary)
		}
	}
	e.Description = strings.Join(does, " ")
	e.Data = map[string]any{"name": string(t.Service), "description": e.Description, "version": c.opts.Version,
		"remotes": []map[string]string{{"type": "streamable-http", "url": address}}, "tools": tools}
	return e
}

func (c *Catalog) identifier(namespace, name string) string {
	return "urn:air:" + c.opts.Publisher + ":" + namespace + ":" + name
}

// query is what a search and an exploration have in common (ARD §7.1).
type query struct {
	Text   string                     `json:"text"`
	Filter map[string]json.RawMessage `json:"filter"`
}

const maxQuery = 64 << 10

func decode(r *http.Request, into any) error {
	body, err := io.ReadAll(io.LimitReader(r.Body, maxQuery+1))
	if err != nil {
		return conclave.Errorf(conclave.ErrInvalid, "the request could not be read")
	}
	if len(body) > maxQuery {
		return conclave.Errorf(conclave.ErrInvalid, "the request is larger than %d KiB", maxQuery>>10)
	}
	if err := json.Unmarshal(body, into); err != nil {
		return conclave.Errorf(conclave.ErrInvalid, "the request is not the JSON of a query: %v", err)
	}
	return nil
}

func (c *Catalog) search(w http.ResponseWriter, r *http.Request) {
	var in struct {
		Query      query  `json:"query"`
		Federation string `json:"federation"`
		PageSize   *int   `json:"pageSize"`
		PageToken  string `json:"pageToken"`
	}
	err := decode(r, &in)
	if err == nil && strings.TrimSpace(in.Query.Text) == "" {
		err = conclave.Errorf(conclave.ErrInvalid, "query.text is required: say what is needed")
	}
	if err == nil && !slices.Contains([]string{"", "auto", "referrals", "none"}, in.Federation) {
		err = conclave.Errorf(conclave.ErrInvalid, "federation %q: want auto, referrals or none", in.Federation)
	}
	var size, first int
	if err == nil {
		size, first, err = page(in.PageSize, 10, in.PageToken)
	}
	var matched []found
	if err == nil {
		matched, err = c.match(r, in.Query)
	}
	if err != nil {
		c.fail(w, r, err)
		return
	}
	shown, next := cut(matched, first, size)
	// No other registry is asked, so there is nobody to refer to.
	out := map[string]any{"results": shown, "referrals": []Entry{}}
	if next != "" {
		out["pageToken"] = next
	}
	reply(w, http.StatusOK, out)
}

// match returns the entries that a query chooses, the best first.
func (c *Catalog) match(r *http.Request, q query) ([]found, error) {
	wanted := map[string][]string{}
	for path, raw := range q.Filter {
		values, err := filterValues(path, raw)
		if err != nil {
			return nil, err
		}
		wanted[path] = values
	}
	all, err := c.entries(r.Context(), origin(r))
	if err != nil {
		return nil, err
	}
	matched := []found{}
	for _, e := range all {
		score := 100
		if q.Text != "" {
			score = conclave.Relevance(q.Text, e.DisplayName+" "+strings.Join(e.Tags, " ")+" "+strings.Join(e.Capabilities, " "), e.Description)
		}
		if score > 0 && e.satisfies(wanted) {
			matched = append(matched, found{e, score, origin(r) + ARDPrefix})
		}
	}
	slices.SortStableFunc(matched, func(a, b found) int {
		return cmp.Or(cmp.Compare(b.Score, a.Score), cmp.Compare(a.Identifier, b.Identifier))
	})
	return matched, nil
}

// filterValues reads what a filter wants of a field: one value or several.
func filterValues(path string, raw json.RawMessage) ([]string, error) {
	if _, ok := (Entry{}).field(path); !ok {
		return nil, conclave.Errorf(conclave.ErrInvalid, "query.filter.%.60s is not supported; filter by %s", path, strings.Join(fields(), ", "))
	}
	var list []any
	if json.Unmarshal(raw, &list) != nil {
		var one any
		if err := json.Unmarshal(raw, &one); err != nil {
			return nil, conclave.Errorf(conclave.ErrInvalid, "query.filter.%.60s is not JSON", path)
		}
		list = []any{one}
	}
	var out []string
	for _, v := range list {
		s, ok := v.(string)
		if !ok {
			return nil, conclave.Errorf(conclave.ErrInvalid, "query.filter.%.60s wants texts", path)
		}
		out = append(out, s)
	}
	return out, nil
}

func fields() []string {
	return []string{"type", "displayName", "identifier", "publisher", "tags", "capabilities", "version", "metadata.role", "metadata.state", "metadata.signature"}
}

// field returns the values at a path of an entry.
func (e Entry) field(path string) ([]string, bool) {
	switch path {
	case "type":
		return []string{e.Type}, true
	case "displayName":
		return []string{e.DisplayName}, true
	case "identifier":
		return []string{e.Identifier}, true
	case "publisher":
		publisher, _, _ := strings.Cut(strings.TrimPrefix(e.Identifier, "urn:air:"), ":")
		return []string{publisher}, true
	case "tags":
		return e.Tags, true
	case "capabilities":
		return e.Capabilities, true
	case "version":
		return []string{e.Version}, true
	}
	name, ok := strings.CutPrefix(path, "metadata.")
	if !ok || !slices.Contains(fields(), path) {
		return nil, false
	}
	if v, there := e.Metadata[name].(string); there {
		return []string{v}, true
	}
	return nil, true
}

// satisfies joins the values of a field by or, and fields by and.
func (e Entry) satisfies(wanted map[string][]string) bool {
	for path, values := range wanted {
		have, _ := e.field(path)
		if !slices.ContainsFunc(values, func(v string) bool { return slices.Contains(have, v) }) {
			return false
		}
	}
	return true
}

func (c *Catalog) list(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	var asked *int
	var err error
	if text := q.Get("pageSize"); text != "" {
		var n int
		if n, err = strconv.Atoi(text); err != nil {
			err = conclave.Errorf(conclave.ErrInvalid, "pageSize %q is not a number", text)
		}
		asked = &n
	}
	var size, first int
	if err == nil {
		size, first, err = page(asked, 20, q.Get("pageToken"))
	}
	var wanted map[string][]string
	if err == nil {
		wanted, err = parseFilter(q.Get("filter"))
	}
	field, direction, _ := strings.Cut(cmp.Or(q.Get("orderBy"), "displayName"), " ")
	if err == nil && (!slices.Contains([]string{"displayName", "name", "identifier", "type"}, field) || !slices.Contains([]string{"", "ASC", "DESC"}, strings.ToUpper(direction))) {
		err = conclave.Errorf(conclave.ErrInvalid, "orderBy %q: want displayName, identifier or type, and ASC or DESC", q.Get("orderBy"))
	}
	var all []Entry
	if err == nil {
		all, err = c.entries(r.Context(), origin(r))
	}
	if err != nil {
		c.fail(w, r, err)
		return
	}
	all = slices.DeleteFunc(all, func(e Entry) bool { return !e.matches(wanted) })
	slices.SortStableFunc(all, func(a, b Entry) int {
		if strings.EqualFold(direction, "DESC") {
			a, b = b, a
		}
		by := map[string]int{"identifier": cmp.Compare(a.Identifier, b.Identifier), "type": cmp.Compare(a.Type, b.Type)}[field]
		return cmp.Or(by, cmp.Compare(a.DisplayName, b.DisplayName), cmp.Compare(a.Identifier, b.Identifier))
	})
	shown, next := cut(all, first, size)
	out := map[string]any{"items": shown, "total": len(all)}
	if next != "" {
		out["pageToken"] = next
	}
	reply(w, http.StatusOK, out)
}

// parseFilter reads FIELD = 'VALUE,VALUE' AND … (ARD appendix A).
func parseFilter(text string) (map[string][]string, error) {
	wanted := map[string][]string{}
	if strings.TrimSpace(text) == "" {
		return wanted, nil
	}
	for _, term := range strings.Split(text, " AND ") {
		field, value, ok := strings.Cut(term, "=")
		field, value = strings.TrimSpace(field), strings.Trim(strings.TrimSpace(value), `'"`)
		if !ok || value == "" || !slices.Contains([]string{"displayName", "type", "publisherId"}, field) {
			return nil, conclave.Errorf(conclave.ErrInvalid, "the filter %.100q: want displayName, type or publisherId = 'VALUE', joined by AND; several values are separated by commas", strings.TrimSpace(term))
		}
		for _, v := range strings.Split(value, ",") {
			wanted[field] = append(wanted[field], strings.TrimSpace(v))
		}
	}
	return wanted, nil
}

// matches compares names without regard to case, as the list's filter does.
func (e Entry) matches(wanted map[string][]string) bool {
	for field, values := range wanted {
		have := map[string]string{"displayName": e.DisplayName, "type": e.Type}[field]
		if field == "publisherId" {
			publisher, _ := e.field("publisher")
			have = publisher[0]
		}
		if !slices.ContainsFunc(values, func(v string) bool { return strings.EqualFold(v, have) }) {
			return false
		}
	}
	return true
}

func (c *Catalog) explore(w http.ResponseWriter, r *http.Request) {
	type facet struct {
		Field    string `json:"field"`
		Limit    *int   `json:"limit"`
		MinCount int    `json:"minCount"`
	}
	var in struct {
		Query      query `json:"query"`
		ResultType struct {
			Facets []facet `json:"facets"`
		} `json:"resultType"`
	}
	err := decode(r, &in)
	if err == nil && (len(in.ResultType.Facets) == 0 || len(in.ResultType.Facets) > 20) {
		err = conclave.Errorf(conclave.ErrInvalid, "resultType.facets: want 1 to 20 fields to count by")
	}
	var matched []found
	if err == nil {
		matched, err = c.match(r, in.Query)
	}
	if err != nil {
		c.fail(w, r, err)
		return
	}
	facets := map[string]any{}
	for _, f := range in.ResultType.Facets {
		limit := 20
		if f.Limit != nil {
			limit = *f.Limit
		}
		if _, ok := (Entry{}).field(f.Field); !ok || limit < 1 || limit > 100 {
			c.fail(w, r, conclave.Errorf(conclave.ErrInvalid, "the facet %.60q with the limit %d: count by %s, 1 to 100 values", f.Field, limit, strings.Join(fields(), ", ")))
			return
		}
		facets[f.Field] = count(matched, f.Field, limit, f.MinCount)
	}
	reply(w, http.StatusOK, map[string]any{"resultType": "facets", "facets": facets})
}

type bucket struct {
	Value string `json:"value"`
	Count int    `json:"count"`
}

// count counts entries by the values of a field, the most frequent first.
func count(matched []found, field string, limit, least int) map[string]any {
	counts := map[string]int{}
	for _, e := range matched {
		values, _ := e.field(field)
		for _, v := range slices.Compact(slices.Sorted(slices.Values(values))) {
			counts[v]++
		}
	}
	buckets := []bucket{}
	for v, n := range counts {
		if v != "" && n >= least {
			buckets = append(buckets, bucket{v, n})
		}
	}
	slices.SortFunc(buckets, func(a, b bucket) int { return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.Value, b.Value)) })
	others := 0
	for _, b := range buckets[min(limit, len(buckets)):] {
		others += b.Count
	}
	out := map[string]any{"buckets": buckets[:min(limit, len(buckets))]}
	if others > 0 {
		out["otherCount"] = others
	}
	return out
}

// page reads the size and the start of a page.
func page(asked *int, usual int, token string) (size, first int, err error) {
	size = usual
	if asked != nil {
		size = *asked
	}
	if size < 1 || size > 100 {
		return 0, 0, conclave.Errorf(conclave.ErrInvalid, "pageSize %d: want 1 to 100", size)
	}
	if token != "" {
		if first, err = strconv.Atoi(token); err != nil || first < 0 {
			return 0, 0, conclave.Errorf(conclave.ErrInvalid, "pageToken %.40q is not one that was given out", token)
		}
	}
	return size, first, nil
}

func cut[T any](all []T, first, size int) (shown []T, next string) {
	first = min(first, len(all))
	if end := first + size; end < len(all) {
		return all[first:end], strconv.Itoa(end)
	}
	return all[first:], ""
}

// fail answers with the specification's error codes (ARD appendix B).
func (c *Catalog) fail(w http.ResponseWriter, r *http.Request, err error) {
	switch conclave.KindOf(err) {
	case conclave.ErrInvalid:
		writeError(w, http.StatusBadRequest, "INVALID_ARGUMENT", conclave.Text(err))
	case conclave.ErrNotFound:
		writeError(w, http.StatusNotFound, "NOT_FOUND", conclave.Text(err))
	default:
		c.opts.Logger.ErrorContext(r.Context(), "answering a search", "path", r.URL.Path, "err", err)
		writeError(w, http.StatusInternalServerError, "INTERNAL_ERROR", conclave.Text(err))
	}
}

func writeError(w http.ResponseWriter, status int, code, message string) {
	reply(w, status, map[string]string{"errorCode": code, "message": message})
}

func reply(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // the client that hung up is the only one who could be told
}
