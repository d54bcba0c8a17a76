package playbook

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"go/format"
	"io"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// blackBox is what a service must do, seen from outside. Each line is a
// request, the status it must have, and the name under which its id is kept;
// "= name value" checks a member of the last answer, "# n" the length of a
// list. "@who" sends the token that "login who" got.
type blackBox struct {
	task   string
	script string
	choose map[string]string
}

var services = map[string]blackBox{
	"tournament": {task: "Build a tournament API: teams with name unique, players with name and number, matches with home team, away team and date; a team can have at most 2 players; a player belongs to a team", script: `
POST /teams {"name":"X"} 201 x
POST /teams {"name":"X"} 409
POST /teams {"name":"Y"} 201 y
POST /matches {"home_team_id":"$x","away_team_id":"$y","date":"2026-05-01"} 201
POST /matches {"home_team_id":"$x","away_team_id":"none","date":"2026-05-01"} 422
POST /matches {"home_team_id":"$x","date":"2026-05-01"} 422
POST /players {"name":"A","number":"1","team_id":"$x"} 201
POST /players {"name":"B","number":"2","team_id":"$x"} 201
POST /players {"name":"C","number":"3","team_id":"$x"} 409
DELETE /teams/$y 409
`},
	"library": {task: "a library service: members and books and loans, a member may hold at most three loans, a book can be on loan to one member at a time, a loan is due 14 days after it starts, only admins can delete books", script: `
POST /members {"name":"Ada"} 201 ada
POST /members {"name":"Bob"} 201 bob
POST /books {"title":"A"} 201 a
POST /books {"title":"B"} 201 b
POST /books {"title":"C"} 201 c
POST /books {"title":"D"} 201 d
POST /loans {"member_id":"$ada","book_id":"$a","started_at":"2026-01-20T08:00:00Z"} 201 loan
= due_at 2026-02-03T08:00:00Z
= returned_at null
POST /loans {"member_id":"$bob","book_id":"$a"} 409
POST /loans {"member_id":"$ada","book_id":"$b"} 201
POST /loans {"member_id":"$ada","book_id":"$c"} 201
POST /loans {"member_id":"$ada","book_id":"$d"} 409
POST /loans {"member_id":"$ada","book_id":"none"} 422
POST /loans {"member_id":"$ada"} 422
POST /loans/$loan/return 200
POST /loans/$loan/return 409
POST /loans {"member_id":"$ada","book_id":"$d"} 201
POST /loans {"member_id":"$bob","book_id":"$a"} 201
GET /loans?member_id=$ada 200
# 4
DELETE /members/$ada 409
POST /books {"title":"E"} 201 e
DELETE /books/$e 401
POST /users {"name":"U","email":"u@example.com","password":"long enough 1"} 201
POST /users {"name":"V","email":"v@example.com","password":"long enough 1","role":"admin"} 403
login user u@example.com long enough 1
login admin admin@example.com an admin's passphrase
@user DELETE /books/$e 403
@admin DELETE /books/$e 204
GET /books/$e 404`},
	"blog": {task: "I need a backend for a blog. Users register and log in with JWT. Anyone can read posts, but only the author may edit or delete a post. Comments belong to posts. Deleting a post deletes its comments.", script: `
POST /users {"name":"Ada","email":"ada@example.com","password":"long enough 1"} 201 ada
POST /users {"name":"Eve","email":"eve@example.com","password":"long enough 1"} 201 eve
login ada ada@example.com long enough 1
login eve eve@example.com long enough 1
POST /posts {"title":"T"} 401
@ada POST /posts {"title":"T"} 201 post
= user_id $ada
@eve POST /posts {"title":"T","user_id":"$ada"} 403
GET /posts 200
# 1
GET /posts/$post 200
@eve GET /posts/$post 200
PATCH /posts/$post {"title":"U"} 401
@eve PATCH /posts/$post {"title":"U"} 403
@ada PATCH /posts/$post {"title":"U"} 200
@eve POST /comments {"post_id":"$post","body":"hi","user_id":"$ada"} 403
@eve POST /comments {"post_id":"$post","body":"hi"} 201 c
= user_id $eve
GET /comments/$c 401
@eve DELETE /posts/$post 403
@ada DELETE /posts/$post 204
@ada GET /comments/$c 404`},
	"staff": {task: "Create a secure REST API for user management with roles admin, editor and viewer. Only admins can delete users. Passwords need at least 12 characters. Lock an account after 3 failed logins. Articles have a title and a currency (EUR, USD). Only editors can create articles.", script: `
POST /users {"name":"Ada","email":"ada@example.com","password":"long enough 1"} 201 ada
= role viewer
POST /users {"name":"Eve","email":"eve@example.com","password":"long enough 1","role":"editor"} 403
login ada ada@example.com long enough 1
login admin admin@example.com an admin's passphrase
@admin POST /users {"name":"Ed","email":"ed@example.com","password":"long enough 1","role":"editor"} 201 ed
login ed ed@example.com long enough 1
@ada POST /articles {"title":"T","currency":"EUR"} 403
@ed POST /articles {"title":"T","currency":"EUR"} 201
= currency EUR
@ed POST /articles {"title":"T","currency":"YEN"} 422
@ed DELETE /users/$ada 403
@admin DELETE /users/$ada 204
POST /users {"name":"Al","email":"al@example.com","password":"elevenchars"} 422
POST /login {"email":"ed@example.com","password":"a wrong one 1"} 401
POST /login {"email":"ed@example.com","password":"a wrong one 2"} 401
POST /login {"email":"ed@example.com","password":"a wrong one 3"} 401
POST /login {"email":"ed@example.com","password":"long enough 1"} 429`},
	"catalogue": {task: "A REST API for products and tags (many-to-many). A product has a sku (unique, format ABC-1234), a name, an optional colour code that matches ^#[0-9a-f]{6}$ and a pin of 4 digits. A tag's name is unique ignoring case. A product has at most 2 tags. Deleting a tag that is in use returns 409.", script: `
POST /products {"sku":"ABC-1234","name":"P","pin":"0420"} 201 p
POST /products {"sku":"ABC-1234","name":"P","pin":"0420"} 409
POST /products {"sku":"abc-1234","name":"P","pin":"0420"} 422
POST /products {"sku":"ABC-123","name":"P","pin":"0420"} 422
POST /products {"sku":"XBC-1234","name":"P","pin":"420"} 422
POST /products {"sku":"XBC-1234","name":"P","pin":"a420"} 422
POST /products {"sku":"XBC-1234","name":"P","pin":"0420","colour_code":"red"} 422
POST /products {"sku":"XBC-1234","name":"P","pin":"0420","colour_code":"#00ff00"} 201 q
POST /tags {"name":"New"} 201 new
POST /tags {"name":"nEW"} 409
POST /tags {"name":"Old"} 201 old
POST /tags {"name":"Odd"} 201 odd
POST /product-tags {"product_id":"$p","tag_id":"$new"} 201 link
POST /product-tags {"product_id":"$p","tag_id":"$new"} 409
POST /product-tags {"product_id":"$p","tag_id":"$old"} 201
POST /product-tags {"product_id":"$p","tag_id":"$odd"} 409
POST /product-tags {"product_id":"$q","tag_id":"$odd"} 201
GET /products/$p/product-tags 200
# 2
DELETE /tags/$new 409
DELETE /tags/$odd 409
DELETE /products/$q 204
DELETE /tags/$odd 204
DELETE /product-tags/$link 204
DELETE /tags/$new 204`},
	"devices": {task: "An API for devices and readings. A device has a macAddress (unique, MAC address), a firmwareVersion, a deviceState (inUse, inRepair, retired) and lastSeen (timestamp, optional). A reading has a deviceId, measuredAt (timestamp), createdAt and roomTemperature between -40 and 85.", script: `
POST /devices {"macAddress":"00:1B:44:11:3A:B7","firmwareVersion":"1","lastSeen":"2030-01-01T10:00:00Z"} 201 d
= lastSeen 2030-01-01T10:00:00Z
= deviceState inUse
POST /devices {"macAddress":"00:1B:44:11:3A:B8","firmwareVersion":"1","last_seen":"2030-01-01T10:00:00Z"} 400
POST /devices {"macAddress":"00:1B:44:11:3A:B7","firmwareVersion":"1"} 409
PATCH /devices/$d {"deviceState":"in_use"} 422
PATCH /devices/$d {"deviceState":"inRepair"} 200
GET /devices?lastSeen=2030-01-01T10:00:00Z 200
# 1
POST /readings {"deviceId":"$d","measuredAt":"2030-01-01T10:00:00Z","roomTemperature":85} 201
POST /readings {"deviceId":"$d","measuredAt":"2030-01-01T10:00:00Z","roomTemperature":86} 422
GET /readings?sort=-createdAt 200
# 1
GET /readings?sort=-created_at 400`},
	"gym": {task: "Create an API for a gym: members, classes, and bookings. Each class has a name and a capacity. A booking is rejected when the class is full. Members can cancel a booking. A member may book at most 2 classes per day.", script: `
POST /members {"name":"A"} 201 a
POST /members {"name":"B"} 201 b
POST /classes {"name":"X","capacity":1} 201 x
POST /classes {"name":"Y","capacity":5} 201 y
POST /bookings {"member_id":"$a","class_id":"$x"} 201 one
POST /bookings {"member_id":"$b","class_id":"$x"} 409
POST /bookings {"member_id":"$a","class_id":"$y"} 201
POST /bookings {"member_id":"$a","class_id":"$y"} 409
POST /bookings/$one/cancel 200
POST /bookings {"member_id":"$b","class_id":"$x"} 201
POST /bookings {"member_id":"$a","class_id":"$y"} 201
POST /bookings {"member_id":"$a","class_id":"$y"} 409
POST /bookings {"member_id":"$a","class_id":"$y","booked_at":"2099-01-02T10:00:00Z"} 201`},
	"meetings": {task: "Meeting room reservation service with rooms and reservations (start time, end time, organiser email). No two reservations of the same room may overlap. A reservation can't be longer than 4 hours. Reservations in the past are rejected.", script: `
POST /rooms {"name":"R"} 201 r
POST /reservations {"room_id":"$r","start_time":"2099-01-01T08:00:00Z","end_time":"2099-01-01T12:00:01Z","organiser_email":"a@example.com"} 422
POST /reservations {"room_id":"$r","start_time":"2099-01-01T08:00:00Z","end_time":"2099-01-01T12:00:00Z","organiser_email":"a@example.com"} 201
POST /reservations {"room_id":"$r","start_time":"2099-01-01T15:00:00Z","end_time":"2099-01-01T14:00:00Z","organiser_email":"a@example.com"} 422
POST /reservations {"room_id":"$r","start_time":"2020-01-01T08:00:00Z","end_time":"2020-01-01T09:00:00Z","organiser_email":"a@example.com"} 422
POST /reservations {"room_id":"$r","start_time":"2099-01-01T11:00:00Z","end_time":"2099-01-01T13:00:00Z","organiser_email":"a@example.com"} 409`},
	"users": {task: "Create a secure REST API for user management", script: `
GET /users 401
POST /users {"name":"Ada","email":"ada@example.com","password":"long enough 1"} 201 ada
= role user
= password null
POST /users {"name":"Eve","email":"ADA@example.com","password":"long enough 1"} 409
POST /users {"name":"Eve","email":"eve","password":"long enough 1"} 422
POST /users {"name":"Eve","email":"eve@example.com","password":"short"} 422
POST /users {"name":"Eve","email":"eve@example.com","password":"long enough 2"} 201 eve
POST /login {"email":"ada@example.com","password":"wrong password"} 401
login ada ada@example.com long enough 1
login eve eve@example.com long enough 2
login admin admin@example.com an admin's passphrase
@ada GET /users/$ada 200
@ada GET /users/$eve 403
@ada GET /users 403
@admin GET /users 200
# 3
@ada PATCH /users/$ada {"name":"Ada L"} 200
= name Ada L
@ada PATCH /users/$ada {"role":"admin"} 403
@eve DELETE /users/$ada 403
@ada POST /logout 204
@ada GET /users/$ada 401
@admin DELETE /users/$ada 204
POST /login {"email":"ada@example.com","password":"long enough 1"} 401`},
	"inventory": {task: "Build an inventory service with products (sku unique, price, quantity) and suppliers; a product belongs to a supplier; quantity can't be negative", choose: map[string]string{"persistence": "snapshot", "identifiers": "random"}, script: `
POST /suppliers {"name":"S"} 201 s
POST /products {"sku":"x","price":12.5,"quantity":0,"supplier_id":"$s"} 201 p
= price 12.5
POST /products {"sku":"x","price":1,"quantity":1,"supplier_id":"$s"} 409
POST /products {"sku":"y","price":1,"quantity":-1,"supplier_id":"$s"} 422
POST /products {"sku":"y","price":1,"quantity":1.5,"supplier_id":"$s"} 400
POST /products {"sku":"y","price":1,"quantity":1,"supplier_id":"none"} 422
POST /products {"sku":"y","price":1,"supplier_id":"$s"} 422
PATCH /products/$p {"quantity":-1} 422
PATCH /products/$p {"quantity":7} 200
= quantity 7
= sku x
GET /products?supplier_id=$s 200
# 1
DELETE /suppliers/$s 409
DELETE /products/$p 204
DELETE /suppliers/$s 204`},
	"clinic": {task: "Build a clinic service with patients, doctors and appointments; a doctor's appointments can't overlap; an appointment must end after it starts", script: `
POST /patients {"name":"P"} 201 p
POST /doctors {"name":"D"} 201 d
POST /doctors {"name":"E"} 201 e
POST /appointments {"patient_id":"$p","doctor_id":"$d","starts_at":"2030-01-01T10:00:00Z","ends_at":"2030-01-01T11:00:00Z"} 201 a
POST /appointments {"patient_id":"$p","doctor_id":"$d","starts_at":"2030-01-01T10:59:59Z","ends_at":"2030-01-01T12:00:00Z"} 409
POST /appointments {"patient_id":"$p","doctor_id":"$d","starts_at":"2030-01-01T11:00:00Z","ends_at":"2030-01-01T12:00:00Z"} 201 b
POST /appointments {"patient_id":"$p","doctor_id":"$e","starts_at":"2030-01-01T10:00:00Z","ends_at":"2030-01-01T11:00:00Z"} 201
POST /appointments {"patient_id":"$p","doctor_id":"$e","starts_at":"2030-01-02T10:00:00Z","ends_at":"2030-01-02T10:00:00Z"} 422
PATCH /appointments/$b {"starts_at":"2030-01-01T10:30:00Z"} 409
DELETE /appointments/$a 204
PATCH /appointments/$b {"starts_at":"2030-01-01T10:30:00Z"} 200`},
	"orders": {task: "Build an order service: customers, products (name, price, stock) and orders; an order has a customer, a product and a quantity; creating an order reduces the stock; you can't order more than in stock; an order goes from pending to paid to shipped; a shipped order can't be cancelled; the total is quantity times price", script: `
POST /customers {"name":"C"} 201 c
POST /products {"name":"P","price":2.35,"stock":5} 201 p
POST /orders {"customer_id":"$c","product_id":"$p","quantity":6} 409
POST /orders {"customer_id":"$c","product_id":"$p","quantity":0} 422
POST /orders {"customer_id":"$c","product_id":"$p","quantity":3} 201 o
= status pending
= total 7.05
GET /products/$p 200
= stock 2
POST /orders {"customer_id":"$c","product_id":"$p","quantity":3} 409
PATCH /orders/$o {"status":"shipped"} 409
PATCH /orders/$o {"status":"paid"} 200
PATCH /orders/$o {"status":"pending"} 409
POST /orders/$o/ship 200
= status shipped
PATCH /orders/$o {"status":"cancelled"} 409
POST /orders {"customer_id":"$c","product_id":"$p","quantity":2} 201 q
PATCH /orders/$q {"status":"cancelled"} 200`},
	"tickets": {task: "Build an event ticketing API with events (name, capacity) and tickets; an event can't have more tickets than its capacity; a ticket belongs to an event; deleting an event deletes its tickets", script: `
POST /events {"name":"E","capacity":2} 201 e
POST /tickets {"event_id":"$e"} 201 t
POST /tickets {"event_id":"$e"} 201
POST /tickets {"event_id":"$e"} 409
PATCH /events/$e {"capacity":1} 409
PATCH /events/$e {"capacity":3} 200
POST /tickets {"event_id":"$e"} 201
GET /events/$e/tickets 200
# 3
DELETE /events/$e 204
GET /tickets/$t 404`},
	"tasks": {task: "Create a task management API where users can register and log in with JWT; users can only see their own tasks; tasks have a title, optional description, due date and a status (todo, in progress, done); rate limit of 500 requests per minute per client", script: `
POST /users {"name":"A","email":"a@example.com","password":"long enough 1"} 201 a
POST /users {"name":"B","email":"b@example.com","password":"long enough 1"} 201 b
login a a@example.com long enough 1
login b b@example.com long enough 1
POST /tasks {"title":"T","due_date":"2030-01-01"} 401
@a POST /tasks {"title":"T","due_date":"2030-01-01"} 201 t
= user_id $a
= status todo
@a POST /tasks {"title":"T","due_date":"tomorrow"} 400
@a POST /tasks {"due_date":"2030-01-01"} 422
@b GET /tasks/$t 403
@b PATCH /tasks/$t {"title":"U"} 403
@b DELETE /tasks/$t 403
@b GET /tasks 200
# 0
@a GET /tasks 200
# 1
@a PATCH /tasks/$t {"status":"in progress"} 200
= status in_progress
@a PATCH /tasks/$t {"status":"other"} 422
@a POST /logout 204
@a GET /tasks 401`},
	"fleet": {task: "Build a fleet service for vehicles (vin unique, make, model, year), drivers (name, license number unique) and trips; a driver can have only one active trip at a time; inactive drivers can't start trips; drivers with trips can't be deleted", script: `
POST /vehicles {"vin":"V","make":"M","model":"X","year":2020} 201 v
POST /vehicles {"vin":"V","make":"M","model":"X","year":2020} 409
POST /drivers {"name":"D","license_number":"L"} 201 d
= active true
POST /trips {"vehicle_id":"$v","driver_id":"$d"} 201 t
POST /trips {"vehicle_id":"$v","driver_id":"$d"} 409
POST /trips/$t/end 200
PATCH /drivers/$d {"active":false} 200
POST /trips {"vehicle_id":"$v","driver_id":"$d"} 409
PATCH /drivers/$d {"active":true} 200
POST /trips {"vehicle_id":"$v","driver_id":"$d"} 201
DELETE /drivers/$d 409`},
	"teams": {task: "Create a service in memory for teams and players: a team has a name, a player has a name and a shirt number between 1 and 99, a team can have at most 2 players, shirt numbers must be unique within a team", script: `
POST /teams {"name":"T"} 201 t
POST /teams {"name":"U"} 201 u
POST /players {"name":"P","shirt_number":1,"team_id":"$t"} 201 p
POST /players {"name":"Q","shirt_number":1,"team_id":"$t"} 409
POST /players {"name":"Q","shirt_number":0,"team_id":"$t"} 422
POST /players {"name":"Q","shirt_number":100,"team_id":"$t"} 422
POST /players {"name":"Q","shirt_number":99,"team_id":"$t"} 201
POST /players {"name":"R","shirt_number":2,"team_id":"$t"} 409
POST /players {"name":"R","shirt_number":1,"team_id":"$u"} 201
DELETE /players/$p 204
POST /players {"name":"R","shirt_number":2,"team_id":"$t"} 201`},
}

func TestGeneratedServices(t *testing.T) {
	if testing.Short() {
		t.Skip("builds and runs generated programs")
	}
	examined := examples()
	for name, service := range services {
		t.Run(name, func(t *testing.T) {
			facts := Facts{Name: name, Empty: true}
			spec := Parse(service.task, facts)
			if len(spec.Uncovered) > 0 {
				t.Fatalf("uncovered: %q\n%s", spec.Uncovered, summary(spec))
			}
			dir := t.TempDir()
			for _, step := range Plan(spec, facts) {
				files, err := Build(spec, facts, service.choose, step.Key)
				if err != nil {
					t.Fatalf("step %s: %v", step.Key, err)
				}
				for _, f := range files {
					if !slices.ContainsFunc(step.Writes, func(glob string) bool { return overlapping(glob, f.Path) }) {
						t.Errorf("step %s writes %s, which its plan does not name", step.Key, f.Path)
					}
					if formatted, err := format.Source(f.Content); strings.HasSuffix(f.Path, ".go") && (err != nil || !bytes.Equal(formatted, f.Content)) {
						t.Errorf("%s is not formatted: %v", f.Path, err)
					}
				}
				write(t, dir, files)
				if examined[name] && (strings.HasSuffix(step.Key, "domain") || step.Key == "storage") {
					golang(t, dir, "build", "./...") // the tree builds after each step
				}
			}
			if examined[name] {
				golang(t, dir, "vet", "./...")
				golang(t, dir, "test", "-vet=off", "./...")
			}
			if err := runScript(t, dir, spec.Name, service.script); err != nil {
				t.Error(err)
			}
		})
	}
}

// examples are services that together have every kind of rule, action, account
// and store that any of them has: the tests that they come with are run, which
// costs several times what their scripts do.
func examples() map[string]bool {
	has := map[string][]string{}
	for name, service := range services {
		spec := Parse(service.task, Facts{Name: name, Empty: true})
		has[name] = []string{fmt.Sprintf("%v", service.choose), fmt.Sprintf("account %t, memory %t", spec.Auth != nil, spec.Features.Memory), fmt.Sprintf("camelCase %t", len(spec.Spelling) > 0)}
		for _, r := range spec.Rules {
			has[name] = append(has[name], string(r.Kind))
		}
	}
	names := slices.Sorted(maps.Keys(has))
	chosen, seen := map[string]bool{}, map[string]bool{}
	for {
		best, most := "", 0
		for _, name := range names {
			unseen := map[string]bool{}
			for _, h := range has[name] {
				unseen[h] = !seen[h]
			}
			n := 0
			for _, is := range unseen {
				if is {
					n++
				}
			}
			if n > most {
				best, most = name, n
			}
		}
		if best == "" {
			return chosen
		}
		chosen[best] = true
		for _, h := range has[best] {
			seen[h] = true
		}
	}
}

// A service without the code of a rule must fail the script: otherwise the
// script proves nothing.
func TestScriptsNoticeMissingRules(t *testing.T) {
	if testing.Short() {
		t.Skip("builds and runs generated programs")
	}
	for _, name := range []string{"library", "orders", "clinic", "tickets", "meetings", "blog"} {
		service := services[name]
		facts := Facts{Name: name, Empty: true}
		whole := Parse(service.task, facts)
		for _, kind := range []RuleKind{RuleLimit, RuleDue, RuleAccess, RuleStock, RuleStates, RuleProduct, RuleOverlap, RuleOrder, RuleCapacity, RuleSpan, RuleOpen} {
			i := slices.IndexFunc(whole.Rules, func(r Rule) bool { return r.Kind == kind })
			if i < 0 {
				continue
			}
			t.Run(name+" without "+string(kind), func(t *testing.T) {
				spec := Parse(service.task, facts)
				spec.Rules = slices.Delete(spec.Rules, i, i+1)
				dir := t.TempDir()
				for _, step := range Plan(spec, facts) {
					files, err := Build(spec, facts, nil, step.Key)
					if err != nil {
						t.Fatal(err)
					}
					write(t, dir, files)
				}
				if err := runScript(t, dir, spec.Name, service.script); err == nil {
					t.Errorf("without %s the script still passes", kind)
				} else if errors.Is(err, errNotRunning) {
					t.Error(err)
				}
			})
		}
	}
}

func write(t *testing.T, dir string, files []File) {
	t.Helper()
	for _, f := range files {
		path := filepath.Join(dir, f.Path)
		if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, f.Content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func golang(t *testing.T, dir string, args ...string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOFLAGS=-mod=mod", "GOPROXY=off", "GOTOOLCHAIN=local", "GOWORK=off")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

var errNotRunning = errors.New("the program does not run")

// runScript builds the program, starts it, and sends it what the script says.
func runScript(t *testing.T, dir, name, script string) (err error) {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "service")
	golang(t, dir, "build", "-ldflags=-s -w", "-o", binary, "./cmd/"+name)
	cmd := exec.CommandContext(t.Context(), binary)
	cmd.Env = []string{"ADDR=127.0.0.1:0", "DATA_DIR=" + t.TempDir(), "ADMIN_EMAIL=admin@example.com", "ADMIN_PASSWORD=an admin's passphrase"}
	stderr, err := cmd.StderrPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("%w: %w", errNotRunning, err)
	}
	logs := bufio.NewScanner(stderr)
	c := &caller{ids: map[string]string{}, tokens: map[string]string{}}
	for c.base == "" && logs.Scan() {
		var line struct{ Msg, Addr string }
		if json.Unmarshal(logs.Bytes(), &line) == nil && line.Msg == "listening" {
			c.base = "http://" + line.Addr
		}
	}
	drained := make(chan struct{})
	go func() {
		defer close(drained)
		for logs.Scan() { // keeps the pipe empty until the program ends
			continue
		}
	}()
	defer func() {
		if stop := cmd.Process.Signal(os.Interrupt); stop != nil {
			err = errors.Join(err, stop)
		}
		<-drained
		if end := cmd.Wait(); end != nil {
			err = errors.Join(err, fmt.Errorf("stopping: %w", end))
		}
	}()
	if c.base == "" {
		return errNotRunning
	}
	for _, line := range strings.Split(strings.TrimSpace(script), "\n") {
		if err := c.line(t, line); err != nil {
			return fmt.Errorf("%s: %w", line, err)
		}
	}
	return nil
}

type caller struct {
	base        string
	ids, tokens map[string]string
	answer      any
}

func (c *caller) line(t *testing.T, line string) error {
	for name, id := range c.ids {
		line = strings.ReplaceAll(line+" ", "$"+name+"\"", id+"\"")
		line = strings.ReplaceAll(line, "$"+name+"/", id+"/")
		line = strings.TrimSuffix(strings.ReplaceAll(line, "$"+name+" ", id+" "), " ")
	}
	words := strings.Fields(line)
	switch words[0] {
	case "=":
		object, _ := c.answer.(map[string]any)
		got := fmt.Sprint(object[words[1]])
		if want := strings.Join(words[2:], " "); got != want && (want != "null" || object[words[1]] != nil) {
			return fmt.Errorf("got %s", got)
		}
		return nil
	case "#":
		list, _ := c.answer.([]any)
		if strconv.Itoa(len(list)) != words[1] {
			return fmt.Errorf("got %d", len(list))
		}
		return nil
	case "login":
		body := fmt.Sprintf(`{"email":%q,"password":%q}`, words[2], strings.Join(words[3:], " "))
		if err := c.send(t, "", http.MethodPost, "/login", body, http.StatusOK); err != nil {
			return err
		}
		object, _ := c.answer.(map[string]any)
		c.tokens[words[1]], _ = object["token"].(string)
		return nil
	}
	token := ""
	if who, ok := strings.CutPrefix(words[0], "@"); ok {
		token = c.tokens[who]
		words = words[1:]
	}
	method, path, rest := words[0], words[1], words[2:]
	body := ""
	if strings.HasPrefix(rest[0], "{") {
		all := strings.Join(rest, " ")
		end := strings.LastIndexByte(all, '}') + 1
		body, rest = all[:end], strings.Fields(all[end:])
	}
	status, err := strconv.Atoi(rest[0])
	if err != nil {
		return err
	}
	if err := c.send(t, token, method, path, body, status); err != nil {
		return err
	}
	if len(rest) > 1 {
		object, _ := c.answer.(map[string]any)
		c.ids[rest[1]], _ = object["id"].(string)
	}
	return nil
}

func (c *caller) send(t *testing.T, token, method, path, body string, want int) error {
	req, err := http.NewRequestWithContext(t.Context(), method, c.base+path, strings.NewReader(body))
	if err != nil {
		return err
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	data, err := io.ReadAll(resp.Body)
	if err := errors.Join(err, resp.Body.Close()); err != nil {
		return err
	}
	c.answer = nil
	if len(data) > 0 {
		if err := json.Unmarshal(data, &c.answer); err != nil {
			return fmt.Errorf("%s: %w", data, err)
		}
	}
	if resp.StatusCode != want {
		return fmt.Errorf("%d: %s", resp.StatusCode, data)
	}
	return nil
}
