package modelrouter

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"strconv"
	"strings"

	"conclave"
	"conclave/internal/modelwire"
)

// across makes the body, the path and the headers of a request those of the other wire.
func (x *exchange) across(req *http.Request, a attempt) (body []byte, err error) {
	for name := range req.Header {
		if strings.HasPrefix(name, "Anthropic-") || strings.HasPrefix(name, "Openai-") || strings.HasPrefix(name, "X-Stainless-") || strings.HasPrefix(name, "X-Claude-") {
			req.Header.Del(name)
		}
	}
	if a.Wire == WireAnthropic {
		req.Header.Set("Anthropic-Version", "2023-06-01")
	}
	req.URL.RawQuery = ""
	if x.body == nil {
		return nil, nil // a list of models
	}
	path := "/v1/messages"
	if a.Wire == WireAnthropic {
		if x.usage, err = modelwire.WantsUsage(x.body); err == nil {
			body, err = modelwire.ToAnthropic(x.body, a.model)
		}
	} else {
		path = "/v1/chat/completions"
		body, err = modelwire.ToOpenAI(x.body, a.model)
	}
	req.URL.Path = a.base.Path + path
	return body, err
}

// translate turns the answer of an upstream of the other wire. Its error keeps
// its status and its text.
func (r *Router) translate(x *exchange, resp *http.Response, stream bool) error {
	h := resp.Header
	h.Del("Content-Length")
	resp.ContentLength = -1
	if stream && resp.StatusCode == http.StatusOK {
		if x.wire == WireAnthropic {
			resp.Body = modelwire.AnthropicStream(resp.Body)
		} else {
			resp.Body = modelwire.OpenAIStream(resp.Body, x.usage, r.now())
		}
		return nil
	}
	raw, err := io.ReadAll(io.LimitReader(resp.Body, maxDocument+1))
	if closed := resp.Body.Close(); err == nil {
		err = closed
	}
	switch coding := h.Get("Content-Encoding"); {
	case err != nil:
		return conclave.Errorf(conclave.ErrUnavailable, "the answer of the %s provider broke off", x.chosen.Name)
	case len(raw) > maxDocument:
		return conclave.Errorf(conclave.ErrUnavailable, "the answer of the %s provider has more than %d bytes", x.chosen.Name, maxDocument)
	case coding != "" && coding != "identity":
		return conclave.Errorf(conclave.ErrUnavailable, "the answer of the %s provider is compressed, which was not asked for", x.chosen.Name)
	}
	var out []byte
	switch {
	case resp.StatusCode >= http.StatusBadRequest:
		text := modelwire.ErrorText(raw)
		if text == "" {
			text = "the " + x.chosen.Name + " provider answered " + strconv.Itoa(resp.StatusCode)
		}
		out, err = json.Marshal(fault{resp.StatusCode, text}.body(x.wire))
	case resp.StatusCode != http.StatusOK:
		err = conclave.Errorf(conclave.ErrUnavailable, "the %s provider answered %d, which is no answer", x.chosen.Name, resp.StatusCode)
	case x.body == nil && x.wire == WireAnthropic:
		out, err = modelwire.AnthropicModels(raw)
	case x.body == nil:
		out, err = modelwire.OpenAIModels(raw)
	case x.wire == WireAnthropic:
		out, err = modelwire.AnthropicAnswer(raw)
	default:
		out, err = modelwire.OpenAIAnswer(raw, r.now())
	}
	if err != nil {
		return err
	}
	h.Set("Content-Type", "application/json")
	h.Set("Content-Length", strconv.Itoa(len(out)))
	resp.ContentLength = int64(len(out))
	resp.Body = io.NopCloser(bytes.NewReader(out))
	return nil
}
