package playbook

import (
	"regexp"
	"sync"
)

// pattern compiles a regular expression when it is first asked for: most
// processes of the program, such as sandboxed commands, never read a task, and
// should not pay for it when they start.
func pattern(text string) func() *regexp.Regexp {
	return sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(text) })
}
