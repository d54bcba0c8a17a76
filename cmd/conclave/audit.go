package main

import (
	"context"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"conclave"
	"conclave/internal/app"
	"conclave/internal/store"

	"github.com/spf13/cobra"
)

func (c *cli) auditCommand() *cobra.Command {
	audit := &cobra.Command{Use: "audit", Short: "The record of everything that happened, and whether it is as it was sealed"}
	audit.AddCommand(c.auditVerifyCommand(), c.auditListCommand(), c.auditExportCommand())
	return audit
}

func (c *cli) auditVerifyCommand() *cobra.Command {
	var tenant string
	var keys, checkpoints []string
	cmd := &cobra.Command{Use: "verify", Short: "Recompute the hash chain from the database, and name the first event that is not as it was", Args: cobra.NoArgs,
		Long: "Reads the database itself rather than asking a service, also while services run. Checkpoints count when the installation's key signed them\n" +
			"(keys/audit.key in the data directory), or a key that --key names. A checkpoint that was kept elsewhere, as this command prints it with --json,\n" +
			"proves with --checkpoint that nothing before it was cut off or sealed anew; the newest ones are kept in audit.json in the data directory.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			config, err := c.config()
			if err != nil {
				return err
			}
			trusted, err := publicKeys(keys)
			if err != nil {
				return err
			}
			db, err := store.OpenReader(cmd.Context(), store.Options{URL: config.Database})
			if err != nil {
				return err
			}
			report, err := verifyAudit(cmd.Context(), db, config.Home, tenant, trusted, checkpoints)
			if err = errors.Join(err, db.Close()); err != nil {
				return err
			}
			if tenant != "" && report.OK && report.Sealed+report.Unsealed == 0 {
				return conclave.Errorf(conclave.ErrNotFound, "the record has no event of a tenant %q", tenant)
			}
			if !report.OK {
				c.exit = exitFailed
			}
			if c.asJSON {
				return c.printJSON(report)
			}
			return c.printAudit(report)
		}}
	cmd.Flags().StringVar(&tenant, "tenant", "", "only this tenant's record; all when absent")
	cmd.Flags().StringArrayVar(&keys, "key", nil, "a public key that may have signed, in base64 or a PEM file; the installation's own when absent")
	cmd.Flags().StringArrayVar(&checkpoints, "checkpoint", nil, "a file with checkpoints that were kept elsewhere; they must be in the chain")
	return c.jsonFlag(cmd)
}

func verifyAudit(ctx context.Context, db *store.DB, home, tenant string, trusted, files []string) (conclave.AuditReport, error) {
	if len(trusted) == 0 {
		key, err := app.AuditKey(home)
		if err != nil {
			return conclave.AuditReport{}, err
		}
		trusted = []string{key.Public()}
	}
	known, err := app.KeptCheckpoints(home)
	if err != nil {
		return conclave.AuditReport{}, err
	}
	for _, file := range files {
		more, err := app.ReadCheckpoints(file)
		if err != nil {
			return conclave.AuditReport{}, conclave.Errorf(conclave.ErrInvalid, "%w", err)
		}
		known = append(known, more...)
	}
	var tenants []conclave.TenantID
	if tenant != "" {
		tenants = append(tenants, conclave.TenantID(tenant))
	}
	return db.Verify(ctx, tenants, trusted, known)
}

// publicKeys reads ed25519 keys, each in base64 or a PEM file.
func publicKeys(args []string) ([]string, error) {
	var keys []string
	for _, arg := range args {
		if raw, err := base64.StdEncoding.DecodeString(arg); err == nil && len(raw) == ed25519.PublicKeySize {
			keys = append(keys, arg)
			continue
		}
		text, err := os.ReadFile(arg)
		if err != nil {
			return nil, conclave.Errorf(conclave.ErrInvalid, "--key %q is neither an ed25519 key in base64 nor a file: %w", arg, err)
		}
		var key any
		if block, _ := pem.Decode(text); block != nil {
			key, err = x509.ParsePKIXPublicKey(block.Bytes)
		}
		public, ok := key.(ed25519.PublicKey)
		if err != nil || !ok {
			return nil, conclave.Errorf(conclave.ErrInvalid, "--key %s: want an ed25519 public key in PEM", arg)
		}
		keys = append(keys, base64.StdEncoding.EncodeToString(public))
	}
	return keys, nil
}

func (c *cli) printAudit(r conclave.AuditReport) error {
	var b strings.Builder
	for _, p := range r.Problems {
		fmt.Fprintf(&b, "%s  %s (tenant %s, checkpoint %d)\n", p.What, p.Text, p.Tenant, p.Number)
	}
	for _, h := range r.Heads {
		fmt.Fprintf(&b, "tenant %s: %d checkpoints, the last at %s with the head %.16s…, key %s\n", h.Tenant, h.Number, h.At.Format(time.RFC3339), h.Head, h.PublicKey)
	}
	verdict := "the record is as it was sealed"
	if !r.OK {
		verdict = "THE RECORD IS NOT AS IT WAS SEALED; the first problem is above"
	}
	fmt.Fprintf(&b, "%s: %d events are sealed, %d are not sealed yet\n", verdict, r.Sealed, r.Unsealed)
	_, err := fmt.Fprint(c.stdout, b.String())
	return err
}

// auditFilter adds the flags that choose events.
func auditFilter(cmd *cobra.Command, since string) func() (conclave.EventFilter, error) {
	var actor string
	var kinds []string
	cmd.Flags().StringVar(&since, "since", since, "how far back, as 90m, 24h or 2026-01-31, or all")
	cmd.Flags().StringVar(&actor, "actor", "", "only what this human, agent or service did")
	cmd.Flags().StringSliceVar(&kinds, "kind", nil, "only these kinds, as message.sent,call.refused")
	return func() (conclave.EventFilter, error) {
		f := conclave.EventFilter{Actor: actor, Limit: 1000}
		var known []string
		for _, k := range conclave.EventKinds() {
			known = append(known, string(k))
		}
		for _, k := range kinds {
			if !slices.Contains(known, k) {
				return f, conclave.Errorf(conclave.ErrInvalid, "--kind %q is no kind of event; %s", k, conclave.DidYouMean(k, known))
			}
			f.Kinds = append(f.Kinds, conclave.EventKind(k))
		}
		if since == "all" {
			return f, nil
		}
		if d, err := time.ParseDuration(since); err == nil && d > 0 {
			f.Since = time.Now().Add(-d).UnixMilli()
			return f, nil
		}
		for _, layout := range []string{time.RFC3339, time.DateTime, time.DateOnly} {
			if t, err := time.ParseInLocation(layout, since, time.Local); err == nil {
				f.Since = t.UnixMilli()
				return f, nil
			}
		}
		return f, conclave.Errorf(conclave.ErrInvalid, "--since %q: want a time span as 90m or 24h, a date as 2026-01-31, or all", since)
	}
}

// events calls f with every event that a filter chooses, oldest first.
func (s *session) events(ctx context.Context, f conclave.EventFilter, each func(conclave.Event) error) error {
	for {
		list, err := s.Events().List(ctx, f)
		if err != nil || len(list) == 0 {
			return err
		}
		for _, e := range list {
			if err := each(e); err != nil {
				return err
			}
			f.After = e.Seq
		}
	}
}

func (c *cli) auditListCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "list", Short: "List what happened, oldest first", Args: cobra.NoArgs}
	filter := auditFilter(cmd, "24h")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		f, err := filter()
		if err != nil {
			return err
		}
		return c.withOrStart(cmd.Context(), func(s *session) error {
			list := []conclave.Event{}
			if err := s.events(cmd.Context(), f, func(e conclave.Event) error { list = append(list, e); return nil }); err != nil {
				return err
			}
			if c.asJSON {
				return c.printJSON(list)
			}
			rows := [][]string{{"SEQ", "TIME", "KIND", "ACTOR", "SUBJECT", "TEXT"}}
			for _, e := range list {
				rows = append(rows, []string{fmt.Sprint(e.Seq), e.At.Local().Format(time.DateTime), string(e.Kind), dash(e.Actor), dash(e.Subject), short(e.Text, 90)})
			}
			return table(c.stdout, rows, "nothing happened")
		})
	}
	return c.jsonFlag(cmd)
}

func (c *cli) auditExportCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "export", Short: "Print what happened as JSON lines, oldest first", Args: cobra.NoArgs}
	filter := auditFilter(cmd, "all")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		f, err := filter()
		if err != nil {
			return err
		}
		return c.withOrStart(cmd.Context(), func(s *session) error {
			return s.events(cmd.Context(), f, func(e conclave.Event) error { return json.NewEncoder(c.stdout).Encode(e) })
		})
	}
	return cmd
}
