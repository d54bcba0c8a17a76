package playbook

// CLISpec is what a task says about a command-line program.
type CLISpec struct{}
