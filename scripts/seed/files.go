package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"time"

	"conclave"

	"gopkg.in/yaml.v3"
)

// check is something of the page that is no command, and how it is tried.
type check struct {
	what string
	do   func(ctx context.Context) (outcome, string)
}

// checked makes a check of one that fails or tells what was seen.
func checked(what string, do func(ctx context.Context) (string, error)) check {
	return check{what, func(ctx context.Context) (outcome, string) {
		seen, err := do(ctx)
		if err != nil {
			return fail, strings.ReplaceAll(err.Error(), "\n", "; ")
		}
		return pass, seen
	}}
}

// restartWith gives the clone's file this text, and has the services take it.
func (s *session) restartWith(ctx context.Context, path, text string) error {
	if err := os.WriteFile(filepath.Join(s.clone, path), []byte(text), 0o600); err != nil {
		return err
	}
	_, err := s.must(ctx, "make restart")
	return err
}

// fileChecks are the checks of a file's block: that each key does what it says,
// as the page has it and with another value, and that a misspelt one is refused.
func (s *session) fileChecks(f file) []check {
	var list []check
	switch f.path {
	case "config/agent_pool.yml":
		list = s.poolChecks(f)
	case "config/collaboration_rules.yml":
		list = s.ruleChecks(f)
	default:
		list = []check{{f.path, func(context.Context) (outcome, string) { return fail, "nothing checks this file yet" }}}
	}
	return append(list, checked(f.path+", each key misspelt", func(ctx context.Context) (string, error) { return s.misspell(ctx, f) }))
}

// misspell leaves out a letter of each key in turn: the services must not take
// it, say what it should have been, and go on as they were.
func (s *session) misspell(ctx context.Context, f file) (string, error) {
	var root yaml.Node
	if err := yaml.Unmarshal([]byte(f.text), &root); err != nil {
		return "", err
	}
	before, err := s.addresses()
	if err != nil {
		return "", err
	}
	keys := keysOf(&root)
	for _, key := range keys {
		was := key.Value
		key.Value = was[:len(was)-1]
		text, err := yaml.Marshal(&root)
		key.Value = was
		if err != nil {
			return "", err
		}
		if err := os.WriteFile(filepath.Join(s.clone, f.path), text, 0o600); err != nil {
			return "", err
		}
		code, err := s.run(ctx, "make restart", time.Minute)
		if err != nil || code == 0 {
			return "", fmt.Errorf("%s without its last letter was taken: %v", was, err)
		}
		if !strings.Contains(s.last, was) {
			return "", fmt.Errorf("%s was not named for %q: %s", was, was[:len(was)-1], s.last)
		}
	}
	if err := os.WriteFile(filepath.Join(s.clone, f.path), []byte(f.text), 0o600); err != nil {
		return "", err
	}
	if _, err := s.must(ctx, "bin/conclave status"); err != nil {
		return "", err
	}
	after, err := s.addresses()
	if err == nil && fmt.Sprint(after) != fmt.Sprint(before) {
		err = errors.New("the services were restarted with it")
	}
	return fmt.Sprintf("%d keys: each refused with the right one named, the services go on", len(keys)), err
}

// keysOf returns the keys of a document's mappings.
func keysOf(n *yaml.Node) []*yaml.Node {
	var list []*yaml.Node
	for i, c := range n.Content {
		if n.Kind == yaml.MappingNode && i%2 == 0 {
			list = append(list, c)
			continue
		}
		list = append(list, keysOf(c)...)
	}
	return list
}

type pool struct {
	AgentPool struct {
		Size         int                   `yaml:"size"`
		Distribution map[conclave.Role]int `yaml:"distribution"`
	} `yaml:"agent_pool"`
}

func (s *session) poolChecks(f file) []check {
	gives := func(ctx context.Context, text string) (string, error) {
		var want pool
		if err := yaml.Unmarshal([]byte(text), &want); err != nil {
			return "", err
		}
		if err := s.restartWith(ctx, f.path, text); err != nil {
			return "", err
		}
		roles, err := s.texts(ctx, `SELECT role FROM agents WHERE state = 'live' AND name GLOB role || '-[0-9]*'`)
		if err != nil {
			return "", err
		}
		got := map[conclave.Role]int{}
		for _, role := range roles {
			got[conclave.Role(role)]++
		}
		if !maps.Equal(got, want.AgentPool.Distribution) {
			return "", fmt.Errorf("by SQL the live agents are %v; the file says %v", got, want.AgentPool.Distribution)
		}
		return fmt.Sprintf("SQL: %d live agents, %v", len(roles), got), nil
	}
	other := strings.NewReplacer("developer: 4", "developer: 2", "qa: 2", "qa: 3").Replace(f.text)
	small := strings.Replace(f.text, "size: 10", "size: 9", 1)
	return []check{
		checked(f.path+" as the page has it", func(ctx context.Context) (string, error) { return gives(ctx, f.text) }),
		checked(f.path+", another distribution", func(ctx context.Context) (string, error) { return gives(ctx, other) }),
		checked(f.path+", size below the distribution", func(ctx context.Context) (string, error) {
			if err := s.restartWith(ctx, f.path, small); err == nil || !strings.Contains(s.last, "agent_pool.size is 9") {
				return "", fmt.Errorf("10 agents were taken into a pool of 9: %v: %s", err, s.last)
			}
			_, err := s.must(ctx, "bin/conclave status && git checkout --quiet config")
			return "refused, and the services go on", err
		}),
	}
}

// ruleChecks lets votes show each rule: what the page's values make of them, and
// what others do.
func (s *session) ruleChecks(f file) []check {
	const yes, no = conclave.VerdictApprove, conclave.VerdictReject
	is := func(what string, got ended, want string) error {
		if got.String() != want {
			return fmt.Errorf("%s: %s (%v), want %s", what, got, got.motion.Ladder, want)
		}
		return nil
	}
	strict := strings.NewReplacer("0.75", "0.8", "1800", "1", "true", "false").Replace(f.text)
	hasty := strings.Replace(f.text, "3600", "1", 1)
	return []check{
		checked(f.path+" as the page has it", func(ctx context.Context) (string, error) {
			if err := s.restartWith(ctx, f.path, f.text); err != nil {
				return "", err
			}
			most, err1 := s.vote(ctx, time.Minute, yes, yes, yes, no)
			half, err2 := s.vote(ctx, time.Minute, yes, yes, no, no)
			slow, err3 := s.vote(ctx, 3*time.Second, silent)
			if err := errors.Join(err1, err2, err3); err != nil {
				return "", err
			}
			m := slow.motion
			err := errors.Join(is("3 of 4 say yes", most, "approved"), is("2 of 4 say yes", half, "waiting"), is("nobody says anything", slow, "open"))
			if d, e := m.Deadline.Sub(m.Created).Round(time.Second), m.Escalate.Sub(m.Created).Round(time.Second); d != time.Hour || e != 30*time.Minute {
				err = errors.Join(err, fmt.Errorf("SQL: the deadline is after %v, the escalation after %v", d, e))
			}
			return "3 of 4 yes: approved; 2 of 4: escalated; silence: open, ends after 3600 s, escalates after 1800 s (SQL)", err
		}),
		checked(f.path+", stricter: 0.8, 1 s, false", func(ctx context.Context) (string, error) {
			if err := s.restartWith(ctx, f.path, strict); err != nil {
				return "", err
			}
			most, err1 := s.vote(ctx, time.Minute, yes, yes, yes, no)
			half, err2 := s.vote(ctx, time.Minute, yes, yes, no, no)
			slow, err3 := s.vote(ctx, time.Minute, silent)
			if err := errors.Join(err1, err2, err3); err != nil {
				return "", err
			}
			return "3 of 4 yes: rejected; 2 of 4: rejected, not escalated; silence: escalated after 1 s",
				errors.Join(is("3 of 4 say yes", most, "rejected"), is("2 of 4 say yes", half, "rejected"), is("nobody says anything", slow, "waiting"))
		}),
		checked(f.path+", max_collaboration_time 1", func(ctx context.Context) (string, error) {
			if err := s.restartWith(ctx, f.path, hasty); err != nil {
				return "", err
			}
			slow, err := s.vote(ctx, time.Minute, silent)
			if err != nil {
				return "", err
			}
			return "silence: over after 1 s", is("nobody says anything", slow, "waiting")
		}),
	}
}
