// Package prove calls every operation of every service through each of its faces
// (REST, MCP, A2A) and checks what it did by another path than its reply: the
// rows in the database, git's own objects, files, the bytes that a peer received.
//
// A proof is written once for an operation and is played once for each face, in
// a scene of its own: its own agent that listens on loopback, its own git
// repository, its own names. Only the operation under proof goes through the
// face; what has to be there before it is made through REST. A reply that looks
// right without an effect fails, and so does an operation without a proof.
package prove
