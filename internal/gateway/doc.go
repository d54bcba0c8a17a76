// Package gateway is the one entry: the page, REST below /api, MCP at /mcp and
// A2A below /a2a, for whoever has a token, as often as the limits allow.
//
// It owns no state but how often each caller and address has called lately. A
// service that is gone costs only its own part: the gateway says which one, in
// the form that the client's protocol has for errors, and serves the rest.
package gateway
