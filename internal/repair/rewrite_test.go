package repair

import (
	"strings"
	"testing"
)

func TestRewrite(t *testing.T) {
	const old = "package p\n\nimport \"fmt\"\n\nfunc F() string { return fmt.Sprintf(\"x\") }\n"
	at := strings.Index(old, "fmt.Sprintf")
	end := strings.Index(old, " }\n")
	got, err := Rewrite([]byte(old), []Change{{Path: "p.go", Start: at, End: end, New: `"x"`}, {Path: "p.go", Start: at, End: end, New: `"x"`}})
	if err != nil || string(got) != "package p\n\nfunc F() string { return \"x\" }\n" {
		t.Errorf("%v\n%s", err, got)
	}
	if _, err := Rewrite([]byte(old), []Change{{Path: "p.go", Start: at, End: end, New: `"x"`}, {Path: "p.go", Start: at + 1, End: end, New: `"y"`}}); err == nil {
		t.Error("overlapping changes were applied")
	}
	if _, err := Rewrite([]byte(old), []Change{{Path: "p.go", Start: at, End: end, New: `"x`}}); err == nil {
		t.Error("a change that does not parse was applied")
	}
	const ugly = "package p\n\nfunc  F() int { return 1 }\n"
	got, err = Rewrite([]byte(ugly), []Change{{Path: "p.go", Start: strings.Index(ugly, "1"), End: strings.Index(ugly, "1") + 1, New: "2"}})
	if err != nil || string(got) != strings.Replace(ugly, "1", "2", 1) {
		t.Errorf("a file that was not formatted changed elsewhere: %v\n%s", err, got)
	}
}
