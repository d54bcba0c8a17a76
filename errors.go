package conclave

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"syscall"
	"time"
)

// The kinds of error. Ask with errors.Is. An error without a kind is internal,
// and its text is not shown to callers.
var (
	ErrNotFound    = errors.New("not found")
	ErrInvalid     = errors.New("invalid")
	ErrConflict    = errors.New("conflict")
	ErrDenied      = errors.New("denied")
	ErrUnavailable = errors.New("unavailable")
	ErrTimeout     = errors.New("timeout")
	ErrLimited     = errors.New("limited")
	ErrUnsupported = errors.New("unsupported")
	ErrInternal    = errors.New("internal")
)

// Kinds lists the kinds of error in the order in which KindOf asks for them.
func Kinds() []error {
	return []error{ErrNotFound, ErrInvalid, ErrConflict, ErrDenied, ErrUnavailable, ErrTimeout, ErrLimited, ErrUnsupported, ErrInternal}
}

// KindOf returns the kind of err: ErrTimeout for an exceeded deadline,
// ErrUnavailable for a disk that is full or can't be written to, ErrInternal when err has no kind, nil when err is nil.
func KindOf(err error) error {
	if err == nil {
		return nil
	}
	for _, kind := range Kinds() {
		if errors.Is(err, kind) {
			return kind
		}
	}
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return ErrTimeout
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EROFS): // whoever has the disk can mend it
		return ErrUnavailable
	}
	return ErrInternal
}

// DiskFull reports whether err says that there was no space left to write to,
// here or in another process: that passes without anybody changing the request.
func DiskFull(err error) bool {
	if err == nil {
		return false
	}
	return errors.Is(err, syscall.ENOSPC) || SaysDiskFull(err.Error())
}

// SaysDiskFull is DiskFull for what a program printed.
func SaysDiskFull(text string) bool {
	text = strings.ToLower(text)
	return strings.Contains(text, "no space left on device") || strings.Contains(text, "database or disk is full")
}

// Errorf makes an error of a kind, with a text for the caller. The format may
// hold %w for the cause.
func Errorf(kind error, format string, args ...any) error {
	return &kindError{kind: kind, err: fmt.Errorf(format, args...)}
}

// Text is what a caller may read of err: the whole text when it has a kind, and
// "internal error" when it has none, because that text may hold anything.
func Text(err error) string {
	if err == nil {
		return ""
	}
	if kind := KindOf(err); kind == ErrInternal && !errors.Is(err, ErrInternal) {
		return "internal error"
	}
	return err.Error()
}

// Later makes an ErrLimited that passes by itself: the same request may succeed
// after a while.
func Later(after time.Duration, format string, args ...any) error {
	return &laterError{error: Errorf(ErrLimited, format, args...), after: after}
}

// RetryAfter returns when to try again what failed with err, if it says so.
func RetryAfter(err error) (time.Duration, bool) {
	if later, ok := errors.AsType[*laterError](err); ok {
		return later.after, true
	}
	return 0, false
}

type laterError struct {
	error
	after time.Duration
}

func (e *laterError) Unwrap() error { return e.error }

type kindError struct {
	kind error
	err  error
}

func (e *kindError) Error() string   { return e.err.Error() }
func (e *kindError) Unwrap() []error { return []error{e.kind, e.err} }
