package evidence

import (
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/tools/txtar"
)

// kinds is one file for each kind of finding that we mend ourselves, each with
// its mended twin, "NAME.want".
const kinds = `
-- go.mod --
module example.com/kinds

go 1.24
-- ioutil/a.go --
package ioutil

import (
	"io"
	"io/ioutil"
)

func Read(r io.Reader, name string) ([]byte, error) {
	if _, err := ioutil.ReadFile(name); err != nil {
		return nil, err
	}
	return ioutil.ReadAll(r)
}
-- ioutil/a.go.want --
package ioutil

import (
	"io"
	"os"
)

func Read(r io.Reader, name string) ([]byte, error) {
	if _, err := os.ReadFile(name); err != nil {
		return nil, err
	}
	return io.ReadAll(r)
}
-- infos/a.go --
package infos

import (
	"io/ioutil"
	"os"
)

func Infos(dir string) ([]os.FileInfo, error) { return ioutil.ReadDir(dir) }
-- infos/a.go.want --
package infos

import (
	"io/ioutil"
	"os"
)

func Infos(dir string) ([]os.FileInfo, error) { return ioutil.ReadDir(dir) }
-- shadow/a.go --
package shadow

import "io/ioutil"

func Read(os string) ([]byte, error) { return ioutil.ReadFile(os) }
-- shadow/a.go.want --
package shadow

import "io/ioutil"

func Read(os string) ([]byte, error) { return ioutil.ReadFile(os) }
-- seed/a.go --
package seed

import (
	"math/rand"
	"time"
)

func Roll() int {
	rand.Seed(time.Now().UnixNano())
	return rand.Int() // #nosec G404 -- a die
}

func Same() int {
	rand.Seed(1)
	return rand.Int() // #nosec G404 -- a die
}
-- seed/a.go.want --
package seed

import (
	"math/rand"
)

func Roll() int {

	return rand.Int() // #nosec G404 -- a die
}

func Same() int {
	rand.Seed(1)
	return rand.Int() // #nosec G404 -- a die
}
-- simple/a.go --
package simple

import (
	"fmt"
	"log"
	"strings"
)

func Long(s string) bool {
	if len(s) > 9 {
		return true
	}
	return false
}

func Short(s string) bool {
	if len(s) > 9 {
		return false
	}
	return true
}

func Why(s string) bool {
	if s == "" { // nobody knows
		return true
	}
	return false
}

func Some(xs []int) bool { return xs != nil && len(xs) > 0 }

func Sum(xs []int) (n int) {
	if xs != nil {
		for _, x := range xs {
			n += x
		}
	}
	return n
}

func Copy(xs []int) []int {
	ys := make([]int, len(xs), len(xs))
	copy(ys, xs)
	return ys
}

func Say(s string) {
	log.Println(fmt.Sprintf("%q", s))
	fmt.Print(fmt.Sprintf("%q", s))
	fmt.Println(fmt.Sprintf("%q", s))
}

func Cut(s string) string {
	if strings.HasPrefix(s, "ab") {
		s = s[len("ab"):]
	}
	return s
}

func Stop(n int) {
	if n > 0 {
		fmt.Print(n)
	}
	return
}
-- simple/a.go.want --
package simple

import (
	"fmt"
	"log"
	"strings"
)

func Long(s string) bool {
	return len(s) > 9
}

func Short(s string) bool {
	return !(len(s) > 9)
}

func Why(s string) bool {
	if s == "" { // nobody knows
		return true
	}
	return false
}

func Some(xs []int) bool { return len(xs) > 0 }

func Sum(xs []int) (n int) {
	for _, x := range xs {
		n += x
	}
	return n
}

func Copy(xs []int) []int {
	ys := make([]int, len(xs))
	copy(ys, xs)
	return ys
}

func Say(s string) {
	log.Printf("%q", s)
	fmt.Printf("%q", s)
	fmt.Println(fmt.Sprintf("%q", s))
}

func Cut(s string) string {
	s = strings.TrimPrefix(s, "ab")
	return s
}

func Stop(n int) {
	if n > 0 {
		fmt.Print(n)
	}
}
-- unused/a.go --
package unused

import "strings"

// Up is used.
func Up(s string) string { return s + one() }

func one() string { return "1" }

// two is not, and so nor is three.
func two(s string) string { return strings.ToUpper(three(s)) }

func three(s string) string { return s }
-- unused/a.go.want --
package unused

// Up is used.
func Up(s string) string { return s + one() }

func one() string { return "1" }
-- convert/a.go --
package convert

type one struct {
	A int
	b int
}

type Two struct {
	A int
	b int
}

func Convert(o one) Two { return Two(o) }

func (t Two) B() int { return t.b }
-- convert/a.go.want --
package convert

type one struct {
	A int
	b int
}

type Two struct {
	A int
	b int
}

func Convert(o one) Two { return Two(o) }

func (t Two) B() int { return t.b }
-- brings/a.go --
package brings

import (
	"errors"
	"fmt"
)

func Fail(n int) error { return errors.New(fmt.Sprintf("Bad %d", n)) }
-- brings/a.go.want --
package brings

import (
	"errors"
	"fmt"
)

func Fail(n int) error { return errors.New(fmt.Sprintf("Bad %d", n)) }
-- never/a.go --
package never

import (
	"bytes"
	"os"
)

func Text() string {
	b := bytes.NewBufferString("x")
	b.WriteString("y")
	return b.String()
}

func Leave(name string) {
	os.Remove(name)
}
-- never/a.go.want --
package never

import (
	"bytes"
	"os"
)

func Text() string {
	b := bytes.NewBufferString("x")
	b.WriteString("y")
	return b.String()
}

func Leave(name string) {
	os.Remove(name)
}
`

func TestFixMendsEachKind(t *testing.T) {
	m := newMeter(t)
	dir := write(t, kinds)
	before := measure(t, m, dir)
	r, err := m.Fix(t.Context(), dir, FixClasses{Findings: true, Format: true})
	if err != nil {
		t.Fatal(err)
	}
	after := measure(t, m, dir)
	for _, f := range txtar.Parse([]byte(kinds)).Files {
		if name, ok := strings.CutSuffix(f.Name, ".want"); ok {
			if got := readString(t, filepath.Join(dir, name)); got != string(f.Data) {
				t.Errorf("%s became\n%s\nwant\n%s", name, got, f.Data)
			}
		}
	}
	old := tally(before.Findings)
	for k, list := range tally(after.Findings) {
		if len(list) > len(old[k]) {
			t.Errorf("the repair brought %+v", list)
		}
	}
	if len(after.Findings) != len(before.Findings)-len(r.Applied) || len(r.Left) != len(after.Findings) {
		t.Errorf("%d findings, %d mended, %d left by the report, %d left by a measurement",
			len(before.Findings), len(r.Applied), len(r.Left), len(after.Findings))
	}
	unhandled := 0
	for _, f := range before.Findings {
		if f.Rule == "G104" {
			unhandled++
		}
	}
	if unhandled != 1 {
		t.Errorf("%d findings of unhandled errors; only os.Remove can fail", unhandled)
	}
	if l, ok := leftRule(r, "S1028"); !ok || !strings.Contains(l.Why, "ST1005") {
		t.Errorf("why the fix that brings another finding was left out: %+v", l)
	}
}
