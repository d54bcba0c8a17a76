// Package monitor serves the live page, signs browsers in, and passes the
// page's calls on to the API.
//
// A browser is signed in by a one-time link:
//
//	CLI, with a bearer token   POST /login/tickets   → ticket, kept in memory
//	browser                    GET /login?ticket=…   → session cookie; the ticket is gone
//	page                       /api/…                → the cookie's token as Authorization
//	page                       POST /logout          → the cookie is gone
//
// A ticket is random, good for two minutes and for one use; a restart forgets
// it, and the CLI makes another. The session is a token of its own in a cookie
// that scripts can't read; the monitor keeps no sessions, so a restart signs
// nobody out. A request that changes something and comes by the cookie must
// come from the page's own origin.
//
// The page's files hold no data and are served to everyone; what they show is
// behind /api, which judges the token itself.
package monitor
