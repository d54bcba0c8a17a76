package conclave

// Facts is what intake measured of a repository. Playbooks and models are fed
// with it, and comments cite it.
type Facts struct {
	Name         string         `json:"name"` // of the repository's folder
	Commit       string         `json:"commit"`
	Tree         string         `json:"tree"`
	Branch       string         `json:"branch,omitempty"` // empty when detached
	Empty        bool           `json:"empty"`            // no commit with files yet
	Shallow      bool           `json:"shallow,omitempty"`
	Bare         bool           `json:"bare,omitempty"`
	Dirty        []string       `json:"dirty,omitempty"` // changed paths that the run leaves alone
	Files        []string       `json:"files"`           // at most 5000
	FileCount    int            `json:"file_count"`
	Languages    map[string]int `json:"languages"` // files by language
	Lines        int            `json:"lines"`
	Module       string         `json:"module,omitempty"` // Go module path
	GoVersion    string         `json:"go_version,omitempty"`
	Packages     []string       `json:"packages,omitempty"` // Go package folders
	Build        []string       `json:"build,omitempty"`    // command
	Test         []string       `json:"test,omitempty"`     // command
	HasTests     bool           `json:"has_tests"`
	Conventions  []string       `json:"conventions,omitempty"`  // "commits: conventional", "CLAUDE.md", "AGENTS.md"
	CommitStyle  string         `json:"commit_style,omitempty"` // "conventional", "imperative", ""
	HotFiles     []string       `json:"hot_files,omitempty"`    // most often changed
	Dependencies []string       `json:"dependencies,omitempty"` // "module version"
	Baseline     *Evidence      `json:"baseline,omitempty"`     // checks and findings of the commit itself
	Instructions string         `json:"instructions,omitempty"` // CLAUDE.md or AGENTS.md, shortened
	Complexity   string         `json:"complexity,omitempty"`   // "simple", "moderate", "complex"
}
