// Package strictyaml decodes YAML and refuses what the program would ignore or
// bend: an unknown key, a value of another type, a second document.
package strictyaml

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"reflect"
	"strings"

	"conclave"

	"gopkg.in/yaml.v3"
)

// Decode reads text into what into points to; an empty text changes nothing.
// ErrInvalid says in which line what is wrong, and what would be right.
func Decode(text []byte, into any) error {
	d := yaml.NewDecoder(bytes.NewReader(text))
	var doc, second yaml.Node
	switch err := d.Decode(&doc); {
	case errors.Is(err, io.EOF):
		return nil
	case err != nil:
		return invalid(err)
	}
	if err := d.Decode(&second); !errors.Is(err, io.EOF) {
		return conclave.Errorf(conclave.ErrInvalid, "line %d: a second document begins; there must be one", max(second.Line, 1))
	}
	for _, n := range doc.Content {
		if err := check(n, reflect.TypeOf(into), ""); err != nil {
			return err
		}
	}
	if err := doc.Decode(into); err != nil {
		return invalid(err)
	}
	return nil
}

func invalid(err error) error {
	text := strings.TrimPrefix(strings.TrimPrefix(err.Error(), "yaml: "), "unmarshal errors:")
	return conclave.Errorf(conclave.ErrInvalid, "%s", strings.Join(strings.Fields(text), " "))
}

// check compares a node with the type that it will be decoded into.
func check(n *yaml.Node, t reflect.Type, path string) error {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	if n.Tag == "!!null" {
		return nil
	}
	switch t.Kind() {
	case reflect.Struct, reflect.Map:
		if n.Kind != yaml.MappingNode {
			return wrong(n, path, "keys with values")
		}
		return checkMapping(n, t, path)
	case reflect.Slice:
		if n.Kind != yaml.SequenceNode {
			return wrong(n, path, "a list")
		}
		for i, member := range n.Content {
			if err := check(member, t.Elem(), fmt.Sprintf("%s[%d]", path, i)); err != nil {
				return err
			}
		}
	case reflect.Int, reflect.Int64:
		if n.Tag != "!!int" {
			return wrong(n, path, "a whole number")
		}
	case reflect.Float64:
		var f float64
		if n.Tag != "!!int" && n.Tag != "!!float" || n.Decode(&f) != nil || math.IsNaN(f) || math.IsInf(f, 0) {
			return wrong(n, path, "a number")
		}
	case reflect.Bool:
		if n.Tag != "!!bool" {
			return wrong(n, path, "true or false")
		}
	case reflect.String:
		if n.Kind != yaml.ScalarNode {
			return wrong(n, path, "a text")
		}
	}
	return nil
}

func checkMapping(n *yaml.Node, t reflect.Type, path string) error {
	var known map[string]reflect.Type
	var names []string
	if t.Kind() == reflect.Struct {
		known = map[string]reflect.Type{}
		names = fields(t, known)
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		typ, ok := known[key.Value]
		if t.Kind() == reflect.Map {
			typ, ok = t.Elem(), true
		}
		if !ok {
			where := ""
			if path != "" {
				where = path + ": "
			}
			return conclave.Errorf(conclave.ErrInvalid, "line %d: %sunknown key %q; %s", key.Line, where, key.Value, conclave.DidYouMean(key.Value, names))
		}
		if err := check(value, typ, strings.TrimPrefix(path+"."+key.Value, ".")); err != nil {
			return err
		}
	}
	return nil
}

// fields notes the keys of a struct, those of inlined structs included, and
// returns them in order.
func fields(t reflect.Type, into map[string]reflect.Type) (names []string) {
	for f := range t.Fields() {
		name, option, _ := strings.Cut(f.Tag.Get("yaml"), ",")
		if option == "inline" {
			names = append(names, fields(f.Type, into)...)
		} else if name != "" {
			into[name] = f.Type
			names = append(names, name)
		}
	}
	return names
}

func wrong(n *yaml.Node, path, want string) error {
	is := fmt.Sprintf("%q", n.Value)
	switch n.Kind {
	case yaml.MappingNode:
		is = "a mapping"
	case yaml.SequenceNode:
		is = "a list"
	}
	if path == "" {
		path = "the file"
	}
	return conclave.Errorf(conclave.ErrInvalid, "line %d: %s is %s; it must be %s", n.Line, path, is, want)
}
