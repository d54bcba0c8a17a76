package prove

import (
	"archive/tar"
	"bufio"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"conclave"
)

const ownStage = "takes minutes; it is a stage of its own in CI"

// targets are the proofs of the Makefile's targets.
func targets() []target {
	return []target{
		{name: "help", by: "the Makefile's own lines", run: func(ctx context.Context, s *stage) error {
			out, err := s.works(ctx, []int{0}, "help")
			if err != nil {
				return err
			}
			text, err := os.ReadFile(filepath.Join(s.Targets.Dir, "Makefile"))
			if err != nil {
				return err
			}
			for _, m := range targetLine.FindAllStringSubmatch(string(text), -1) {
				err = errors.Join(err, says(out, m[1]))
			}
			return err
		}},
		{name: "build", by: "the file's time", run: func(ctx context.Context, s *stage) error {
			if _, err := s.works(ctx, []int{0}, "build"); err != nil {
				return err
			}
			info, err := os.Stat(filepath.Join(s.Targets.Dir, "bin", "conclave"))
			if err == nil && info.Mode()&0o100 == 0 {
				err = errors.New("bin/conclave can't be run")
			}
			return err
		}},
		{name: "web", by: "the page's files", long: "builds the page again; make build does so when it is needed", run: func(ctx context.Context, s *stage) error {
			if _, err := s.works(ctx, []int{0}, "web"); err != nil {
				return err
			}
			_, err := os.Stat(filepath.Join(s.Targets.Dir, "web", "dist", "index.html"))
			return err
		}},
		{name: "agent-demo", by: "git: the branch", long: ownStage, run: demo("agent-demo")},
		{name: "agent-simulate-collaboration", by: "git: the branch", long: "does the main job, as agent-demo does", run: demo("agent-simulate-collaboration", "TASK=Create a library for intervals")},
		{name: "workflow-collaborative", by: "git: the branch with the mended file", run: func(ctx context.Context, s *stage) error {
			repo, err := s.flawed(ctx)
			if err != nil {
				return err
			}
			if _, err := s.works(ctx, []int{0}, "workflow-collaborative", "TASK=Fix what the analysers report", "REPO="+repo); err != nil {
				return err
			}
			branch, err := s.git(ctx, repo, "for-each-ref", "--format=%(refname:short)", "refs/heads/conclave")
			if err != nil {
				return err
			}
			text, err := s.git(ctx, repo, "show", branch+":word.go")
			return errors.Join(err, says(text, "func Word() string {"))
		}},
		{name: "workflow-multi-review", by: "SQL: the run", run: workflow("multi-review", "workflow-multi-review")},
		{name: "workflow-consensus-planning", by: "SQL: the run", run: workflow("consensus-planning", "workflow-consensus-planning")},
		{name: "agent-list", by: "SQL: the agents' names", run: listsAgents("agent-list")},
		{name: "debug-agent-states", by: "SQL: the agents' names", run: listsAgents("debug-agent-states")},
		{name: "agent-performance", by: "SQL: the agents' names", run: listsAgents("agent-performance")},
		{name: "monitoring-agent-load", by: "SQL: the agents' names", run: listsAgents("monitoring-agent-load")},
		{name: "analytics-collaboration", by: "SQL: the number of runs", run: counts("analytics-collaboration", `(?m)^runs +(\d+)`, `SELECT count(*) FROM runs`)},
		{name: "analytics-consensus-success", by: "SQL: the number of motions", run: counts("analytics-consensus-success", `(?m)^votes +(\d+)`, `SELECT count(*) FROM motions`)},
		{name: "debug-database-stats", by: "SQL: the number of agents", run: counts("debug-database-stats", `(?m)^agents +(\d+)`, `SELECT count(*) FROM agents`)},
		{name: "optimize-agent-distribution", by: "the file, which is as it was", run: proposes("optimize-agent-distribution", "agent_pool.yml")},
		{name: "tune-consensus-thresholds", by: "the file, which is as it was", run: proposes("tune-consensus-thresholds", "collaboration_rules.yml")},
		{name: "debug-redis-keys", by: "the setting of the bus", run: elsewhere("debug-redis-keys", "redis")},
		{name: "dev-redis-monitor", by: "the setting of the bus", run: elsewhere("dev-redis-monitor", "redis")},
		{name: "dev-kafka-console", by: "the setting of the bus", run: elsewhere("dev-kafka-console", "kafka")},
		{name: "agent-register", by: "SQL: the agent is live; its answer", run: func(ctx context.Context, s *stage) error {
			path := filepath.Join(s.home, "agents", s.name+".md")
			defer os.Remove(path) // it is no error that there is none
			if _, err := s.works(ctx, []int{0}, "agent-register", "AGENT_TYPE=developer", "AGENT_NAME="+s.name); err != nil {
				return err
			}
			var kept conclave.Agent
			if err := s.records.document(ctx, &kept, `SELECT doc FROM agents WHERE name = $1`, s.name); err != nil {
				return err
			}
			var t conclave.Task
			if err := s.do(ctx, "message_send", conclave.SendMessage{Key: s.name, To: "agents/" + s.name, Text: "Who are you?", Kind: conclave.AssignAsk}, &t); err != nil {
				return err
			}
			if err := s.do(ctx, "task_get", conclave.GetTask{ID: t.ID, Wait: 30000}, &t); err != nil {
				return err
			}
			return errors.Join(same("the agent's role", kept.Role, conclave.RoleDeveloper), same("its task", t.State, conclave.TaskCompleted))
		}},
		{name: "agent-consensus", by: "SQL: the motion in its conversation, and its ballots", run: func(ctx context.Context, s *stage) error {
			talk, err := s.talk(ctx)
			if err != nil {
				return err
			}
			if _, err := s.works(ctx, []int{0, 2}, "agent-consensus", "CONVERSATION_ID="+string(talk), "ITEM=Is "+s.name+" good?"); err != nil {
				return err
			}
			n, err := s.records.number(ctx, `SELECT count(*) FROM ballots WHERE motion IN (SELECT id FROM motions WHERE doc LIKE $1 AND doc LIKE $2)`,
				"%Is "+s.name+" good?%", `%"conversation":"`+string(talk)+`"%`)
			if err == nil && n == 0 {
				err = errors.New("nobody voted")
			}
			return err
		}},
		{name: "monitoring-conversations", by: "a message that was sent meanwhile", run: watches},
		{name: "quick-start-a2a", by: "HTTP: every service is ready", run: starts("quick-start-a2a")},
		{name: "dev", by: "HTTP: every service is ready", run: starts("dev")},
		{name: "prod", by: "HTTP: every service is ready", run: starts("prod")},
		{name: "restart", by: "the process id; HTTP: every service is ready", run: func(ctx context.Context, s *stage) error {
			return s.apart(ctx, func() error {
				if _, err := s.works(ctx, []int{0}, "quick-start-a2a"); err != nil {
					return err
				}
				before, err := os.ReadFile(filepath.Join(s.home, "serve.pid"))
				if err != nil {
					return err
				}
				if _, err := s.works(ctx, []int{0}, "restart"); err != nil {
					return err
				}
				after, err := os.ReadFile(filepath.Join(s.home, "serve.pid"))
				if err == nil && string(after) == string(before) {
					err = errors.New("the same process still runs")
				}
				return errors.Join(err, s.answers(ctx))
			})
		}},
		{name: "prod-scale-agents", by: "the addresses of the agents' cards", run: func(ctx context.Context, s *stage) error {
			return s.apart(ctx, func() error {
				if _, err := s.works(ctx, []int{0}, "prod-scale-agents", "AGENT_POOL_SIZE=20"); err != nil {
					return err
				}
				out, err := s.works(ctx, []int{0}, "agent-list")
				return errors.Join(err, same("how many agents are live", strings.Count(out, "  live  "), 20), s.answers(ctx))
			})
		}},
		{name: "stop", by: "the process is gone", run: func(ctx context.Context, s *stage) error {
			return s.apart(ctx, func() error {
				if _, err := s.works(ctx, []int{0}, "quick-start-a2a"); err != nil {
					return err
				}
				if _, err := s.works(ctx, []int{0}, "stop"); err != nil {
					return err
				}
				if _, err := os.Stat(filepath.Join(s.home, "services.json")); !errors.Is(err, os.ErrNotExist) {
					return fmt.Errorf("the services left their addresses: %v", err)
				}
				return nil
			})
		}},
		{name: "dev-logs", by: "the log's own lines", run: func(ctx context.Context, s *stage) error {
			return s.apart(ctx, func() error {
				if _, err := s.works(ctx, []int{0}, "quick-start-a2a"); err != nil {
					return err
				}
				text, err := os.ReadFile(filepath.Join(s.home, "serve.log"))
				if err != nil {
					return err
				}
				out, err := s.works(ctx, []int{0}, "dev-logs", "FOLLOW=")
				first, _, _ := strings.Cut(string(text), "\n")
				return errors.Join(err, says(out, first))
			})
		}},
		{name: "quick-test-a2a", by: "SQL: what was said and voted meanwhile", run: func(ctx context.Context, s *stage) error {
			count := func() (int64, error) {
				return s.records.number(ctx, `SELECT (SELECT count(*) FROM messages) + 1000000 * (SELECT count(*) FROM ballots)`)
			}
			before, err := count()
			if err != nil {
				return err
			}
			if _, err := s.works(ctx, []int{0}, "quick-test-a2a"); err != nil {
				return err
			}
			after, err := count()
			if err == nil && (after-before < 1000000 || (after-before)%1000000 == 0) {
				err = errors.New("no message and ballot were added")
			}
			return err
		}},
		{name: "prod-backup-a2a", by: "the archive's own files", run: func(ctx context.Context, s *stage) error {
			path := filepath.Join(s.dir, s.name+".tar.gz")
			if _, err := s.works(ctx, []int{0}, "prod-backup-a2a", "FILE="+path); err != nil {
				return err
			}
			names, err := archived(path)
			return errors.Join(err, says(strings.Join(names, "\n"), "backup.json", "tables/events.jsonl", "tables/agents.jsonl", "home/keys/"))
		}},
		{name: "monitoring-a2a", by: "HTTP: the page behind the link", run: func(ctx context.Context, s *stage) error {
			out, err := s.works(ctx, []int{0}, "monitoring-a2a")
			if err != nil {
				return err
			}
			link := regexp.MustCompile(`https?://\S+`).FindString(out)
			req, err := http.NewRequestWithContext(ctx, http.MethodGet, link, nil)
			if err != nil {
				return fmt.Errorf("the link %q: %w", link, err)
			}
			jar, err := cookiejar.New(nil)
			if err != nil {
				return err
			}
			resp, err := (&http.Client{Jar: jar, Transport: s.transport()}).Do(req)
			if err != nil {
				return err
			}
			defer resp.Body.Close()
			body, err := io.ReadAll(resp.Body)
			return errors.Join(err, same("the page's status", resp.StatusCode, http.StatusOK), says(string(body), "<html"))
		}},
		{name: "debug-a2a-messages", by: "SQL: the last message", run: func(ctx context.Context, s *stage) error {
			if _, err := s.say(ctx, "be seen, "+s.name); err != nil {
				return err
			}
			out, err := s.works(ctx, []int{0}, "debug-a2a-messages")
			return errors.Join(err, says(out, "agents/"+s.name))
		}},
		{name: "debug-conversation-flow", by: "what was said; the secret that only the agent knows", run: func(ctx context.Context, s *stage) error {
			t, err := s.say(ctx, "be told, "+s.name)
			if err != nil {
				return err
			}
			if err := s.do(ctx, "task_get", conclave.GetTask{ID: t.ID, Wait: 30000}, &t); err != nil {
				return err
			}
			out, err := s.works(ctx, []int{0}, "debug-conversation-flow", "CONVERSATION_ID="+string(t.Conversation))
			return errors.Join(err, says(out, "be told, "+s.name, s.peer.secret))
		}},
		{name: "test", by: "its own count", long: ownStage, run: tests("test")},
		{name: "test-race", by: "its own count", long: ownStage, run: tests("test-race")},
		{name: "test-a2a", by: "its own count", long: "is a part of make test", run: tests("test-a2a")},
		{name: "a2a-tck", by: "what it says is missing", run: func(ctx context.Context, s *stage) error {
			out, err := s.works(ctx, []int{2}, "a2a-tck", "A2A_TCK=", "A2A_TCK_03=")
			return errors.Join(err, says(out, "git clone --branch 1.0-dev"))
		}},
		{name: "test-collaboration", by: "its own count", long: "is a part of make test", run: tests("test-collaboration")},
		{name: "test-consensus", by: "its own count", long: "is a part of make test", run: tests("test-consensus")},
		{name: "test-escalation", by: "its own count", long: "is a part of make test", run: tests("test-escalation")},
		{name: "test-agent-performance", by: "its own count", long: "a load test: it takes the whole machine", run: tests("test-agent-performance")},
		{name: "check", by: "its own count", long: "is everything that CI runs", run: tests("check")},
		{name: "bench", by: "its own table", long: "measures: it needs the whole machine", run: func(ctx context.Context, s *stage) error {
			out, err := s.works(ctx, []int{0}, "bench")
			return errors.Join(err, says(out, "| what | limit | measured |"))
		}},
		{name: "security-scan", by: "a planted weakness, and its mended twin", run: func(ctx context.Context, s *stage) error {
			dir := filepath.Join(s.dir, "scan-"+s.name)
			scan := func(hash, want string, code int) error {
				err := errors.Join(os.MkdirAll(dir, 0o700), os.WriteFile(filepath.Join(dir, "go.mod"), []byte("module sample\n\ngo 1.26\n"), 0o600),
					os.WriteFile(filepath.Join(dir, "sample.go"), []byte("package sample\n\nimport \"crypto/"+hash+"\"\n\n// New hashes.\nvar New = "+hash+".New\n"), 0o600))
				if err != nil {
					return err
				}
				out, err := s.works(ctx, []int{code}, "security-scan", "DIR="+dir)
				return errors.Join(err, says(out, want))
			}
			return errors.Join(scan("md5", "gosec G501", 2), scan("sha256", "0 findings", 0))
		}},
		{name: "update-deps", by: "go.mod still builds", long: "changes go.mod, and asks the registries", run: func(ctx context.Context, s *stage) error {
			_, err := s.works(ctx, []int{0}, "update-deps")
			return err
		}},
		{name: "setup", by: "what doctor finds", long: "fetches every dependency", run: func(ctx context.Context, s *stage) error {
			out, err := s.works(ctx, []int{0}, "setup")
			return errors.Join(err, says(out, "sandbox"))
		}},
		{name: "seed", by: "its own table", long: ownStage, run: func(ctx context.Context, s *stage) error {
			out, err := s.works(ctx, []int{0}, "seed")
			return errors.Join(err, says(out, "quick-start-a2a"))
		}},
		{name: "api-docs", by: "the file's time", long: "writes files of the repository; a test compares them with the program", run: writes("api-docs", "docs/api/rest.md")},
		{name: "picture", by: "the file's time", long: "writes a file of the repository, with a browser", run: writes("picture", "docs/images/run.png")},
		{name: "prove", by: "this", long: "is what runs", run: func(context.Context, *stage) error { return errSkip{"is what runs"} }},
	}
}

// demo plays the main job on a sample repository, and looks for its branch.
func demo(args ...string) func(context.Context, *stage) error {
	return func(ctx context.Context, s *stage) error {
		out, err := s.works(ctx, []int{0}, args...)
		if err != nil {
			return err
		}
		m := regexp.MustCompile(`git -C (\S+) log`).FindStringSubmatch(out)
		if m == nil {
			return fmt.Errorf("the sample repository is not named: %s", last(out))
		}
		branch, err := s.git(ctx, m[1], "for-each-ref", "--format=%(refname:short)", "refs/heads/conclave")
		return errors.Join(err, says(branch, "conclave/run-"), os.RemoveAll(filepath.Dir(m[1])))
	}
}

func workflow(name string, args ...string) func(context.Context, *stage) error {
	return func(ctx context.Context, s *stage) error {
		repo, err := s.flawed(ctx)
		if err != nil {
			return err
		}
		if _, err := s.works(ctx, []int{0, 2}, append(args, "TASK="+s.task(), "REPO="+repo)...); err != nil {
			return err
		}
		n, err := s.records.number(ctx, `SELECT count(*) FROM runs WHERE status <> 'running' AND doc LIKE $1 AND doc LIKE $2`, "%"+s.name+"%", `%"workflow":"`+name+`"%`)
		return errors.Join(err, same("how many runs of that workflow ended", n, 1))
	}
}

func listsAgents(target string) func(context.Context, *stage) error {
	return func(ctx context.Context, s *stage) error {
		out, err := s.works(ctx, []int{0}, target)
		if err != nil {
			return err
		}
		names, err := s.records.texts(ctx, `SELECT name FROM agents WHERE state = 'live'`)
		if err == nil && len(names) == 0 {
			err = errors.New("no agents are live")
		}
		return errors.Join(err, says(out, names...))
	}
}

// writes proves a target that writes a file of the repository anew.
func writes(target, file string) func(context.Context, *stage) error {
	return func(ctx context.Context, s *stage) error {
		path := filepath.Join(s.Targets.Dir, filepath.FromSlash(file))
		before, err := os.Stat(path)
		if err != nil {
			return err
		}
		if _, err := s.works(ctx, []int{0}, target); err != nil {
			return err
		}
		after, err := os.Stat(path)
		if err == nil && !after.ModTime().After(before.ModTime()) {
			err = fmt.Errorf("%s was not written", file)
		}
		return err
	}
}

// counts proves a target that prints a figure which a query gives too.
func counts(target, printed, query string) func(context.Context, *stage) error {
	return func(ctx context.Context, s *stage) error {
		out, err := s.works(ctx, []int{0}, target)
		if err != nil {
			return err
		}
		m := regexp.MustCompile(printed).FindStringSubmatch(out)
		if m == nil {
			return fmt.Errorf("the figure was not printed: %s", last(out))
		}
		n, err := s.records.number(ctx, query)
		return errors.Join(err, same("the figure", m[1], n))
	}
}

// proposes proves a target that proposes a change of a configuration file and,
// unless it is asked to, does not make it.
func proposes(target, file string) func(context.Context, *stage) error {
	return func(ctx context.Context, s *stage) error {
		path := filepath.Join(s.Targets.Dir, "config", file)
		before, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		out, err := s.works(ctx, []int{0}, target)
		if err != nil {
			return err
		}
		after, err := os.ReadFile(path)
		if err == nil && !strings.Contains(out, "nothing is proposed") && !strings.Contains(out, "+++ ") {
			err = fmt.Errorf("there is neither a proposal nor a reason for none: %s", last(out))
		}
		return errors.Join(err, same("the file", string(after), string(before)))
	}
}

// elsewhere proves a target that is about one engine of the bus, which says so
// when another one is in use.
func elsewhere(target, engine string) func(context.Context, *stage) error {
	return func(ctx context.Context, s *stage) error {
		if bus := os.Getenv("CONCLAVE_BUS"); strings.HasPrefix(bus, engine) {
			return errSkip{"it follows a live " + engine + " for ever"}
		}
		m, err := s.make(ctx, target)
		if err != nil {
			return err
		}
		return errors.Join(same("how it ended", m.code, 2), says(m.out, "the bus is ", "not "+engine))
	}
}

// starts proves a target that starts the services.
func starts(target string) func(context.Context, *stage) error {
	return func(ctx context.Context, s *stage) error {
		return s.apart(ctx, func() error {
			_, err := s.works(ctx, []int{0}, target)
			return errors.Join(err, s.answers(ctx))
		})
	}
}

// tests proves a target that runs tests: it succeeds, and says that some passed.
func tests(target string) func(context.Context, *stage) error {
	return func(ctx context.Context, s *stage) error {
		out, err := s.works(ctx, []int{0}, target)
		if err == nil && !regexp.MustCompile(`(?m)^ok |passed|^PASS`).MatchString(out) {
			err = fmt.Errorf("no test ran: %s", last(out))
		}
		return err
	}
}

// watches follows the conversations, says something, and waits until it is shown.
func watches(ctx context.Context, s *stage) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	cmd := s.command(ctx, "monitoring-conversations")
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("make monitoring-conversations: %w", err)
	}
	defer func() {
		cancel()
		_ = cmd.Wait() // it was interrupted
	}()
	if _, err := s.say(ctx, "be heard, "+s.name); err != nil {
		return err
	}
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if strings.Contains(lines.Text(), s.name) {
			return nil
		}
	}
	return errors.New("the message was not shown")
}

// archived lists the files of a compressed archive.
func archived(path string) ([]string, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		return nil, err
	}
	var names []string
	for t := tar.NewReader(z); ; {
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			return names, nil
		}
		if err != nil {
			return nil, err
		}
		names = append(names, h.Name)
	}
}
