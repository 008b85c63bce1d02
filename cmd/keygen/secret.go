package main

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

// secretFlags say where the passphrase, or the key, is that a key file is
// encrypted under. It is never an argument: other users of the machine can see those.
type secretFlags struct {
	prefix                                         string // of the flags: "", "new-" or "import-"
	passphraseFile, passphraseEnv, keyFile, keyEnv string
	passphraseFD, keyFD                            int
}

const noFD = -1

// A descriptor is a flag with the number of a file descriptor. What was written
// in its place may be the secret, see hideValue.
type descriptor int

var _ pflag.Value = (*descriptor)(nil)

func (d *descriptor) String() string {
	if *d == noFD {
		return ""
	}
	return strconv.Itoa(int(*d))
}

func (d *descriptor) Type() string { return "int" }

func (d *descriptor) Set(s string) error {
	n, err := strconv.ParseUint(s, 10, 16)
	if err != nil {
		return errors.New("not the number of a file descriptor")
	}
	*d = descriptor(n)
	return nil
}

// hideValue is cobra's FlagErrorFunc: pflag repeats what it can't read.
func hideValue(_ *cobra.Command, err error) error {
	var wrong *pflag.InvalidValueError
	if errors.As(err, &wrong) {
		if _, hide := wrong.GetFlag().Value.(*descriptor); hide {
			return fmt.Errorf("--%s: %w", wrong.GetFlag().Name, wrong.Unwrap())
		}
	}
	var syntax *pflag.InvalidSyntaxError
	if errors.As(err, &syntax) && secret.IsContent(syntax.GetSpecifiedFlag()) {
		return errContent
	}
	return err
}

// errContent is for a PEM file in place of the name of one.
var errContent = refuse(exitUsage, "the argument is the name of a file, and not what it holds, which other users of this machine can see; if it was a private key, replace it; give keys on standard input")

func (s *secretFlags) add(f *pflag.FlagSet, prefix string) {
	what := "of an encrypted key file"
	switch prefix {
	case "new-":
		what = "to encrypt the key file under"
	case "import-":
		what = "of the file to import"
	}
	s.prefix = prefix
	f.StringVar(&s.passphraseFile, prefix+"passphrase-file", "", "`file` with the passphrase "+what+"; - is standard input")
	f.StringVar(&s.passphraseEnv, prefix+"passphrase-env", "", "`name` of the environment variable with the passphrase")
	s.passphraseFD, s.keyFD = noFD, noFD
	f.Var((*descriptor)(&s.passphraseFD), prefix+"passphrase-fd", "file `descriptor` to read the passphrase from")
	f.StringVar(&s.keyFile, prefix+"kek-file", "", "`file` with the 32-byte key "+what+", raw or as base64")
	f.StringVar(&s.keyEnv, prefix+"kek-env", "", "`name` of the environment variable with the 32-byte key, as base64")
	f.Var((*descriptor)(&s.keyFD), prefix+"kek-fd", "file `descriptor` to read the 32-byte key from")
}

// given returns the flags that were used.
func (s *secretFlags) given() (names []string) {
	for _, f := range [...]struct {
		name string
		used bool
	}{
		{"passphrase-file", s.passphraseFile != ""}, {"passphrase-env", s.passphraseEnv != ""}, {"passphrase-fd", s.passphraseFD != noFD},
		{"kek-file", s.keyFile != ""}, {"kek-env", s.keyEnv != ""}, {"kek-fd", s.keyFD != noFD},
	} {
		if f.used {
			names = append(names, "--"+s.prefix+f.name)
		}
	}
	return names
}

// read puts the secret into f.
func (s *secretFlags) read(t *tool, f *keyset.File) (err error) {
	names := s.given()
	if len(names) > 1 {
		return refuse(exitUsage, "%s and %s contradict each other", names[0], names[1])
	}
	switch {
	case s.passphraseFile != "":
		f.Passphrase, err = t.readSecret(s.passphraseFile)
	case s.passphraseEnv != "":
		f.Passphrase, err = secret.Env(s.passphraseEnv)
	case s.passphraseFD != noFD:
		f.Passphrase, err = readFD(s.passphraseFD)
	case s.keyFile != "":
		f.Key, err = t.readSecret(s.keyFile)
	case s.keyEnv != "":
		f.Key, err = secret.Env(s.keyEnv)
	case s.keyFD != noFD:
		f.Key, err = readFD(s.keyFD)
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
	if _, ok := secret.Key(f.Key); !ok {
		return refuse(exitUsage, "%s: this is no key of %d bytes: give it raw, or as base64 or hexadecimal text", names[0], secret.KeySize)
	}
	return nil
}

func (t *tool) readSecret(path string) ([]byte, error) {
	if path == "-" {
		return secret.Read(t.stdin)
	}
	return secret.ReadFile(path)
}

func readFD(fd int) ([]byte, error) {
	f := os.NewFile(uintptr(fd), "secret")
	if f == nil || fd < 0 {
		return nil, fmt.Errorf("%d is no file descriptor", fd)
	}
	defer f.Close()
	return secret.Read(f)
}

// ask asks for a passphrase on the terminal.
func (t *tool) ask(prompt string) ([]byte, error) {
	in, ok := t.stdin.(*os.File)
	if !ok || !term.IsTerminal(int(in.Fd())) {
		return nil, refuse(exitUsage, "a passphrase or a key is needed: use --passphrase-file, --kek-file or the like (keygen help)")
	}
	fd := int(in.Fd())
	state, err := term.GetState(fd)
	if err != nil {
		return nil, err
	}
	fmt.Fprint(t.stderr, "keygen: "+prompt+": ")
	defer fmt.Fprintln(t.stderr)
	// Reading can't be interrupted, so who does not want to answer ends the program, with a terminal that shows what he types.
	interrupted := make(chan os.Signal, 1)
	signal.Notify(interrupted, os.Interrupt)
	defer signal.Stop(interrupted)
	answered := make(chan struct{})
	defer close(answered)
	go func() {
		select {
		case <-interrupted:
			_ = term.Restore(fd, state)
			fmt.Fprintln(t.stderr)
			os.Exit(exitError)
		case <-answered:
		}
	}()
	return term.ReadPassword(fd)
}
