package main

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"github.com/cloakroom-go/cloakroom/keys"
)

// Instances whose clock is behind this machine's must be able to sign at once.
const skew = time.Minute

func (t *tool) initCommand() *cobra.Command {
	var signAlg, encAlg string
	var lockTimeout time.Duration
	cmd := &cobra.Command{
		Use:   "init",
		Short: "Make a key file with new keys",
		Long: `Init makes a key file with a key that signs and a key that encrypts, both
active at once, and lists them. The file has mode 0600. An existing file is
never touched.`,
		Example: `  keygen init --keyset /etc/app/keys.json
  keygen init --sign-alg EdDSA --enc-alg none`,
		Args: cobra.NoArgs,
	}
	cmd.Flags().StringVar(&signAlg, "sign-alg", string(keys.ES256), "ES256, EdDSA, PS256, RS256, or HS256 (then no other service can verify)")
	cmd.Flags().StringVar(&encAlg, "enc-alg", string(keys.Direct), "dir, A256KW, ECDH-ES+A256KW, or none (then clients can read their tokens)")
	cmd.Flags().DurationVar(&lockTimeout, "lock-timeout", 10*time.Second, "how long to wait for another keygen")
	t.formatFlags(cmd)
	cmd.RunE = t.do(func(ctx context.Context, _ []string) error {
		ctx, cancel := context.WithTimeout(ctx, lockTimeout)
		defer cancel()
		return t.init(ctx, keys.Algorithm(signAlg), keys.Algorithm(encAlg))
	})
	return cmd
}

func (t *tool) init(ctx context.Context, signAlg, encAlg keys.Algorithm) error {
	if err := t.checkFormat(); err != nil {
		return err
	}
	if signAlg.Use() != keys.Signature {
		return refuse(exitUsage, "--sign-alg %q: use ES256, EdDSA, PS256, RS256 or HS256", string(signAlg))
	}
	if encAlg != "none" && encAlg.Use() != keys.Encryption {
		return refuse(exitUsage, "--enc-alg %q: use dir, A256KW, ECDH-ES+A256KW or none", string(encAlg))
	}
	set, err := newSet(signAlg, encAlg, time.Now())
	if err != nil {
		return err
	}
	if err := keys.Create(ctx, t.path(), set); err != nil {
		return err
	}
	t.note("wrote %s (mode 0600); keep it secret, and back it up", t.path())
	if signAlg.Symmetric() {
		t.note("an HS256 key has no public half: no other service can verify tokens")
	}
	if encAlg == "none" {
		t.note("without an encryption key, clients can read what is in their session tokens")
	}
	return t.list(set)
}

func newSet(signAlg, encAlg keys.Algorithm, now time.Time) (*keys.Set, error) {
	d := keys.Dates{Created: now, PublishAt: now.Add(-skew), SignFrom: now.Add(-skew)}
	set := new(keys.Set)
	for _, alg := range []keys.Algorithm{signAlg, encAlg} {
		if alg == "none" {
			continue
		}
		k, err := keys.Generate(alg, d)
		if err != nil {
			return nil, err
		}
		if err := set.Add(k); err != nil {
			return nil, err
		}
	}
	return set, nil
}
