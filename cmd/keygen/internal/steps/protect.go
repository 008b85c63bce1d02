package steps

import (
	"bytes"
	"context"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/cloakroom-go/cloakroom/cmd/keygen/internal/tool"
	"github.com/cloakroom-go/cloakroom/internal/keyset"
)

// Encrypt returns keygen encrypt.
func Encrypt(t *tool.Tool) *cobra.Command {
	var next tool.SecretFlags
	var same bool
	cmd := &cobra.Command{
		Use:   "encrypt",
		Short: "Encrypt the key file, or change its passphrase or key",
		Long: `Encrypt encrypts the key file under a passphrase or a key of 32 bytes, which the
application and keygen then need to open it. If the file is encrypted already,
give the present passphrase or key too: --passphrase-file, --kek-file and the
like. On a terminal it asks for a passphrase that no flag names.

With --same it encrypts under the same passphrase or key, with a new salt and a
new content key.

The result is a JWE with an encrypted JWK Set (RFC 7517, Appendix C): PBES2-
HS512+A256KW with 600,000 iterations under a passphrase, A256KW under a key, and
A256GCM. Whoever loses the passphrase loses the keys.

No copy of the file as it was stays beside it: keys.json.bak is removed. Other
backups and snapshots are as they were, in the clear or under the old secret. If
somebody may have read them, replace the keys too: keygen revoke --all.`,
		Example: `  keygen encrypt --new-passphrase-file /run/secrets/keygen
  (umask 077; openssl rand 32 > kek) && keygen encrypt --new-kek-file kek
  keygen encrypt --passphrase-file old --new-kek-env SESSION_KEK
  keygen encrypt --kek-file kek --same`,
		Args: tool.NoArgs,
	}
	next.Add(cmd.Flags(), "new-")
	cmd.Flags().BoolVar(&same, "same", false, "encrypt under the same passphrase or key anew")
	cmd.RunE = t.Do(func(ctx context.Context, _ []string) error {
		if given := next.Given(); same && len(given) > 0 {
			return tool.Refuse(tool.ExitUsage, "--same and %s contradict each other", given[0])
		}
		if err := tool.OnlyOnce(t.Secret.StandardInput(), next.StandardInput()); err != nil {
			return err
		}
		return encrypt(t, ctx, &next, same)
	})
	return cmd
}

func encrypt(t *tool.Tool, ctx context.Context, flags *tool.SecretFlags, same bool) error {
	locked, err := isEncrypted(t)
	if err != nil {
		return err
	}
	given, file := t.Secret.Given(), keyset.File{Path: t.Path()}
	switch {
	case !locked && same:
		return refusePlain(t)
	case !locked && len(given) > 0:
		return tool.Refuse(tool.ExitUsage, "%s is for a key file that is encrypted already; use --new-%s",
			given[0], given[0][2:])
	case locked && len(given) == 0 && !tool.IsTerminal(t.Stdin): // a script that encrypts twice gets exit code 3
		return tool.Refuse(tool.ExitRefused, "%s is encrypted already; to change what opens it, "+
			"give the present passphrase or key too, with --passphrase-file, --kek-file or the like", t.Path())
	case locked:
		if file, err = t.File(); err != nil {
			return err
		}
	}
	next := keyset.File{Path: file.Path, Passphrase: file.Passphrase, Key: file.Key} // for --same
	if !same {
		if next, err = nextFile(t, flags); err != nil {
			return err
		}
	}
	return protect(t, ctx, file, next)
}

// Decrypt returns keygen decrypt.
func Decrypt(t *tool.Tool) *cobra.Command {
	return &cobra.Command{
		Use:   "decrypt",
		Short: "Decrypt the key file",
		Long: `Decrypt writes the key file in the clear, so that it needs no passphrase and no
key any more. Whoever can read the file, or a backup of it, can then sign as
you. Give the present passphrase or key: --passphrase-file, --kek-file and the
like. On a terminal it asks for a passphrase that no flag names.

To move the keys to another machine, copy the key file as it is.`,
		Example: "  keygen decrypt --passphrase-file /run/secrets/keygen",
		Args:    tool.NoArgs,
		RunE: t.Do(func(ctx context.Context, _ []string) error {
			locked, err := isEncrypted(t)
			switch {
			case err != nil:
				return err
			case !locked:
				return refusePlain(t)
			}
			file, err := t.File()
			if err != nil {
				return err
			}
			return protect(t, ctx, file, keyset.File{Path: file.Path})
		}),
	}
}

// isEncrypted reports whether the key file is encrypted. It warns of the
// directories, as each command does that reads the file.
func isEncrypted(t *tool.Tool) (bool, error) {
	t.WarnDirectories(t.Path())
	return keyset.File{Path: t.Path()}.Encrypted()
}

func refusePlain(t *tool.Tool) error {
	return tool.Refuse(tool.ExitRefused, "%s is not encrypted; to encrypt it: keygen encrypt", t.Path())
}

// nextFile returns the key file with the secret to encrypt it under, from flags
// or from the terminal.
func nextFile(t *tool.Tool, flags *tool.SecretFlags) (keyset.File, error) {
	file := keyset.File{Path: t.Path()}
	if err := flags.Read(t, &file); err != nil || len(flags.Given()) > 0 {
		return file, err
	}
	var err error
	file.Passphrase, err = t.AskNew()
	return file, err
}

// protect writes the key file as next says. With --dry-run, it only finds out
// whether that would work.
func protect(t *tool.Tool, ctx context.Context, file, next keyset.File) error {
	if t.DryRun {
		return tryProtect(t, ctx, file, next)
	}
	ctx, cancel := t.LockContext(ctx)
	defer cancel()
	if err := file.Protect(ctx, next); err != nil {
		return err
	}
	set, err := next.Read()
	if err != nil {
		return err
	}
	t.Note("wrote %s, generation %d; no copy of it as it was stays beside it, "+
		"but backups and snapshots are as they were", next.Path, set.Generation())
	switch {
	case tool.ProtectionOf(next) == "none":
		t.Note("WARNING: the private keys are in the clear now: whoever reads %s can sign as you", next.Path)
	case bytes.Equal(file.Passphrase, next.Passphrase) && bytes.Equal(file.Key, next.Key):
		t.Note("the %s that opens it is the same as before", tool.ProtectionOf(next))
	default:
		t.NoteSecret(next)
	}
	return printProtection(t, set, next)
}

// tryProtect opens the file, and writes a file elsewhere as next says, to find
// out whether the new secret is good. That file holds a key that nobody uses.
func tryProtect(t *tool.Tool, ctx context.Context, file, next keyset.File) error {
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
	t.Note("this would be done; nothing was changed")
	return printProtection(t, set, next)
}

func printProtection(t *tool.Tool, set *keyset.Set, next keyset.File) error {
	if t.Format != "json" {
		return nil
	}
	return t.PrintSet(set, map[string]any{"dry_run": t.DryRun, "encrypted_under": tool.ProtectionOf(next)})
}
