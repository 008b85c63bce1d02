package main

import (
	"bytes"
	"context"
	"crypto"
	"encoding/base64"
	"fmt"
	"os"

	"github.com/lestrrat-go/jwx/v3/jwk"
	"github.com/spf13/cobra"

	"github.com/cloakroom-go/cloakroom/internal/keyset"
)

func (t *tool) thumbprintCommand() *cobra.Command {
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
		Args:              atMostOne,
		ValidArgsFunction: t.completeKIDOrFile,
		RunE: t.do(tables(), func(_ context.Context, args []string) error {
			list, err := t.thumbprints(args)
			if err != nil {
				return err
			}
			if t.format == "json" {
				return t.printJSON(map[string]any{"thumbprints": list})
			}
			for _, p := range list {
				if _, err := fmt.Fprintln(t.stdout, p.Thumbprint); err != nil {
					return err
				}
			}
			return nil
		}),
	}
}

// A thumbprint is that of one key.
type thumbprint struct {
	Thumbprint string `json:"thumbprint"`
	Kid        string `json:"kid,omitempty"` // as the file has it
	Kty        string `json:"kty"`
}

// thumbprints returns those that args ask for.
func (t *tool) thumbprints(args []string) ([]thumbprint, error) {
	all, err := t.keysToPrint(args)
	if err != nil {
		return nil, err
	}
	var list []thumbprint
	for _, in := range all {
		if _, symmetric := in.raw.([]byte); symmetric {
			const why = "is symmetric: its thumbprint would be a hash of the secret"
			if len(all) == 1 {
				return nil, refuse(exitRefused, "%s %s", in.where, why)
			}
			t.note("left out: %s %s", in.where, why)
			continue
		}
		p, err := thumbprintOf(in)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", in.where, err)
		}
		list = append(list, p)
	}
	if list == nil {
		return nil, refuse(exitRefused, "there are symmetric keys only")
	}
	return list, nil
}

// keysToPrint reads the keys of a file, or of the key file.
func (t *tool) keysToPrint(args []string) (all []incoming, err error) {
	if len(args) == 1 {
		if _, err := os.Stat(args[0]); err == nil || args[0] == "-" {
			return t.incomingOf(args[0])
		}
	}
	set, err := t.read()
	if err != nil {
		return nil, err
	}
	chosen := set.Keys()
	if len(args) == 1 {
		k, err := find(set, args[0])
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

func (t *tool) incomingOf(path string) ([]incoming, error) {
	data, err := t.readSource(path)
	if err != nil {
		return nil, err
	}
	if isJWE(bytes.TrimSpace(data)) {
		return nil, refuse(exitUsage, "%s is encrypted; if it is a key file, name it with --keyset", sourceName(path))
	}
	all, err := parseIncoming(data, "")
	if err != nil {
		return nil, fmt.Errorf("%s: %w", sourceName(path), err)
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
