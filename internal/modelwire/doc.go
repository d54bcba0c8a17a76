// Package modelwire translates between the two wires of model providers,
// Anthropic's Messages and OpenAI's chat completions: requests, whole answers,
// streams and lists of models. It is pure: bytes in, bytes out.
//
// A request keeps every message, tool and id. What the other wire has no word
// for is refused by the name of its field, unless leaving it out changes nothing
// but the price or the pace: cache marks, for one, because an OpenAI provider
// caches by itself. Signed thinking means something only to the provider that
// signed it, and stays behind.
package modelwire
