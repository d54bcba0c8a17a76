// Package modelrouter chooses a model for a request and accounts for its cost.
//
// [Router] answers the operations of [conclave.Models], and its Handler speaks
// the providers' own wires on both sides. A request's body passes byte for byte
// but for the value of "model", its answer passes as it comes, and the usage is
// read on the way past:
//
//	client ──► who are you ──► which model ──► upstream 1 ──► … ──► upstream N
//	   ◄── status, headers, bytes, flushed as they come ◄──┘   only before the
//	                        │                                   first byte
//	                        └─► meter ─► store, once for each answer
//
// An upstream that can't be reached, or that answers 429 or 5xx, is passed over
// while there is another one; the last one's answer is the client's. An upstream
// that could not be reached is tried last for a while. When the client goes
// away, so does the upstream's request; what it had cost is recorded all the
// same.
//
// A stream is read by a goroutine of its own, which ends with the stream or when
// its reader closes it; a silent one gets a sign of life between two events.
// Everything else happens in the request's goroutine.
package modelrouter
