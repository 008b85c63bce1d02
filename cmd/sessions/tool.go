package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"slices"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/cloakroom-go/cloakroom/config"
	"github.com/cloakroom-go/cloakroom/middleware"
	"github.com/cloakroom-go/cloakroom/revocation"
	"github.com/cloakroom-go/cloakroom/session"
)

const (
	// defaultTimeout is more than a failover of a store usually takes.
	defaultTimeout = 30 * time.Second

	// defaultConfig is read if no flag names a config.
	defaultConfig = "cloakroom.yaml"
)

// A tool is one run of the program.
type tool struct {
	stdin          io.Reader
	stdout, stderr io.Writer
	environ        []string // as os.Environ returns it
	asks           bool     // there is somebody who can answer

	config  string        // --config
	format  string        // --format
	dryRun  bool          // --dry-run
	timeout time.Duration // --timeout

	ran bool // a command has begun: errors before that are wrong usage
}

// The exit codes, as the help documents them. They are those of keygen.
const (
	exitOK       = 0
	exitError    = 1
	exitUsage    = 2
	exitRefused  = 3
	exitNotFound = 8
)

// An exit is an error with the code to end with.
type exit struct {
	code int
	err  error
}

func (e *exit) Error() string { return e.err.Error() }
func (e *exit) Unwrap() error { return e.err }

// refuse returns an error that ends the program with this exit code.
func refuse(code int, format string, args ...any) error {
	return &exit{code, fmt.Errorf(format, args...)}
}

// exitCode returns the code with which err ends the program.
func exitCode(err error) int {
	var e *exit
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, session.NotFound):
		return exitNotFound
	case errors.As(err, &e):
		return e.code
	}
	return exitError
}

// do returns the RunE of a command that does f. Errors before f are wrong
// usage.
func (t *tool) do(f func(ctx context.Context, args []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		switch {
		case !slices.Contains([]string{"text", "json"}, t.format):
			return fmt.Errorf("--format %q: use text or json", t.format)
		case t.timeout <= 0:
			return fmt.Errorf("--timeout %v: give the store some time, such as 30s", t.timeout)
		case slices.Contains(args, ""):
			return fmt.Errorf("%s: an argument is empty", cmd.Name())
		}
		t.ran = true
		return f(cmd.Context(), args)
	}
}

// arguments is for commands that take exactly these.
func arguments(names ...string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		switch {
		case len(args) < len(names):
			return fmt.Errorf("%s needs %s", cmd.Name(), names[len(args)])
		case len(args) > len(names) && len(names) == 0:
			return fmt.Errorf("%s takes no arguments", cmd.Name())
		case len(args) > len(names):
			return fmt.Errorf("%s takes %d arguments, and there are %d", cmd.Name(), len(names), len(args))
		}
		return nil
	}
}

// read reads the config of the application.
func (t *tool) read() (c config.Config, err error) {
	path := t.config
	if path == "" {
		_, err := os.Stat(defaultConfig)
		switch {
		case err == nil:
			path = defaultConfig
		case errors.Is(err, fs.ErrNotExist):
			t.note("there is no %s here, and no --config: only the CLOAKROOM_ variables count", defaultConfig)
		default:
			return c, err
		}
	}
	if path != "" {
		if c, err = config.Load(path); err != nil {
			return c, refuse(exitRefused, "%w", err)
		}
	}
	if c, err = config.FromEnv(c, t.environ); err != nil {
		return c, refuse(exitRefused, "%w", err)
	}
	return c, nil
}

// open calls f with the store of the application, once all is known here that
// has ended on its instances.
func (t *tool) open(ctx context.Context, c config.Config, f func(context.Context, *config.App) error) error {
	ctx, cancel := context.WithTimeout(ctx, t.timeout)
	defer cancel()
	if t.dryRun {
		c.Revocations.InsecureServeStale = false // so that Fresh below says what is known
	}
	app, err := c.BuildAdmin(config.Options{
		Stores:  stores(),
		Logger:  slog.New(slog.DiscardHandler), // what matters here is in an error, too
		OnEvent: func(context.Context, middleware.Event) {},
	})
	switch {
	case errors.Is(err, session.Unavailable):
		return err
	case err != nil:
		return refuse(exitRefused, "%w", err)
	}
	if err := awaitFresh(ctx, app); err != nil {
		_ = app.Close()
		return fmt.Errorf("nothing was done, because the store can't tell what has ended: %w", err)
	}
	if err := f(ctx, app); err != nil {
		_ = app.Close()
		return err
	}
	return app.Close()
}

// awaitFresh waits until all is known that has ended.
func awaitFresh(ctx context.Context, app *config.App) error {
	// The list would keep trying, and only say that it has not succeeded.
	if _, err := app.Store.(revocation.Log).Read(ctx, "", 0); err != nil {
		return err
	}
	look := time.NewTicker(2 * time.Millisecond)
	defer look.Stop()
	for {
		err := app.Revocations.Fresh()
		if err == nil {
			return nil
		}
		select {
		case <-look.C:
		case <-ctx.Done():
			return err
		}
	}
}

// inDoubt adds to the error of an end what to do about it.
func inDoubt(err error) error {
	if err == nil || errors.Is(err, session.NotFound) {
		return err
	}
	return fmt.Errorf("sessions may go on, because the store may not have taken their end; "+
		"run the same command again: %w", err)
}

// isTerminal reports whether r is a terminal.
func isTerminal(r io.Reader) bool {
	f, ok := r.(interface{ Fd() uintptr })
	return ok && term.IsTerminal(int(f.Fd()))
}
