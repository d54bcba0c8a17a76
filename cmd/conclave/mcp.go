package main

import (
	"cmp"
	"context"
	"errors"
	"os"

	"github.com/spf13/cobra"

	"conclave"
	"conclave/internal/app"
	"conclave/internal/identity"
	"conclave/internal/mcpwire"
	"conclave/internal/restwire"
)

func (c *cli) mcpCommand() *cobra.Command {
	return &cobra.Command{Use: "mcp", Short: "Serve the tools over MCP on standard input and output", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			over, err := c.http()
			if err != nil {
				return err
			}
			ctx, give := context.WithCancelCause(cmd.Context())
			defer give(nil)
			// A client waits for its tools only a moment, so they are shown while the
			// services still start. What is asked of them meanwhile waits.
			var s *session
			ready := make(chan struct{})
			go func() {
				defer close(ready)
				var err error
				if s, err = c.connectOrStart(ctx); err != nil {
					give(err)
				}
			}()
			defer func() {
				give(nil)
				if <-ready; s != nil {
					err = errors.Join(err, s.close())
				}
			}()
			await := func(call context.Context) error {
				select {
				case <-ready:
					return context.Cause(ctx)
				case <-call.Done():
					return cmp.Or(context.Cause(ctx), call.Err())
				}
			}
			client := restwire.Dial(restwire.DialOptions{Prefix: "/api", HTTP: over,
				Resolve: func(conclave.Service) (string, error) {
					if err := await(ctx); err != nil {
						return "", err
					}
					return s.urls[conclave.ServiceGateway], nil
				},
				Token: func(call context.Context) (string, error) {
					if err := await(call); err != nil {
						return "", err
					}
					return s.token, nil
				}})
			server, err := mcpwire.NewServer(mcpwire.Options{Version: app.Version, Tables: app.Tables(client), Logger: app.Logger(c.stderr, "warn")})
			if err != nil {
				return err
			}
			caller := app.LocalCaller(os.Getenv)
			caller.Permissions = identity.HumanPermissions("admin")
			err = mcpwire.ServeStdio(ctx, server, caller)
			if cause := context.Cause(ctx); cause != nil && cmd.Context().Err() == nil {
				return cause // the services did not start
			}
			return err
		}}
}
