package steps

import (
	"cmp"
	"context"

	"github.com/spf13/cobra"

	"github.com/cloakroom-go/cloakroom/cmd/keygen/internal/tool"
	"github.com/cloakroom-go/cloakroom/internal/keyset"
	"github.com/cloakroom-go/cloakroom/internal/rotation"
)

// Init returns keygen init.
func Init(t *tool.Tool) *cobra.Command {
	var profile, signAlg, encAlg string
	var policy policyFlags
	var secret tool.SecretFlags
	cmd := &cobra.Command{
		Use:   "init",
		Short: "Make a key file with new keys",
		Long: `Init makes a key file: a key that signs and a key that encrypts, both active
immediately, and for each a standby that is already published and takes over after
a rotation period. The file has mode 0600. An existing file is never touched.

Profiles:
  service  ES256 and A256GCM: other services can verify tokens (default)
  web      HS256 and A256GCM: one application without other services; faster

The policy says how long tokens live and how fast news of keys travels; see
"keygen policy" for the flags, and for what follows from them.`,
		Example: `  keygen init --keyset /etc/app/keys.json
  keygen init --profile web --rotation-period 90d --peak-rate 100
  keygen init --sign-alg EdDSA --enc-alg A256KW
  keygen init --new-passphrase-file passphrase.txt`,
		Args: tool.NoArgs,
	}
	f := cmd.Flags()
	f.StringVar(&profile, "profile", "service", "service or web")
	f.StringVar(&signAlg, "sign-alg", "", "in place of the profile's: "+signAlgs)
	f.StringVar(&encAlg, "enc-alg", "",
		"in place of the profile's: "+encAlgs+", or none (then clients can read their tokens)")
	policy.add(f)
	secret.Add(f, "new-")
	cmd.RunE = t.Do(func(ctx context.Context, _ []string) error {
		edit, _, err := policy.read(f, "for the default")
		if err != nil {
			return err
		}
		algs, err := profileAlgorithms(profile, keyset.Algorithm(signAlg), keyset.Algorithm(encAlg))
		if err != nil {
			return err
		}
		return create(ctx, t, &secret, edit, algs)
	})
	return cmd
}

// create makes the key file with new keys, and shows them.
func create(
	ctx context.Context, t *tool.Tool, secret *tool.SecretFlags, edit func(*keyset.Policy), algs []keyset.Algorithm,
) error {
	var p keyset.Policy
	edit(&p)
	set, err := rotation.New(p, t.Now, algs...)
	if err != nil {
		return tool.Refuse(tool.ExitRefused, "%w", err)
	}
	if err := t.Create(ctx, secret, set); err != nil {
		return err
	}
	if t.DryRun {
		t.Note("such keys would be made; nothing was written")
	} else {
		t.Note("wrote %s (mode 0600); keep it secret, and back it up", t.Path())
	}
	t.AdviseAlgorithms(set)
	return t.List(set, set.Keys())
}

// profileAlgorithms are those of a profile, except where others are named.
func profileAlgorithms(profile string, signAlg, encAlg keyset.Algorithm) ([]keyset.Algorithm, error) {
	sign, known := map[string]keyset.Algorithm{"service": keyset.Signature.Default(), "web": keyset.HS256}[profile]
	if !known {
		return nil, tool.Refuse(tool.ExitUsage, "--profile %q: use service or web", profile)
	}
	sign, enc := cmp.Or(signAlg, sign), cmp.Or(encAlg, keyset.Encryption.Default())
	if sign.Use() != keyset.Signature {
		return nil, tool.Refuse(tool.ExitUsage, "--sign-alg %q: use %s", string(sign), signAlgs)
	}
	if enc == "none" {
		return []keyset.Algorithm{sign}, nil
	}
	if enc.Use() != keyset.Encryption {
		return nil, tool.Refuse(tool.ExitUsage, "--enc-alg %q: use %s or none", string(enc), encAlgs)
	}
	return []keyset.Algorithm{sign, enc}, nil
}
