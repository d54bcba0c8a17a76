// Package hub is the only way between agents: it knows who exists, decides who
// may speak to whom, keeps what was said, and delivers it over A2A.
//
// A task goes
//
//	          Send                claim                 the agent's answer
//	(nothing) ────▶ submitted ───────────▶ working ───────────────▶ completed, failed, rejected
//	                   ▲  │ Cancel            │  │ Cancel
//	                   │  └─────────▶ canceled ◀──┘
//	                   └── put back: the agent can't be reached, has its hands
//	                       full, or the hub that held the delivery is gone
//
// Send returns after the message, its task, the event and a delivery job
// (task, epoch) are in the store, in one transaction. A job is a hint:
// HandleDelivery claims the delivery, which raises the task's epoch, and every
// later write names the epoch, so a hub that slept and woke changes nothing.
// A delivery that is put back gets a new epoch and a new job. The agent sees
// the same message id each time and answers it once.
//
// When a hub dies, the claims that carry its instance name are put back when a
// hub of that name starts, or by any other hub once they are older than
// ClaimTTL. A claim whose hub was not told that it has it, because the answer of
// the database got lost, is put back by that hub once it is older than LooseTTL. When an agent's host falls silent, its agents are lost: no new work
// goes to them, and messages to them wait. Agents that no service of ours hosts
// send no heartbeats; the hub asks for their card instead. A message that
// reached nobody for MaxAge fails with the reason.
//
// What is said to many is kept with its recipients, each of which then gets a task
// of its own; tend goes on with those that have none. Rules judge each call by who
// is at the start of its path, and budgets are counted where the task is kept.
//
// Run owns the tickers, the probes and tend, HandleDelivery the goroutine that watches
// a delivered task for its cancellation; both wait for theirs before they return.
package hub
