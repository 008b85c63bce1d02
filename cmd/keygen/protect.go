package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/cloakroom-go/cloakroom/internal/keyset"
)

func (t *tool) encryptCommand() *cobra.Command {
	var next secretFlags
	cmd := &cobra.Command{
		Use:   "encrypt",
		Short: "Encrypt the key file",
		Long: `Encrypt encrypts the key file under a passphrase or a key of 32 bytes, which the
application and keygen then need to open it. On a terminal it asks for a
passphrase unless one of the flags says where to find it.

The result is a JWE with an encrypted JWK Set (RFC 7517, Appendix C): PBES2-
HS512+A256KW with 600,000 iterations under a passphrase, A256KW under a key, and
A256GCM. Whoever loses the passphrase loses the keys.

No copy in the clear stays beside the file: keys.json.bak is removed. What
backups and snapshots hold is as it was. If somebody may have read them, replace
the keys: keygen revoke --all.`,
		Example: `  keygen encrypt
  keygen encrypt --new-passphrase-file /run/secrets/keygen
  (umask 077; openssl rand 32 > kek) && keygen encrypt --new-kek-file kek`,
		Args: noArgs,
	}
	next.add(cmd.Flags(), "new-")
	cmd.RunE = t.do(tables(), func(ctx context.Context, _ []string) error { return t.encrypt(ctx, &next) })
	return cmd
}

func (t *tool) encrypt(ctx context.Context, flags *secretFlags) error {
	file := keyset.File{Path: t.path()}
	t.warnDirectories(file.Path)
	switch locked, err := file.Encrypted(); {
	case err != nil:
		return err
	case locked:
		return refuse(exitRefused, "%s is encrypted already; to change what it is encrypted under: keygen rewrap; whether an older one in the clear is beside it: keygen doctor", file.Path)
	}
	if given := t.secret.given(); len(given) > 0 {
		return refuse(exitUsage, "%s is for a key file that is encrypted already; use --new-%s", given[0], given[0][2:])
	}
	next, err := t.nextFile(flags)
	if err != nil {
		return err
	}
	return t.protect(ctx, file, next)
}

func (t *tool) decryptCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "decrypt",
		Short: "Write the key file in the clear",
		Long: `Decrypt writes the key file in the clear, so that it needs no passphrase and no
key any more. Whoever can read the file, or a backup of it, can then sign as
you. It needs what the file is encrypted under: --passphrase-file, --kek-file
and the like, or it asks for the passphrase on a terminal.

To move the keys to another machine, copy the key file as it is.`,
		Example: "  keygen decrypt --passphrase-file /run/secrets/keygen",
		Args:    noArgs,
		RunE: t.do(tables(), func(ctx context.Context, _ []string) error {
			file, err := t.lockedFile()
			if err != nil {
				return err
			}
			return t.protect(ctx, file, keyset.File{Path: file.Path})
		}),
	}
}

func (t *tool) rewrapCommand() *cobra.Command {
	var next secretFlags
	var same bool
	cmd := &cobra.Command{
		Use:   "rewrap",
		Short: "Encrypt the key file under another passphrase or key",
		Long: `Rewrap changes what the key file is encrypted under: from a passphrase to
another one, or to a key, or the reverse. It needs the present one, as all
commands do. On a terminal it asks for a new passphrase unless one of the flags
says where to find it.

With --same it encrypts under the same passphrase or key, with a new salt and a
new content key.

The old passphrase opens copies and backups of the file still. If somebody knows
it who should not, replace the keys too: keygen revoke --all.`,
		Example: `  keygen rewrap --passphrase-file old --new-passphrase-file new
  keygen rewrap --passphrase-file old --new-kek-env SESSION_KEK
  keygen rewrap --kek-file kek --same`,
		Args: noArgs,
	}
	next.add(cmd.Flags(), "new-")
	cmd.Flags().BoolVar(&same, "same", false, "encrypt under the same passphrase or key anew")
	cmd.RunE = t.do(tables(), func(ctx context.Context, _ []string) error { return t.rewrap(ctx, &next, same) })
	return cmd
}

func (t *tool) rewrap(ctx context.Context, flags *secretFlags, same bool) error {
	if given := flags.given(); same && len(given) > 0 {
		return refuse(exitUsage, "--same and %s contradict each other", given[0])
	}
	if err := onlyOnce(t.secret.standardInput(), flags.standardInput()); err != nil {
		return err
	}
	file, err := t.lockedFile()
	if err != nil {
		return err
	}
	next := keyset.File{Path: file.Path, Passphrase: file.Passphrase, Key: file.Key}
	if !same {
		if next, err = t.nextFile(flags); err != nil {
			return err
		}
	}
	return t.protect(ctx, file, next)
}

// lockedFile is the key file, which must be encrypted, with its passphrase or key.
func (t *tool) lockedFile() (keyset.File, error) {
	t.warnDirectories(t.path())
	switch locked, err := (keyset.File{Path: t.path()}).Encrypted(); {
	case err != nil:
		return keyset.File{}, err
	case !locked:
		return keyset.File{}, refuse(exitRefused, "%s is not encrypted; to encrypt it: keygen encrypt", t.path())
	}
	return t.file()
}

// nextFile is the key file with what it is to be encrypted under: what flags say, or what is asked for.
func (t *tool) nextFile(flags *secretFlags) (keyset.File, error) {
	file := keyset.File{Path: t.path()}
	if err := t.newSecret(flags, &file); err != nil || len(flags.given()) > 0 {
		return file, err
	}
	var err error
	file.Passphrase, err = t.askNew()
	return file, err
}

// newSecret puts into f what flags say that a file is to be encrypted under; nothing if they say nothing.
func (t *tool) newSecret(flags *secretFlags, f *keyset.File) error {
	f.Passphrase, f.Key = nil, nil
	return flags.read(t, f)
}

// askNew asks for a new passphrase, twice: nobody sees what he types.
func (t *tool) askNew() ([]byte, error) {
	if !isTerminal(t.stdin) {
		return nil, refuse(exitUsage, "a new passphrase or key is needed: use --new-passphrase-file, --new-kek-file or the like")
	}
	first, err := t.ask("new passphrase of " + t.path())
	if err != nil {
		return nil, err
	}
	second, err := t.ask("the same again")
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(first, second) {
		return nil, refuse(exitUsage, "the two passphrases differ; nothing was changed")
	}
	return first, nil
}

// onlyOnce refuses several things that are to come from standard input.
func onlyOnce(fromStandardInput ...bool) error {
	count := 0
	for _, from := range fromStandardInput {
		if from {
			count++
		}
	}
	if count > 1 {
		return refuse(exitUsage, "two things can't come from standard input; use a file for one of them")
	}
	return nil
}

// standardInput reports whether the secret is to come from there.
func (s *secretFlags) standardInput() bool { return s.passphraseFile == "-" || s.keyFile == "-" }

// protect writes the key file as next says, or finds out whether that could be done.
func (t *tool) protect(ctx context.Context, file, next keyset.File) error {
	if t.dryRun {
		return t.tryProtect(ctx, file, next)
	}
	ctx, cancel := t.lockContext(ctx)
	defer cancel()
	if err := file.Protect(ctx, next); err != nil {
		return err
	}
	set, err := next.Read()
	if err != nil {
		return err
	}
	t.note("wrote %s, generation %d; no copy of it as it was stays beside it, but backups and snapshots are as they were", next.Path, set.Generation())
	switch {
	case protectionOf(next) == "none":
		t.note("WARNING: the private keys are in the clear now: whoever reads %s can sign as you", next.Path)
	case bytes.Equal(file.Passphrase, next.Passphrase) && bytes.Equal(file.Key, next.Key):
		t.note("the %s that opens it is the same as before", protectionOf(next))
	default:
		t.noteSecret(next)
	}
	return t.printProtection(set, next)
}

// noteSecret says what somebody needs who opens a file that is encrypted anew.
func (t *tool) noteSecret(f keyset.File) {
	if under := protectionOf(f); under != "none" {
		t.note("from now on the application needs the %s to open it; keep a copy of the %s in a safe place", under, under)
	}
}

// tryProtect opens the file, and writes another one as next says, with a key of no use.
func (t *tool) tryProtect(ctx context.Context, file, next keyset.File) error {
	set, err := file.Read()
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "keygen")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	k, err := keyset.Generate(keyset.EdDSA, keyset.Dates{})
	if err != nil {
		return err
	}
	trial, err := keyset.NewSet(k)
	if err != nil {
		return err
	}
	next.Path = filepath.Join(dir, "trial.json")
	if err := next.Create(ctx, trial); err != nil {
		return err
	}
	t.note("this would be done; nothing was changed")
	return t.printProtection(set, next)
}

func (t *tool) printProtection(set *keyset.Set, next keyset.File) error {
	if t.format != "json" {
		return nil
	}
	return t.printJSON(map[string]any{"keyset": t.path(), "generation": set.Generation(), "dry_run": t.dryRun, "encrypted_under": protectionOf(next)})
}

// protectionOf names what a file is encrypted under.
func protectionOf(f keyset.File) string {
	switch {
	case f.Passphrase != nil:
		return "passphrase"
	case f.Key != nil:
		return "key"
	}
	return "none"
}
