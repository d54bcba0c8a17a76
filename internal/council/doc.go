// Package council convenes agents, collects their signed votes, and brings every
// question to an end.
//
//	open, round 1 (blind) -> open, round 2 (with the others' reasons) -> senior -> waiting for a human
//	      |                        |                                      |              |
//	      +------------------------+--------------------------------------+--------------+--> decided
//
// One worker holds a motion at a time, by its claim's epoch. It asks each voter
// through the hub with a key made from motion, round and seat, so that asking
// again after a crash finds the answers that are there. A ballot counts only
// after its signature, its voter's registered key, its subject and its round
// were checked. A voter that fails, or is silent at the deadline, is absent. A
// round ends as soon as its outcome can't change any more, but for a moment in
// which voters that are about to answer still get on the record.
package council
