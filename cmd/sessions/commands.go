package main

import (
	"bufio"
	"context"
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/cloakroom-go/cloakroom/config"
)

func (t *tool) list() *cobra.Command {
	return &cobra.Command{
		Use:   "list SUBJECT",
		Short: "List the sessions of a subject",
		Long: `List prints the sessions of a subject, the one with the newest activity first.
The config must have devices.enabled. User agents and addresses are there if
the application has asked for them.`,
		Example: "  sessions list alice --format json",
		Args:    arguments("the SUBJECT whose sessions to list"),
		RunE: t.do(func(ctx context.Context, args []string) error {
			t.dryRun = true // it ends nothing
			c, err := t.readWithDevices()
			if err != nil {
				return err
			}
			return t.open(ctx, c, func(ctx context.Context, app *config.App) error {
				rows, err := t.rows(ctx, app, args[0])
				if err != nil {
					return err
				}
				return t.print(listing{Subject: args[0], Sessions: rows})
			})
		}),
	}
}

func (t *tool) end() *cobra.Command {
	return &cobra.Command{
		Use:   "end SUBJECT ID",
		Short: "End one session of a subject",
		Long: `End ends the session of a subject with this ID, as "sessions list" prints it.
The ID of a session of somebody else is not found: exit code 8. The config must
have devices.enabled.`,
		Example: "  sessions end alice kO3mE0sSjXWMzE2b4Yb9Ug",
		Args:    arguments("the SUBJECT", "the ID of the session: see sessions list"),
		RunE: t.do(func(ctx context.Context, args []string) error {
			c, err := t.readWithDevices()
			if err != nil {
				return err
			}
			return t.open(ctx, c, func(ctx context.Context, app *config.App) error {
				return t.endOne(ctx, app, args[0], args[1])
			})
		}),
	}
}

func (t *tool) endOne(ctx context.Context, app *config.App, subject, id string) error {
	rows, err := t.rows(ctx, app, subject)
	if err != nil {
		return err
	}
	rows = slices.DeleteFunc(rows, func(r row) bool { return r.ID != id })
	if len(rows) == 0 {
		return refuse(exitNotFound, "%s has no session with this ID; see: sessions list SUBJECT", subject)
	}
	if !t.dryRun {
		if err := inDoubt(app.Devices.End(ctx, subject, id)); err != nil {
			return err
		}
	}
	t.tell("the session of " + subject)
	return t.print(listing{DryRun: t.dryRun, Subject: subject, Sessions: rows})
}

func (t *tool) endSubject() *cobra.Command {
	return &cobra.Command{
		Use:   "end-subject SUBJECT",
		Short: "End all sessions of a subject",
		Long: `End-subject ends all sessions of a subject that began until now, and prints
those that are listed. It also ends those that are not. Without devices.enabled
in the config none are listed.`,
		Example: "  sessions end-subject alice --dry-run",
		Args:    arguments("the SUBJECT whose sessions to end"),
		RunE: t.do(func(ctx context.Context, args []string) error {
			c, err := t.read()
			if err != nil {
				return err
			}
			return t.open(ctx, c, func(ctx context.Context, app *config.App) error {
				return t.endAllOf(ctx, app, args[0])
			})
		}),
	}
}

func (t *tool) endAllOf(ctx context.Context, app *config.App, subject string) (err error) {
	l, what := listing{DryRun: t.dryRun, Subject: subject}, "all sessions of "+subject
	if app.Devices != nil {
		if l.Sessions, err = t.rows(ctx, app, subject); err != nil {
			return err
		}
		what += fmt.Sprintf(": %d", len(l.Sessions))
	} else {
		what += "; without devices.enabled their number is not known"
	}
	if !t.dryRun {
		if err := inDoubt(app.Revocations.EndSubject(ctx, subject)); err != nil {
			return err
		}
	}
	t.tell(what)
	return t.print(l)
}

func (t *tool) endTag() *cobra.Command {
	return &cobra.Command{
		Use:   "end-tag KIND VALUE",
		Short: "End all sessions whose login had a tag",
		Long: `End-tag ends the sessions whose login had this tag (session.Tag), until now. It
is not kept which sessions have a tag, so their number is not known.`,
		Example: "  sessions end-tag idp_session 5f3d9a",
		Args:    arguments("the KIND of the tag", "the VALUE of the tag"),
		RunE: t.do(func(ctx context.Context, args []string) error {
			c, err := t.read()
			if err != nil {
				return err
			}
			return t.open(ctx, c, func(ctx context.Context, app *config.App) error {
				if !t.dryRun {
					if err := inDoubt(app.Revocations.EndTag(ctx, args[0], args[1])); err != nil {
						return err
					}
				}
				t.tell("all sessions with this tag of kind " + args[0] + "; their number is not known")
				return t.print(listing{DryRun: t.dryRun, TagKind: args[0]})
			})
		}),
	}
}

func (t *tool) endAll() *cobra.Command {
	yes := false
	cmd := &cobra.Command{
		Use:   "end-all",
		Short: "End all sessions of everybody",
		Long: `End-all ends every session that began until now, of everybody, also of visitors
who are not logged in. It asks before it does. In a script, --yes answers.`,
		Example: "  sessions end-all --yes",
		Args:    arguments(),
		RunE: t.do(func(ctx context.Context, _ []string) error {
			c, err := t.read()
			if err == nil && !yes && !t.dryRun {
				err = t.confirm(ctx, c)
			}
			if err != nil {
				return err
			}
			return t.open(ctx, c, func(ctx context.Context, app *config.App) error {
				if !t.dryRun {
					if err := inDoubt(app.Revocations.EndAll(ctx)); err != nil {
						return err
					}
				}
				t.tell("all sessions of everybody; their number is not known")
				return t.print(listing{DryRun: t.dryRun, All: true})
			})
		}),
	}
	cmd.Flags().BoolVar(&yes, "yes", false, "don't ask")
	return cmd
}

// confirm asks whether to end everything.
func (t *tool) confirm(ctx context.Context, c config.Config) error {
	if !t.asks {
		return refuse(exitRefused, "end-all ends every session of everybody, and there is no terminal to ask at; "+
			"add --yes if that is what you want")
	}
	fmt.Fprintf(t.stderr, "sessions: this ends every session of everybody in %s\nsessions: type yes to go on: ",
		printable(fmt.Sprint(c.Store.URL)))
	answered := make(chan string, 1)
	go func() { // a read can't be interrupted
		line, _ := bufio.NewReader(t.stdin).ReadString('\n')
		answered <- strings.TrimSpace(line)
	}()
	select {
	case answer := <-answered:
		if answer == "yes" {
			return nil
		}
	case <-ctx.Done():
		fmt.Fprintln(t.stderr)
	}
	return refuse(exitRefused, "not confirmed; nothing has ended")
}

// figures are what stats prints.
type figures struct {
	Store       string  `json:"store"`
	Sessions    int     `json:"ended_sessions"`
	Groups      int     `json:"ended_groups"`
	Staleness   float64 `json:"staleness_seconds"`
	ClockOffset float64 `json:"clock_offset_seconds"`
}

func (t *tool) stats() *cobra.Command {
	return &cobra.Command{
		Use:   "stats",
		Short: "Show what the store knows of ended sessions",
		Long: `Stats shows how many entries the list of ended sessions has: about single
sessions, and about groups (all of a subject, with a tag, or of everybody). An
entry goes when no session is left that it ends. It also shows how old this
knowledge is, and how far the clock of the store's server is ahead of the one
here, at least.`,
		Example: "  sessions stats --format json",
		Args:    arguments(),
		RunE: t.do(func(ctx context.Context, _ []string) error {
			t.dryRun = true // it ends nothing
			c, err := t.read()
			if err != nil {
				return err
			}
			return t.open(ctx, c, func(_ context.Context, app *config.App) error {
				s := app.Revocations.Stats()
				return t.printFigures(figures{
					fmt.Sprint(c.Store.URL), s.Sessions, s.Subjects, s.Staleness.Seconds(), s.ClockOffset.Seconds(),
				})
			})
		}),
	}
}

func (t *tool) printFigures(f figures) error {
	if t.format == "json" {
		return t.printJSON(f)
	}
	w := tabwriter.NewWriter(t.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "store\t%s\n", printable(f.Store))
	fmt.Fprintf(w, "ended sessions\t%d\nended groups\t%d\n", f.Sessions, f.Groups)
	fmt.Fprintf(w, "staleness\t%v\nclock offset\t%v\n", seconds(f.Staleness), seconds(f.ClockOffset))
	return w.Flush()
}

func seconds(s float64) time.Duration {
	return time.Duration(s * float64(time.Second)).Round(time.Millisecond)
}

// readWithDevices is read for commands that need the list of devices.
func (t *tool) readWithDevices() (config.Config, error) {
	c, err := t.read()
	if err == nil && !c.Devices.Enabled {
		err = refuse(exitRefused, "the config doesn't have devices.enabled, so the application keeps no list of the "+
			"sessions of a subject; \"sessions end-subject\" works without it")
	}
	return c, err
}

// rows returns the sessions of a subject.
func (t *tool) rows(ctx context.Context, app *config.App, subject string) ([]row, error) {
	all, err := app.Devices.List(ctx, subject)
	if err != nil {
		return nil, err
	}
	rows, unread := make([]row, 0, len(all)), 0
	for _, s := range all {
		rows = append(rows, rowOf(s))
		if s.CreatedAt.IsZero() {
			unread++
		}
	}
	if unread > 0 {
		t.note("the details of %d sessions can't be decrypted: is the secret of the store that of the application?", unread)
	}
	return rows, nil
}

// tell says what has ended, or would.
func (t *tool) tell(what string) {
	if t.dryRun {
		t.note("would end %s", what)
		return
	}
	t.note("ended %s", what)
}
