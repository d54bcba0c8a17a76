package modelrouter

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// BenchmarkPass is the router's own work for a request of 100 KB, without a
// database: `make bench` measures the whole.
func BenchmarkPass(b *testing.B) {
	up := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		_, _ = io.WriteString(w, `{"type":"message","usage":{"input_tokens":9,"output_tokens":9}}`)
	}))
	defer up.Close()
	f := start(b, nil, anthropicUp(up.URL))
	body := `{"model":"claude-opus-5-5","messages":[{"role":"user","content":"` + strings.Repeat("word ", 20000) + `"}]}`
	b.ReportAllocs()
	for b.Loop() {
		if resp, text := post(b, f.url+"/v1/messages", body, "x-api-key", token); resp.StatusCode != 200 {
			b.Fatal(text)
		}
	}
}
