package modelwire

import (
	"strings"

	"conclave"
)

const toOpenAI = "an OpenAI-compatible"

// ToOpenAI turns a Messages request into one for chat completions, for this
// model. ErrInvalid for what can't be said there; the error names the field.
func ToOpenAI(body []byte, model string) ([]byte, error) {
	o, err := parse("", body)
	if err != nil {
		return nil, err
	}
	// metadata names the caller's device and account, which are the affair of one provider.
	o.ignore("model", "cache_control", "metadata")
	o.neutral("speed", `"standard"`)
	out := fields{"model": model}
	for from, to := range map[string]string{"max_tokens": "max_completion_tokens", "temperature": "temperature", "top_p": "top_p", "stop_sequences": "stop"} {
		out.put(to, o.raw(from))
	}
	var stream bool
	if _, err := o.take("stream", &stream); err != nil {
		return nil, err
	}
	if stream {
		out["stream"], out["stream_options"] = true, fields{"include_usage": true}
	}
	switch tier := string(o.raw("service_tier")); tier {
	case "", `"auto"`:
	case `"standard_only"`:
		out["service_tier"] = "default"
	default:
		return nil, refuse("service_tier "+tier, toOpenAI)
	}
	if err := contextOpenAI(o); err != nil {
		return nil, err
	}
	if err := effortOpenAI(o, out); err != nil {
		return nil, err
	}
	if err := toolsOpenAI(o, out); err != nil {
		return nil, err
	}
	var messages []fields
	system, parts, err := o.parts("system")
	if err != nil {
		return nil, err
	}
	if system, err = joined(system, parts); err != nil {
		return nil, err
	}
	if system != "" {
		messages = append(messages, fields{"role": "system", "content": system})
	}
	turns, err := list("messages", o.raw("messages"))
	if err != nil {
		return nil, err
	}
	for i, turn := range turns {
		said, err := turnOpenAI(turn, out, i == len(turns)-1)
		if err != nil {
			return nil, err
		}
		messages = append(messages, said...)
	}
	out["messages"] = messages
	if err := o.rest(toOpenAI); err != nil {
		return nil, err
	}
	return encode(out)
}

// contextOpenAI accepts the edits that only drop old thinking: none of it is sent.
func contextOpenAI(o object) error {
	raw := o.raw("context_management")
	if raw == nil {
		return nil
	}
	c, err := parse("context_management", raw)
	if err != nil {
		return err
	}
	edits, err := list("context_management.edits", c.raw("edits"))
	if err != nil {
		return err
	}
	for _, e := range edits {
		kind, err := e.text("type")
		if err != nil {
			return err
		}
		if !strings.HasPrefix(kind, "clear_thinking_") {
			return refuse(e.at+" "+kind, toOpenAI)
		}
	}
	return c.rest(toOpenAI)
}

// effortOpenAI turns what is said about thinking, effort and the answer's form.
// A budget of thinking becomes the effort that it stands for; adaptive thinking
// is what the other providers do anyway.
func effortOpenAI(o object, out fields) error {
	if raw := o.raw("thinking"); raw != nil {
		t, err := parse("thinking", raw)
		if err != nil {
			return err
		}
		kind, err := t.text("type")
		if err != nil {
			return err
		}
		var budget int64
		if _, err := t.take("budget_tokens", &budget); err != nil {
			return err
		}
		t.ignore("display") // none is shown
		switch kind {
		case "adaptive", "disabled":
		case "enabled":
			out["reasoning_effort"] = effortOf(budget)
		default:
			return refuse("thinking.type "+kind, toOpenAI)
		}
		if err := t.rest(toOpenAI); err != nil {
			return err
		}
	}
	return outputOpenAI(o, out)
}

func effortOf(budget int64) string {
	switch {
	case budget <= 4096:
		return "low"
	case budget <= 16384:
		return "medium"
	}
	return "high"
}

// outputOpenAI takes output_config: the effort, and a schema of the answer.
func outputOpenAI(o object, out fields) error {
	raw := o.raw("output_config")
	if raw == nil {
		return nil
	}
	c, err := parse(o.name("output_config"), raw)
	if err != nil {
		return err
	}
	effort, err := c.text("effort")
	if err != nil {
		return err
	}
	if effort != "" {
		out["reasoning_effort"] = strings.Replace(effort, "max", "xhigh", 1)
	}
	if raw := c.raw("format"); raw != nil {
		f, err := parse(c.name("format"), raw)
		if err != nil {
			return err
		}
		if kind, err := f.text("type"); err != nil || kind != "json_schema" {
			return refuse(f.name("type"), toOpenAI)
		}
		out["response_format"] = fields{"type": "json_schema", "json_schema": fields{"name": "answer", "strict": true, "schema": f.raw("schema")}}
		if err := f.rest(toOpenAI); err != nil {
			return err
		}
	}
	return c.rest(toOpenAI)
}

func toolsOpenAI(o object, out fields) error {
	tools, err := list("tools", o.raw("tools"))
	if err != nil {
		return err
	}
	var all []fields
	for _, t := range tools {
		kind, err := t.text("type")
		if err != nil {
			return err
		}
		if kind != "" && kind != "custom" {
			return refuse(t.name("type")+" "+kind, toOpenAI)
		}
		t.ignore("cache_control", "eager_input_streaming")
		t.neutral("defer_loading", "false")
		f := fields{}
		for from, to := range map[string]string{"name": "name", "description": "description", "input_schema": "parameters", "strict": "strict"} {
			f.put(to, t.raw(from))
		}
		if err := t.rest(toOpenAI); err != nil {
			return err
		}
		all = append(all, fields{"type": "function", "function": f})
	}
	if all != nil {
		out["tools"] = all
	}
	raw := o.raw("tool_choice")
	if raw == nil {
		return nil
	}
	c, err := parse("tool_choice", raw)
	if err != nil {
		return err
	}
	kind, err := c.text("type")
	if err != nil {
		return err
	}
	var alone bool
	if _, err := c.take("disable_parallel_tool_use", &alone); err != nil {
		return err
	}
	if alone {
		out["parallel_tool_calls"] = false
	}
	switch kind {
	case "auto", "none":
		out["tool_choice"] = kind
	case "any":
		out["tool_choice"] = "required"
	case "tool":
		out["tool_choice"] = fields{"type": "function", "function": fields{"name": c.raw("name")}}
	default:
		return refuse("tool_choice.type "+kind, toOpenAI)
	}
	return c.rest(toOpenAI)
}

// turnOpenAI turns one message into the one or several that say the same.
func turnOpenAI(m object, out fields, last bool) ([]fields, error) {
	role, err := m.text("role")
	if err != nil {
		return nil, err
	}
	text, blocks, err := m.parts("content")
	if err != nil {
		return nil, err
	}
	if err := outputOpenAI(m, out); err != nil { // the newest turn's effort counts
		return nil, err
	}
	if err := m.rest(toOpenAI); err != nil {
		return nil, err
	}
	switch role {
	case "system":
		text, err = joined(text, blocks)
		return []fields{{"role": "system", "content": text}}, err
	case "user":
		return userOpenAI(text, blocks)
	case "assistant":
		if last {
			return nil, refuse(m.at+" of the assistant at the end (a prefill)", toOpenAI)
		}
		said, err := assistantOpenAI(text, blocks)
		return []fields{said}, err
	}
	return nil, conclave.Errorf(conclave.ErrInvalid, "%s: %q: want user, assistant or system", m.name("role"), role)
}

// joined is content that can only be text.
func joined(text string, blocks []object) (string, error) {
	texts := []string{}
	if text != "" {
		texts = append(texts, text)
	}
	for _, b := range blocks {
		if kind, err := b.text("type"); err != nil || kind != "text" {
			return "", refuse(b.name("type")+" "+kind, toOpenAI)
		}
		t, err := textOf(b)
		if err != nil {
			return "", err
		}
		texts = append(texts, t)
	}
	return strings.Join(texts, "\n\n"), nil
}

// textOf is the text of a text block.
func textOf(b object) (string, error) {
	b.ignore("cache_control")
	b.neutral("citations", "[]")
	t, err := b.text("text")
	if err != nil {
		return "", err
	}
	return t, b.rest(toOpenAI)
}

// userOpenAI puts the results of tools first, each in a message of its own, as
// that wire wants them right behind their calls.
func userOpenAI(text string, blocks []object) ([]fields, error) {
	if blocks == nil {
		return []fields{{"role": "user", "content": text}}, nil
	}
	var results []fields
	var parts, pictures []fields
	plain := []string{}
	for _, b := range blocks {
		kind, err := b.text("type")
		if err != nil {
			return nil, err
		}
		switch kind {
		case "tool_result":
			result, shown, err := resultOpenAI(b)
			if err != nil {
				return nil, err
			}
			results, pictures = append(results, result), append(pictures, shown...)
		default:
			part, err := partOpenAI(b, kind)
			if err != nil {
				return nil, err
			}
			if t, ok := part["text"].(string); ok {
				plain = append(plain, t)
			}
			parts = append(parts, part)
		}
	}
	parts = append(pictures, parts...)
	switch {
	case len(parts) == 0:
		return results, nil
	case len(parts) == len(plain): // the form that every compatible server takes
		return append(results, fields{"role": "user", "content": strings.Join(plain, "\n\n")}), nil
	}
	return append(results, fields{"role": "user", "content": parts}), nil
}

// resultOpenAI is a tool's result. That wire has neither a mark for a failed one
// nor pictures in it: the text says the first, and the pictures follow it.
func resultOpenAI(b object) (result fields, pictures []fields, err error) {
	id, err := b.text("tool_use_id")
	if err != nil {
		return nil, nil, err
	}
	var failed bool
	if _, err := b.take("is_error", &failed); err != nil {
		return nil, nil, err
	}
	text, blocks, err := b.parts("content")
	if err != nil {
		return nil, nil, err
	}
	texts := []string{}
	if text != "" {
		texts = append(texts, text)
	}
	for _, inner := range blocks {
		kind, err := inner.text("type")
		if err != nil {
			return nil, nil, err
		}
		if kind == "tool_reference" {
			name, err := inner.text("tool_name")
			if err != nil {
				return nil, nil, err
			}
			texts = append(texts, "The tool "+name+" is there now.")
			continue
		}
		part, err := partOpenAI(inner, kind)
		if err != nil {
			return nil, nil, err
		}
		if t, ok := part["text"].(string); ok {
			texts = append(texts, t)
			continue
		}
		pictures = append(pictures, fields{"type": "text", "text": "From the result of " + id + ":"}, part)
	}
	b.ignore("cache_control")
	text = strings.Join(texts, "\n\n")
	if failed {
		text = "error: " + text
	}
	return fields{"role": "tool", "tool_call_id": id, "content": text}, pictures, b.rest(toOpenAI)
}

// partOpenAI is a block that both wires have.
func partOpenAI(b object, kind string) (fields, error) {
	switch kind {
	case "text":
		t, err := textOf(b)
		return fields{"type": "text", "text": t}, err
	case "image", "document":
	default:
		return nil, refuse(b.at+" of type "+kind, toOpenAI)
	}
	b.ignore("cache_control")
	title, err := b.text("title")
	if err != nil {
		return nil, err
	}
	s, err := parse(b.name("source"), b.raw("source"))
	if err != nil {
		return nil, err
	}
	if err := b.rest(toOpenAI); err != nil {
		return nil, err
	}
	var source struct{ kind, media, data, url string }
	for name, into := range map[string]*string{"type": &source.kind, "media_type": &source.media, "data": &source.data, "url": &source.url} {
		if *into, err = s.text(name); err != nil {
			return nil, err
		}
	}
	if err := s.rest(toOpenAI); err != nil {
		return nil, err
	}
	data := "data:" + source.media + ";base64," + source.data
	switch {
	case kind == "image" && source.kind == "base64":
		return fields{"type": "image_url", "image_url": fields{"url": data}}, nil
	case kind == "image" && source.kind == "url":
		return fields{"type": "image_url", "image_url": fields{"url": source.url}}, nil
	case kind == "document" && source.kind == "base64":
		if title == "" {
			title = "document.pdf"
		}
		return fields{"type": "file", "file": fields{"filename": title, "file_data": data}}, nil
	case kind == "document" && source.kind == "text":
		return fields{"type": "text", "text": source.data}, nil
	}
	return nil, refuse(s.name("type")+" "+source.kind, toOpenAI)
}

func assistantOpenAI(text string, blocks []object) (fields, error) {
	said := fields{"role": "assistant", "content": nil}
	texts := []string{}
	if text != "" {
		texts = append(texts, text)
	}
	var calls []fields
	for _, b := range blocks {
		kind, err := b.text("type")
		if err != nil {
			return nil, err
		}
		switch kind {
		case "text":
			t, err := textOf(b)
			if err != nil {
				return nil, err
			}
			texts = append(texts, t)
		case "thinking", "redacted_thinking":
		case "tool_use":
			b.ignore("cache_control")
			b.neutral("caller", `{"type":"direct"}`)
			input, err := encode(b.raw("input"))
			if err != nil {
				return nil, err
			}
			if !isObject(string(input)) {
				return nil, conclave.Errorf(conclave.ErrInvalid, "%s: want an object", b.name("input"))
			}
			call := fields{"id": b.raw("id"), "type": "function", "function": fields{"name": b.raw("name"), "arguments": string(input)}}
			if err := b.rest(toOpenAI); err != nil {
				return nil, err
			}
			calls = append(calls, call)
		default:
			return nil, refuse(b.at+" of type "+kind, toOpenAI)
		}
	}
	if len(texts) > 0 || calls == nil {
		said["content"] = strings.Join(texts, "\n\n")
	}
	if calls != nil {
		said["tool_calls"] = calls
	}
	return said, nil
}
