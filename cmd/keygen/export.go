package main

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io/fs"
	"os"
	"time"

	"github.com/lestrrat-go/jwx/v3/jwk"
	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/cloakroom-go/cloakroom/keys"
)

func (t *tool) exportCommand() *cobra.Command {
	var format string
	var private, understood bool
	cmd := &cobra.Command{
		Use:   "export [KID]",
		Short: "Print public keys for other services",
		Long: `Export prints the public halves of the signature keys that verify now, for
services that can't fetch them, or of the one key that is named.

With --private it prints private keys, of every state and use. Everybody who
gets to see the output can sign as you. It does not print them on a terminal
unless --i-understand-this-prints-a-private-key is given too.`,
		Example: `  keygen export > jwks.json
  keygen export --format pem
  keygen export --private --format pem KID | openssl pkey -text`,
		Args: cobra.MaximumNArgs(1),
	}
	cmd.Flags().StringVar(&format, "format", "jwks", "jwks (a JWK Set, RFC 7517) or pem (SPKI, or PKCS #8 with --private)")
	cmd.Flags().BoolVar(&private, "private", false, "print private keys")
	cmd.Flags().BoolVar(&understood, "i-understand-this-prints-a-private-key", false, "print them on a terminal too")
	cmd.RunE = t.do(func(_ context.Context, args []string) error {
		if format != "jwks" && format != "pem" {
			return refuse(exitUsage, "--format %q: use jwks or pem", format)
		}
		if private && !understood && isTerminal(t.stdout) {
			return refuse(exitRefused, "this would show a private key on the terminal; redirect the output, or add --i-understand-this-prints-a-private-key")
		}
		return t.export(format, private, args)
	})
	return cmd
}

func (t *tool) export(format string, private bool, args []string) error {
	set, err := keys.ReadFile(t.path())
	if err != nil {
		return err
	}
	chosen, named := set.Keys(), false
	if len(args) == 1 {
		k, err := pick(set, args[0])
		if err != nil {
			return err
		}
		chosen, named = []*keys.Key{k}, true
	}
	switch {
	case private:
		return t.exportPrivate(format, chosen, named)
	case named && chosen[0].Public() == nil:
		return refuse(exitRefused, "key %s is symmetric: it has no public half", chosen[0].ID())
	case format == "pem":
		return t.exportPEM(chosen, named)
	case named:
		text, err := publicJWK(chosen[0])
		if err != nil {
			return err
		}
		return t.printJWKS([]json.RawMessage{text})
	}
	text, err := set.PublicSet(time.Now())
	if err != nil {
		return err
	}
	var out bytes.Buffer
	if err := json.Indent(&out, text, "", "  "); err != nil {
		return err
	}
	_, err = fmt.Fprintln(t.stdout, out.String())
	return err
}

func (t *tool) printJWKS(list []json.RawMessage) error {
	return t.printJSON(map[string]any{"keys": list})
}

// publicJWK is the public half of a key of any use and state, or nil for a symmetric one.
func publicJWK(k *keys.Key) (json.RawMessage, error) {
	if k.Public() == nil {
		return nil, nil
	}
	public, err := jwk.Import(k.Public())
	if err != nil {
		return nil, err
	}
	for name, value := range map[string]any{"kid": k.ID(), "alg": string(k.Algorithm()), "use": string(k.Use())} {
		if err := public.Set(name, value); err != nil {
			return nil, err
		}
	}
	return json.Marshal(public)
}

// exportPEM prints public keys: the one that was named, or those that others verify with now.
func (t *tool) exportPEM(chosen []*keys.Key, named bool) error {
	now := time.Now()
	for _, k := range chosen {
		state := k.State(now)
		published := k.Use() == keys.Signature && (state == keys.Pending || state == keys.Active || state == keys.Retiring)
		if k.Public() == nil || !named && !published {
			continue
		}
		der, err := x509.MarshalPKIXPublicKey(k.Public())
		if err != nil {
			return err
		}
		if err := t.printPEM(k, "PUBLIC KEY", der); err != nil {
			return err
		}
	}
	return nil
}

// printPEM writes the key's ID before it; readers of PEM skip such lines (RFC 7468, Section 2).
func (t *tool) printPEM(k *keys.Key, kind string, der []byte) error {
	_, err := fmt.Fprintf(t.stdout, "%s %s\n%s", k.Algorithm(), k.ID(), pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
	return err
}

func (t *tool) exportPrivate(format string, chosen []*keys.Key, named bool) error {
	secrets, err := t.secrets()
	if err != nil {
		return err
	}
	t.warnReadable()
	list := []json.RawMessage{}
	for _, k := range chosen {
		if !k.HasPrivate() {
			if named {
				return refuse(exitRefused, "the file has no private half of key %s", k.ID())
			}
			t.note("left out key %s: the file has no private half of it", k.ID())
			continue
		}
		switch {
		case format == "jwks":
			list = append(list, secrets[k.ID()])
		case k.Algorithm().Symmetric() && named:
			return refuse(exitRefused, "PEM has no form for a symmetric key such as %s; use --format jwks", k.ID())
		case k.Algorithm().Symmetric():
			t.note("left out key %s: PEM has no form for a symmetric key; use --format jwks", k.ID())
		default:
			if err := t.printPrivatePEM(k, secrets[k.ID()]); err != nil {
				return err
			}
		}
	}
	if format == "jwks" {
		return t.printJWKS(list)
	}
	return nil
}

// secrets returns the private JWKs by key ID. They come from the file, since
// package keys does not give private keys away; it has checked the file.
func (t *tool) secrets() (map[string]json.RawMessage, error) {
	text, err := os.ReadFile(t.path())
	if err != nil {
		return nil, err
	}
	var file struct{ Keys []map[string]json.RawMessage }
	if err := json.Unmarshal(text, &file); err != nil {
		return nil, err
	}
	secrets := make(map[string]json.RawMessage)
	for _, k := range file.Keys {
		for _, ours := range []string{"created", "publish_at", "sign_from", "sign_until", "verify_until", "revoked"} {
			delete(k, ours)
		}
		var kid string
		if err := json.Unmarshal(k["kid"], &kid); err != nil {
			return nil, err
		}
		if secrets[kid], err = json.Marshal(k); err != nil {
			return nil, err
		}
	}
	return secrets, nil
}

func (t *tool) printPrivatePEM(k *keys.Key, text json.RawMessage) error {
	parsed, err := jwk.ParseKey(text)
	if err != nil {
		return err
	}
	var raw any
	if err := jwk.Export(parsed, &raw); err != nil {
		return err
	}
	der, err := x509.MarshalPKCS8PrivateKey(raw)
	if err != nil {
		return err
	}
	return t.printPEM(k, "PRIVATE KEY", der)
}

// warnReadable warns when the output goes to a file that others can read.
func (t *tool) warnReadable() {
	f, ok := t.stdout.(*os.File)
	if !ok {
		return
	}
	if info, err := f.Stat(); err == nil && info.Mode().IsRegular() && info.Mode().Perm()&0o077 != 0 {
		t.note("WARNING: private keys go to a file that others can read (mode %04o)", info.Mode()&fs.ModePerm)
	}
}

func isTerminal(w any) bool {
	f, ok := w.(interface{ Fd() uintptr })
	return ok && term.IsTerminal(int(f.Fd()))
}
