package main

import (
	"context"
	"errors"
	"fmt"

	"os/exec"
	"path/filepath"
	"time"
)

const (
	quickStarts     = 5
	quickStartLimit = 3 * time.Second
	proveLimit      = 90 * time.Second
)

// quickStart measures what quick-start-a2a runs once the program is built, until
// every port is ready.
func (b *bench) quickStart(ctx context.Context) error {
	var took []time.Duration
	for i := range quickStarts {
		env := environment(filepath.Join(b.dir, fmt.Sprintf("quick-%d", i)))
		run := func(script string) error {
			cmd := exec.CommandContext(ctx, filepath.Join("scripts", script))
			cmd.Env = env
			if out, err := cmd.CombinedOutput(); err != nil {
				return fmt.Errorf("%s: %w: %s", script, err, out)
			}
			return nil
		}
		began := time.Now()
		if err := run("start.sh"); err != nil {
			return err
		}
		took = append(took, time.Since(began))
		if err := run("stop.sh"); err != nil {
			return err
		}
	}
	d := sort(took)
	b.add(fmt.Sprintf("quick-start-a2a to all ports ready, after the build, %d times, min / median / max", quickStarts), "3 s", d.spread(), yes(d.at(0.5) <= quickStartLimit))
	return nil
}

// proofs measures conclave prove against running services, with the make targets
// that it proves without being asked.
func (b *bench) proofs(ctx context.Context) error {
	home := filepath.Join(b.dir, "proofs")
	s, err := b.start(ctx, home)
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, b.program, "prove")
	cmd.Env = environment(home)
	began := time.Now()
	out, err := cmd.CombinedOutput()
	took := time.Since(began)
	if err != nil {
		out = out[max(0, len(out)-2000):]
		err = fmt.Errorf("prove: %w: %s", err, out)
	}
	b.add("conclave prove against running services, once", "90 s", fmt.Sprintf("%.0f s", took.Seconds()), yes(took <= proveLimit && err == nil))
	return errors.Join(err, s.stop(nil))
}
