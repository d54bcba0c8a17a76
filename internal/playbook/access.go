package playbook

import (
	"slices"
	"strings"
)

var (
	abilityWords   = pattern(`^(?:with|has|have|include|includes|including|support|supports|supporting|provide|provides|use|uses|using|it must have|api must have|service must have|must have|must include|must support|must use|must be|be|add|and|service has|api has|it has|there must be|comes with|plain|proper|via|by|through|based on) `)
	authWords      = pattern(`^(?:(?:users?|@\w+|api|service|it|endpoints?|operations|requests?|callers|clients) )?(?:(?:must|can|requires?|needs?|is|are|be|protected|secured|protected by|secured by|secured with|protected with) )*(?:secure |token |token-based |bearer |bearer token |jwt |jwt-based |user |@user |password |basic role-based |role-based )?(?:authentication|authenticated|auth|login|log in|sign in|logging in|authorization|logged in|secure|secured|tokens?|jwts?|bearer tokens?|access control|login endpoint|registration|register|sign up|log out|logout|role-based access control|rbac)(?: (?:with|using|via|by) (?:jwts?|bearer tokens?|tokens?|email and password|passwords?|email|username and password|@user|jwt tokens?|signed tokens?))?(?: (?:and|,|or) (?:authorization|login|log in|logout|log out|sign in|registration|register|password|role-based access control|roles|rbac|bearer tokens?))*(?: (?:with|using|via) (?:jwts?|bearer tokens?|tokens?|email and password|passwords?|their email and password|jwt tokens?))?$`)
	needsLogin     = pattern(`^(?:login|authentication|auth|logging in|sign in|token|bearer token) (?:is |must be )?(?:required|mandatory|needed|necessary)(?: (?:for|on) (?:all |every |each )?(?:everything|endpoints?|operations?|requests?|routes?|api))?$`)
	hashed         = pattern(`^(?:@\w+ )?(?:store |stored |stores )?(?:passwords?|password|hashed passwords?)(?: (?:of @\w+))? ?(?:must be |are |is |be )?(?:stored |kept |saved )?(?:securely )?(?:hashed|as hash(?:es)?|securely|in hashed form)?(?: (?:and|with|using) (?:salted|salt|pbkdf2))?$`)
	neverShown     = pattern(`^(?:passwords?|password hash(?:es)?|hash(?:es)?)(?: of @\w+)? (?:cannot be|must be|cannot appear|cannot) (?:returned|exposed|shown|included|visible|leaked|appear|hidden|be returned|be exposed)?(?: (?:in|by|from) (?:api )?(?:responses?|api|logs))*$`)
	rateLimit      = pattern(`^(?:requests? (?:is|are) )?(?:rate limit(?:ing|s|ed)?|rate-limit(?:ing|s|ed)?|throttling|rate at most|at most|api is rate limited|service is rate limited)(?: (?:to|of|at|at most))*(?: #(\d+) requests? (?:per|in|/) (second|minute|hour))?(?: (?:per|for|by) (?:client|ip|ip address|caller|@user))?$`)
	perClient      = pattern(`^(?:client|clients|caller|ip|@user) can (?:make|send) at most #(\d+) requests? per (second|minute|hour)$`)
	loginLimit     = pattern(`^(?:login|logins|login attempts?|failed logins?|log in)(?: attempts?)? (?:is|are|must be) (?:rate limited|rate-limited|throttled|limited)$|^brute[- ]force protection$|^(?:rate limited|rate-limited) login$`)
	memoryOnly     = pattern(`^(?:in-memory|in memory)(?: (?:storage|store|data|database|only|persistence|repository|map))*$|^(?:data|everything|it) (?:is|are|can be|must be) (?:kept|stored|held) (?:only )?in memory(?: only)?$|^(?:store|stores|keep|keeps|storing|keeping)(?: \w+| @\w+)? in memory$|^no database$|^(?:without|no) (?:a )?database$|^no persistence$`)
	durable        = pattern(`^(?:data|@\w+|it|everything|state|storage) (?:must |is |are |can )?(?:be )?(?:survives?|persists?|persisted|persistent|stored|saved|kept|durable)(?: (?:on disk|to disk|to file|in file|in files|restarts?|across restarts?|between restarts?|service restarts?|server restarts?|durably|on restart|in json file|to json file|after restart|crash|crashes|process restart))*$|^(?:persist|store|save|keep)(?: data| everything| @\w+)?(?: (?:to|on|in|across) (?:disk|file|files|restarts?|json file|durably))+$|^(?:file|file-based|disk|json file) (?:storage|persistence|based storage)$`)
	notFound       = pattern(`^(?:(?:api |service |it )?(?:returns?|respond|responds|must return|answers?|answer)(?: with)? )?#404(?: not found)?(?: is returned)? (?:for|when|if) (?:unknown|missing|non-existent|nonexistent|@\w+ cannot exist|@\w+ does not exist|@\w+ cannot be found|@\w+ is missing|not found|resource cannot exist|resource is not found|@\w+ cannot be exist)?(?: (?:@\w+|ids?|resources?|id|resource))*$`)
	validated      = pattern(`^(?:@\w+ |all )?(?:input|inputs|requests?|request bodies|bodies|payloads?|fields|data) (?:must be |is |are )(?:strictly )?validated$|^validate (?:all |every )?(?:input|inputs|requests?|data|payloads?|request bodies)$|^(?:invalid|bad|malformed) (?:input|requests?|data) (?:is|are|must be) (?:rejected|refused)$|^(?:errors? (?:is|are|must be) (?:returned )?(?:as )?(?:json|problem\+json|rfc #?9457)|return json(?: errors)?|(?:api |it )?(?:must )?(?:speaks?|returns?|uses?) json)$`)
	port           = pattern(`^(?:it |service |server |api |must )*(?:listens?|listening|runs?|running|be served|served) (?:by default )?on port #(\d+)$|^on port #(\d+)$`)
	passwordLength = pattern(`^passwords? (?:(?:must|can|need|needs|requires?|have|has|be|is|are|of|contain|cannot) )*(?:at least #(\d+) (?:characters?|chars?)(?: long)?|(?:shorter than|under) #(\d+) (?:characters?|chars?))$`)
	lockout        = pattern(`^(?:lock (?:accounts?|users?|@\w+)(?: out)?(?: for #(\d+) (minute|hour)s?)? after #(\d+) (?:failed|wrong|unsuccessful) (?:logins?|login attempts?|attempts?|passwords?)(?: for #(\d+) (minute|hour)s?)?|(?:accounts?|users?|@\w+) (?:is|are|must be|gets?) locked(?: out)?(?: for #(\d+) (minute|hour)s?)? after #(\d+) (?:failed|wrong|unsuccessful) (?:logins?|login attempts?|attempts?|passwords?)(?: for #(\d+) (minute|hour)s?)?|after #(\d+) (?:failed|wrong|unsuccessful) (?:logins?|login attempts?|attempts?) ,? ?(?:accounts?|users?|@\w+) (?:is|are|must be|gets?) locked(?: out)?(?: for #(\d+) (minute|hour)s?)?)$`)
	jwt            = pattern(`\bjwts?\b`)
	roleList       = pattern(`^(?:@user (?:has|have) |there (?:is|are) )?(?:#\d+ )?(?:@?user )?(?:roles? )?(?:: |are |of |such as )?\(? ?(\w+(?: ?(?:,|and|or) ?(?:(?:and|or) )?\w+)+?)(?: roles?)? ?\)?$`)
)

// feature reads abilities of the service as a whole.
func (p *reader) feature(raw, s string) bool {
	for {
		t := abilityWords().ReplaceAllString(s, "")
		if t == s {
			break
		}
		s = t
	}
	f := &p.spec.Features
	switch {
	case known().given.MatchString(strings.ReplaceAll(s, "@", "")):
		p.cover(raw, "part of every generated service")
	case loginLimit().MatchString(s):
		p.secure = true
		p.cover(raw, "failed logins are limited per account and address: 429")
	case authWords().MatchString(s), needsLogin().MatchString(s):
		p.secure = true
		p.signed = p.signed || jwt().MatchString(s)
		p.cover(raw, "registration, POST /login and POST /logout; every other operation needs a bearer token")
	case passwordLength().MatchString(s):
		m := passwordLength().FindStringSubmatch(s)
		p.secure, p.passwordMin = true, cardinal(m[1]+m[2])
		p.cover(raw, "a password has at least %d characters, else 422", p.passwordMin)
	case lockout().MatchString(s):
		p.lockout(raw, lockout().FindStringSubmatch(s))
	case hashed().MatchString(s):
		p.secure = true
		p.cover(raw, "passwords are stored as salted PBKDF2 hashes")
	case neverShown().MatchString(s):
		p.secure = true
		p.cover(raw, "no response has a password or its hash")
	case rateLimit().MatchString(s) && (strings.Contains(s, "rate") || strings.Contains(s, "throttl") || strings.Contains(s, "request")), perClient().MatchString(s):
		m := rateLimit().FindStringSubmatch(s)
		if m == nil {
			m = perClient().FindStringSubmatch(s)
		}
		f.RateLimit, f.RateWindow = 100, "minute"
		if m[1] != "" {
			f.RateLimit, f.RateWindow = cardinal(m[1]), m[2]
		}
		p.cover(raw, "%d requests per %s and client address, then 429 with Retry-After", f.RateLimit, f.RateWindow)
	case memoryOnly().MatchString(s):
		p.memory = true
		f.Memory = true
		p.cover(raw, "records live in memory only")
	case durable().MatchString(s):
		p.cover(raw, "every accepted change is on disk before it is answered")
	case notFound().MatchString(s):
		p.cover(raw, "404 with a problem document for ids that don't exist")
	case validated().MatchString(s):
		p.cover(raw, "strict decoding, checks on every field, errors as application/problem+json")
	case port().MatchString(s):
		m := port().FindStringSubmatch(s)
		f.Port = m[1] + m[2]
		p.cover(raw, "listens on port %s by default", f.Port)
	case p.roleList(raw, s):
	default:
		return false
	}
	return true
}

// roleList reads a clause that only names the roles of accounts.
func (p *reader) roleList(raw, s string) bool {
	m := roleList().FindStringSubmatch(s)
	if m == nil {
		return false
	}
	roles := splitValues(strings.ReplaceAll(m[1], "@", ""))
	if len(roles) < 2 || slices.ContainsFunc(roles, func(r string) bool { return !isRoleWord(r) }) || !slices.ContainsFunc(roles, func(r string) bool { return known().words.Roles[singular(r)] != "" }) {
		return false
	}
	noun := "user"
	if p.entity(noun) == nil && p.entity("account") != nil {
		noun = "account"
	}
	if p.entity(noun) == nil {
		p.add(noun)
		p.useKnown(noun)
	}
	p.setRoles(noun, roles)
	p.cover(raw, "roles of an account: %s", strings.Join(roles, ", "))
	return true
}

// lockout reads how many failed logins lock an account, and for how long.
func (p *reader) lockout(raw string, m []string) {
	p.secure = true
	a := p.auth()
	for _, at := range [][3]int{{3, 1, 2}, {3, 4, 5}, {8, 6, 7}, {8, 9, 10}, {11, 12, 13}} {
		if m[at[0]] == "" {
			continue
		}
		a.Failures = cardinal(m[at[0]])
		if m[at[1]] != "" {
			a.Locked = cardinal(m[at[1]]) * map[string]int{"minute": 1, "hour": 60}[m[at[2]]]
		}
	}
	minutes := a.Locked
	if minutes == 0 {
		minutes = 15
		p.assume("A locked account opens again after 15 minutes.")
	}
	p.cover(raw, "after %d failed logins for an email within %d minutes, POST /login answers 429, even to the right password", a.Failures, minutes)
}

func (p *reader) auth() *Auth {
	if p.spec.Auth == nil {
		p.spec.Auth = &Auth{Roles: []string{"user", "admin"}}
	}
	return p.spec.Auth
}

func (p *reader) roles(words ...string) {
	a := p.auth()
	for _, w := range words {
		if r, ok := known().words.Roles[singular(w)]; ok && !slices.Contains(a.Roles, r) {
			a.Roles = append(a.Roles, r)
		}
	}
}

// operations are what verbs of a permission mean for a resource: create,
// read, update, delete, or an action of its own.
func (p *reader) operations(e *Entity, text string) ([]string, bool) {
	var ops []string
	add := func(names ...string) {
		for _, n := range names {
			if !slices.Contains(ops, n) {
				ops = append(ops, n)
			}
		}
	}
	for _, verb := range listSep().Split(text, -1) {
		for _, verb := range strings.Fields(verb) {
			switch verb {
			case "create", "add", "insert", "post", "write", "register":
				add("create")
			case "delete", "remove":
				add("delete")
			case "update", "edit", "change", "modify":
				add("update")
			case "read", "view", "see", "get", "list", "access", "retrieve", "browse", "search":
				add("read")
			case "manage", "administer":
				add("create", "update", "delete")
			default:
				for _, f := range e.Fields {
					if i := slices.IndexFunc(f.Values, func(v string) bool { return base(v) == verb }); i >= 0 && f.Type == Enum {
						e.addAction(Action{Verb: verb, Field: f.Name, State: f.Values[i]})
						add(verb)
						break
					}
				}
				if hint := known().nouns[e.Noun]; hint.Act == verb && e.field(hint.Done) != nil {
					e.addAction(Action{Verb: verb, Field: hint.Done})
					add(verb)
				}
				if !slices.Contains(ops, verb) {
					return nil, false
				}
			}
		}
	}
	return ops, len(ops) > 0
}

// access: only some roles may do something with a resource.
func (p *reader) access(c *clause, who []string, verbs, nouns string) bool {
	who = slices.DeleteFunc(who, func(s string) bool { return s == "" })
	var roles []string
	for _, w := range who {
		role, ok := known().words.Roles[singular(w)]
		if !ok {
			return false
		}
		roles = append(roles, role)
	}
	p.roles(who...)
	targets := entityName().FindAllStringSubmatch(nouns, -1)
	if nouns == "anything" || nouns == "everything" {
		for _, e := range p.spec.Entities {
			targets = append(targets, []string{"", snake(e.Noun)})
		}
	}
	if len(targets) == 0 {
		return false
	}
	for _, t := range targets {
		e := p.entity(t[1])
		if e == nil {
			return false
		}
		ops, ok := p.operations(e, verbs)
		if !ok {
			return false
		}
		if !strings.Contains(strings.ToLower(c.raw), "only") && slices.Equal(roles, []string{"admin"}) && len(p.spec.RulesOf(e.Noun, RuleOwn)) > 0 {
			p.cover(c.raw, "admins may do what owners may")
			continue
		}
		for _, op := range ops {
			if i := slices.IndexFunc(p.spec.Rules, func(r Rule) bool { return r.Kind == RuleAccess && r.Entity == e.Noun && r.Verb == op }); i >= 0 {
				r := &p.spec.Rules[i]
				for _, role := range roles {
					if !slices.Contains(r.Fields, role) {
						r.Fields = append(r.Fields, role)
					}
				}
				r.Clause += "; " + c.raw
				continue
			}
			p.addRule(Rule{Kind: RuleAccess, Clause: c.raw, Entity: e.Noun, Verb: op, Fields: slices.Clone(roles)})
		}
	}
	return true
}

// open: an operation needs no login although others do, or needs one of any role.
func (p *reader) open(c *clause, verbs, nouns, need string) bool {
	targets := entityName().FindAllStringSubmatch(nouns, -1)
	if nouns == "anything" || nouns == "everything" {
		for _, e := range p.spec.Entities {
			targets = append(targets, []string{"", snake(e.Noun)})
		}
	}
	for _, t := range targets {
		e := p.entity(t[1])
		if e == nil || need == "" && (e.Noun == "user" || e.Noun == "account") {
			return false
		}
		ops, ok := p.operations(e, verbs)
		if !ok {
			return false
		}
		for _, op := range ops {
			if !slices.Contains([]string{"create", "read", "update", "delete"}, op) {
				return false
			}
			p.addRule(Rule{Kind: RuleOpen, Clause: c.raw, Entity: e.Noun, Verb: op, Value: need})
		}
	}
	if need == "login" {
		p.auth()
	}
	return len(targets) > 0
}

// finishOpen drops what says nothing of its own, and reports what contradicts
// another rule.
func (p *reader) finishOpen() {
	s := p.spec
	s.Rules = slices.DeleteFunc(s.Rules, func(r Rule) bool {
		if r.Kind != RuleOpen {
			return false
		}
		contradicted := slices.ContainsFunc(s.Rules, func(o Rule) bool {
			return o.Entity == r.Entity && (o.Kind == RuleAccess && o.Verb == r.Verb || o.Kind == RuleOwn && (slices.Contains(o.Verbs, r.Verb) || r.Verb == "create"))
		})
		switch {
		case contradicted && r.Value == "":
			p.uncovered(r.Clause)
			return true
		case s.Auth == nil || s.Auth.Required && r.Value == "login" || contradicted || r.Value == "" && !s.Auth.Required:
			p.cover(r.Clause, "%s is an operation of the resource", operation(*p.entity(r.Entity), r.Verb))
			return true
		}
		return false
	})
}

// own: only the account that a row belongs to may do something with it.
func (p *reader) own(c *clause, who, verbs, noun string) bool {
	e := p.entity(noun)
	if e == nil {
		return false
	}
	owner := p.entity(who)
	if owner == nil {
		if who != "user" && who != "account" {
			return false
		}
	}
	var ops []string
	for _, verb := range strings.FieldsFunc(verbs, func(r rune) bool { return r == ' ' || r == ',' || r == '/' }) {
		switch verb {
		case "see", "view", "read", "list", "get", "browse", "retrieve", "search":
			ops = append(ops, "read", "update", "delete")
		case "access", "manage":
			ops = append(ops, "read", "update", "delete")
		case "edit", "update", "change", "modify":
			ops = append(ops, "update")
		case "delete", "remove":
			ops = append(ops, "delete")
		case "and", "or", "":
		default:
			return false
		}
	}
	slices.Sort(ops)
	ops = slices.Compact(ops)
	if len(ops) == 0 {
		return false
	}
	p.auth()
	if owner != nil && owner.Noun != "user" {
		if p.spec.Auth.Account != "" && p.spec.Auth.Account != owner.Noun || p.entity("user") != nil {
			return false
		}
		p.spec.Auth.Account = owner.Noun
	}
	return p.addRule(Rule{Kind: RuleOwn, Clause: c.raw, Entity: e.Noun, Verbs: ops})
}

// mixed reports rules that the generator can't hold together: a role that
// guards an action of rows that have owners.
func (p *reader) mixed() {
	for i, r := range p.spec.Rules {
		if r.Kind != RuleAccess || len(p.spec.RulesOf(r.Entity, RuleOwn)) == 0 {
			continue
		}
		e := p.entity(r.Entity)
		if !strings.Contains(strings.ToLower(r.Clause), "only") && slices.ContainsFunc(p.spec.RulesOf(r.Entity, RuleOwn), func(own Rule) bool { return slices.Contains(own.Verbs, r.Verb) }) {
			p.uncovered(r.Clause) // it widens what owners may, and does not narrow it
		}
		if slices.ContainsFunc(e.Actions, func(a Action) bool { return a.Verb == r.Verb }) {
			p.uncovered(p.spec.Rules[i].Clause)
		}
	}
}

// finishAuth gives the service its accounts, once it is known that it has any.
func (p *reader) finishAuth() {
	s := p.spec
	if p.secure {
		p.auth().Required = true
	}
	for _, e := range s.Entities {
		if f := e.field("password"); f != nil && f.Type == Password && p.auth().Account == "" {
			s.Auth.Account = e.Noun
			p.assume("A password is there to log in with: %s are accounts.", e.Plural)
		}
	}
	if s.Auth == nil {
		return
	}
	a := s.Auth
	a.Signed = p.signed
	if a.Account == "" {
		a.Account = "user"
		for _, noun := range []string{"user", "account"} {
			if p.entity(noun) != nil {
				a.Account = noun
				break
			}
		}
	}
	if p.entity(a.Account) == nil {
		p.add(a.Account)
		p.useKnown(a.Account)
	}
	e := p.entity(a.Account)
	e.Account = true
	if f := e.field("email"); f == nil {
		e.Fields = append(e.Fields, Field{Name: "email", Type: Email, Unique: true})
	} else {
		f.Unique, f.Optional, f.Type = true, false, Email
	}
	if f := e.field("password"); f == nil {
		e.Fields = append(e.Fields, Field{Name: "password", Type: Password, MinLen: 8})
	}
	if f := e.field("password"); p.passwordMin > 0 {
		f.MinLen = p.passwordMin
	}
	if f := e.field("role"); f != nil && f.Type == Enum {
		if f.Default == "admin" && !slices.Contains(f.Values, "user") {
			f.Default = leastRole(f.Values)
		}
		for _, v := range f.Values {
			if !slices.Contains(a.Roles, v) {
				a.Roles = append(a.Roles, v)
			}
		}
		if !slices.Contains(f.Values, "user") && f.Default != "admin" {
			a.Roles = slices.DeleteFunc(a.Roles, func(r string) bool { return r == "user" })
			a.Roles = slices.DeleteFunc(a.Roles, func(r string) bool { return r == f.Default })
			a.Roles = append([]string{f.Default}, a.Roles...)
		}
	}
	role := Field{Name: "role", Type: Enum, Values: a.Roles, Default: a.Roles[0]}
	if f := e.field("role"); f != nil {
		*f = role
	} else {
		e.Fields = append(e.Fields, role)
	}
	a.Self = true
	for i := range s.Rules {
		r := &s.Rules[i]
		if r.Kind != RuleOwn || r.Entity == a.Account {
			continue
		}
		e := p.entity(r.Entity)
		r.Field = p.ownerField(e, a.Account)
	}
	p.authors()
}

// authors: where only accounts may create, whoever creates a comment or an
// order is who it is from, unless the task says otherwise.
func (p *reader) authors() {
	a := p.spec.Auth
	for i := range p.spec.Entities {
		e := &p.spec.Entities[i]
		f := e.refTo(a.Account)
		assumed := f != nil && slices.Contains(p.spec.Assumptions, linkAssumption(e.Noun, a.Account, f.Name))
		open := slices.ContainsFunc(p.spec.RulesOf(e.Noun, RuleOpen), func(r Rule) bool { return r.Verb == "create" && r.Value == "" })
		if !a.Required || e.Noun == a.Account || !assumed || f.Owner || open {
			continue
		}
		p.ownerField(e, a.Account)
		p.assume("The %s of %s %s is whoever creates it; admins may name another.", a.Account, article(e.Noun), e.Noun)
	}
}

// ownerField is the reference to the account that made a row; the service
// sets it.
func (p *reader) ownerField(e *Entity, account string) string {
	name := p.ensureRef(e.Noun, account)
	f := p.entity(e.Noun).field(name)
	f.Owner, f.Optional, f.Immutable = true, false, true
	return name
}
