// Package restwire carries operations over HTTP, and contracts over operations:
// both ends. A service's table of operations becomes REST routes with an
// OpenAPI 3.1 description; a [Client] turns the same tables back into the
// contracts of the root package.
//
// The input of an operation is one flat object. Fields that the route names in
// braces are in the path; the others are in the query for GET and DELETE, else
// in a JSON body. Errors travel as problem details (RFC 9457) with the kind of
// error, and come out of the client as the same kind.
//
// Reading an input ([Inputs]) and running an operation ([Call]) are there for the
// other faces of an operation too.
//
// A stream of events holds two goroutines on the server: the one that serves
// the request writes, the other ranges over the record and ends with the
// request's context. The client reads a stream on its caller's goroutine. When
// a connection is lost, or silent for three heartbeats, it connects again and
// asks for what is after the last event that it yielded.
package restwire
