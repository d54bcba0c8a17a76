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
// Where no upstream of the caller's wire has the model, one of the other is asked
// by translation (internal/modelwire), and what can't be translated is refused.
//
// An upstream that can't be reached, or that answers 429 or 5xx, is passed over
// while there is another key or upstream; when all of them fail so, they are
// asked again after a while, and the last one's answer is the client's. A caller
// with a key of its own gets one try at the first upstream: it retries by itself.
//
//	key       429 ──► rests as long as the provider says; 401, 402, 403 ──► rests 5 minutes
//	upstream  out of reach, or 5 failures in a row ──► tried last for 30 s ──► one trial
//
// When the client goes away, so does the upstream's request; what it had cost is
// recorded all the same.
//
// A stream is read by a goroutine of its own, which ends with the stream or when
// its reader closes it; a silent one gets a sign of life between two events.
// Everything else happens in the request's goroutine.
package modelrouter
