package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"conclave"
	"conclave/internal/app"
	"conclave/internal/bus"
	"conclave/internal/store"

	"github.com/spf13/cobra"
)

// debugCommand shows operators what the engines hold, read from them.
func (c *cli) debugCommand() *cobra.Command {
	debug := &cobra.Command{Use: "debug", Short: "Look into the database and the bus"}
	debug.AddCommand(
		c.jsonFlag(&cobra.Command{Use: "bus", Short: "Show what the bus holds, and what each process told and heard", Args: cobra.NoArgs,
			RunE: func(cmd *cobra.Command, _ []string) error { return c.debugBus(cmd.Context()) }}),
		c.jsonFlag(&cobra.Command{Use: "redis-keys", Short: "List the keys on the bus's Redis", Args: cobra.NoArgs,
			RunE: func(cmd *cobra.Command, _ []string) error { return c.debugServer(cmd.Context(), "redis") }}),
		c.jsonFlag(&cobra.Command{Use: "redis-monitor", Short: "Follow what is sent over the bus's Redis", Args: cobra.NoArgs,
			RunE: func(cmd *cobra.Command, _ []string) error { return c.debugFollow(cmd.Context(), "redis") }}),
		c.jsonFlag(&cobra.Command{Use: "kafka-console", Short: "Follow what is sent over the bus's Kafka", Args: cobra.NoArgs,
			RunE: func(cmd *cobra.Command, _ []string) error { return c.debugFollow(cmd.Context(), "kafka") }}),
		c.jsonFlag(&cobra.Command{Use: "database", Short: "Show tables with rows and sizes, the log, and the newest migration", Args: cobra.NoArgs,
			RunE: func(cmd *cobra.Command, _ []string) error { return c.debugDatabase(cmd.Context()) }}),
	)
	return debug
}

// inspectLimit bounds how long a server may take to tell what it holds.
const inspectLimit = 15 * time.Second

// busProcess is what one process says of its bus.
type busProcess struct {
	Process string `json:"process"`
	app.Engine
}

func (c *cli) debugBus(ctx context.Context) error {
	b, err := c.bus()
	if err != nil {
		return err
	}
	var all struct {
		State     *bus.State   `json:"state"` // null for memory, which has no server
		Processes []busProcess `json:"processes"`
	}
	if all.Processes, err = c.busProcesses(ctx); err != nil && (b.Engine() == "memory" || !errors.Is(err, conclave.ErrNotFound)) {
		return err
	}
	if b.Engine() != "memory" {
		s, err := inspectBus(ctx, b)
		if err != nil {
			return err
		}
		all.State = &s
	}
	if c.asJSON {
		return c.printJSON(all)
	}
	if all.State != nil {
		if err := c.printState(*all.State); err != nil {
			return err
		}
		fmt.Fprintln(c.stdout)
	}
	rows := [][]string{{"PROCESS", "BUS", "WATCHERS", "PUBLISHED", "HEARD", "DROPPED", "LOST"}}
	for _, p := range all.Processes {
		rows = append(rows, []string{p.Process, p.Engine.Engine, strconv.Itoa(p.Figures.Watchers), fmt.Sprint(p.Figures.Published), fmt.Sprint(p.Figures.Heard), fmt.Sprint(p.Figures.Dropped), dash(p.Lost)})
	}
	return table(c.stdout, rows, "no process runs here")
}

// busProcesses asks the running processes. ErrNotFound when none runs here.
func (c *cli) busProcesses(ctx context.Context) ([]busProcess, error) {
	home, err := app.Home(c.getenv)
	if err != nil {
		return nil, err
	}
	urls, err := app.ReadAddresses(home)
	if err != nil {
		return []busProcess{}, err
	}
	client, err := c.http()
	if err != nil {
		return nil, err
	}
	list := []busProcess{}
	for _, s := range conclave.AllServices() {
		st := probe(ctx, client, s, urls[s])
		known := slices.ContainsFunc(list, func(p busProcess) bool { return p.Process == st.Process })
		for _, e := range st.Engines {
			if e.Figures != nil && !known {
				list = append(list, busProcess{st.Process, e})
			}
		}
	}
	return list, nil
}

// bus makes the bus that the environment names, to look at it.
func (c *cli) bus() (*bus.Bus, error) {
	config, err := c.config()
	if err != nil {
		return nil, err
	}
	return app.OpenBus(config, c.getenv)
}

// busOn returns the bus when it is on an engine.
func (c *cli) busOn(engine string) (*bus.Bus, error) {
	b, err := c.bus()
	if err != nil {
		return nil, err
	}
	if b.Engine() != engine {
		return nil, conclave.Errorf(conclave.ErrUnsupported, "the bus is %s, not %s: conclave debug bus shows it, and conclave watch what the agents say; CONCLAVE_BUS=%s://HOST:PORT%s would use %s",
			b.Engine(), engine, engine, map[string]string{"kafka": "/TOPIC"}[engine], engine)
	}
	return b, nil
}

func inspectBus(ctx context.Context, b *bus.Bus) (bus.State, error) {
	ctx, cancel := context.WithTimeout(ctx, inspectLimit)
	defer cancel()
	return b.Inspect(ctx)
}

func (c *cli) debugServer(ctx context.Context, engine string) error {
	b, err := c.busOn(engine)
	if err != nil {
		return err
	}
	s, err := inspectBus(ctx, b)
	if err != nil {
		return err
	}
	if c.asJSON {
		return c.printJSON(s)
	}
	return c.printState(s)
}

func (c *cli) printState(s bus.State) error {
	fmt.Fprintf(c.stdout, "%s %s at %s\n", s.Engine, dash(s.Version), s.Server)
	rows := [][]string{{"NAME", "KIND", "LENGTH", "LAST", "OURS"}}
	for _, i := range s.Items {
		length, ours := dash(""), ""
		if i.Length != nil {
			length = fmt.Sprint(*i.Length)
		}
		if i.Ours {
			ours = "yes"
		}
		rows = append(rows, []string{i.Name, i.Kind, length, dash(i.Last), ours})
	}
	return table(c.stdout, rows, "it holds nothing")
}

func (c *cli) debugFollow(ctx context.Context, engine string) error {
	b, err := c.busOn(engine)
	if err != nil {
		return err
	}
	e := json.NewEncoder(c.stdout)
	e.SetEscapeHTML(false)
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	ready := func() { fmt.Fprintf(c.stderr, "following the bus on %s at %s until Ctrl-C\n", b.Engine(), b.Server()) }
	err = b.Follow(ctx, ready, func(m bus.Message) {
		var err error
		if c.asJSON {
			err = e.Encode(m)
		} else {
			_, err = fmt.Fprintf(c.stdout, "%s  %s  %s\n", m.At.Format("15:04:05.000"), m.Position, m.Text)
		}
		if err != nil {
			cancel(err) // nobody reads any more
		}
	})
	if cause := context.Cause(ctx); err == nil && !errors.Is(cause, context.Canceled) {
		err = cause
	}
	return err
}

func (c *cli) debugDatabase(ctx context.Context) error {
	config, err := c.config()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, inspectLimit)
	defer cancel()
	s, err := store.Inspect(ctx, config.Database)
	if err != nil {
		return err
	}
	if c.asJSON {
		return c.printJSON(s)
	}
	fmt.Fprintf(c.stdout, "%s %s at %s: %s, log %s, migration %d\n", s.Engine, s.Version, s.Server, kilobytes(s.Bytes), kilobytes(s.WALBytes), s.Migration)
	rows := [][]string{{"TABLE", "ROWS", "SIZE"}}
	for _, t := range s.Tables {
		rows = append(rows, []string{t.Name, fmt.Sprint(t.Rows), kilobytes(t.Bytes)})
	}
	return table(c.stdout, rows, "no tables")
}

func kilobytes(n int64) string { return fmt.Sprintf("%d kB", (n+999)/1000) }
