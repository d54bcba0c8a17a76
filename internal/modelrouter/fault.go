package modelrouter

import (
	"encoding/json"
	"net/http"
	"strconv"
)

// fault is an error of the router's own, in the shape of the caller's wire.
type fault struct {
	status  int
	message string
}

// kind is the provider's word for a status.
func (f fault) kind(wire string) string {
	words := map[int][2]string{
		http.StatusBadRequest:            {"invalid_request_error", "invalid_request_error"},
		http.StatusUnauthorized:          {"authentication_error", "invalid_request_error"},
		http.StatusForbidden:             {"permission_error", "invalid_request_error"},
		http.StatusNotFound:              {"not_found_error", "invalid_request_error"},
		http.StatusMethodNotAllowed:      {"invalid_request_error", "invalid_request_error"},
		http.StatusRequestEntityTooLarge: {"request_too_large", "invalid_request_error"},
		http.StatusTooManyRequests:       {"rate_limit_error", "rate_limit_exceeded"},
		http.StatusRequestTimeout:        {"timeout_error", "invalid_request_error"},
		http.StatusUnsupportedMediaType:  {"invalid_request_error", "invalid_request_error"},
		529:                              {"overloaded_error", "server_error"},
		http.StatusGatewayTimeout:        {"timeout_error", "server_error"},
	}
	pair, ok := words[f.status]
	if !ok {
		pair = [2]string{"api_error", "server_error"}
	}
	if wire == WireAnthropic {
		return pair[0]
	}
	return pair[1]
}

// body is the error as the provider would send it.
func (f fault) body(wire string) any {
	if wire == WireAnthropic {
		return map[string]any{"type": "error", "error": map[string]any{"type": f.kind(wire), "message": f.message}}
	}
	return map[string]any{"error": map[string]any{"message": f.message, "type": f.kind(wire), "param": nil, "code": strconv.Itoa(f.status)}}
}

func (f fault) write(w http.ResponseWriter, wire string) {
	h := w.Header()
	h.Set("content-type", "application/json")
	if f.status == http.StatusUnauthorized {
		h.Set("www-authenticate", `Bearer realm="conclave"`)
	}
	if f.status < 500 && f.status != http.StatusRequestTimeout {
		// Asking again would change nothing; the SDKs of both providers heed this.
		h.Set("x-should-retry", "false")
	}
	w.WriteHeader(f.status)
	// The client may have gone.
	_ = json.NewEncoder(w).Encode(f.body(wire))
}
