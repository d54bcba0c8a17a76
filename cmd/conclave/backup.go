package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"conclave"
	"conclave/internal/app"

	"github.com/spf13/cobra"
)

func (c *cli) backupCommand() *cobra.Command {
	var check bool
	cmd := &cobra.Command{Use: "backup FILE", Short: "Write the database and the keys into one file; the services may run", Args: cobra.ExactArgs(1),
		Long: "Write a compressed archive with every table as it is at one moment, and with the keys, the secret, the agents' files and the reports of the data directory. " +
			"The file can sign as your agents: keep it as you keep a key. Git repositories and their worktrees are not in it.",
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			config, err := c.config()
			if err != nil {
				return err
			}
			path := args[0]
			if _, err := os.Stat(path); err == nil {
				return conclave.Errorf(conclave.ErrConflict, "%s exists already; a backup overwrites nothing", path)
			}
			if info, err := os.Stat(filepath.Dir(path)); err != nil || !info.IsDir() {
				return conclave.Errorf(conclave.ErrInvalid, "%s can't be written: there is no folder %s", path, filepath.Dir(path))
			}
			if file, lite := strings.CutPrefix(config.Database, "sqlite:"); lite {
				if _, err := os.Stat(file); err != nil {
					return conclave.Errorf(conclave.ErrNotFound, "there is nothing to back up: no database at %s; CONCLAVE_HOME names another data directory", file)
				}
			}
			f, err := os.CreateTemp(filepath.Dir(path), ".backup-*") // mode 0600
			if err != nil {
				return conclave.Errorf(conclave.ErrUnavailable, "write the backup: %w", err)
			}
			defer func() {
				if err != nil {
					err = errors.Join(err, os.Remove(f.Name()))
				}
			}()
			b, err := app.WriteBackup(cmd.Context(), config, f)
			if err = errors.Join(err, f.Sync()); err == nil && check {
				if _, err = f.Seek(0, 0); err == nil {
					_, err = app.CheckBackup(cmd.Context(), f)
				}
			}
			if err = errors.Join(err, f.Close()); err != nil {
				return err
			}
			if err := os.Rename(f.Name(), path); err != nil {
				return conclave.Errorf(conclave.ErrUnavailable, "write the backup: %w", err)
			}
			if c.asJSON {
				return c.printJSON(b)
			}
			_, err = fmt.Fprintf(c.stdout, "%s: %s\n", path, b)
			if err == nil && check {
				_, err = fmt.Fprintln(c.stdout, "restored into another place and compared: every table is the same")
			}
			return err
		}}
	cmd.Flags().BoolVar(&check, "check", false, "restore it into a temporary place and compare every table")
	return c.jsonFlag(cmd)
}

func (c *cli) restoreCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "restore FILE", Short: "Fill an empty data directory and database from a backup", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			config, err := c.config()
			if err != nil {
				return err
			}
			f, err := os.Open(args[0])
			if err != nil {
				return conclave.Errorf(conclave.ErrNotFound, "open the backup: %w", err)
			}
			defer func() { err = errors.Join(err, f.Close()) }()
			b, err := app.Restore(cmd.Context(), config, f)
			if err != nil {
				return err
			}
			if c.asJSON {
				return c.printJSON(b)
			}
			_, err = fmt.Fprintf(c.stdout, "restored into %s: %s\n", config.Home, b)
			return err
		}}
	return c.jsonFlag(cmd)
}
