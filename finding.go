package conclave

// Level is how grave a finding is, as SARIF names it.
type Level string

// Levels.
const (
	LevelError   Level = "error"
	LevelWarning Level = "warning"
	LevelNote    Level = "note"
)

// Finding is one result of an analyser, of a test, or of a reviewer with a
// reproduction. A finding blocks only with evidence.
type Finding struct {
	Tool        string `json:"tool"` // "staticcheck", "gosec", "go test", an agent's name
	Rule        string `json:"rule"` // "SA4006", "G401"
	Level       Level  `json:"level"`
	Category    string `json:"category"` // "security", "correctness", "performance", "style", "test", "secret", "licence"
	Path        string `json:"path"`     // in the repository, with slashes
	Line        int    `json:"line"`
	Column      int    `json:"column,omitempty"`
	Message     string `json:"message"`
	Fingerprint string `json:"fingerprint"` // the same finding in another version of the file has the same one
	Fixable     bool   `json:"fixable,omitempty"`
}

// Key names a finding across versions of the tree.
func (f Finding) Key() string { return f.Tool + "/" + f.Rule + "/" + f.Fingerprint }

// LeftFinding is a finding that a repair left, and why.
type LeftFinding struct {
	Finding
	Why string `json:"why"`
}

// Check is one gate: a command that was run, and how it ended.
type Check struct {
	Name     string  `json:"name"` // "build", "test", "lint"
	Command  string  `json:"command"`
	Passed   bool    `json:"passed"`
	Skipped  string  `json:"skipped,omitempty"` // why it was not run
	Output   string  `json:"output,omitempty"`  // the end of what it printed
	Tests    int     `json:"tests,omitempty"`
	Failed   int     `json:"failed,omitempty"`
	Millis   float64 `json:"ms"`
	Baseline bool    `json:"baseline,omitempty"` // it failed in the same way before the run
}

// Evidence is what was measured on one tree.
type Evidence struct {
	Tree      string         `json:"tree"`
	Hash      string         `json:"hash"` // sha256 of the canonical JSON of the rest; ballots bind to it
	Checks    []Check        `json:"checks"`
	Findings  []Finding      `json:"findings"`            // new ones first when there is a base to compare with
	New       []string       `json:"new,omitempty"`       // keys of findings that the base does not have
	Gone      []string       `json:"gone,omitempty"`      // keys that only the base has
	Unchecked []string       `json:"unchecked,omitempty"` // what could not be measured here, and why
	Languages map[string]int `json:"languages,omitempty"` // files with code, by language
	Licences  []Licence      `json:"licences,omitempty"`  // of the tree, and of what it is built with
}

// Passed reports whether no check failed that passed before.
func (e Evidence) Passed() bool {
	for _, c := range e.Checks {
		if !c.Passed && c.Skipped == "" && !c.Baseline {
			return false
		}
	}
	return true
}
