package monitor

import (
	"bytes"
	"compress/gzip"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"mime"
	"net/http"
	"path"
	"strings"
	"time"

	"conclave"
)

// nonceWord stands in the built index.html where each answer puts its own nonce;
// web/vite.config.ts names it.
const nonceWord = "CSP_NONCE"

// policy is the Content-Security-Policy. Nothing comes from elsewhere. Mantine
// writes its colours into a style element, which the nonce lets through.
func policy(nonce string) string {
	style := "'self'"
	if nonce != "" {
		style += " 'nonce-" + nonce + "'"
	}
	return "default-src 'self'; style-src " + style + "; img-src 'self' data:; object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
}

// page serves the built files, each kept as it is and compressed.
type page struct {
	index []byte // nil when the page was not built
	files map[string]file
}

type file struct {
	kind  string // Content-Type
	tag   string
	plain []byte
	small []byte // gzip; nil when that would not be smaller
}

func newPage(files fs.FS) (*page, error) {
	p := &page{files: map[string]file{}}
	if files == nil {
		return p, nil
	}
	err := fs.WalkDir(files, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || strings.HasPrefix(d.Name(), ".") {
			return err
		}
		data, err := fs.ReadFile(files, name)
		if err != nil {
			return err
		}
		if name == "index.html" {
			p.index = data
			return nil
		}
		f, err := newFile(name, data)
		if err != nil {
			return err
		}
		p.files["/"+name] = f
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("reading the page: %w", err)
	}
	if p.index == nil {
		return nil, conclave.Errorf(conclave.ErrInvalid, "the page has no index.html")
	}
	return p, nil
}

func newFile(name string, data []byte) (file, error) {
	sum := sha256.Sum256(data)
	f := file{kind: contentType(name), tag: hex.EncodeToString(sum[:8]), plain: data}
	var small bytes.Buffer
	z := gzip.NewWriter(&small)
	_, err := z.Write(data)
	if err := errors.Join(err, z.Close()); err != nil {
		return file{}, fmt.Errorf("compressing %s: %w", name, err)
	}
	if small.Len() < len(data) {
		f.small = small.Bytes()
	}
	return f, nil
}

// contentType does not ask the machine's own table first, which may say anything.
func contentType(name string) string {
	switch ext := path.Ext(name); ext {
	case ".js":
		return "text/javascript; charset=utf-8"
	case ".css":
		return "text/css; charset=utf-8"
	case ".svg":
		return "image/svg+xml"
	default:
		if kind := mime.TypeByExtension(ext); kind != "" {
			return kind
		}
		return "application/octet-stream"
	}
}

// ServeHTTP answers with a file, or with the page itself for every address that
// the page's own router knows.
func (p *page) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, "the page is only read", http.StatusMethodNotAllowed)
		return
	}
	if f, ok := p.files[r.URL.Path]; ok {
		f.serve(w, r)
		return
	}
	if strings.HasPrefix(r.URL.Path, "/assets/") || (r.URL.Path != "/" && !strings.Contains(r.Header.Get("Accept"), "text/html")) {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	if p.index == nil {
		writeText(w, "The page was not built", "This binary was made without Node, so it holds no page; everything else works. To build it: <code>make web</code>, then build the binary again.")
		return
	}
	nonce := rand.Text()
	w.Header().Set("Content-Security-Policy", policy(nonce))
	_, _ = w.Write(bytes.ReplaceAll(p.index, []byte(nonceWord), []byte(nonce)))
}

func (f file) serve(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Content-Type", f.kind)
	h.Set("Vary", "Accept-Encoding")
	h.Set("Cache-Control", "no-cache")
	if strings.HasPrefix(r.URL.Path, "/assets/") { // their names hold a hash of what they are
		h.Set("Cache-Control", "public, max-age=31536000, immutable")
	}
	data, tag := f.plain, f.tag
	if f.small != nil && strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
		data, tag = f.small, f.tag+"-gzip"
		h.Set("Content-Encoding", "gzip")
	}
	h.Set("ETag", `"`+tag+`"`)
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(data))
}

// writeText writes a page of plain text. Both arguments are ours, not a caller's.
func writeText(w io.Writer, title, text string) {
	_, _ = fmt.Fprintf(w, "<!doctype html>\n<html lang=\"en\"><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">"+
		"<meta name=\"color-scheme\" content=\"dark light\"><title>Conclave</title><h1>%s</h1><p>%s</p></html>\n", title, text)
}
