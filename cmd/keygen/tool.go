package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"golang.org/x/term"

	"github.com/cloakroom-go/cloakroom/internal/keyset"
	"github.com/cloakroom-go/cloakroom/internal/secret"
	"github.com/cloakroom-go/cloakroom/internal/span"
	"github.com/cloakroom-go/cloakroom/keys"
)

// A tool is one call of keygen.
type tool struct {
	stdin          io.Reader
	stdout, stderr io.Writer

	keyset      string        // --keyset
	format      string        // --format; "" for the command's own default
	json        bool          // --json
	at          string        // --at
	dryRun      bool          // --dry-run
	writeAt     bool          // --write-at
	groupRead   bool          // --insecure-group-readable
	lockTimeout time.Duration // --lock-timeout
	color       string        // --color
	secret      secretFlags   // --passphrase-file and the like

	help   witness      // standard output, for help and completions
	opened *keyset.File // the key file with its secret, once that was read
	warned []string     // what warnDirectories has said

	now time.Time // as of when the command runs
	ran bool      // a command has begun: errors before that are wrong usage
}

const rootHelp = `Keygen makes, rotates and revokes the keys of a Cloakroom application.

  keygen init                    make a key file
  keygen rotate --if-due         keep it in rotation: from cron, as often as you like
  keygen plan                    see what is going to happen
  keygen check                   see whether all is well
  keygen revoke KID              in an emergency

Data goes to standard output, everything else to standard error. Exit codes:
0 done, 1 input, output or internal error, 2 wrong usage, 3 refused (by the
timing: the text says when it is safe; or the file exists, or others can read
it), 4 key file damaged or wrong passphrase, 5 key file locked: try again,
6 token no good, 7 token expired, 8 no such key or a file is missing,
10 something is due, or differs.`

func (t *tool) root() *cobra.Command {
	root := &cobra.Command{
		Use:           "keygen",
		Short:         "Make, rotate and revoke the keys of a Cloakroom application",
		Long:          rootHelp,
		Version:       version(),
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.SetIn(t.stdin)
	t.help.Writer = t.stdout
	root.SetOut(&t.help)
	root.SetErr(t.stderr)
	f := root.PersistentFlags()
	f.StringVar(&t.keyset, "keyset", "", "the key `file` (default $CLOAKROOM_KEYSET, or keys.json)")
	f.StringVar(&t.format, "format", "", "table or json, and what else the command has")
	f.BoolVar(&t.json, "json", false, "same as --format json")
	f.StringVar(&t.at, "at", "", "reckon as of this `time`, such as 2026-11-24T03:00:00Z, or +30d; what writes needs --dry-run with it")
	f.BoolVar(&t.dryRun, "dry-run", false, "say what would be done, and do nothing")
	f.BoolVar(&t.writeAt, "write-at", false, "let --at be the time of what is written too: for tests, and where the clock is wrong")
	f.BoolVar(&t.groupRead, "insecure-group-readable", false, "accept a key file that its group can read, such as a mounted secret")
	f.Var((*duration)(&t.lockTimeout), "lock-timeout", "how long to wait for another keygen")
	f.StringVar(&t.color, "color", "auto", "auto (on a terminal, unless $NO_COLOR is set), always or never")
	t.secret.add(f, "")
	root.AddCommand(
		t.initCommand(), t.addCommand(), t.rotateCommand(), t.promoteCommand(), t.retireCommand(), t.revokeCommand(), t.pruneCommand(), t.policyCommand(),
		t.listCommand(), t.showCommand(), t.planCommand(), t.checkCommand(), t.diffCommand(),
		t.exportCommand(), t.importCommand(), t.encryptCommand(), t.decryptCommand(), t.rewrapCommand(), t.thumbprintCommand(),
		t.tokenCommand(), t.doctorCommand(), t.jwksCommand(), t.versionCommand(),
	)
	offerChoices(root)
	_ = root.RegisterFlagCompletionFunc("format", completeFormat) // fails without the flag
	root.SetHelpCommand(helpCommand())
	root.SetVersionTemplate(versionLine())
	root.SetFlagErrorFunc(hideValue)
	return root
}

// do wraps what a command does, so that errors from here on are not wrong usage. formats are the
// values that --format may have; the first is the default.
func (t *tool) do(formats []string, f func(ctx context.Context, args []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		t.ran = true
		if err := t.resolve(formats); err != nil {
			return err
		}
		return f(cmd.Context(), args)
	}
}

// tables are the formats of most commands.
func tables() []string { return []string{"table", "json"} }

// texts are the formats of commands that print JSON unless they are told otherwise.
func texts() []string { return []string{"json", "table"} }

// pictures are the formats of a plan.
func pictures() []string { return append(tables(), "svg", "html") }

// keyForms are the formats of keys for other programs.
func keyForms() []string { return []string{"jwks", "jwk", "pem", "json"} }

// resolve checks the flags that every command has.
func (t *tool) resolve(formats []string) (err error) {
	switch {
	case t.json && t.format != "" && t.format != "json":
		return refuse(exitUsage, "--json and --format %s contradict each other", t.format)
	case t.json:
		t.format = "json"
	case t.format == "":
		t.format = formats[0]
	}
	if !slices.Contains(formats, t.format) {
		return refuse(exitUsage, "--format %q: use %s", t.format, strings.Join(formats, ", "))
	}
	switch {
	case t.path() == "-":
		return refuse(exitUsage, notStandardInput)
	case secret.IsContent(t.path()):
		return refuse(exitUsage, "--keyset, or CLOAKROOM_KEYSET, is not a path, but what a file with keys holds; write that to a file of mode 0600, and name the file")
	}
	if !slices.Contains([]string{"auto", "always", "never"}, t.color) {
		return refuse(exitUsage, "--color %q: use auto, always or never", t.color)
	}
	if t.now, err = parseTime(t.at, time.Now()); err != nil {
		return refuse(exitUsage, "--at: %w", err)
	}
	if t.at != "" {
		t.note("as of %s", t.now.Format(time.RFC3339))
	}
	return nil
}

// notStandardInput is what is said of a key file at -: a change needs its directory, for the lock and the backup.
const notStandardInput = "the key file can't be standard input; name a file (./- if it is called so)"

// mayWrite refuses to write as of another time: keys that were made in the future, or pruned before
// their time, can't be brought back.
func (t *tool) mayWrite() error {
	off := time.Since(t.now).Abs()
	if t.dryRun || t.at == "" || t.writeAt || off <= time.Minute {
		return nil
	}
	return refuse(exitUsage, "--at is %s off, and this would write; add --dry-run to see what would be done then, or --write-at if it is this machine's clock that is wrong", span.Format(off.Truncate(time.Second)))
}

// parseTime reads an instant, in full, as a date, or as a duration from now.
func parseTime(s string, now time.Time) (time.Time, error) {
	now = now.UTC().Truncate(time.Second)
	if s == "" {
		return now, nil
	}
	if sign, rest := s[0], s[1:]; sign == '+' || sign == '-' {
		d, err := span.Parse(rest)
		if err != nil {
			return now, err
		}
		if sign == '-' {
			d = -d
		}
		return now.Add(d), nil
	}
	for _, layout := range [...]string{time.RFC3339, time.DateOnly} {
		if at, err := time.Parse(layout, s); err == nil {
			if at.Unix() <= 0 || at.Year() > 9999 {
				return now, fmt.Errorf("%q is not between the years 1970 and 9999", s)
			}
			return at.UTC().Truncate(time.Second), nil
		}
	}
	return now, fmt.Errorf("%q is no time; write it like 2026-11-24T03:00:00Z, 2026-11-24 or +30d", s)
}

// duration is a flag that takes days too.
type duration time.Duration

var _ pflag.Value = (*duration)(nil)

func (d *duration) String() string { return span.Format(time.Duration(*d)) }
func (d *duration) Type() string   { return "duration" }
func (d *duration) Set(s string) error {
	v, err := span.Parse(s)
	if err == nil {
		*d = duration(v)
	}
	return err
}

// path is the key file that was chosen.
func (t *tool) path() string {
	if t.keyset != "" {
		return t.keyset
	}
	if path := os.Getenv("CLOAKROOM_KEYSET"); path != "" {
		return path
	}
	return "keys.json"
}

// file is the key file that was chosen, with what it is encrypted under.
func (t *tool) file() (keyset.File, error) {
	if t.opened != nil {
		return *t.opened, nil // a secret can be read once
	}
	f := keyset.File{Path: t.path(), InsecureGroupReadable: t.groupRead}
	t.warnDirectories(f.Path)
	if err := t.secret.read(t, &f); err != nil {
		return f, err
	}
	if len(t.secret.given()) == 0 {
		if locked, err := f.Encrypted(); err == nil && locked { // what is wrong else, Read says
			if f.Passphrase, err = t.ask("passphrase of " + f.Path); err != nil {
				return f, err
			}
		}
	}
	t.opened = &f
	return f, nil
}

// read reads the key file.
func (t *tool) read() (*keyset.Set, error) {
	f, err := t.file()
	if err != nil {
		return nil, err
	}
	return f.Read()
}

// ring opens the key file to verify and decrypt with.
func (t *tool) ring() (*keys.Ring, error) {
	f, err := t.file()
	if err != nil {
		return nil, err
	}
	return keys.OpenRing(keys.File(f))
}

// colored reports whether colours are wanted on standard output.
func (t *tool) colored() bool {
	if t.color == "auto" {
		return os.Getenv("NO_COLOR") == "" && isTerminal(t.stdout)
	}
	return t.color == "always"
}

func isTerminal(w any) bool {
	f, ok := w.(interface{ Fd() uintptr })
	return ok && term.IsTerminal(int(f.Fd()))
}
