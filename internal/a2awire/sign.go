package a2awire

import (
	"bytes"
	"encoding/json"
	"slices"

	a2apb "github.com/a2aproject/a2a-go/v2/a2apb/v1"
	"github.com/gowebpki/jcs"
	"google.golang.org/genproto/googleapis/api/annotations"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"conclave"
)

// MaxCard is the largest card that is read, and maxCardDepth how deep it may nest.
const (
	MaxCard      = 256 << 10
	maxCardDepth = 32
)

// CardSignature is one of a card's signatures (A2A 1.0 §8.4.2).
type CardSignature struct {
	Protected string         `json:"protected"`
	Signature string         `json:"signature"`
	Header    map[string]any `json:"header,omitempty"`
}

// SignedForms returns what a card's signature may cover, each as canonical JSON
// (RFC 8785) without the member signatures, what covers most first:
//
//   - the whole document as it was served, with what the schema does not know,
//     as a card that is read by 0.3 clients too;
//   - the card as the protocol's schema has it, without defaults except those of
//     required fields (A2A 1.0 §8.4.1);
//   - the same without any empty value, which is what the official SDKs for
//     Python and JavaScript sign and verify;
//   - that without the security schemes, which the SDK for JavaScript loses when it
//     signs or verifies a card that it has read in the form of 1.0.
//
// Whoever verified one of them must use that form and nothing else of the card.
// ErrInvalid when the document is no card.
func SignedForms(card []byte) ([][]byte, error) {
	if len(card) > MaxCard {
		return nil, conclave.Errorf(conclave.ErrInvalid, "the card is larger than %d KiB", MaxCard>>10)
	}
	whole, err := decodeObject(card)
	if err != nil {
		return nil, err
	}
	var forms [][]byte
	add := func(v any) error {
		text, err := canonical(v)
		if err == nil && !slices.ContainsFunc(forms, func(f []byte) bool { return bytes.Equal(f, text) }) {
			forms = append(forms, text)
		}
		return err
	}
	delete(whole, "signatures")
	if err := add(whole); err != nil {
		return nil, err
	}
	// A card of 0.3 alone may hold what the schema of 1.0 has as another type.
	var message a2apb.AgentCard
	wrapScopes(whole)
	typed, err := json.Marshal(whole)
	if err != nil {
		return nil, conclave.Errorf(conclave.ErrInvalid, "encoding a card: %w", err)
	}
	if err := (protojson.UnmarshalOptions{DiscardUnknown: true}).Unmarshal(typed, &message); err == nil {
		message.Signatures = nil
		text, err := protojson.Marshal(&message)
		if err != nil {
			return nil, conclave.Errorf(conclave.ErrInvalid, "the card holds what has no JSON: %w", err)
		}
		plain, err := decodeObject(text)
		if err != nil {
			return nil, err
		}
		addRequired(plain, message.ProtoReflect())
		if err := add(plain); err != nil {
			return nil, err
		}
		if clean, ok := withoutEmpty(plain); ok {
			if err := add(clean); err != nil {
				return nil, err
			}
			delete(clean.(map[string]any), "securitySchemes")
			if err := add(clean); err != nil {
				return nil, err
			}
		}
	}
	return forms, nil
}

// wrapScopes writes the scopes of security requirements as the schema has them,
// {"list": […]}. The official SDK for Go writes them as a bare list, and those for
// Python and JavaScript read both.
func wrapScopes(object map[string]any) {
	requirements, _ := object["securityRequirements"].([]any)
	for _, r := range requirements {
		requirement, _ := r.(map[string]any)
		schemes, _ := requirement["schemes"].(map[string]any)
		for name, scopes := range schemes {
			if list, bare := scopes.([]any); bare {
				schemes[name] = map[string]any{"list": list}
			}
		}
	}
	skills, _ := object["skills"].([]any)
	for _, s := range skills {
		if skill, ok := s.(map[string]any); ok {
			wrapScopes(skill)
		}
	}
}

// decodeObject reads a JSON object of limited depth, without members of the same
// name, of which readers take different ones.
func decodeObject(text []byte) (map[string]any, error) {
	if err := checkObject(text); err != nil {
		return nil, err
	}
	var object map[string]any
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	if err := d.Decode(&object); err != nil || object == nil {
		return nil, conclave.Errorf(conclave.ErrInvalid, "the card is not a JSON object")
	}
	return object, nil
}

func checkObject(text []byte) error {
	if !json.Valid(text) {
		return conclave.Errorf(conclave.ErrInvalid, "the card is not JSON")
	}
	d := json.NewDecoder(bytes.NewReader(text))
	type level struct {
		names map[string]bool // nil in an array
		name  bool            // the next string is a member's name
	}
	var open []level
	for {
		token, err := d.Token()
		if err != nil {
			return nil // the end: it is valid
		}
		if delim, ok := token.(json.Delim); ok && (delim == '}' || delim == ']') {
			open = open[:len(open)-1]
			continue
		}
		if n := len(open) - 1; n >= 0 && open[n].names != nil {
			if open[n].name {
				name, _ := token.(string)
				if open[n].names[name] {
					return conclave.Errorf(conclave.ErrInvalid, "the card has the member %.60q twice", name)
				}
				open[n].names[name], open[n].name = true, false
				continue
			}
			open[n].name = true
		}
		switch token {
		case json.Delim('{'):
			open = append(open, level{map[string]bool{}, true})
		case json.Delim('['):
			open = append(open, level{})
		}
		if len(open) > maxCardDepth {
			return conclave.Errorf(conclave.ErrInvalid, "the card nests more than %d levels deep", maxCardDepth)
		}
	}
}

// canonical returns the canonical JSON of a value.
func canonical(v any) ([]byte, error) {
	plain, err := json.Marshal(v)
	if err != nil {
		return nil, conclave.Errorf(conclave.ErrInvalid, "encoding a card: %w", err)
	}
	text, err := jcs.Transform(plain)
	if err != nil {
		return nil, conclave.Errorf(conclave.ErrInvalid, "the card has no canonical JSON: %w", err)
	}
	return text, nil
}

// addRequired adds what the schema requires and its JSON left out, because it
// has its default.
func addRequired(object map[string]any, m protoreflect.Message) {
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		field := fields.Get(i)
		name := field.JSONName()
		value, there := object[name]
		if !there {
			if required(field) {
				object[name] = emptyValue(field)
			}
			continue
		}
		switch {
		case field.Message() == nil || field.Message().ParentFile() != m.Descriptor().ParentFile():
			// a plain value, or a Struct, whose content is not the schema's
		case field.IsMap():
			// no message of a card's maps has required fields that may be empty
		case field.IsList():
			list, _ := value.([]any)
			for j := range list {
				if element, ok := list[j].(map[string]any); ok {
					addRequired(element, m.Get(field).List().Get(j).Message())
				}
			}
		default:
			if element, ok := value.(map[string]any); ok {
				addRequired(element, m.Get(field).Message())
			}
		}
	}
}

func required(field protoreflect.FieldDescriptor) bool {
	behaviors, _ := proto.GetExtension(field.Options(), annotations.E_FieldBehavior).([]annotations.FieldBehavior)
	return slices.Contains(behaviors, annotations.FieldBehavior_REQUIRED)
}

func emptyValue(field protoreflect.FieldDescriptor) any {
	switch {
	case field.IsMap():
		return map[string]any{}
	case field.IsList():
		return []any{}
	case field.Message() != nil:
		return map[string]any{}
	case field.Kind() == protoreflect.BoolKind:
		return false
	case field.Kind() == protoreflect.StringKind:
		return ""
	}
	return 0
}

// withoutEmpty leaves out empty strings, lists and objects, at every depth.
func withoutEmpty(v any) (any, bool) {
	switch v := v.(type) {
	case nil:
		return nil, false
	case string:
		return v, v != ""
	case []any:
		var out []any
		for _, e := range v {
			if clean, ok := withoutEmpty(e); ok {
				out = append(out, clean)
			}
		}
		return out, len(out) > 0
	case map[string]any:
		out := map[string]any{}
		for name, e := range v {
			if clean, ok := withoutEmpty(e); ok {
				out[name] = clean
			}
		}
		return out, len(out) > 0
	}
	return v, true
}

// sign adds a signature over each form of a card.
func sign(card []byte, signer func(payload []byte) (CardSignature, error)) ([]byte, error) {
	forms, err := SignedForms(card)
	if err != nil {
		return nil, err
	}
	var object map[string]any
	if err := json.Unmarshal(card, &object); err != nil {
		return nil, conclave.Errorf(conclave.ErrInvalid, "reading a card: %w", err)
	}
	signatures := make([]CardSignature, 0, len(forms))
	for _, form := range forms {
		s, err := signer(form)
		if err != nil {
			return nil, err
		}
		signatures = append(signatures, s)
	}
	object["signatures"] = signatures
	return json.Marshal(object)
}
