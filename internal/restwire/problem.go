package restwire

import (
	"encoding/json"
	"errors"
	"net/http"

	"conclave"
)

// problemType is the media type of RFC 9457.
const problemType = "application/problem+json"

// Problem is an error on the wire (RFC 9457), with the kind of error and, for a
// bad input, the fields that were wrong.
type Problem struct {
	Title  string       `json:"title" doc:"The status in words"`
	Status int          `json:"status" doc:"The HTTP status"`
	Detail string       `json:"detail" doc:"What went wrong, for a person"`
	Kind   string       `json:"kind" doc:"The kind of error: the same on REST, MCP and A2A"`
	Errors []FieldError `json:"errors,omitempty" doc:"The fields of the input that were wrong"`
}

// FieldError says what is wrong with one field of an input.
type FieldError struct {
	Field   string `json:"field" doc:"Where: motion.rule.name, steps[2].key; empty for the whole input"`
	Message string `json:"message" doc:"What is wrong, and what would be right"`
}

// kindStatus pairs a kind of error with an HTTP status.
type kindStatus struct {
	kind   error
	status int
}

// kindStatuses maps kinds to statuses and back. From a kind the first row
// counts; the later rows are for statuses that say the same more exactly, or
// that something between the two ends made.
func kindStatuses() []kindStatus {
	return []kindStatus{
		{conclave.ErrNotFound, http.StatusNotFound},
		{conclave.ErrInvalid, http.StatusUnprocessableEntity},
		{conclave.ErrConflict, http.StatusConflict},
		{conclave.ErrDenied, http.StatusForbidden},
		{conclave.ErrUnavailable, http.StatusServiceUnavailable},
		{conclave.ErrTimeout, http.StatusGatewayTimeout},
		{conclave.ErrLimited, http.StatusTooManyRequests},
		{conclave.ErrUnsupported, http.StatusNotImplemented},
		{conclave.ErrInternal, http.StatusInternalServerError},

		{conclave.ErrInvalid, http.StatusBadRequest},
		{conclave.ErrInvalid, http.StatusRequestEntityTooLarge},
		{conclave.ErrInvalid, http.StatusUnsupportedMediaType},
		{conclave.ErrDenied, http.StatusUnauthorized},
		{conclave.ErrUnsupported, http.StatusMethodNotAllowed},
		{conclave.ErrUnavailable, http.StatusBadGateway},
		{conclave.ErrTimeout, http.StatusRequestTimeout},
	}
}

func statusOf(kind error) int {
	for _, row := range kindStatuses() {
		if row.kind == kind {
			return row.status
		}
	}
	return http.StatusInternalServerError
}

// kindOf returns the kind of a problem: the one it names, else what its status
// says.
func kindOf(name string, status int) error {
	for _, kind := range conclave.Kinds() {
		if kind.Error() == name {
			return kind
		}
	}
	for _, row := range kindStatuses() {
		if row.status == status {
			return row.kind
		}
	}
	return conclave.ErrInternal
}

// inputError is an ErrInvalid that knows its status and the fields.
type inputError struct {
	status int
	fields []FieldError
}

func (e *inputError) Error() string {
	text := ""
	for i, f := range e.fields {
		if i > 0 {
			text += "; "
		}
		if f.Field != "" {
			text += f.Field + ": "
		}
		text += f.Message
	}
	return text
}

func (e *inputError) Unwrap() error { return conclave.ErrInvalid }

// wholeInput is an error that belongs to no single field.
func wholeInput(status int, message string) error {
	return &inputError{status: status, fields: []FieldError{{Message: message}}}
}

// problemOf says an error in the words of the wire. The text of an error
// without a kind is not shown.
func problemOf(err error) Problem {
	kind := conclave.KindOf(err)
	p := Problem{Status: statusOf(kind), Detail: conclave.Text(err), Kind: kind.Error()}
	if bad, ok := errors.AsType[*inputError](err); ok {
		p.Status, p.Errors = bad.status, bad.fields
	}
	p.Title = http.StatusText(p.Status)
	return p
}

func writeProblem(w http.ResponseWriter, p Problem) {
	w.Header().Set("Content-Type", problemType)
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(p.Status)
	// The status is sent; an error here means the caller has gone.
	_ = json.NewEncoder(w).Encode(p)
}
