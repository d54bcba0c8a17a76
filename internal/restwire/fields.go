package restwire

import (
	"reflect"
	"strings"
)

// field is one member of an operation's input as JSON names it.
type field struct {
	name string
	typ  reflect.Type
}

// jsonFields lists the members of a struct, those of embedded structs included.
func jsonFields(t reflect.Type) []field {
	var out []field
	for _, f := range reflect.VisibleFields(t) {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if !f.IsExported() || name == "-" || (f.Anonymous && name == "") {
			continue
		}
		if name == "" {
			name = f.Name
		}
		out = append(out, field{name: name, typ: f.Type})
	}
	return out
}

// pathFields returns the names between braces of a route's path.
func pathFields(path string) []string {
	var names []string
	for _, segment := range strings.Split(path, "/") {
		if name, ok := strings.CutPrefix(segment, "{"); ok {
			names = append(names, strings.TrimSuffix(name, "}"))
		}
	}
	return names
}
