package git

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"time"

	"conclave"
)

// A Ref is a name for an object.
type Ref struct{ Name, Hash string }

// UpdateRef moves ref from the commit old to the commit new, or makes it when
// old is empty. The reason goes to the reflog. It fails with ErrConflict when
// ref is not at old, and with ErrNotFound when there is no commit new.
func (r *Repo) UpdateRef(ctx context.Context, ref, new, old, reason string) error {
	if err := checkHash(new); err != nil {
		return err
	}
	if _, err := r.Resolve(ctx, new); err != nil {
		return err
	}
	expected := old
	if old == "" {
		expected = strings.Repeat("0", len(new))
	}
	return r.swap(ctx, ref, expected, reason, "--create-reflog", "--no-deref", "--", ref, new, expected)
}

// DeleteRef deletes ref, which must be at old. It fails with ErrConflict when it
// is elsewhere or does not exist.
func (r *Repo) DeleteRef(ctx context.Context, ref, old, reason string) error {
	return r.swap(ctx, ref, old, reason, "--no-deref", "-d", "--", ref, old)
}

// swap runs update-ref, and finds out why it failed.
func (r *Repo) swap(ctx context.Context, ref, old, reason string, args ...string) error {
	if err := CheckRef(ref); err != nil {
		return err
	}
	if err := checkHash(old); err != nil {
		return err
	}
	command := []string{"update-ref"}
	if line := strings.Join(strings.Fields(reason), " "); line != "" {
		command = append(command, "-m", line)
	}
	_, err := r.git(ctx, append(command, args...)...)
	var f *failure
	if !errors.As(err, &f) {
		return err
	}
	now, readErr := r.Ref(ctx, ref)
	absent := errors.Is(readErr, conclave.ErrNotFound)
	switch {
	case readErr != nil && !absent:
		return readErr
	case absent && strings.Trim(old, "0") != "":
		return conclave.Errorf(conclave.ErrConflict, "%s does not exist, expected it at %s", ref, old)
	case !absent && now != old:
		return conclave.Errorf(conclave.ErrConflict, "%s is at %s, expected %s", ref, now, old)
	case strings.Contains(f.message, "exists; cannot create"):
		return conclave.Errorf(conclave.ErrConflict, "%w", f)
	case strings.Contains(f.message, "File exists"):
		return conclave.Errorf(conclave.ErrUnavailable, "%s is locked: %w", ref, f)
	}
	return f
}

// Ref returns the object that ref names. It fails with ErrNotFound.
func (r *Repo) Ref(ctx context.Context, ref string) (string, error) {
	if err := CheckRef(ref); err != nil {
		return "", err
	}
	hash, err := r.line(ctx, "show-ref", "--verify", "--hash", "--", ref)
	if says(err, "not a valid ref") {
		return "", conclave.Errorf(conclave.ErrNotFound, "there is no ref %s in %s", ref, r.Dir)
	}
	return hash, err
}

// ListRefs lists the refs at or below prefix, such as refs/heads, sorted by name.
func (r *Repo) ListRefs(ctx context.Context, prefix string) ([]Ref, error) {
	prefix = strings.TrimSuffix(prefix, "/")
	if prefix != "refs" {
		if err := CheckRef(prefix); err != nil {
			return nil, err
		}
	}
	out, err := r.git(ctx, "for-each-ref", "--format=%(objectname) %(refname)", prefix)
	if err != nil {
		return nil, err
	}
	var refs []Ref
	for line := range strings.Lines(string(out)) {
		hash, name, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		refs = append(refs, Ref{Name: name, Hash: hash})
	}
	return refs, nil
}

// A Move is an entry of a ref's log.
type Move struct {
	Hash   string // where the ref went
	Reason string
	Time   time.Time
}

// Reflog lists the moves of a ref, newest first. It fails with ErrNotFound when
// there is no such ref.
func (r *Repo) Reflog(ctx context.Context, ref string) ([]Move, error) {
	if _, err := r.Ref(ctx, ref); err != nil {
		return nil, err
	}
	// %gd holds the time of the move, where %ct would be the commit's.
	out, err := r.git(ctx, "log", "-z", "--walk-reflogs", "--date=unix", "--format=tformat:%H%x00%gd%x00%gs", ref, "--")
	if err != nil {
		return nil, err
	}
	var moves []Move
	f := strings.Split(string(out), "\x00")
	for ; len(f) > 3; f = f[3:] {
		_, stamp, _ := strings.Cut(f[1], "@{")
		seconds, err := strconv.ParseInt(strings.TrimSuffix(stamp, "}"), 10, 64)
		if err != nil {
			return nil, conclave.Errorf(conclave.ErrInternal, "git reflog: unknown time %q", f[1])
		}
		moves = append(moves, Move{Hash: f[0], Reason: f[2], Time: time.Unix(seconds, 0).UTC()})
	}
	return moves, nil
}
