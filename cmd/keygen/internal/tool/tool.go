// Package tool has the parts that the commands of keygen share: the common
// flags, the clock, the key file and its secret, exit codes, and printing.
//
// [New] makes the [Tool] of one run. A command wraps what it does in [Tool.Do],
// reads the key file with [Tool.Read] or [Tool.File], and returns an error of
// [Refuse] to choose the exit code. Text that others wrote is printed through
// [Cell], [Table.Row], [Tool.Note] and [Tool.PrintJSON], which escape what
// could steer a terminal.
package tool

import (
	"cmp"
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

// A Tool is one run of keygen.
type Tool struct {
	Stdin          io.Reader
	Stdout, Stderr io.Writer

	Keyset      string        // --keyset
	Format      string        // --format; "" for the command's own default
	json        bool          // --json
	At          string        // --at
	DryRun      bool          // --dry-run
	writeAt     bool          // --write-at
	GroupRead   bool          // --insecure-group-readable
	lockTimeout time.Duration // --lock-timeout
	color       string        // --color
	Secret      SecretFlags   // --passphrase-file and the like

	opened *keyset.File // the key file with its secret, once that was read
	warned []string     // what WarnDirectories has said

	Now time.Time // --at, or the time when the command began
	Ran bool      // a command has begun: errors before that are wrong usage
}

// New returns the tool for one run.
func New(stdin io.Reader, stdout, stderr io.Writer) *Tool {
	return &Tool{Stdin: stdin, Stdout: stdout, Stderr: stderr, lockTimeout: defaultLockTimeout}
}

// AddFlags adds the flags that every command has.
func (t *Tool) AddFlags(f *pflag.FlagSet) {
	f.StringVar(&t.Keyset, "keyset", "", "the key `file` (default $CLOAKROOM_KEYSET, or keys.json)")
	f.StringVar(&t.Format, "format", "", "table or json; some commands have others")
	f.BoolVar(&t.json, "json", false, "same as --format json")
	f.StringVar(&t.At, "at", "",
		"run as of this `time`, such as 2026-11-24T03:00:00Z or +30d; a command that writes needs --dry-run too")
	f.BoolVar(&t.DryRun, "dry-run", false, "print what would be done, and change nothing")
	f.BoolVar(&t.writeAt, "write-at", false,
		"also write as of --at: for tests, and where the clock is wrong")
	f.BoolVar(&t.GroupRead, "insecure-group-readable", false,
		"accept a key file that its group can read, such as a mounted secret")
	f.Var((*Duration)(&t.lockTimeout), "lock-timeout", "how long to wait for another keygen")
	f.StringVar(&t.color, "color", "auto", "auto (on a terminal, unless $NO_COLOR is set), always or never")
	t.Secret.Add(f, "")
}

// Do returns the RunE of a command that does f. Errors before f are wrong
// usage.
func (t *Tool) Do(f func(context.Context, []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		t.Ran = true
		if err := t.resolve(Formats(cmd)); err != nil {
			return err
		}
		return f(cmd.Context(), args)
	}
}

// Formats returns the values of --format for a command; the first is the
// default.
func Formats(cmd *cobra.Command) []string {
	switch Called(cmd) {
	case "plan":
		return []string{"table", "json", "svg", "html"}
	case "export":
		return []string{"jwks", "jwk", "pem", "json"}
	case "token decode":
		return []string{"json", "table"}
	}
	return []string{"table", "json"}
}

// resolve checks the flags that every command has.
func (t *Tool) resolve(formats []string) (err error) {
	switch {
	case t.json && t.Format != "" && t.Format != "json":
		return Refuse(ExitUsage, "--json and --format %s contradict each other", t.Format)
	case t.json:
		t.Format = "json"
	case t.Format == "":
		t.Format = formats[0]
	}
	if !slices.Contains(formats, t.Format) {
		return Refuse(ExitUsage, "--format %q: use %s", t.Format, strings.Join(formats, ", "))
	}
	switch {
	case t.Path() == "-":
		return Refuse(ExitUsage, NotStandardInput)
	case secret.IsContent(t.Path()):
		return Refuse(ExitUsage, "--keyset, or CLOAKROOM_KEYSET, has the content of a file with keys in place of "+
			"its path; write the content to a file of mode 0600, and name that file")
	}
	if !slices.Contains([]string{"auto", "always", "never"}, t.color) {
		return Refuse(ExitUsage, "--color %q: use auto, always or never", t.color)
	}
	if t.Now, err = ParseTime(t.At, time.Now()); err != nil {
		return Refuse(ExitUsage, "--at: %w", err)
	}
	if t.At != "" {
		t.Note("as of %s", t.Now.Format(time.RFC3339))
	}
	return nil
}

// NotStandardInput refuses a key file at -: a change needs its directory, for
// the lock and the backup.
const NotStandardInput = "the key file can't be standard input; name a file (./- if it is called so)"

// MayWrite refuses to write as of another time. Keys made with a date in the
// future, or pruned too early, can't be brought back.
func (t *Tool) MayWrite() error {
	off := time.Since(t.Now).Abs()
	if t.DryRun || t.At == "" || t.writeAt || off <= time.Minute {
		return nil
	}
	return Refuse(ExitUsage, "--at is %s from now, and this would write; add --dry-run to see what would be done then, "+
		"or --write-at if it is this machine's clock that is wrong", span.Format(off.Truncate(time.Second)))
}

// ParseTime reads an instant: RFC 3339, a date, or a signed duration from now.
func ParseTime(s string, now time.Time) (time.Time, error) {
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
	return now, fmt.Errorf("%q is not a time; write it like 2026-11-24T03:00:00Z, 2026-11-24 or +30d", s)
}

// Duration is a flag that takes days too, which package time does not parse.
type Duration time.Duration

var _ pflag.Value = (*Duration)(nil)

// String returns the duration with its units, days included.
func (d *Duration) String() string { return span.Format(time.Duration(*d)) }

// Type returns the word for the value in help texts.
func (d *Duration) Type() string { return "duration" }

// Set parses a duration with units, days included.
func (d *Duration) Set(s string) error {
	v, err := span.Parse(s)
	if err == nil {
		*d = Duration(v)
	}
	return err
}

// Path returns the path of the key file: from --keyset, else from the
// environment, else keys.json.
func (t *Tool) Path() string {
	return cmp.Or(t.Keyset, os.Getenv("CLOAKROOM_KEYSET"), "keys.json")
}

// File returns the key file with its passphrase or key. It asks for a
// passphrase if the file is encrypted and no flag names a secret.
func (t *Tool) File() (keyset.File, error) {
	if t.opened != nil {
		return *t.opened, nil // a descriptor or standard input can be read only once
	}
	f := keyset.File{Path: t.Path(), InsecureGroupReadable: t.GroupRead}
	t.WarnDirectories(f.Path)
	if err := t.Secret.Read(t, &f); err != nil {
		return f, err
	}
	if len(t.Secret.Given()) == 0 {
		if locked, err := f.Encrypted(); err == nil && locked { // Read reports the error
			if f.Passphrase, err = t.Ask("passphrase of " + f.Path); err != nil {
				return f, err
			}
		}
	}
	t.opened = &f
	return f, nil
}

// Read reads the key file.
func (t *Tool) Read() (*keyset.Set, error) {
	f, err := t.File()
	if err != nil {
		return nil, err
	}
	return f.Read()
}

// Ring reads the key file to verify and decrypt with.
func (t *Tool) Ring() (*keys.Ring, error) {
	set, err := t.Read()
	if err != nil {
		return nil, err
	}
	return (*keys.Set)(set).Ring()
}

// Colored reports whether to colour standard output.
func (t *Tool) Colored() bool {
	if t.color == "auto" {
		return os.Getenv("NO_COLOR") == "" && IsTerminal(t.Stdout)
	}
	return t.color == "always"
}

// IsTerminal reports whether w is a terminal.
func IsTerminal(w any) bool {
	f, ok := w.(interface{ Fd() uintptr })
	return ok && term.IsTerminal(int(f.Fd()))
}
