package playbook

import (
	"slices"
	"strings"
)

// roleItems reads "roles admin, editor and viewer" at items[0]: the roles are
// the single words that follow. It returns how many items it took, 0 when
// they are no list of roles.
func (p *reader) roleItems(noun string, items [][]lexeme) int {
	first := items[0]
	if len(first) < 2 || first[0].text != "roles" || noun != "user" && noun != "account" && !p.entity(noun).Account {
		return 0
	}
	text := strings.TrimSpace(strings.TrimPrefix(strings.ReplaceAll(p.canonical(first), "@", ""), first[0].text))
	text = strings.Trim(strings.TrimPrefix(strings.TrimPrefix(text, ":"), "of "), "() ")
	roles, n := splitValues(text), 1
	for ; n < len(items) && len(items[n]) == 1 && isRoleWord(items[n][0].text); n++ {
		roles = append(roles, items[n][0].text)
	}
	if len(roles) < 2 || !slices.ContainsFunc(roles, isRoleWord) || slices.ContainsFunc(roles, func(r string) bool { return !isWord(r) || fieldTerms().MatchString(r) }) {
		return 0
	}
	p.setRoles(noun, roles)
	return n
}

func isRoleWord(word string) bool {
	_, ok := known().words.Roles[singular(word)]
	return ok || singular(word) == "user" || singular(word) == "guest" || singular(word) == "customer"
}

// leastRole is the role that may least, as far as the names tell: a new
// account gets it.
func leastRole(roles []string) string {
	for _, r := range []string{"guest", "viewer", "customer", "user"} {
		if slices.Contains(roles, r) {
			return r
		}
	}
	for _, r := range roles {
		if r != "admin" {
			return r
		}
	}
	return "user"
}

// setRoles gives accounts of noun these roles.
func (p *reader) setRoles(noun string, words []string) {
	var roles []string
	for _, w := range words {
		role := singular(w)
		if r, ok := known().words.Roles[role]; ok {
			role = r
		}
		if !slices.Contains(roles, role) {
			roles = append(roles, role)
		}
	}
	p.secure = true
	e := p.entity(noun)
	if len(e.Fields) == 0 {
		e.Declared = false
		p.useKnown(noun) // roles say nothing about what else it has
	}
	role := Field{Name: "role", Type: Enum, Values: roles, Default: leastRole(roles)}
	if f := e.field("role"); f != nil {
		*f = role
	} else {
		e.Fields = append(e.Fields, role)
	}
	if p.auth().Account == "" {
		p.spec.Auth.Account = noun
	}
}
