package restwire

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net/http"
	"reflect"
	"runtime/debug"
	"strconv"
	"strings"

	"conclave"
	"conclave/internal/killpoint"
)

const (
	maxBodyBytes    = 16 << 20 // an assignment with its facts and diff fits
	keyHeader       = "Idempotency-Key"
	lastEventHeader = "Last-Event-ID"
)

// Options says what a handler serves.
type Options struct {
	Title   string // of the OpenAPI document; "Conclave" when empty
	Version string // of the OpenAPI document; "0" when empty

	Tables []conclave.Table
	// Events answers operations that stream. When nil, the Impl of the table that
	// has one does if it can; otherwise there is no such route.
	Events conclave.Events

	// Authenticate tells who sent a request. It is needed: nothing but the
	// OpenAPI document is public.
	Authenticate func(*http.Request) (conclave.Caller, error)

	Prefix string       // "" or "/api": before every path
	Logger *slog.Logger // nil means slog.Default()
}

func (o *Options) validate() error {
	if o.Authenticate == nil {
		return conclave.Errorf(conclave.ErrInvalid, "a handler needs to know who calls: Authenticate is nil")
	}
	if o.Prefix != "" && (!strings.HasPrefix(o.Prefix, "/") || strings.HasSuffix(o.Prefix, "/")) {
		return conclave.Errorf(conclave.ErrInvalid, "prefix %q: want it empty, or with a slash before and none after", o.Prefix)
	}
	for _, t := range o.Tables {
		if t.Impl == nil {
			return conclave.Errorf(conclave.ErrInvalid, "nothing answers the table of %s: its Impl is nil", t.Service)
		}
	}
	return nil
}

// eventsOf returns who streams the events of a table, or nil.
func (o *Options) eventsOf(t conclave.Table) conclave.Events {
	if o.Events != nil {
		return o.Events
	}
	events, _ := t.Impl.(conclave.Events)
	return events
}

type server struct {
	Options
	inputs *Inputs
	mux    *http.ServeMux
}

// NewHandler serves the operations of the tables. ErrInvalid when a table can't
// be served: a route twice, an input that does not fit its route.
func NewHandler(o Options) (_ http.Handler, err error) {
	if o.Title == "" {
		o.Title = "Conclave"
	}
	if o.Version == "" {
		o.Version = "0"
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	if err := o.validate(); err != nil {
		return nil, err
	}
	inputs, err := NewInputs(o.Tables)
	if err != nil {
		return nil, err
	}
	// net/http and huma report conflicting routes and names by panics.
	defer func() {
		if p := recover(); p != nil {
			err = conclave.Errorf(conclave.ErrInvalid, "serving the tables: %v", p)
		}
	}()
	s := &server{Options: o, inputs: inputs, mux: http.NewServeMux()}
	for _, t := range o.Tables {
		for _, op := range t.Operations {
			pattern := op.Method() + " " + o.Prefix + op.Path()
			if op.Effect == conclave.Streams {
				if events := o.eventsOf(t); events != nil {
					s.mux.Handle(pattern, s.guard(s.stream(inputs.byName[op.Name], events)))
				}
				continue
			}
			s.mux.Handle(pattern, s.guard(s.call(inputs.byName[op.Name], t.Impl)))
		}
	}
	doc, err := describe(o, inputs).MarshalJSON()
	if err != nil {
		return nil, fmt.Errorf("writing the OpenAPI document: %w", err)
	}
	s.mux.HandleFunc("GET "+o.Prefix+"/openapi.json", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(doc) // an error means that the caller has gone
	})
	return s, nil
}

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if _, pattern := s.mux.Handler(r); pattern != "" {
		s.mux.ServeHTTP(w, r)
		return
	}
	allowed := s.allowed(r)
	if len(allowed) == 0 {
		writeProblem(w, problemOf(conclave.Errorf(conclave.ErrNotFound, "no operation has the path %s", r.URL.Path)))
		return
	}
	w.Header().Set("Allow", strings.Join(allowed, ", "))
	p := problemOf(conclave.Errorf(conclave.ErrUnsupported, "%s takes %s, not %s", r.URL.Path, strings.Join(allowed, ", "), r.Method))
	p.Status, p.Title = http.StatusMethodNotAllowed, http.StatusText(http.StatusMethodNotAllowed)
	writeProblem(w, p)
}

// allowed returns the methods that the path of a request takes.
func (s *server) allowed(r *http.Request) []string {
	var methods []string
	for _, m := range []string{http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete} {
		other := *r
		other.Method = m
		if _, pattern := s.mux.Handler(&other); pattern != "" {
			methods = append(methods, m)
		}
	}
	return methods
}

// guard runs a handler for an authenticated caller and turns its error into a
// problem.
func (s *server) guard(serve func(http.ResponseWriter, *http.Request) error) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		caller, err := s.Authenticate(r)
		if errors.Is(err, conclave.ErrDenied) {
			challenge(w, r, err)
			return
		}
		if err != nil {
			s.refuse(w, r, err)
			return
		}
		r = r.WithContext(conclave.WithCaller(r.Context(), caller))
		if err := serve(w, r); err != nil {
			s.refuse(w, r, err)
		}
	})
}

// challenge asks for a token (RFC 6750 §3).
func challenge(w http.ResponseWriter, r *http.Request, err error) {
	ask := `Bearer realm="conclave"`
	if r.Header.Get("Authorization") != "" || r.Header.Get("X-Api-Key") != "" {
		ask += `, error="invalid_token"`
	}
	w.Header().Set("WWW-Authenticate", ask)
	p := problemOf(err)
	p.Status, p.Title = http.StatusUnauthorized, http.StatusText(http.StatusUnauthorized)
	writeProblem(w, p)
}

// refuse writes an error, and logs it when its text is not shown.
func (s *server) refuse(w http.ResponseWriter, r *http.Request, err error) {
	if errors.Is(err, context.Canceled) && r.Context().Err() != nil {
		err = conclave.Errorf(conclave.ErrUnavailable, "the request was cancelled")
		w.Header().Set("Retry-After", "1") // whoever still listens is told that this service stops
	}
	if conclave.KindOf(err) == conclave.ErrInternal {
		s.Logger.ErrorContext(r.Context(), "operation failed", "method", r.Method, "path", r.URL.Path,
			"caller", conclave.CallerFrom(r.Context()).Name(), "error", err)
	}
	if after, ok := conclave.RetryAfter(err); ok {
		w.Header().Set("Retry-After", strconv.Itoa(int(math.Ceil(after.Seconds()))))
	}
	writeProblem(w, problemOf(err))
}

// call serves one operation.
func (s *server) call(in *input, impl any) func(http.ResponseWriter, *http.Request) error {
	return func(w http.ResponseWriter, r *http.Request) error {
		if err := in.op.Permit(r.Context()); err != nil { // before the input, which is not for everybody to try
			return err
		}
		arg, err := s.read(in, w, r)
		if err != nil {
			return err
		}
		out, err := Call(r.Context(), in.op, impl, arg)
		if err != nil {
			return err
		}
		if in.op.Effect == conclave.Changes {
			killpoint.At("answer.before")
		}
		return writeResult(w, r, in.op, out)
	}
}

// Call runs an operation; a panic in it fails this call only.
func Call(ctx context.Context, op conclave.Operation, impl, arg any) (out any, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic in %s: %v\n%s", op.Name, p, debug.Stack())
		}
	}()
	return op.Call(ctx, impl, arg)
}

// read reads the input of an operation from a request.
func (s *server) read(in *input, w http.ResponseWriter, r *http.Request) (any, error) {
	elsewhere := map[string]any{}
	for _, name := range pathFields(in.op.Path()) {
		elsewhere[name] = parseValue(in.field(name).typ, r.PathValue(name))
	}
	if !in.inBody {
		return s.inputs.fromQuery(in, r.URL.Query(), elsewhere)
	}
	if key := r.Header.Get(keyHeader); key != "" && in.keyed() {
		elsewhere[keyField] = key
	}
	if r.URL.RawQuery != "" {
		return nil, wholeInput(http.StatusUnprocessableEntity, "the input belongs into the body, not into the query")
	}
	if kind := r.Header.Get("Content-Type"); kind != "" && !isJSON(kind) {
		return nil, wholeInput(http.StatusUnsupportedMediaType, fmt.Sprintf("the body must be application/json, not %s", kind))
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBodyBytes))
	if _, tooLarge := errors.AsType[*http.MaxBytesError](err); tooLarge {
		return nil, wholeInput(http.StatusRequestEntityTooLarge, fmt.Sprintf("the body is larger than %d bytes", maxBodyBytes))
	}
	if err != nil {
		return nil, wholeInput(http.StatusBadRequest, "the body broke off: "+err.Error())
	}
	return s.inputs.fromBody(in, body, elsewhere)
}

func isJSON(contentType string) bool {
	kind, _, _ := strings.Cut(contentType, ";")
	kind = strings.ToLower(strings.TrimSpace(kind))
	return kind == "application/json" || strings.HasSuffix(kind, "+json")
}

// linesType is the media type of JSON lines: one value on each line.
const linesType = "application/x-ndjson"

// writeResult writes what an operation returned; a list without entries is []. A
// list is written as JSON lines for a client that accepts nothing else.
func writeResult(w http.ResponseWriter, r *http.Request, op conclave.Operation, out any) error {
	v := reflect.ValueOf(out)
	if v.Kind() == reflect.Slice && strings.TrimSpace(r.Header.Get("Accept")) == linesType {
		return writeLines(w, op, v)
	}
	if v.Kind() == reflect.Slice && v.IsNil() {
		out = reflect.MakeSlice(v.Type(), 0, 0).Interface()
	}
	text, err := json.Marshal(out)
	if err != nil {
		return fmt.Errorf("encoding the result of %s: %w", op.Name, err)
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	_, _ = w.Write(append(text, '\n')) // an error means that the caller has gone
	return nil
}

func writeLines(w http.ResponseWriter, op conclave.Operation, list reflect.Value) error {
	var text []byte
	for i := range list.Len() {
		line, err := json.Marshal(list.Index(i).Interface())
		if err != nil {
			return fmt.Errorf("encoding line %d of %s: %w", i+1, op.Name, err)
		}
		text = append(append(text, line...), '\n')
	}
	w.Header().Set("Content-Type", linesType)
	w.Header().Set("Cache-Control", "no-store")
	_, _ = w.Write(text) // an error means that the caller has gone
	return nil
}
