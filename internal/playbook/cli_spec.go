package playbook

// CLISpec is what a task says about a command-line program. One of Convert,
// Commands and Records says what it does.
type CLISpec struct {
	Name        string // kebab-case
	About       string // what it does, as a predicate: "converts CSV to JSON"
	Convert     *ConvertSpec
	Commands    []CommandSpec
	Records     *RecordsSpec
	Covered     []Covered
	Assumptions []string
}

// ConvertSpec is a program that converts records between file formats.
type ConvertSpec struct {
	From, To  []string        // names of formats
	Features  map[string]bool // keys of features in knowledge/cli.yml
	Delimiter string          // between the cells of CSV input
	OutComma  string          // between the cells of CSV output
	NoHeader  bool
	Types     bool // numbers and booleans are recognised without a flag
	Compact   bool
}

// CommandSpec is one command of a program that works on text or files.
type CommandSpec struct {
	Key     string            // in knowledge/cli.yml
	Options map[string]string // defaults that the task sets
}

// RecordsSpec is a program that keeps records of one kind in a file.
type RecordsSpec struct {
	Noun    string // singular, lower case
	Plural  string
	Fields  []RecordField
	Actions []string // beside add, list, show and remove: done, edit, search, total, …
}

// RecordField is one field of such a record.
type RecordField struct {
	Name string // snake_case
	Type FieldType
	Main bool // the operand of add; the others are flags
}
