// Package workflow drives a run to its end. A run is a set of durable steps with
// dependencies; nothing but this package decides what runs next.
//
//	        +---------- retry, with a reason, a bounded number of times
//	        v                    |
//	blocked -> ready -> running -+-> done | failed
//	             ^         |
//	             +- human  +-> waiting
//
// The store owns the steps' rows. A worker claims a step, which raises its
// epoch, runs the handler of its kind, and hands in one Transition: the step's
// new state, the steps that follow, changes of the run. The store refuses it
// when the epoch is no longer the newest one. A handler calls other services
// with idempotency keys made from the step, so that running it a second time
// after a crash finds what the first time did.
//
// Evidence is kept in the step's output before anybody votes on it, so that the
// report and the ballots name the same one. Every end of a run has a report; the
// cleanup that follows takes back what agents still do, waits for the last model
// calls, and writes the accounts and the report anew.
//
// A service that is restarted is waited for by the client that calls it, not
// here. A handler that fails for a passing reason (unavailable, timeout) is tried
// again; any other failure ends the run with the reason. When the process stops,
// handlers are interrupted and write nothing: their steps are put back at the
// next start.
package workflow
