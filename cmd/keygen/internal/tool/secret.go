package tool

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/signal"
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
	prefix                                         string // of the flags: "", "new-" or "import-"
	passphraseFile, passphraseEnv, keyFile, keyEnv string
	passphraseFD, keyFD                            descriptor
}

// A descriptor is a flag with the number of a file descriptor; the zero value is
// none. A user may have written the secret in its place, see HideValue.
type descriptor struct {
	number uint64
	given  bool
}

var _ pflag.Value = (*descriptor)(nil)

func (d *descriptor) Type() string { return "int" }

func (d *descriptor) String() string {
	if !d.given {
		return ""
	}
	return strconv.FormatUint(d.number, 10)
}

func (d *descriptor) Set(s string) error {
	n, err := strconv.ParseUint(s, 10, 16)
	if err != nil {
		return errors.New("not the number of a file descriptor")
	}
	*d = descriptor{n, true}
	return nil
}

// HideValue is cobra's FlagErrorFunc. It leaves a value out of the error if it
// may be a secret: pflag repeats what it can't parse.
func HideValue(_ *cobra.Command, err error) error {
	var wrong *pflag.InvalidValueError
	if errors.As(err, &wrong) {
		if _, hide := wrong.GetFlag().Value.(*descriptor); hide {
			return fmt.Errorf("--%s: %w", wrong.GetFlag().Name, wrong.Unwrap())
		}
	}
	var syntax *pflag.InvalidSyntaxError
	if errors.As(err, &syntax) && secret.IsContent(syntax.GetSpecifiedFlag()) {
		return RefuseContent()
	}
	return err
}

// RefuseContent refuses what a file holds in place of its name.
func RefuseContent() error {
	return Refuse(ExitUsage, "the argument is the name of a file, and not what it holds, which other users "+
		"of this machine can see; if it was a private key, replace it; give keys on standard input")
}

// Add adds the flags; prefix is "", "new-" or "import-".
func (s *SecretFlags) Add(f *pflag.FlagSet, prefix string) {
	what := "of an encrypted key file"
	switch prefix {
	case "new-":
		what = "to encrypt the key file under"
	case "import-":
		what = "of the file to import"
	}
	s.prefix = prefix
	f.StringVar(&s.passphraseFile, prefix+"passphrase-file", "",
		"`file` with the passphrase "+what+"; - is standard input")
	f.StringVar(&s.passphraseEnv, prefix+"passphrase-env", "", "`name` of the environment variable with the passphrase")
	f.Var(&s.passphraseFD, prefix+"passphrase-fd", "file `descriptor` to read the passphrase from")
	f.StringVar(&s.keyFile, prefix+"kek-file", "", "`file` with the 32-byte key "+what+", raw or as base64")
	f.StringVar(&s.keyEnv, prefix+"kek-env", "", "`name` of the environment variable with the 32-byte key, as base64")
	f.Var(&s.keyFD, prefix+"kek-fd", "file `descriptor` to read the 32-byte key from")
}

// Given returns the flags that were used.
func (s *SecretFlags) Given() (names []string) {
	for _, f := range [...]struct {
		name string
		used bool
	}{
		{"passphrase-file", s.passphraseFile != ""},
		{"passphrase-env", s.passphraseEnv != ""},
		{"passphrase-fd", s.passphraseFD.given},
		{"kek-file", s.keyFile != ""},
		{"kek-env", s.keyEnv != ""},
		{"kek-fd", s.keyFD.given},
	} {
		if f.used {
			names = append(names, "--"+s.prefix+f.name)
		}
	}
	return names
}

// Read puts the secret into f.
func (s *SecretFlags) Read(t *Tool, f *keyset.File) (err error) {
	names := s.Given()
	if len(names) > 1 {
		return Refuse(ExitUsage, "%s and %s contradict each other", names[0], names[1])
	}
	switch {
	case s.passphraseFile != "":
		f.Passphrase, err = t.readSecret(s.passphraseFile)
	case s.passphraseEnv != "":
		f.Passphrase, err = secret.Env(s.passphraseEnv)
	case s.passphraseFD.given:
		f.Passphrase, err = s.passphraseFD.read()
	case s.keyFile != "":
		f.Key, err = t.readSecret(s.keyFile)
	case s.keyEnv != "":
		f.Key, err = secret.Env(s.keyEnv)
	case s.keyFD.given:
		f.Key, err = s.keyFD.read()
	}
	if err != nil {
		return fmt.Errorf("%s: %w", names[0], err)
	}
	if f.Passphrase != nil {
		f.Passphrase = bytes.TrimRight(f.Passphrase, "\r\n") // as editors and echo leave it
	}
	if f.Key == nil || s.prefix == "import-" { // a file to import says how long its key is
		return nil
	}
	if _, ok := secret.Key(f.Key, secret.KeySize); !ok {
		return Refuse(ExitUsage, "%s: this is no key of %d bytes: give it raw, or as base64 or hexadecimal text",
			names[0], secret.KeySize)
	}
	return nil
}

func (t *Tool) readSecret(path string) ([]byte, error) {
	if path == "-" {
		return secret.Read(t.Stdin)
	}
	return secret.ReadFile(path)
}

func (d *descriptor) read() ([]byte, error) {
	f := os.NewFile(uintptr(d.number), "secret")
	if f == nil {
		return nil, fmt.Errorf("%d is no file descriptor", d.number)
	}
	defer f.Close()
	return secret.Read(f)
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

// NewSecret puts into f what flags say that a file is to be encrypted under; nothing if they say nothing.
func (t *Tool) NewSecret(flags *SecretFlags, f *keyset.File) error {
	f.Passphrase, f.Key = nil, nil
	return flags.Read(t, f)
}

// AskNew asks for a new passphrase, twice: nobody sees what he types.
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
	count := 0
	for _, from := range fromStandardInput {
		if from {
			count++
		}
	}
	if count > 1 {
		return Refuse(ExitUsage, "two things can't come from standard input; use a file for one of them")
	}
	return nil
}

// StandardInput reports whether the secret is to come from there.
func (s *SecretFlags) StandardInput() bool { return s.passphraseFile == "-" || s.keyFile == "-" }

// NoteSecret says what somebody needs who opens a file that is encrypted anew.
func (t *Tool) NoteSecret(f keyset.File) {
	if under := ProtectionOf(f); under != "none" {
		t.Note("from now on the application needs the %s to open it; keep a copy of the %s in a safe place", under, under)
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
