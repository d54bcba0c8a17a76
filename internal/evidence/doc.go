// Package evidence runs analysers and tests, and turns what they print into
// findings, checks and a SARIF log.
//
// Everything that reads the code under measurement with the Go toolchain, and
// everything that runs it, happens in the sandbox. The analysers are libraries
// of this binary, so the binary starts itself in there (see [Worker]):
//
//	Measure ──copy──► scratch copy of the tree (the tree itself is never written)
//	   ├─ go build          build cache writable, nothing of the tree is executed
//	   ├─ worker --json     analysers, gofmt, secrets; the same
//	   ├─ ruff, shellcheck  when installed and when such files exist
//	   └─ worker --test     executes the tree: build cache read-only
//
// The go command finds compiled packages through the worker (GOCACHEPROG), in
// layers. Only the first is written, and only what executes nothing of the tree
// writes Conclave's:
//
//	go build, analysers   Conclave's build cache → the user's own
//	tests, other commands a temporary directory → Conclave's → the user's own
//
// So the standard library is rarely compiled, and the user's cache is never
// written. The results of tests are not cached, because the tests themselves
// could write such a cache.
//
// A test can't reach the build cache that later measurements trust, and it runs
// last, so it can't change what the analysers saw either. The same holds for a
// build command that is not go build. [Meter.Fix] tries fixes on such copies,
// and writes the tree once, at its end.
//
// Each measurement owns one numbered scratch directory by a file lock, and
// removes it at its end; a directory that a killed process left is emptied by
// the next owner. What one check can't do is a skipped check or a line of
// Unchecked; a lost sandbox or context ends the measurement with an error.
//
// # Memory
//
// A [Meter] remembers for some minutes the evidence of trees whose checks all
// passed, by the hash of every file that was copied and by the commands. A tree
// that is measured again while its vote is open, or checked for its merge, gets
// that evidence. Failures are measured again.
//
// # Levels
//
//   - error: does not compile; a failing test; a secret in its issuer's format;
//     gosec of high severity and high confidence; what staticcheck itself calls
//     an error; the vet passes that go test runs (atomic, bools, buildtag,
//     directive, errorsas, ifaceassert, nilfunc, printf, stringintconv, tests);
//     a certain nil dereference; a known vulnerability whose code is called.
//     A dependency whose licence is denied.
//   - warning: what merely looks like a secret; a dependency whose licence is
//     unknown or on neither list; the rest of staticcheck's SA
//     checks and of vet; gosec of medium severity, or of high severity with less
//     confidence; a known vulnerability that is only required.
//   - note: style, formatting, modernisation, deprecation, gosec of low severity.
//
// The check "lint" fails when an analyser reports an error; "format" fails when
// a file is not gofmt's.
//
// # Compliance
//
// [Comply] says which rules of rule sets the evidence meets. It adds nothing to
// the findings: a rule names those that violate it, and the tools that must have
// looked at all of the code for it to be met. What is suppressed violates nothing.
//
// # Suppressions
//
// //lint:ignore, //lint:file-ignore, #nosec, //gosec:disable, //nolint and
// gitleaks:allow are obeyed; what they cover is neither reported nor fixed.
// A staticcheck.conf in the tree chooses staticcheck's checks.
//
// # Fingerprints
//
// A finding's fingerprint is made of its tool, rule and path, the declaration
// around it, its source line without white space, and an ordinal among equals:
// never of its line number.
package evidence
