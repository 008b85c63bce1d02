package importing

import (
	"context"
	"crypto"
	"encoding/base64"
	"fmt"
	"os"

	"github.com/lestrrat-go/jwx/v3/jwk"
	"github.com/spf13/cobra"

	"github.com/cloakroom-go/cloakroom/cmd/keygen/internal/tool"
	"github.com/cloakroom-go/cloakroom/internal/keyset"
)

// Thumbprint returns keygen thumbprint.
func Thumbprint(t *tool.Tool) *cobra.Command {
	return &cobra.Command{
		Use:   "thumbprint [KID|FILE|-]",
		Short: "Print the RFC 7638 thumbprint of a key",
		Long: `Thumbprint prints the SHA-256 thumbprint (RFC 7638) of a key of the key file, or
of the keys of a PEM file, a JWK or a JWK Set, public or private, one on each
line. It is the same for both halves of a key, and is the kid that import gives
it. Without an argument it prints those of all keys of the key file.

A file of that name wins over a key; - is standard input. Symmetric keys are
left out, or refused: their thumbprint would be a hash of the secret.`,
		Example: `  keygen thumbprint signing.pem
  curl -s https://app.example/.well-known/jwks.json | keygen thumbprint -`,
		Args: tool.AtMostOne,
		ValidArgsFunction: func(cmd *cobra.Command, args []string, begun string) (ids []string, d cobra.ShellCompDirective) {
			ids, d = t.CompleteKID(cmd, args, begun)
			if len(args) == 0 {
				d = cobra.ShellCompDirectiveDefault // a file does too
			}
			return ids, d
		},
		RunE: t.Do(func(_ context.Context, args []string) error {
			list, err := thumbprints(t, args)
			if err != nil {
				return err
			}
			if t.Format == "json" {
				return t.PrintJSON(map[string]any{"thumbprints": list})
			}
			for _, p := range list {
				if _, err := fmt.Fprintln(t.Stdout, p.Thumbprint); err != nil {
					return err
				}
			}
			return nil
		}),
	}
}

// A thumbprint is a row of the output.
type thumbprint struct {
	Thumbprint string `json:"thumbprint"`
	Kid        string `json:"kid,omitempty"` // as the file has it
	Kty        string `json:"kty"`
}

// thumbprints returns the thumbprints of the keys that args name.
func thumbprints(t *tool.Tool, args []string) ([]thumbprint, error) {
	all, err := keysToPrint(t, args)
	if err != nil {
		return nil, err
	}
	var list []thumbprint
	for _, in := range all {
		if _, symmetric := in.raw.([]byte); symmetric { // RFC 7638, Section 7
			const why = "is symmetric: its thumbprint would be a hash of the secret"
			if len(all) == 1 {
				return nil, refuse("%s %s", in.where, why)
			}
			t.Note("left out: %s %s", in.where, why)
			continue
		}
		p, err := thumbprintOf(in)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", in.where, err)
		}
		list = append(list, p)
	}
	if list == nil {
		return nil, refuse("there are symmetric keys only")
	}
	return list, nil
}

// keysToPrint reads the keys of a file, or of the key file.
func keysToPrint(t *tool.Tool, args []string) (all []incoming, err error) {
	if len(args) == 1 {
		if _, err := os.Stat(args[0]); err == nil || args[0] == "-" {
			return readKeys(t, args[0], "", func([]byte) ([]byte, error) {
				return nil, wrongUse("it is encrypted; if it is a key file, name it with --keyset")
			})
		}
	}
	set, err := t.Read()
	if err != nil {
		return nil, err
	}
	chosen := set.Keys()
	if len(args) == 1 {
		k, err := tool.Find(set, args[0])
		if err != nil {
			return nil, err
		}
		chosen = []*keyset.Key{k}
	}
	for _, k := range chosen {
		in := incoming{raw: k.Public(), where: "key " + k.ID(), kid: k.ID()}
		if k.Algorithm().Symmetric() {
			in.raw = []byte{}
		}
		all = append(all, in)
	}
	return all, nil
}

func thumbprintOf(in incoming) (p thumbprint, err error) {
	k, err := jwk.Import(in.raw)
	if err != nil {
		return p, errNumbers
	}
	sum, err := k.Thumbprint(crypto.SHA256)
	if err != nil {
		return p, errNumbers
	}
	return thumbprint{base64.RawURLEncoding.EncodeToString(sum), in.kid, k.KeyType().String()}, nil
}
