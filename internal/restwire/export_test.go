package restwire

import (
	"fmt"
	"reflect"
)

// EnumValues lists the known values of a type, or nil when it has no fixed set.
func EnumValues(t reflect.Type) []string {
	var out []string
	for _, v := range enums()[t] {
		out = append(out, fmt.Sprint(v))
	}
	return out
}
