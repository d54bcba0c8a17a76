package playbook

// LibrarySpec is what a task says about a Go package.
type LibrarySpec struct{}
