package strictyaml

import (
	"errors"
	"reflect"
	"strings"
	"testing"

	"conclave"
)

type rates struct {
	Input float64 `yaml:"input"`
}

type file struct {
	Pool struct {
		Size  *int           `yaml:"size"`
		Roles map[string]int `yaml:"roles"`
		On    bool           `yaml:"on"`
	} `yaml:"pool"`
	List  []rates `yaml:"list"`
	Name  string  `yaml:"name"`
	Price struct {
		rates `yaml:",inline"`
		Over  int64 `yaml:"over"`
	} `yaml:"price"`
}

func TestDecode(t *testing.T) {
	var got file
	if err := Decode([]byte("pool: {size: 3, roles: {qa: 2}, on: true}\nlist: [{input: 1}, {input: 0.5}]\nname: 7\nprice: {over: 9}\n"), &got); err != nil {
		t.Fatal(err)
	}
	if *got.Pool.Size != 3 || got.Pool.Roles["qa"] != 2 || !got.Pool.On || !reflect.DeepEqual(got.List, []rates{{1}, {0.5}}) || got.Name != "7" || got.Price.Over != 9 {
		t.Errorf("%+v", got)
	}
	for _, empty := range []string{"", "# nothing\n", "pool:\n"} {
		if err := Decode([]byte(empty), &file{}); err != nil {
			t.Errorf("%q: %v", empty, err)
		}
	}
}

func TestDecodeRefuses(t *testing.T) {
	for text, want := range map[string]string{
		"pol: {}":                            `line 1: unknown key "pol"; did you mean "pool"?`,
		"pool:\n  sise: 3":                   `line 2: pool: unknown key "sise"; did you mean "size"?`,
		"pool:\n  zzzzzzzz: 3":               `known are size, roles, on`,
		"pool:\n  size: three":               `line 2: pool.size is "three"; it must be a whole number`,
		"pool:\n  size: 3.5":                 `line 2: pool.size is "3.5"; it must be a whole number`,
		"pool: {roles: {qa: [1]}}":           `pool.roles.qa is a list; it must be a whole number`,
		"pool: {on: maybe}":                  `pool.on is "maybe"; it must be true or false`,
		"list: {input: 1}":                   `list is a mapping; it must be a list`,
		"list: [{input: .nan}]":              `list[0].input is ".nan"; it must be a number`,
		"list: [{input: .inf}]":              `it must be a number`,
		"name: [a]":                          `name is a list; it must be a text`,
		"price: {inputs: 1}":                 `did you mean "input"?`,
		"just text":                          `the file is "just text"; it must be keys with values`,
		"pool: {size: 1, size: 2}":           `already defined`,
		"pool: [1, 2":                        `did not find expected`,
		"name: a\n---\nname: b\n":            `a second document begins`,
		"name: a\n---\npool: [1, 2":          `a second document begins`,
		"pool: {size: 99999999999999999999}": `it must be a whole number`,
	} {
		err := Decode([]byte(text), &file{})
		if !errors.Is(err, conclave.ErrInvalid) || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%q: %v; want one line with %s", text, err, want)
		}
	}
}
