package main

import (
	"fmt"
	"slices"
	"time"

	"conclave"
	"conclave/internal/app"

	"github.com/spf13/cobra"
)

func (c *cli) serveCommand() *cobra.Command {
	return &cobra.Command{Use: "serve [SERVICE...]", Short: "Run all services in this process, or only those named",
		Long: "Run all services in this process, or only those named. Several processes share a Postgres database (CONCLAVE_DATABASE_URL) and find each other by it.",
		RunE: func(cmd *cobra.Command, args []string) error {
			config, err := c.config()
			if err != nil {
				return err
			}
			for _, name := range args {
				if s := conclave.Service(name); !slices.Contains(config.Services, s) {
					config.Services = append(config.Services, s)
				}
			}
			started := time.Now()
			a, err := app.New(cmd.Context(), app.Options{Config: config, Patient: true, Getenv: c.getenv, Logger: app.Logger(c.stderr, c.getenv("CONCLAVE_LOG"))})
			if err != nil {
				return err
			}
			return a.Run(cmd.Context(), func() {
				fmt.Fprintf(c.stdout, "ready after %v\n", time.Since(started).Round(time.Millisecond))
				rows := [][]string{{"SERVICE", "ADDRESS"}}
				for _, s := range conclave.AllServices() {
					if url, ok := a.URLs()[s]; ok {
						rows = append(rows, []string{string(s), url})
					}
				}
				if err := table(c.stdout, rows, ""); err != nil {
					fmt.Fprintln(c.stderr, err)
				}
			})
		}}
}
