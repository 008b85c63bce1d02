package look

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io/fs"
	"os"
	"slices"

	"github.com/lestrrat-go/jwx/v3/jwk"
	"github.com/spf13/cobra"

	"github.com/cloakroom-go/cloakroom/cmd/keygen/internal/tool"
	"github.com/cloakroom-go/cloakroom/internal/keyset"
)

// Export returns keygen export.
func Export(t *tool.Tool) *cobra.Command {
	var private, understood bool
	cmd := &cobra.Command{
		Use:   "export [KID]",
		Short: "Print public keys for other services, or private ones",
		Long: `Export prints the public halves of the signature keys that verify now, for
services that can't fetch them, or of the one key that is named, whatever its
state. The beginning of a key ID is enough. Write "-- KID" if the ID begins with
a dash.

Formats, for --format:
  jwks  a JWK Set (RFC 7517); json is the same
  jwk   one JWK; name the key if there are several
  pem   SPKI, or PKCS #8 with --private; PEM has no form for symmetric keys

With --private it prints private keys, of every state and use. Whoever sees the
output can sign as you, so it needs --i-understand-this-prints-a-private-key too
on a terminal. Keys whose private half is in a KMS, or was erased, have none.`,
		Example: `  keygen export > jwks.json
  keygen export --format pem
  keygen export --private --format pem KID | openssl pkey -text
  (umask 077; keygen export --private > moving.json)`,
		Args:              tool.AtMostOne,
		ValidArgsFunction: t.CompleteKID,
	}
	cmd.Flags().BoolVar(&private, "private", false, "print private keys")
	cmd.Flags().BoolVar(&understood, "i-understand-this-prints-a-private-key", false, "print them on a terminal too")
	cmd.RunE = t.Do(func(_ context.Context, args []string) error {
		if private && !understood && tool.IsTerminal(t.Stdout) {
			return tool.Refuse(tool.ExitRefused, "this would show a private key on the terminal; "+
				"redirect the output, or add --i-understand-this-prints-a-private-key")
		}
		return export(t, private, args)
	})
	return cmd
}

func export(t *tool.Tool, private bool, args []string) error {
	file, err := t.File()
	if err != nil {
		return err
	}
	set, err := file.Read()
	if err != nil {
		return err
	}
	chosen, named := set.Keys(), len(args) == 1
	if named {
		k, err := tool.Find(set, args[0])
		if err != nil {
			return err
		}
		warnUntrusted(t, k)
		chosen = []*keyset.Key{k}
	}
	switch {
	case private:
		return exportPrivate(t, file, chosen, named)
	case !named:
		noteNone(t, chosen)
		chosen = slices.DeleteFunc(chosen, func(k *keyset.Key) bool { return !k.Published(t.Now) })
	case chosen[0].Public() == nil:
		return tool.Refuse(tool.ExitRefused, "key %s is symmetric: it has no public half", chosen[0].ID())
	}
	return exportPublic(t, chosen)
}

// warnUntrusted warns of a key that was named and is printed all the same: the
// tokens that it has signed may have to be examined.
func warnUntrusted(t *tool.Tool, k *keyset.Key) {
	if s := k.State(t.Now); s == keyset.Revoked || s == keyset.Expired {
		t.Note("WARNING: key %s is %s: nobody should trust it any more", k.ID(), s)
	}
}

// noteNone says why there is no public key to print, if there is none.
func noteNone(t *tool.Tool, all []*keyset.Key) {
	symmetric := true
	for _, k := range all {
		if k.Published(t.Now) {
			return
		}
		symmetric = symmetric && (k.Use() != keyset.Signature || k.Algorithm().Symmetric())
	}
	if symmetric {
		t.Note("there is no public key: all signature keys are symmetric, and no other service can verify with them")
		return
	}
	t.Note("there is no public key that verifies now; see keygen list")
}

// printJWKs prints a set, or the only key of it; nothing for PEM, which was
// printed key by key.
func printJWKs(t *tool.Tool, list []json.RawMessage) error {
	switch {
	case t.Format == "pem":
		return nil
	case t.Format != "jwk":
		return t.PrintJSON(map[string]any{"keys": list})
	case len(list) == 0:
		return tool.Refuse(tool.ExitNotFound, "there is no key to print")
	case len(list) > 1:
		return tool.Refuse(tool.ExitUsage, "--format jwk is for one key, and there are %d; "+
			"name it: keygen export --format jwk KID", len(list))
	}
	return t.PrintJSON(list[0])
}

// publicJWK returns the public half of a key of any use and state; nil for a
// symmetric key.
func publicJWK(k *keyset.Key) (json.RawMessage, error) {
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

func exportPublic(t *tool.Tool, chosen []*keyset.Key) error {
	list := []json.RawMessage{}
	for _, k := range chosen {
		if t.Format == "pem" {
			der, err := x509.MarshalPKIXPublicKey(k.Public())
			if err == nil {
				err = printPEM(t, k, "PUBLIC KEY", der)
			}
			if err != nil {
				return err
			}
			continue
		}
		text, err := publicJWK(k)
		if err != nil {
			return err
		}
		list = append(list, text)
	}
	return printJWKs(t, list)
}

// printPEM writes the key's ID before it; readers of PEM skip such lines
// (RFC 7468, Section 2).
func printPEM(t *tool.Tool, k *keyset.Key, kind string, der []byte) error {
	block := pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
	_, err := fmt.Fprintf(t.Stdout, "%s %s\n%s", k.Algorithm(), k.ID(), block)
	return err
}

func exportPrivate(t *tool.Tool, file keyset.File, chosen []*keyset.Key, named bool) error {
	secrets, err := privateJWKs(file)
	if err != nil {
		return err
	}
	warnReadable(t)
	list := []json.RawMessage{}
	for _, k := range chosen {
		switch reason := unprintable(t, k); {
		case reason != "" && named:
			return tool.Refuse(tool.ExitRefused, "key %s: %s", k.ID(), reason)
		case reason != "":
			t.Note("left out key %s: %s", k.ID(), reason)
		case t.Format == "pem":
			if err := printPrivatePEM(t, k, secrets[k.ID()]); err != nil {
				return err
			}
		default:
			list = append(list, secrets[k.ID()])
		}
	}
	return printJWKs(t, list)
}

// privateJWKs returns the private JWKs of a key file by key ID.
func privateJWKs(file keyset.File) (map[string]json.RawMessage, error) {
	text, err := file.InsecurePrivateSet()
	if err != nil {
		return nil, err
	}
	var set struct{ Keys []json.RawMessage }
	if err := json.Unmarshal(text, &set); err != nil {
		return nil, err
	}
	secrets := make(map[string]json.RawMessage)
	for _, k := range set.Keys {
		var named struct{ Kid string }
		if err := json.Unmarshal(k, &named); err != nil {
			return nil, err
		}
		secrets[named.Kid] = k
	}
	return secrets, nil
}

// unprintable says why there is no private key to print, or nothing.
func unprintable(t *tool.Tool, k *keyset.Key) string {
	switch {
	case !k.HasPrivate() || k.External():
		return "the file has no private half of it: it is in a KMS, or was erased"
	case t.Format == "pem" && k.Algorithm().Symmetric():
		return "PEM has no form for a symmetric key; use --format jwks"
	}
	return ""
}

func printPrivatePEM(t *tool.Tool, k *keyset.Key, text json.RawMessage) error {
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
	return printPEM(t, k, "PRIVATE KEY", der)
}

// warnReadable warns when the output goes to a file that others can read, as
// the shell makes it for > with the usual umask of 022.
func warnReadable(t *tool.Tool) {
	f, ok := t.Stdout.(*os.File)
	if !ok {
		return
	}
	if info, err := f.Stat(); err == nil && info.Mode().IsRegular() && info.Mode().Perm()&0o077 != 0 {
		t.Note("WARNING: private keys go to a file that others can read (mode %04o)", info.Mode()&fs.ModePerm)
	}
}
