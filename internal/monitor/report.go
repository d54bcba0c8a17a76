package monitor

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"time"

	"conclave"
)

const reportMost = 32 << 20 // bytes

// report serves a run's report, which the run names by its path. It asks the
// API for the run first, so whoever may not read the run may not read this.
func (m *Monitor) report(w http.ResponseWriter, r *http.Request) {
	r, err := m.authorized(r)
	if err != nil {
		m.refuse(w, err)
		return
	}
	answer := m.askAPI(r, &url.URL{Path: "/api/runs/" + r.PathValue("run"), RawPath: "/api/runs/" + url.PathEscape(r.PathValue("run"))})
	if answer.status != http.StatusOK {
		w.Header().Set("Content-Type", answer.header.Get("Content-Type"))
		w.WriteHeader(answer.status)
		_, _ = w.Write(answer.body.Bytes())
		return
	}
	var detail conclave.RunDetail
	if err := json.Unmarshal(answer.body.Bytes(), &detail); err != nil {
		m.refuse(w, fmt.Errorf("reading run %s from the API: %w", r.PathValue("run"), err))
		return
	}
	data, kind, err := readReport(detail.Run.Report, r.PathValue("format"))
	if err != nil {
		m.refuse(w, err)
		return
	}
	w.Header().Set("Content-Type", kind)
	w.Header().Set("Cache-Control", "no-store")
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(data))
}

// readReport returns a report and its media type. ErrNotFound when it was not
// written, is not on this machine, or is not a file of its kind.
func readReport(report conclave.Report, format string) ([]byte, string, error) {
	var path, kind string
	var extensions []string
	switch format {
	case "markdown":
		path, extensions, kind = report.Markdown, []string{".md"}, "text/plain; charset=utf-8"
	case "json":
		path, extensions, kind = report.JSON, []string{".json"}, "application/json"
	case "sarif":
		path, extensions, kind = report.SARIF, []string{".sarif", ".json"}, "application/json"
	default:
		return nil, "", conclave.Errorf(conclave.ErrNotFound, "reports are markdown, json and sarif, not %q", format)
	}
	if path == "" {
		return nil, "", conclave.Errorf(conclave.ErrNotFound, "the run has no %s report yet", format)
	}
	if !slices.Contains(extensions, filepath.Ext(path)) {
		return nil, "", conclave.Errorf(conclave.ErrNotFound, "the run's %s report is not a %s file", format, extensions[0])
	}
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, "", conclave.Errorf(conclave.ErrNotFound, "the %s report is not on this machine: %s", format, path)
	}
	if err != nil {
		return nil, "", fmt.Errorf("opening the %s report: %w", format, err)
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return nil, "", conclave.Errorf(conclave.ErrNotFound, "the %s report is not a file: %s", format, path)
	}
	data, err := io.ReadAll(io.LimitReader(f, reportMost+1))
	if err != nil {
		return nil, "", fmt.Errorf("reading the %s report: %w", format, err)
	}
	if len(data) > reportMost {
		return nil, "", conclave.Errorf(conclave.ErrLimited, "the %s report is larger than %d MiB; read it where it is: %s", format, reportMost>>20, path)
	}
	return data, kind, nil
}

// answer is what the API said, kept instead of sent.
type answer struct {
	status int
	header http.Header
	body   bytes.Buffer
}

func (a *answer) Header() http.Header         { return a.header }
func (a *answer) WriteHeader(status int)      { a.status = status }
func (a *answer) Write(p []byte) (int, error) { return a.body.Write(p) }

// askAPI asks the API on behalf of the request's caller.
func (m *Monitor) askAPI(r *http.Request, address *url.URL) *answer {
	ask := r.Clone(r.Context())
	ask.Method, ask.Body, ask.ContentLength = http.MethodGet, http.NoBody, 0
	ask.URL, ask.RequestURI = address, address.RequestURI()
	a := &answer{status: http.StatusOK, header: http.Header{}}
	m.api.ServeHTTP(a, ask)
	return a
}
