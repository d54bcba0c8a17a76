package playbook

// Facts are what was measured about the repository that a task is for.
type Facts struct {
	ModulePath   string         // of the go.mod at the root, or ""
	Name         string         // the directory's name
	GoVersion    string         // of go.mod, or of the installed toolchain
	Files        []string       // tracked files, slash-separated
	Languages    map[string]int // language to number of files
	HasTests     bool
	BuildCommand []string
	TestCommand  []string
	Conventions  []string // files such as CLAUDE.md and CONTRIBUTING.md
	Empty        bool     // nothing in it that counts as code
}

// Has reports whether path exists in the repository.
func (f Facts) Has(path string) bool {
	for _, p := range f.Files {
		if p == path {
			return true
		}
	}
	return false
}
