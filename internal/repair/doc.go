// Package repair rewrites Go source so that an analyser's finding is gone.
//
// It knows what one rewriting mends for certain: [Offers] are typed and are
// found while the analysers run, [Unused] deletes what nothing uses. Each
// repair is only a proposal; who applies it tries it first.
package repair
