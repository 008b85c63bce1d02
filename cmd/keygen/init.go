package main

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/cloakroom-go/cloakroom/internal/keyset"
	"github.com/cloakroom-go/cloakroom/internal/rotation"
)

const defaultLockTimeout = 10 * time.Second

func (t *tool) initCommand() *cobra.Command {
	var profile, signAlg, encAlg string
	var policy policyFlags
	var secret secretFlags
	cmd := &cobra.Command{
		Use:   "init",
		Short: "Make a key file with new keys",
		Long: `Init makes a key file: a key that signs and a key that encrypts, both active at
once, and for each a standby that is published already and takes over after a
rotation period. The file has mode 0600. An existing file is never touched.

Profiles:
  service  ES256 and A256GCM: other services can verify tokens (default)
  web      HS256 and A256GCM: one application without other services; faster

The policy says how long tokens live and how fast news of keys travels; see
"keygen policy" for the flags, and for what follows from them.`,
		Example: `  keygen init --keyset /etc/app/keys.json
  keygen init --profile web --rotation-period 90d --peak-rate 100
  keygen init --sign-alg EdDSA --enc-alg A256KW
  keygen init --new-passphrase-file passphrase.txt`,
		Args: noArgs,
	}
	f := cmd.Flags()
	f.StringVar(&profile, "profile", "service", "service or web")
	f.StringVar(&signAlg, "sign-alg", "", "in place of the profile's: ES256, EdDSA, PS256, RS256, HS256")
	f.StringVar(&encAlg, "enc-alg", "", "in place of the profile's: dir, A256KW, ECDH-ES+A256KW, or none (then clients can read their tokens)")
	policy.add(f)
	secret.add(f, "new-")
	cmd.RunE = t.do(tables(), func(ctx context.Context, _ []string) error {
		if err := policy.refuseZero(f, "for the default"); err != nil {
			return err
		}
		algs, err := profileAlgorithms(profile, keyset.Algorithm(signAlg), keyset.Algorithm(encAlg))
		if err != nil {
			return err
		}
		set, err := rotation.New(policy.apply(keyset.Policy{}, f), t.now, algs...)
		if err != nil {
			return refuse(exitRefused, "%w", err)
		}
		file := keyset.File{Path: t.path()}
		if err := secret.read(t, &file); err != nil {
			return err
		}
		return t.create(ctx, file, set)
	})
	return cmd
}

// profileAlgorithms are those of a profile, except where others are named.
func profileAlgorithms(profile string, signAlg, encAlg keyset.Algorithm) ([]keyset.Algorithm, error) {
	sign, enc := keyset.Signature.Default(), keyset.Encryption.Default()
	switch profile {
	case "service":
	case "web":
		sign = keyset.HS256
	default:
		return nil, refuse(exitUsage, "--profile %q: use service or web", profile)
	}
	if signAlg != "" {
		sign = signAlg
	}
	if encAlg != "" {
		enc = encAlg
	}
	if sign.Use() != keyset.Signature {
		return nil, refuse(exitUsage, "--sign-alg %q: use ES256, EdDSA, PS256, RS256 or HS256", string(sign))
	}
	if enc == "none" {
		return []keyset.Algorithm{sign}, nil
	}
	if enc.Use() != keyset.Encryption {
		return nil, refuse(exitUsage, "--enc-alg %q: use dir, A256KW, ECDH-ES+A256KW or none", string(enc))
	}
	return []keyset.Algorithm{sign, enc}, nil
}

// checkNew refuses a path that is taken, or in a directory that is not there, for a dry run too.
func checkNew(path string) error {
	info, err := os.Lstat(path)
	_, broken := os.Stat(path)
	switch {
	case err == nil && info.IsDir():
		return refuse(exitRefused, "%s is a directory; name the file in it", path)
	case err == nil && errors.Is(broken, fs.ErrNotExist):
		return refuse(exitRefused, "%s is a link that leads nowhere; name the file itself, or remove the link", path)
	case err == nil:
		return refuse(exitRefused, "there is a key file already, and it was not touched; choose another path, or remove %s yourself", path)
	}
	dir := filepath.Dir(path)
	if info, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) || err == nil && !info.IsDir() {
		return refuse(exitNotFound, "there is no directory %s; make it first, as the user of the application: mkdir -m 700 %s", dir, dir)
	}
	return nil
}

// create writes a new key file and lists what is in it.
func (t *tool) create(ctx context.Context, file keyset.File, set *keyset.Set) error {
	if err := errors.Join(checkNew(file.Path), t.mayWrite()); err != nil {
		return err
	}
	t.warnDirectories(file.Path)
	if !t.dryRun {
		ctx, cancel := t.lockContext(ctx)
		defer cancel()
		if err := file.Create(ctx, set); err != nil {
			return err
		}
		t.note("wrote %s (mode 0600); keep it secret, and back it up", file.Path)
		t.noteSecret(file)
	} else {
		t.note("such keys would be made; nothing was written")
	}
	t.adviseAlgorithms(set)
	return t.list(set)
}

func (t *tool) adviseAlgorithms(set *keyset.Set) {
	encrypts := false
	for _, k := range set.Keys() {
		if k.Algorithm() == keyset.HS256 && k.State(t.now) == keyset.Active {
			t.note("an HS256 key has no public half: no other service can verify tokens")
		}
		encrypts = encrypts || k.Use() == keyset.Encryption
	}
	if !encrypts {
		t.note("without an encryption key, clients can read what is in their session tokens")
	}
	if t.dryRun {
		return
	}
	t.note("run keygen rotate --if-due every day, or let the application do it (keys.rotate in its config)")
}

// lockContext ends when waiting for the lock of the key file should.
func (t *tool) lockContext(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, t.lockTimeout)
}
