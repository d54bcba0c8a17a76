package playbook

// Archetype is a kind of task that the playbook knows.
type Archetype string

const (
	Unknown  Archetype = ""         // planned, but not built
	Service  Archetype = "service"  // an HTTP API with its storage
	CLI      Archetype = "cli"      // a command-line program
	Library  Archetype = "library"  // a Go package
	Repair   Archetype = "repair"   // apply what analysers suggest
	Document Archetype = "document" // write down what the code says of itself
)

// Spec is a task as the playbook understood it. What it did not understand
// is in Uncovered, in the words of the task.
type Spec struct {
	Archetype   Archetype
	Task        string
	Name        string // kebab-case: the program's and directory's name
	Entities    []Entity
	Rules       []Rule
	Auth        *Auth // nil: the task asks for no identity
	Features    Features
	Spelling    map[string]string // names that the task writes in camelCase, by their snake_case
	Repair      []RepairClass
	CLI         *CLISpec
	Library     *LibrarySpec
	Covered     []Covered // which clause became what, for the plan's acceptance criteria
	Assumptions []string  // what the task left open, and what was chosen
	Uncovered   []string  // quoted from the task
}

// Covered says what became of one clause of the task.
type Covered struct {
	Clause string // as written
	As     string // what the generated code does about it
}

// RepairClass is a class of change that analysers and tools can make by themselves.
type RepairClass string

const (
	RepairFindings     RepairClass = "findings"
	RepairFormat       RepairClass = "format"
	RepairDependencies RepairClass = "dependencies"
)

// Entity is a resource of a service: a struct, a collection path, a table.
type Entity struct {
	Noun     string // as in the task, singular, lower case: "purchase order"
	Plural   string // "purchase orders"
	Fields   []Field
	Declared bool // its fields are the task's, not the knowledge base's
	Account  bool // who logs in
	Actions  []Action
}

// Action is an operation of its own, POST /collection/{id}/Verb: it sets
// Field to the time or to true, or to State.
type Action struct{ Verb, Field, State string }

// FieldType is the type of a field; its JSON form and checks follow from it.
type FieldType string

const (
	String    FieldType = "string"
	Text      FieldType = "text"
	Email     FieldType = "email"
	URL       FieldType = "url"
	Phone     FieldType = "phone"
	ISBN      FieldType = "isbn"
	Slug      FieldType = "slug"
	UUID      FieldType = "uuid"
	Color     FieldType = "color"
	Currency  FieldType = "currency"
	Int       FieldType = "int"
	Decimal   FieldType = "decimal"
	Bool      FieldType = "bool"
	Date      FieldType = "date"
	Timestamp FieldType = "timestamp"
	Enum      FieldType = "enum"
	Reference FieldType = "ref"
	List      FieldType = "list" // of strings
	Password  FieldType = "password"
)

// Field is one member of an entity.
type Field struct {
	Name      string // snake_case, or the camelCase of the task
	Type      FieldType
	Optional  bool
	Unique    bool
	Immutable bool // set once, at creation
	ReadOnly  bool // never taken from a client
	Default   string
	Now       bool   // defaults to the time of creation
	Min, Max  string // decimal numbers, "" for none
	Above     string // exclusive minimum
	MinLen    int
	MaxLen    int    // 0 for none
	Fold      bool   // unique without regard to case
	Pattern   string // a regular expression that a text must match, "" for none
	Form      string // Pattern in words
	Values    []string
	Ref       string // noun of the entity that a Reference names
	Cascade   bool   // deleted with what it refers to
	Target    string // future or past: the side of now that a time must be on
	Owner     bool   // set to the caller when a client leaves it out
}

// RuleKind is a kind of rule that the generator can enforce.
type RuleKind string

const (
	RuleLimit      RuleKind = "limit"      // at most N active rows of Entity per Field, and per Unit of time of Start
	RuleCapacity   RuleKind = "capacity"   // at most parent.Other active rows of Entity per Field
	RulePair       RuleKind = "pair"       // Fields are unique together
	RuleOverlap    RuleKind = "overlap"    // intervals Start–End of one Field do not overlap
	RuleSpan       RuleKind = "span"       // Start to End is at most, or for Verb least at least, N Unit
	RuleOrder      RuleKind = "order"      // End is after Start
	RuleDue        RuleKind = "due"        // Field is Start plus N Unit
	RuleStates     RuleKind = "states"     // Field moves along Edges only, and begins at its default unless Free
	RuleFrozen     RuleKind = "frozen"     // in State, Verb (update or delete) is refused
	RuleStock      RuleKind = "stock"      // creating takes Start from parent.Other
	RuleTotal      RuleKind = "total"      // Field is the sum of Start times Other over Child
	RuleProduct    RuleKind = "product"    // Field is Start times the parent's Other
	RuleBlocked    RuleKind = "blocked"    // no new Entity for a Field that has overdue rows
	RuleAction     RuleKind = "action"     // POST /entity/{id}/Verb
	RuleAccess     RuleKind = "access"     // only Role may Verb
	RuleOpen       RuleKind = "open"       // Verb needs no login, or any when Value is login
	RuleOwn        RuleKind = "own"        // only the owner may Verb
	RuleParentFlag RuleKind = "parentflag" // no new Entity unless the parent's Other is Value
	RuleDeleteKeep RuleKind = "keep"       // a parent with rows of Entity can't be deleted
	RuleFuture     RuleKind = "future"     // Field is not in the past, or not in the future
	RuleOverdue    RuleKind = "overdue"    // Field says that Other has passed and the row is active
)

// Rule is one rule of the task. Which members count depends on Kind.
type Rule struct {
	ID     string // "R1", in the order of the task
	Kind   RuleKind
	Clause string // as written
	Entity string // noun of the entity it binds
	Field  string
	Fields []string
	Other  string
	Start  string
	End    string
	Child  string
	N      int
	Unit   string
	Verb   string
	Verbs  []string
	Role   string
	State  string
	Value  string
	Active Active
	Edges  []Edge
	Free   bool
}

// Active says which rows count: those whose Field is empty, or whose Field
// is none of Not. The zero value counts every row.
type Active struct {
	Empty string
	Field string
	Not   []string
}

// Edge is one allowed move of a state machine.
type Edge struct{ From, To string }

// Auth says how callers are identified.
type Auth struct {
	Account  string   // noun of the entity that logs in
	Roles    []string // the first is what a new account gets
	Required bool     // every operation needs a login, not only the limited ones
	Self     bool     // accounts may change only themselves
	Signed   bool     // the task asks for signed tokens (JWT)
	Failures int      // failed logins before an account is locked; 0 for ten
	Locked   int      // minutes that it stays so; 0 for 15
}

// Features are abilities of the service as a whole.
type Features struct {
	RateLimit       int // requests in RateWindow per client; 0 for none
	RateWindow      string
	Memory          bool   // nothing is written to disk
	Port            string // that the task asks for
	PaginationLimit int
}

// Step is one unit of work that can be built, tested and merged by itself.
type Step struct {
	Key         string
	Title       string
	Description string
	DependsOn   []string
	Acceptance  []string
	Writes      []string // path globs
	Question    *Question
}

// Question is a choice of design with several honest answers.
type Question struct {
	Key      string
	Text     string
	Options  []Option
	Criteria map[string]float64 // criterion to weight, of a voter without preferences
}

// Option is one answer to a Question; Scores has a value from 0 to 1 per criterion.
type Option struct {
	Key, Title string
	Pros, Cons []string
	Scores     map[string]float64
	Default    bool
}

// Comment is what a role has to say about a plan.
type Comment struct {
	Role    string
	StepKey string
	Text    string
	Cites   string // a fact of the repository, or the id of a rule such as CWE-307
	Change  *Amendment
}

// Amendment is a change that a comment asks for.
type Amendment struct {
	Criterion string // to add to the step's acceptance, or ""
	Step      *Step  // to add to the plan, or nil
}
