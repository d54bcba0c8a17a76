// Package mcpwire shows operations to MCP clients: each operation that is marked
// as a tool is one, with a small schema, structured results and annotations;
// runs, plans and decisions are resources; and a few prompts tell the client's
// model how to use the tools.
//
// [NewHandler] serves streamable HTTP in both of its eras. Clients of protocol
// revision 2025-11-25 and before hold a session, which ends after some idle time
// because not every client says goodbye. Clients of 2026-07-28 send requests
// that stand alone. Each request is authenticated, in a session too, and a
// session can only be used by who opened it.
//
// While a call runs, one goroutine sends progress to a client that asked for it;
// it ends before the call returns.
package mcpwire
