package playbook

// LibrarySpec is what a task says about Go packages for other programs to use.
type LibrarySpec struct {
	Name        string // kebab-case
	Packages    []LibraryPackage
	Covered     []Covered
	Assumptions []string
}

// LibraryPackage is one package of a library.
type LibraryPackage struct {
	Topic      string   // key in knowledge/library.yml
	Name       string   // of the Go package
	Operations []string // those that the task names
	Safe       bool     // the task wants it safe for concurrent use
}
