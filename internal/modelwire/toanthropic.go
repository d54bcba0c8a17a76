package modelwire

import (
	"encoding/json"
	"strings"

	"conclave"
)

const toAnthropic = "an Anthropic"

// maxTokens is asked for where a client leaves the limit to the provider, and
// this wire must have one.
const maxTokens = 32000

// ToAnthropic turns a request for chat completions into a Messages request, for
// this model. ErrInvalid for what can't be said there; the error names the field.
func ToAnthropic(body []byte, model string) ([]byte, error) {
	o, err := parse("", body)
	if err != nil {
		return nil, err
	}
	o.ignore("model", "prompt_cache_key", "prompt_cache_retention")
	for field, values := range map[string][]string{"n": {"1"}, "logprobs": {"false"}, "top_logprobs": {"0"}, "store": {"false"},
		"presence_penalty": {"0", "0.0"}, "frequency_penalty": {"0", "0.0"}, "logit_bias": {"{}"}, "metadata": {"{}"},
		"modalities": {`["text"]`}, "verbosity": {`"medium"`}, "functions": {"[]"}} {
		o.neutral(field, values...)
	}
	out := fields{"model": model, "max_tokens": maxTokens}
	for _, limit := range []string{"max_tokens", "max_completion_tokens"} {
		out.put("max_tokens", o.raw(limit))
	}
	out.put("top_p", o.raw("top_p"))
	if raw := o.raw("temperature"); raw != nil {
		var t float64
		if json.Unmarshal(raw, &t) != nil || t > 1 {
			return nil, refuse("temperature above 1", toAnthropic)
		}
		out["temperature"] = raw
	}
	if raw := o.raw("stop"); raw != nil {
		if raw[0] == '"' {
			raw = json.RawMessage("[" + string(raw) + "]")
		}
		out["stop_sequences"] = raw
	}
	out.put("stream", o.raw("stream"))
	if _, err := WantsUsage(body); err != nil {
		return nil, err
	}
	o.ignore("stream_options")
	switch tier := string(o.raw("service_tier")); tier {
	case "":
	case `"auto"`:
		out["service_tier"] = "auto"
	case `"default"`:
		out["service_tier"] = "standard_only"
	default:
		return nil, refuse("service_tier "+tier, toAnthropic)
	}
	for _, who := range []string{"user", "safety_identifier"} {
		if id := o.raw(who); id != nil {
			out["metadata"] = fields{"user_id": id}
		}
	}
	if err := outputAnthropic(o, out); err != nil {
		return nil, err
	}
	if err := toolsAnthropic(o, out); err != nil {
		return nil, err
	}
	turns, err := list("messages", o.raw("messages"))
	if err != nil {
		return nil, err
	}
	if err := turnsAnthropic(turns, out); err != nil {
		return nil, err
	}
	if err := o.rest(toAnthropic); err != nil {
		return nil, err
	}
	return encode(out)
}

// WantsUsage reports whether a stream of chat completions is to end with its
// usage. ErrInvalid for options that are none.
func WantsUsage(body []byte) (bool, error) {
	var r struct {
		Options *struct {
			Usage bool `json:"include_usage"`
		} `json:"stream_options"`
	}
	if err := json.Unmarshal(body, &r); err != nil {
		return false, conclave.Errorf(conclave.ErrInvalid, "stream_options: want an object with include_usage")
	}
	return r.Options != nil && r.Options.Usage, nil
}

func outputAnthropic(o object, out fields) error {
	config := fields{}
	effort, err := o.text("reasoning_effort")
	if err != nil {
		return err
	}
	switch effort {
	case "":
	case "none":
		out["thinking"] = fields{"type": "disabled"}
	case "minimal":
		config["effort"] = "low"
	default:
		config["effort"] = effort
	}
	if raw := o.raw("response_format"); raw != nil {
		f, err := parse("response_format", raw)
		if err != nil {
			return err
		}
		kind, err := f.text("type")
		if err != nil {
			return err
		}
		switch kind {
		case "text":
		case "json_schema":
			s, err := parse("response_format.json_schema", f.raw("json_schema"))
			if err != nil {
				return err
			}
			s.ignore("name", "description", "strict")
			config["format"] = fields{"type": "json_schema", "schema": s.raw("schema")}
			if err := s.rest(toAnthropic); err != nil {
				return err
			}
		default:
			return refuse("response_format.type "+kind, toAnthropic)
		}
		if err := f.rest(toAnthropic); err != nil {
			return err
		}
	}
	if len(config) > 0 {
		out["output_config"] = config
	}
	return nil
}

func toolsAnthropic(o object, out fields) error {
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
		if kind != "function" {
			return refuse(t.name("type")+" "+kind, toAnthropic)
		}
		f, err := parse(t.name("function"), t.raw("function"))
		if err != nil {
			return err
		}
		tool := fields{"input_schema": fields{"type": "object", "properties": fields{}}}
		f.neutral("strict", "false")
		for from, to := range map[string]string{"name": "name", "description": "description", "parameters": "input_schema", "strict": "strict"} {
			tool.put(to, f.raw(from))
		}
		if err := f.rest(toAnthropic); err != nil {
			return err
		}
		if err := t.rest(toAnthropic); err != nil {
			return err
		}
		all = append(all, tool)
	}
	if all != nil {
		out["tools"] = all
		// A conversation with tools goes on, and is read from the cache then.
		out["cache_control"] = fields{"type": "ephemeral"}
	}
	choice := fields{}
	if raw := o.raw("tool_choice"); raw != nil {
		var word string
		if json.Unmarshal(raw, &word) == nil {
			kinds := map[string]string{"auto": "auto", "none": "none", "required": "any"}
			if kinds[word] == "" {
				return refuse("tool_choice "+word, toAnthropic)
			}
			choice["type"] = kinds[word]
		} else {
			var named struct {
				Type     string
				Function struct{ Name string }
			}
			if json.Unmarshal(raw, &named) != nil || named.Type != "function" {
				return refuse("tool_choice "+named.Type, toAnthropic)
			}
			choice["type"], choice["name"] = "tool", named.Function.Name
		}
	}
	parallel := true
	if _, err := o.take("parallel_tool_calls", &parallel); err != nil {
		return err
	}
	if !parallel && choice["type"] != "none" && all != nil {
		choice["disable_parallel_tool_use"] = true
		if choice["type"] == nil {
			choice["type"] = "auto"
		}
	}
	if len(choice) > 0 {
		out["tool_choice"] = choice
	}
	return nil
}

// turnsAnthropic puts what the system says first into its own place, and the
// results of one turn's tools into one message.
func turnsAnthropic(turns []object, out fields) error {
	var system, messages []fields
	var results []fields
	flush := func() {
		if results != nil {
			messages = append(messages, fields{"role": "user", "content": results})
			results = nil
		}
	}
	for _, m := range turns {
		role, err := m.text("role")
		if err != nil {
			return err
		}
		if role != "tool" {
			flush()
		}
		content, err := contentAnthropic(m)
		if err != nil {
			return err
		}
		switch role {
		case "system", "developer":
			if messages == nil {
				system = append(system, content...)
			} else {
				messages = append(messages, fields{"role": "system", "content": content})
			}
		case "user":
			messages = append(messages, fields{"role": "user", "content": content})
		case "assistant":
			if content, err = assistantAnthropic(m, content); err != nil {
				return err
			}
			messages = append(messages, fields{"role": "assistant", "content": content})
		case "tool":
			result := fields{"type": "tool_result", "tool_use_id": m.raw("tool_call_id")}
			if len(content) > 0 {
				result["content"] = content
			}
			results = append(results, result)
		default:
			return refuse(m.name("role")+" "+role, toAnthropic)
		}
		if err := m.rest(toAnthropic); err != nil {
			return err
		}
	}
	flush()
	if system != nil {
		out["system"] = system
	}
	out["messages"] = messages
	return nil
}

// contentAnthropic are the blocks of a message; that wire has no empty texts.
func contentAnthropic(m object) ([]fields, error) {
	text, parts, err := m.parts("content")
	if err != nil {
		return nil, err
	}
	blocks := []fields{}
	if text != "" {
		blocks = append(blocks, fields{"type": "text", "text": text})
	}
	for _, p := range parts {
		block, err := blockAnthropic(p)
		if err != nil {
			return nil, err
		}
		if block["text"] != "" {
			blocks = append(blocks, block)
		}
	}
	return blocks, nil
}

func blockAnthropic(p object) (fields, error) {
	kind, err := p.text("type")
	if err != nil {
		return nil, err
	}
	var block fields
	switch kind {
	case "text", "refusal":
		text, err := p.text(kind)
		if err != nil {
			return nil, err
		}
		block = fields{"type": "text", "text": text}
	case "image_url":
		image, err := parse(p.name("image_url"), p.raw("image_url"))
		if err != nil {
			return nil, err
		}
		address, err := image.text("url")
		if err != nil {
			return nil, err
		}
		image.ignore("detail")
		if err := image.rest(toAnthropic); err != nil {
			return nil, err
		}
		source := fields{"type": "url", "url": address}
		if strings.HasPrefix(address, "data:") {
			if source = inline(address); source == nil {
				return nil, conclave.Errorf(conclave.ErrInvalid, "%s: want data:TYPE;base64,DATA", image.name("url"))
			}
		}
		block = fields{"type": "image", "source": source}
	case "file":
		file, err := parse(p.name("file"), p.raw("file"))
		if err != nil {
			return nil, err
		}
		data, err := file.text("file_data")
		if err != nil {
			return nil, err
		}
		name, err := file.text("filename")
		if err != nil {
			return nil, err
		}
		if err := file.rest(toAnthropic); err != nil {
			return nil, err
		}
		source := inline(data)
		if source == nil {
			return nil, conclave.Errorf(conclave.ErrInvalid, "%s: want data:TYPE;base64,DATA", file.name("file_data"))
		}
		block = fields{"type": "document", "source": source}
		if name != "" {
			block["title"] = name
		}
	default:
		return nil, refuse(p.at+" of type "+kind, toAnthropic)
	}
	return block, p.rest(toAnthropic)
}

// inline takes a data URL apart; nil when it is none.
func inline(address string) fields {
	media, data, ok := strings.Cut(strings.TrimPrefix(address, "data:"), ";base64,")
	if !ok || !strings.HasPrefix(address, "data:") {
		return nil
	}
	return fields{"type": "base64", "media_type": media, "data": data}
}

func assistantAnthropic(m object, content []fields) ([]fields, error) {
	refusal, err := m.text("refusal")
	if err != nil {
		return nil, err
	}
	if refusal != "" {
		content = append(content, fields{"type": "text", "text": refusal})
	}
	m.ignore("reasoning_content", "reasoning") // some servers' thinking, which nobody signed
	m.neutral("annotations", "[]")
	calls, err := list(m.name("tool_calls"), m.raw("tool_calls"))
	if err != nil {
		return nil, err
	}
	for _, c := range calls {
		if kind, err := c.text("type"); err != nil || (kind != "function" && kind != "") {
			return nil, refuse(c.name("type")+" "+kind, toAnthropic)
		}
		c.ignore("index")
		f, err := parse(c.name("function"), c.raw("function"))
		if err != nil {
			return nil, err
		}
		arguments, err := f.text("arguments")
		if err != nil {
			return nil, err
		}
		if arguments == "" {
			arguments = "{}"
		}
		if !isObject(arguments) {
			return nil, conclave.Errorf(conclave.ErrInvalid, "%s: want a JSON object as a string", f.name("arguments"))
		}
		content = append(content, fields{"type": "tool_use", "id": c.raw("id"), "name": f.raw("name"), "input": json.RawMessage(arguments)})
		if err := f.rest(toAnthropic); err != nil {
			return nil, err
		}
		if err := c.rest(toAnthropic); err != nil {
			return nil, err
		}
	}
	return content, nil
}
