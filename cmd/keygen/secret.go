package main

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"

	"github.com/spf13/pflag"
	"golang.org/x/term"

	"github.com/cloakroom-go/cloakroom/keys"
)

// secretFlags say where the passphrase, or the key, is that a key file is
// encrypted under. It is never an argument: other users of the machine can see those.
type secretFlags struct {
	prefix                                         string // of the flags: "", "new-" or "import-"
	passphraseFile, passphraseEnv, keyFile, keyEnv string
	passphraseFD, keyFD                            int
}

const noFD = -1

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
	f.IntVar(&s.passphraseFD, prefix+"passphrase-fd", noFD, "file `descriptor` to read the passphrase from")
	f.StringVar(&s.keyFile, prefix+"kek-file", "", "`file` with the 32-byte key "+what+", raw or as base64")
	f.StringVar(&s.keyEnv, prefix+"kek-env", "", "`name` of the environment variable with the 32-byte key, as base64")
	f.IntVar(&s.keyFD, prefix+"kek-fd", noFD, "file `descriptor` to read the 32-byte key from")
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
func (s *secretFlags) read(t *tool, f *keys.File) (err error) {
	names := s.given()
	if len(names) > 1 {
		return refuse(exitUsage, "%s and %s contradict each other", names[0], names[1])
	}
	switch {
	case s.passphraseFile != "":
		f.Passphrase, err = t.readSecret(s.passphraseFile)
	case s.passphraseEnv != "":
		f.Passphrase, err = lookup(s.passphraseEnv)
	case s.passphraseFD != noFD:
		f.Passphrase, err = readFD(s.passphraseFD)
	case s.keyFile != "":
		f.Key, err = t.readSecret(s.keyFile)
	case s.keyEnv != "":
		f.Key, err = lookup(s.keyEnv)
	case s.keyFD != noFD:
		f.Key, err = readFD(s.keyFD)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", names[0], err)
	}
	if f.Passphrase != nil {
		f.Passphrase = bytes.TrimRight(f.Passphrase, "\r\n") // as editors and echo leave it
	}
	if f.Key != nil && s.prefix != "import-" && !isKEK(f.Key) { // a file to import says how long its key is
		return refuse(exitUsage, "%s: this is no key of %d bytes: give it raw, or as base64 or hexadecimal text", names[0], sizeKEK)
	}
	return nil
}

// sizeKEK is the size of a key that a key file is encrypted under, in bytes.
const sizeKEK = 32

// isKEK reports whether package keys can make a key out of text.
func isKEK(text []byte) bool {
	if len(text) == sizeKEK {
		return true
	}
	trimmed := string(bytes.TrimSpace(text))
	for _, decode := range [...]func(string) ([]byte, error){
		hex.DecodeString, base64.StdEncoding.Strict().DecodeString, base64.RawStdEncoding.Strict().DecodeString,
		base64.URLEncoding.Strict().DecodeString, base64.RawURLEncoding.Strict().DecodeString,
	} {
		if key, err := decode(trimmed); err == nil && len(key) == sizeKEK {
			return true
		}
	}
	return false
}

// maxSecret is the size of the largest secret that is read, in bytes.
const maxSecret = 4096

func (t *tool) readSecret(path string) ([]byte, error) {
	if path == "-" {
		return readAll(t.stdin)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if info, err := f.Stat(); err == nil && info.Mode().IsRegular() && info.Mode().Perm()&0o077 != 0 {
		t.note("WARNING: others can read %s (mode %04o); run: chmod 600 %s", path, info.Mode().Perm(), path)
	}
	return readAll(f)
}

// lookup returns what an environment variable holds. The error does not repeat the name: people give the secret
// itself, and errors go into logs.
func lookup(name string) ([]byte, error) {
	if v := os.Getenv(name); v != "" {
		return []byte(v), nil
	}
	return nil, errors.New("the environment variable that it names is not set")
}

func readFD(fd int) ([]byte, error) {
	f := os.NewFile(uintptr(fd), "secret")
	if f == nil || fd < 0 {
		return nil, fmt.Errorf("%d is no file descriptor", fd)
	}
	defer f.Close()
	return readAll(f)
}

func readAll(r io.Reader) ([]byte, error) {
	secret, err := io.ReadAll(io.LimitReader(r, maxSecret+1))
	switch {
	case err != nil:
		return nil, err
	case len(secret) > maxSecret:
		return nil, fmt.Errorf("over %d bytes: this is no passphrase and no key", maxSecret)
	case len(bytes.TrimRight(secret, "\r\n")) == 0:
		return nil, errors.New("it is empty")
	}
	return secret, nil
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
