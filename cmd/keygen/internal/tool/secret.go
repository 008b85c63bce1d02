package tool

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strconv"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"golang.org/x/term"

	"github.com/cloakroom-go/cloakroom/internal/keyset"
	"github.com/cloakroom-go/cloakroom/internal/secret"
)

// SecretFlags say where the passphrase or the key of an encrypted key file is.
// The secret is never an argument: other users of the machine can see those.
type SecretFlags struct {
	isImport bool // the flags are about a file to import
	sources  []*source
}

// A source is a flag that says where a secret is. A user may have written the
// secret in its place, see HideValue.
type source struct {
	name  string // of the flag
	from  string // file, env or fd
	isKey bool   // it is a key, not a passphrase
	value string // "" if the flag was not given
}

var _ pflag.Value = (*source)(nil)

// Type returns the word for the value in help texts, where usage names none.
func (s *source) Type() string { return "string" }

func (s *source) String() string { return s.value }

func (s *source) Set(value string) error {
	if _, err := strconv.ParseUint(value, 10, 16); s.from == "fd" && err != nil {
		return errors.New("not the number of a file descriptor")
	}
	s.value = value
	return nil
}

func (s *source) read(t *Tool) ([]byte, error) {
	switch {
	case s.from == "env":
		return secret.Env(s.value)
	case s.from == "file" && s.value == "-":
		return secret.Read(t.Stdin)
	case s.from == "file":
		return secret.ReadFile(s.value)
	}
	number, _ := strconv.ParseUint(s.value, 10, 16) // as Set did
	f := os.NewFile(uintptr(number), "secret")
	if f == nil {
		return nil, fmt.Errorf("%d is not a file descriptor", number)
	}
	defer f.Close()
	return secret.Read(f)
}

// HideValue is cobra's FlagErrorFunc. It leaves a value out of the error if it
// may be a secret: pflag repeats what it can't parse.
func HideValue(_ *cobra.Command, err error) error {
	var wrong *pflag.InvalidValueError
	if errors.As(err, &wrong) {
		if _, hide := wrong.GetFlag().Value.(*source); hide {
			return fmt.Errorf("--%s: %w", wrong.GetFlag().Name, wrong.Unwrap())
		}
	}
	var syntax *pflag.InvalidSyntaxError
	if errors.As(err, &syntax) && secret.IsContent(syntax.GetSpecifiedFlag()) {
		return RefuseContent()
	}
	return err
}

// RefuseContent refuses the content of a file in place of its name.
func RefuseContent() error {
	return Refuse(ExitUsage, "the argument must be the name of a file, not its content, which other users "+
		"of this machine can see; if it was a private key, replace it; give keys on standard input")
}

// Add adds the flags; prefix is "", "new-" or "import-".
func (s *SecretFlags) Add(f *pflag.FlagSet, prefix string) {
	what := "of an encrypted key file"
	switch prefix {
	case "new-":
		what = "to encrypt the key file under"
	case "import-":
		what, s.isImport = "of the file to import", true
	}
	for _, row := range [...]struct{ kind, from, usage string }{
		{"passphrase", "file", "`file` with the passphrase " + what + "; - is standard input"},
		{"passphrase", "env", "`name` of the environment variable with the passphrase"},
		{"passphrase", "fd", "file `descriptor` to read the passphrase from"},
		{"kek", "file", "`file` with the 32-byte key " + what + ", raw or as base64"},
		{"kek", "env", "`name` of the environment variable with the 32-byte key, as base64"},
		{"kek", "fd", "file `descriptor` to read the 32-byte key from"},
	} {
		source := &source{name: prefix + row.kind + "-" + row.from, from: row.from, isKey: row.kind == "kek"}
		s.sources = append(s.sources, source)
		f.Var(source, source.name, row.usage)
	}
}

// given returns the sources that were named.
func (s *SecretFlags) given() (all []*source) {
	for _, source := range s.sources {
		if source.value != "" {
			all = append(all, source)
		}
	}
	return all
}

// Given returns the flags that were used.
func (s *SecretFlags) Given() (names []string) {
	for _, source := range s.given() {
		names = append(names, "--"+source.name)
	}
	return names
}

// StandardInput reports whether the secret is to come from there.
func (s *SecretFlags) StandardInput() bool {
	return slices.ContainsFunc(s.sources, func(f *source) bool { return f.from == "file" && f.value == "-" })
}

// Read puts the secret into f; nothing if no flag names one.
func (s *SecretFlags) Read(t *Tool, f *keyset.File) error {
	f.Passphrase, f.Key = nil, nil
	given := s.given()
	switch len(given) {
	case 0:
		return nil
	case 1:
	default:
		return Refuse(ExitUsage, "--%s and --%s contradict each other", given[0].name, given[1].name)
	}
	text, err := given[0].read(t)
	switch {
	case err != nil:
		return fmt.Errorf("--%s: %w", given[0].name, err)
	case !given[0].isKey:
		f.Passphrase = bytes.TrimRight(text, "\r\n") // as editors and echo leave it
		return nil
	}
	f.Key = text
	if _, ok := secret.Key(text, secret.KeySize); !ok && !s.isImport { // a file to import says how long its key is
		return Refuse(ExitUsage, "--%s: this is no key of %d bytes: give it raw, or as base64 or hexadecimal text",
			given[0].name, secret.KeySize)
	}
	return nil
}

// Ask asks for a passphrase on the terminal.
func (t *Tool) Ask(prompt string) ([]byte, error) {
	in, ok := t.Stdin.(*os.File)
	if !ok || !term.IsTerminal(int(in.Fd())) {
		return nil, Refuse(ExitUsage, "a passphrase or a key is needed: "+
			"use --passphrase-file, --kek-file or the like (keygen help)")
	}
	fd := int(in.Fd())
	state, err := term.GetState(fd)
	if err != nil {
		return nil, err
	}
	fmt.Fprint(t.Stderr, "keygen: "+prompt+": ")
	defer fmt.Fprintln(t.Stderr)
	// ReadPassword can't be interrupted. So Ctrl-C ends the program, after the
	// terminal shows again what the user types.
	interrupted := make(chan os.Signal, 1)
	signal.Notify(interrupted, os.Interrupt)
	defer signal.Stop(interrupted)
	answered := make(chan struct{})
	defer close(answered)
	go func() {
		select {
		case <-interrupted:
			_ = term.Restore(fd, state)
			fmt.Fprintln(t.Stderr)
			os.Exit(ExitError)
		case <-answered:
		}
	}()
	return term.ReadPassword(fd)
}

// AskNew asks for a new passphrase, twice: it isn't shown, and a typing error
// would lock the keys away.
func (t *Tool) AskNew() ([]byte, error) {
	if !IsTerminal(t.Stdin) {
		return nil, Refuse(ExitUsage, "a new passphrase or key is needed: "+
			"use --new-passphrase-file, --new-kek-file or the like")
	}
	first, err := t.Ask("new passphrase of " + t.Path())
	if err != nil {
		return nil, err
	}
	second, err := t.Ask("the same again")
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(first, second) {
		return nil, Refuse(ExitUsage, "the two passphrases differ; nothing was changed")
	}
	return first, nil
}

// OnlyOnce refuses several things that are to come from standard input.
func OnlyOnce(fromStandardInput ...bool) error {
	if len(slices.DeleteFunc(fromStandardInput, func(from bool) bool { return !from })) > 1 {
		return Refuse(ExitUsage, "two things can't come from standard input; use a file for one of them")
	}
	return nil
}

// NoteSecret says what the application needs to open a file that is encrypted
// anew.
func (t *Tool) NoteSecret(f keyset.File) {
	if under := ProtectionOf(f); under != "none" {
		t.Note("from now on the application needs the %[1]s to open it; keep a copy of the %[1]s in a safe place", under)
	}
}

// ProtectionOf names what a file is encrypted under.
func ProtectionOf(f keyset.File) string {
	switch {
	case f.Passphrase != nil:
		return "passphrase"
	case f.Key != nil:
		return "key"
	}
	return "none"
}
