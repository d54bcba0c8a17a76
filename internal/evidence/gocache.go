package evidence

import (
	"bufio"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// An overlayCache answers the go command's cache requests (GOCACHEPROG): it
// keeps what is new in a directory of its own, and reads through to others that
// it never writes. All have the layout of a GOCACHE directory.
//
// Commands that execute nothing of the tree keep what is new in Conclave's
// build cache, and read through to the user's, where the standard library
// usually is already. Tests keep it in a directory of their sandbox, so that
// the untrusted code in them can't put objects into the cache which later
// measurements trust.
type overlayCache struct {
	over  string
	below []string
	out   *json.Encoder
}

// cacheRequest and cacheResponse are the messages of the protocol, as
// cmd/go/internal/cacheprog documents them.
type cacheRequest struct {
	ID       int64
	Command  string
	ActionID []byte
	OutputID []byte
	BodySize int64
}

type cacheResponse struct {
	ID            int64
	Err           string     `json:",omitempty"`
	KnownCommands []string   `json:",omitempty"`
	Miss          bool       `json:",omitempty"`
	OutputID      []byte     `json:",omitempty"`
	Size          int64      `json:",omitempty"`
	Time          *time.Time `json:",omitempty"`
	DiskPath      string     `json:",omitempty"`
}

// serveGoCache answers requests until the go command closes the cache. An empty
// over means a directory that lasts as long as the sandbox.
func serveGoCache(over string, below []string, in io.Reader, out io.Writer) error {
	if over == "" {
		var err error
		if over, err = os.MkdirTemp("", "gocache"); err != nil {
			return fmt.Errorf("making the overlay cache: %w", err)
		}
	}
	c := overlayCache{over: over, below: below, out: json.NewEncoder(out)}
	if err := c.out.Encode(cacheResponse{KnownCommands: []string{"get", "put", "close"}}); err != nil {
		return err
	}
	lines := bufio.NewReaderSize(in, 1<<20)
	for {
		line, err := nextLine(lines)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("reading a cache request: %w", err)
		}
		var q cacheRequest
		if err := json.Unmarshal(line, &q); err != nil {
			return fmt.Errorf("reading a cache request: %w", err)
		}
		a := cacheResponse{ID: q.ID}
		switch q.Command {
		case "get":
			c.get(q, &a)
		case "put":
			if err := c.put(q, lines, &a); err != nil {
				return fmt.Errorf("reading a cache object: %w", err)
			}
		case "close":
			return c.out.Encode(a)
		default:
			a.Err = "unknown command"
		}
		if err := c.out.Encode(a); err != nil {
			return err
		}
	}
}

// nextLine returns the next line that is not empty.
func nextLine(r *bufio.Reader) ([]byte, error) {
	for {
		line, err := r.ReadBytes('\n')
		if err != nil {
			return nil, err
		}
		if len(line) > 1 {
			return line, nil
		}
	}
}

// get looks in the caches in turn: the index entry "v1 ACTION OUTPUT SIZE
// NANOSECONDS" is in XX/ACTION-a, the object in XX/OUTPUT-d.
func (c overlayCache) get(q cacheRequest, a *cacheResponse) {
	action := hex.EncodeToString(q.ActionID)
	for i, dir := range append([]string{c.over}, c.below...) {
		index := cachePath(dir, action, "a")
		entry, err := os.ReadFile(index)
		if err != nil {
			continue
		}
		fields := strings.Fields(string(entry))
		if len(fields) != 5 || fields[0] != "v1" || fields[1] != action {
			continue
		}
		output, err1 := hex.DecodeString(fields[2])
		size, err2 := strconv.ParseInt(fields[3], 10, 64)
		nanos, err3 := strconv.ParseInt(fields[4], 10, 64)
		object := cachePath(dir, fields[2], "d")
		info, err4 := os.Stat(object)
		if errors.Join(err1, err2, err3, err4) != nil || info.Size() != size {
			continue
		}
		switch {
		case i == 0:
			used(index)
			used(object)
		case time.Since(info.ModTime()) > nearlyUnused:
			continue // its owner may remove it while it is read
		}
		at := time.Unix(0, nanos)
		a.OutputID, a.Size, a.Time, a.DiskPath = output, size, &at, object
		return
	}
	a.Miss = true
}

// put keeps an object. The body follows the request as a JSON string in base64.
func (c overlayCache) put(q cacheRequest, lines *bufio.Reader, a *cacheResponse) error {
	var body []byte
	if q.BodySize > 0 {
		line, err := nextLine(lines)
		if err != nil {
			return err
		}
		text := strings.Trim(strings.TrimSpace(string(line)), `"`)
		if body, err = base64.StdEncoding.DecodeString(text); err != nil {
			return err
		}
	}
	action, output := hex.EncodeToString(q.ActionID), hex.EncodeToString(q.OutputID)
	object := cachePath(c.over, output, "d")
	entry := fmt.Sprintf("v1 %s %s %20d %20d\n", action, output, len(body), time.Now().UnixNano())
	if err := errors.Join(writeObject(object, body), writeObject(cachePath(c.over, action, "a"), []byte(entry))); err != nil {
		a.Err = err.Error()
		return nil
	}
	a.DiskPath = object
	return nil
}

func cachePath(dir, id, kind string) string {
	if len(id) < 2 {
		return filepath.Join(dir, "short", kind)
	}
	return filepath.Join(dir, id[:2], id+"-"+kind)
}

// writeObject writes a file in one step: other go commands may read it meanwhile.
func writeObject(name string, data []byte) error {
	if err := os.Mkdir(filepath.Dir(name), 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(name), "new")
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), name)
	}
	if err != nil {
		_ = os.Remove(f.Name())
	}
	return err
}

// Objects are kept for as long as the go command keeps them in a cache of its
// own; their times of use are written down no more often than it does.
const (
	keptUnused   = 5 * 24 * time.Hour
	nearlyUnused = 4 * 24 * time.Hour
	useNoted     = time.Hour
)

// used notes that a file was used.
func used(name string) {
	now := time.Now()
	if info, err := os.Stat(name); err == nil && now.Sub(info.ModTime()) > useNoted {
		_ = os.Chtimes(name, now, now) // at worst it is compiled again
	}
}

// trimGoCache removes what nobody used for long, at most once a day.
func trimGoCache(dir string, now time.Time) error {
	mark := filepath.Join(dir, "trim.txt")
	if info, err := os.Stat(mark); err == nil && now.Sub(info.ModTime()) < 24*time.Hour {
		return nil
	}
	if err := errors.Join(os.WriteFile(mark, nil, 0o600), os.Chtimes(mark, now, now)); err != nil {
		return fmt.Errorf("trimming the build cache: %w", err)
	}
	dirs, err := filepath.Glob(filepath.Join(dir, "[0-9a-f][0-9a-f]"))
	for _, d := range dirs {
		removeOld(d, now.Add(-keptUnused))
	}
	return err
}
