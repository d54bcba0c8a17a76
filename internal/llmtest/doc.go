// Package llmtest is a model endpoint for tests: it speaks the providers' own
// wires over real HTTP, and answers from a script.
//
// It serves Anthropic's POST /v1/messages and /v1/messages/count_tokens,
// OpenAI's POST /v1/chat/completions, both streaming and not, and GET
// /v1/models. A [Script] gets each request decoded and says what the model
// answers, or which fault the provider has. The server claims tokens by a plain
// count, sums what it claimed, and keeps the bytes of each request.
//
// [Start] opens the listener; [Server.Close] ends every answer that is still
// held back and waits for all of them.
package llmtest
