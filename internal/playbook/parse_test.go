package playbook

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// summary is what a specification says, one fact a line.
func summary(s Spec) string {
	var b strings.Builder
	fmt.Fprintf(&b, "task: %s\n", s.Task)
	fmt.Fprintf(&b, "  archetype: %q, name: %s\n", s.Archetype, s.Name)
	if s.Auth != nil {
		fmt.Fprintf(&b, "  accounts: %s, roles %s, required %v, signed %v\n", s.Auth.Account, strings.Join(s.Auth.Roles, " "), s.Auth.Required, s.Auth.Signed)
	}
	if s.Features.RateLimit > 0 {
		fmt.Fprintf(&b, "  rate limit: %d per %s\n", s.Features.RateLimit, s.Features.RateWindow)
	}
	for _, c := range s.Repair {
		fmt.Fprintf(&b, "  repair: %s\n", c)
	}
	for _, e := range s.Entities {
		fmt.Fprintf(&b, "  /%s\n", kebab(e.Plural))
		for _, f := range e.Fields {
			fmt.Fprintf(&b, "    %s: %s\n", f.Name, f.Describe())
		}
		for _, a := range e.Actions {
			fmt.Fprintf(&b, "    action %s\n", a.Verb)
		}
	}
	for _, r := range s.Rules {
		fmt.Fprintf(&b, "  %s %q: %s\n", r.ID, r.Clause, r.Describe(s))
	}
	for _, u := range s.Uncovered {
		fmt.Fprintf(&b, "  uncovered: %s\n", u)
	}
	return b.String()
}

func corpus(t *testing.T) []string {
	t.Helper()
	data, err := os.ReadFile("testdata/tasks.txt")
	if err != nil {
		t.Fatal(err)
	}
	tasks := strings.Split(strings.TrimSpace(string(data)), "\n")
	for i := range tasks {
		tasks[i] = strings.ReplaceAll(tasks[i], `\n`, "\n")
	}
	return tasks
}

func TestParse(t *testing.T) {
	var b strings.Builder
	b.WriteString("# What each task of tasks.txt is read as. It guards against a change of the parser that\n# drops a field or a rule of another task without a word.\n")
	for _, task := range corpus(t) {
		b.WriteString("\n" + summary(Parse(task, Facts{Name: "repo", Empty: true})))
	}
	if *update {
		if err := os.WriteFile("testdata/specs.golden", []byte(b.String()), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile("testdata/specs.golden")
	if err != nil {
		t.Fatal(err)
	}
	got, wanted := strings.Split(b.String(), "\n\n"), strings.Split(string(want), "\n\n")
	for i := range max(len(got), len(wanted)) {
		if i >= len(got) || i >= len(wanted) || got[i] != wanted[i] {
			t.Fatalf("case %d differs; run with -update and look at the diff\ngot:\n%s", i, got[min(i, len(got)-1)])
		}
	}
}

// What the playbook can't do must be in Uncovered in the task's own words.
func TestUncoveredIsQuoted(t *testing.T) {
	base := "Build a library API with books (title, price), members (name) and loans; "
	for _, clause := range []string{
		"a loan may be renewed twice",
		"send the member an email when a loan is late",
		"a late return costs 50 cents per day",
		"books are recommended by what similar members read",
		"members younger than 18 can't borrow books rated mature",
		"a book has at least one author",
		"a member can reserve a book that is on loan",
		"loans of the same author count double",
		"the title is translated to English",
		"books are synchronised with an external catalogue",
		"prices are shown in the currency of the member",
		"the price drops by 10% every month",
		"export all loans as CSV",
		"archive loans older than a year",
		"every change is kept in an audit log",
		"a book can be borrowed only on weekdays",
		"store everything in PostgreSQL",
		"use GraphQL",
		"the front end is written in React",
		"a member with a fine above 10 can't borrow",
		"the oldest waiting member gets the next copy",
		"a book weighs between one and three kilos",
		"loans can be extended by 7 days",
		"books must be approved by two librarians",
		"books with more than 500 pages need a deposit",
		"overdue loans with a fine",
		"books can be borrowed only once per year",
		"a book can be reserved once per day by premium members",
		"loans must be in the future unless a librarian approves",
		"login required for admins on Mondays",
		"members with loans and a fine get a warning",
		"status moves to lost after 30 days",
		"a loan moves to closed when the member pays",
		"home delivery by courier",
		"no two books of an author may be lent together",
		"a full shelf can't be registered for twice",
		"loans link a member to a branch",
		"members can borrow books and return them late",
		"members can borrow books and return loans to another branch",
		"no two loans of a member may overlap on weekends",
		"the priority, low or high, decides who gets the book first",
		"a member can be assigned to only one branch at a time",
		"books with a waiting list",
		"prices in the future must be higher",
		"books which have been lost for a year",
		"new members with a voucher",
		"an invoice with all loans is created monthly",
		"popular books with their covers",
	} {
		s := Parse(base+clause, Facts{Empty: true})
		if !slices.Contains(s.Uncovered, clause) {
			t.Errorf("%q is not uncovered: %q\n%s", clause, s.Uncovered, summary(s))
		}
	}
}

// Each way to say a rule gives the rule, and leaves nothing over.
func TestRulesAreUnderstood(t *testing.T) {
	base := "Build an API with members (name, active boolean), books (title, stock integer), rooms (name, capacity integer) and bookings (room, member, starts at, ends at) and loans (book, member, quantity); "
	for _, test := range []struct {
		clause string
		kind   RuleKind
	}{
		{"a member may hold at most three loans", RuleLimit},
		{"a member may hold at most three loans per week", RuleLimit},
		{"a room can have at most 2 bookings on the same day", RuleLimit},
		{"a booking can't be longer than 4 hours", RuleSpan},
		{"bookings must be at least 30 minutes long", RuleSpan},
		{"anyone can read books", ""},
		{"deleting a book with loans is refused", RuleDeleteKeep},
		{"a book that is in use cannot be deleted", RuleDeleteKeep},
		{"a member can borrow multiple books", ""},
		{"bookings in the past are rejected", ""},
		{"passwords need at least 12 characters", ""},
		{"lock an account for 30 minutes after 5 failed logins", ""},
		{"members can't have more than 3 loans at a time", RuleLimit},
		{"no more than three loans per member", RuleLimit},
		{"each member is limited to 3 loans", RuleLimit},
		{"a member can have up to 3 loans", RuleLimit},
		{"a book can be on loan to one member at a time", RuleLimit},
		{"a book can only be lent to one member at a time", RuleLimit},
		{"only one member can borrow a book at a time", RuleLimit},
		{"a book can't be borrowed while it is already on loan", RuleLimit},
		{"bookings of the same room can't overlap", RuleOverlap},
		{"a room can't be double-booked", RuleOverlap},
		{"no overlapping bookings for the same room", RuleOverlap},
		{"a room cannot have overlapping bookings", RuleOverlap},
		{"a booking must end after it starts", RuleOrder},
		{"ends at must be after starts at", RuleOrder},
		{"a loan is due 14 days after it starts", RuleDue},
		{"loans are due after two weeks", RuleDue},
		{"a loan goes from open to returned to archived", RuleStates},
		{"inactive members can't borrow books", RuleParentFlag},
		{"only active members can borrow books", RuleParentFlag},
		{"a room can't have more bookings than its capacity", RuleCapacity},
		{"only admins can delete books", RuleAccess},
		{"only librarians and admins can create, update and delete books", RuleAccess},
		{"deleting books is restricted to admins", RuleAccess},
		{"books can only be deleted by admins", RuleAccess},
		{"a loan reduces the stock of the book", RuleStock},
		{"books with loans can't be deleted", RuleDeleteKeep},
		{"the combination of member and book must be unique", RulePair},
		{"no two bookings of a room may overlap", RuleOverlap},
		{"bookings at the same room can't overlap", RuleOverlap},
		{"a book can be lent to one person at a time", RuleLimit},
		{"members can borrow books and return them", ""},
		{"login required", ""},
		{"bookings must be in the future", ""},
		{"loans link a member to a book", ""},
		{"list bookings sorted by starts at", ""},
	} {
		s := Parse(base+test.clause, Facts{Empty: true})
		if len(s.Uncovered) > 0 || test.kind != "" && !slices.ContainsFunc(s.Rules, func(r Rule) bool { return r.Kind == test.kind }) {
			t.Errorf("%q: want %s\n%s", test.clause, test.kind, summary(s))
		}
	}
}

// Each way to say something about a field is in the field.
// A name is spelled as the task spells it where it names a member.
func TestSpelling(t *testing.T) {
	for task, want := range map[string]string{
		"API for devices with a serialNumber, lastSeen (timestamp) and a name":               "serialNumber lastSeen name",
		"API for devices with a serial_number, last_seen (timestamp) and a home town":        "serial_number last_seen home_town",
		"API for devices with lastSeenAt and imageURL":                                       "lastSeenAt imageURL",
		"API for devices with last_seen and a name. The list is sorted by lastSeen.":         "last_seen name",
		"API for devices with a name and a serial number: GET /devices/{serialNumber}/parts": "name serial_number",
	} {
		spec := Parse(task, Facts{Name: "x", Empty: true})
		var got []string
		for _, f := range spec.Entities[0].Fields {
			got = append(got, f.Name)
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%q has %q, want %q", task, got, want)
		}
	}
}

func TestFieldsAreUnderstood(t *testing.T) {
	for _, test := range []struct{ words, name, want string }{
		{"a unique sku", "sku", "string, required, unique"},
		{"an optional description", "description", "text, at most 10000 characters"},
		{"a price", "price", "decimal, required"},
		{"a price that must be positive", "price", "decimal, required, above 0"},
		{"a non-negative quantity", "quantity", "int, required, at least 0"},
		{"a rating between 1 and 5", "rating", "int, required, at least 1, at most 5"},
		{"a rating from one to five", "rating", "int, required, at least 1, at most 5"},
		{"a title of at most 80 characters", "title", "string, required, at most 80 characters"},
		{"a code (exactly 6 characters, unique)", "code", "string, required, unique, at least 6 characters, at most 6 characters"},
		{"a status (open, closed)", "status", "enum, one of open, closed, default open"},
		{"a status of open, closed or lost", "status", "enum, one of open, closed, lost, default open"},
		{"a status which is one of draft, live, defaulting to live", "status", "enum, one of draft, live, default live"},
		{"a color that is either red or blue", "color", "enum, one of red, blue"},
		{"a due date", "due_date", "date, required"},
		{"a start time", "start_time", "timestamp, required"},
		{"an active flag", "active", "bool, default true"},
		{"a website url", "website_url", "url, required"},
		{"tags", "tags", "list, required"},
		{"an isbn (unique, optional)", "isbn", "isbn, unique"},
		{"a weight of at least 0.5", "weight", "decimal, required, at least 0.5"},
		{"an immutable serial number", "serial_number", "string, required, set once"},
		{"a birth date in the past", "birth_date", "date, required, not in the future"},
		{"a quantity (integer, default 1)", "quantity", "int, default 1"},
		{"a count that can't exceed 100", "count", "int, required, at most 100"},
		{"an age of at least 18", "age", "int, required, at least 18"},
		{"a date of birth", "date_of_birth", "date, required"},
		{"max visitors", "max_visitors", "int, required"},
		{"a duration in minutes (positive)", "duration_in_minutes", "int, required, above 0"},
		{"a price in cents", "price_in_cents", "int, required"},
		{"a difficulty easy, medium or hard", "difficulty", "enum, one of easy, medium, hard, default easy"},
		{"a status, draft or published", "status", "enum, one of draft, published, default draft"},
		{"a status of in use or in storage", "status", "enum, one of in_use, in_storage, default in_use"},
		{"a name and a priority (low, normal, high; default normal)", "priority", "enum, one of low, normal, high, default normal"},
		{"a planted on", "planted_on", "date, required"},
		{"a code (format AB-123)", "code", "string, required, of the form AB-123"},
		{"a code of 6 digits", "code", "string, required, of the form ^[0-9]{6}$"},
		{"a code (unique, lowercase letters, digits and dashes)", "code", `string, required, unique, of the form ^[a-z0-9\-]+$`},
		{"a code that matches ^[A-Z]{2}\\d+$", "code", `string, required, of the form ^[A-Z]{2}\d+$`},
		{"a name that is unique ignoring case", "name", "string, required, unique without regard to case"},
		{"a MAC address", "mac_address", "string, required, a MAC address"},
		{"a currency (EUR, USD)", "currency", "enum, one of EUR, USD"},
		{"a status pending, captured, refunded", "status", "enum, one of pending, captured, refunded, default pending"},
		{"a start and end date", "start_date", "date, required"},
		{"a species: dog, cat or bird", "species", "enum, one of dog, cat, bird"},
		{"a quantity 1..10", "quantity", "int, required, at least 1, at most 10"},
	} {
		s := Parse("Build an API for gadgets. A gadget has "+test.words+".", Facts{Empty: true})
		e, ok := s.Entity("gadget")
		f, found := e.Field(test.name)
		if !ok || !found || len(s.Uncovered) > 0 || strings.TrimSuffix(f.Describe(), ", required") != strings.TrimSuffix(test.want, ", required") {
			t.Errorf("%q: %q, want %q\n%s", test.words, f.Describe(), test.want, summary(s))
		}
	}
}

func TestKnowledgeIsSound(t *testing.T) {
	if _, err := loadKnowledge(); err != nil {
		t.Fatal(err)
	}
	for noun := range known().nouns {
		if s := singular(plural(noun)); s != noun {
			t.Errorf("%s → %s → %s", noun, plural(noun), s)
		}
		if s := Parse("Build an API for "+plural(noun), Facts{Empty: true}); len(s.Entities) == 0 || len(s.Uncovered) > 0 && noun != "order" && noun != "like" && noun != "vote" {
			t.Errorf("%s: %s", noun, summary(s))
		}
	}
}
