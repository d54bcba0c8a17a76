// Package bus tells the processes of an installation, live, that something was
// committed. A note carries ids only: whoever hears one reads the tables. A note
// that is lost costs a watcher its wait for the next poll, and nothing else, so
// nothing here is kept on disk and nobody waits for it.
//
// A Bus rings the watchers of its own process at once, on any engine. Redis,
// Kafka or NATS carry the same notes to the other processes; with "memory" there
// are none to tell, or they are told by other means.
//
//	           server answers
//	away ──────────────────────────▶ up
//	  ▲ ◀────────────────────────── │
//	  │    server lost, said once    │ notes are carried
//	  └─ tries again, with backoff;  └─ at the beginning everybody looks,
//	     notes are dropped              for what was dropped meanwhile
//
// Run owns two goroutines: one listens to the server and finds it again, one
// sends what Publish has left, everything that waits in one message.
package bus
