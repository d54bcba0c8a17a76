package playbook

import (
	"fmt"
	"slices"
	"strings"
)

// measured are numbers that are seldom whole.
var measured = set([]string{"value", "reading", "measurement", "humidity", "pressure", "voltage", "speed", "radius", "ph"})

// complete gives a new field what its name says where the task does not.
func (p *reader) complete(f *Field, name string, said bool) {
	f.Name = name
	if f.Type == "" {
		f.Type = guessType(name)
		if f.Type == String && f.Min+f.Max+f.Above != "" {
			f.Type = Int
			if measured[name[strings.LastIndexByte(name, '_')+1:]] || strings.Contains(f.Min+f.Max+f.Above, ".") {
				f.Type = Decimal
			}
		}
	}
	switch f.Type {
	case Text:
		if f.MaxLen == 0 {
			f.MaxLen = 10000
		}
		if !said && f.MinLen == 0 && name != "body" && name != "content" && name != "text" && name != "message" {
			f.Optional = true
		}
	case Bool:
		if f.Default == "" {
			f.Default = "false"
			if name == "active" || name == "enabled" || name == "available" || name == "in_stock" {
				f.Default = "true"
			}
		}
	case List:
		f.Optional = true
	case Password:
		if f.MinLen == 0 {
			f.MinLen = 8
		}
	case Timestamp:
		if slices.Contains([]string{"returned_at", "ended_at", "cancelled_at", "closed_at", "completed_at", "paid_at", "published_at"}, name) {
			f.Optional = true
		}
	}
}

// guessType is the type that a field's name suggests.
func guessType(name string) FieldType {
	if of, _, per := strings.Cut(name, "_per_"); per {
		name = of // "price_per_night" is a price
	}
	if of := inUnit().FindStringIndex(strings.ReplaceAll(name, "_", " ")); of != nil {
		if strings.HasSuffix(name, "_cents") || strings.HasSuffix(name, "_pages") {
			return Int // there is no part of a cent
		}
		name = name[:of[0]] // "weight_in_kg" is a weight
		if t := guessType(name); t != String {
			return t
		}
		return Decimal
	}
	if strings.HasPrefix(name, "date_of_") || strings.HasSuffix(name, "_on") {
		return Date
	}
	if strings.HasPrefix(name, "time_of_") {
		return Timestamp
	}
	if strings.HasPrefix(name, "year_of_") || strings.HasPrefix(name, "max_") || strings.HasPrefix(name, "min_") {
		if t := guessType(name[strings.LastIndexByte(name, '_')+1:]); t == Decimal {
			return t
		}
		return Int
	}
	last := name[strings.LastIndexByte(name, '_')+1:]
	hints := known().fields
	for _, h := range hints {
		if slices.Contains(h.Names, name) {
			return h.Type
		}
	}
	for _, h := range hints {
		if slices.Contains(h.Heads, last) || slices.Contains(h.Heads, name) {
			return h.Type
		}
	}
	if strings.HasPrefix(name, "is_") || strings.HasPrefix(name, "has_") {
		return Bool
	}
	if strings.HasPrefix(name, "number_of_") {
		return Int
	}
	return String
}

func validDefault(f Field) bool {
	switch f.Type {
	case Enum:
		return slices.Contains(f.Values, snakeValue(f.Default))
	case Int:
		return strings.Trim(f.Default, "0123456789") == ""
	case Decimal:
		return strings.Trim(f.Default, "0123456789.") == ""
	case Bool:
		return f.Default == "true" || f.Default == "false"
	case String, Text, Currency:
		return true
	}
	return false
}

// boundsFit reports whether the constraints make sense for the type.
func boundsFit(f Field) bool {
	numeric := f.Type == Int || f.Type == Decimal
	textual := f.Type == String || f.Type == Text || f.Type == Password || f.Type == Email || f.Type == URL || f.Type == Slug || f.Type == ISBN || f.Type == Phone
	if (f.Min != "" || f.Max != "" || f.Above != "") && !numeric {
		return false
	}
	if (f.MinLen > 1 || f.MaxLen > 0) && !textual {
		return false
	}
	if f.Target != "" && f.Type != Date && f.Type != Timestamp {
		return false
	}
	for _, n := range []string{f.Min, f.Max, f.Above} {
		if f.Type == Int && strings.Contains(n, ".") {
			return false
		}
	}
	return true
}

// Describe says what the service holds a value of the field to.
func (f Field) Describe() string {
	parts := []string{string(f.Type)}
	add := func(ok bool, format string, args ...any) {
		if ok {
			parts = append(parts, fmt.Sprintf(format, args...))
		}
	}
	add(f.Type == Enum, "one of %s", strings.Join(f.Values, ", "))
	add(f.Type == Reference, "id of a %s", f.Ref)
	add(!f.Optional && !f.ReadOnly && f.Default == "" && !f.Now, "required")
	add(f.Unique && f.Fold, "unique without regard to case")
	add(f.Unique && !f.Fold, "unique")
	add(f.Immutable, "set once")
	add(f.ReadOnly, "read-only")
	add(f.Min != "", "at least %s", f.Min)
	add(f.Above != "", "above %s", f.Above)
	add(f.Max != "", "at most %s", f.Max)
	add(f.MinLen > 1, "at least %d characters", f.MinLen)
	add(f.MaxLen > 0, "at most %d characters", f.MaxLen)
	add(f.Pattern != "", "%s", f.Form)
	add(f.Default != "", "default %s", f.Default)
	add(f.Now, "default now")
	add(f.Target != "", "not in the %s", map[string]string{"future": "past", "past": "future"}[f.Target])
	return strings.Join(parts, ", ")
}
