package main

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io/fs"
	"os"

	"github.com/lestrrat-go/jwx/v3/jwk"
	"github.com/spf13/cobra"

	"github.com/cloakroom-go/cloakroom/internal/keyset"
)

func (t *tool) exportCommand() *cobra.Command {
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

With --private it prints private keys, of every state and use. Everybody who
gets to see the output can sign as you. It does not print them on a terminal
unless --i-understand-this-prints-a-private-key is given too. Keys whose private
half is in a KMS, or was erased, have none to print.`,
		Example: `  keygen export > jwks.json
  keygen export --format pem
  keygen export --private --format pem KID | openssl pkey -text
  (umask 077; keygen export --private > moving.json)`,
		Args:              atMostOne,
		ValidArgsFunction: t.completeKID,
	}
	cmd.Flags().BoolVar(&private, "private", false, "print private keys")
	cmd.Flags().BoolVar(&understood, "i-understand-this-prints-a-private-key", false, "print them on a terminal too")
	cmd.RunE = t.do(keyForms(), func(_ context.Context, args []string) error {
		if private && !understood && isTerminal(t.stdout) {
			return refuse(exitRefused, "this would show a private key on the terminal; redirect the output, or add --i-understand-this-prints-a-private-key")
		}
		return t.export(private, args)
	})
	return cmd
}

func (t *tool) export(private bool, args []string) error {
	file, err := t.file()
	if err != nil {
		return err
	}
	set, err := file.Read()
	if err != nil {
		return err
	}
	chosen, named := set.Keys(), len(args) == 1
	if named {
		k, err := find(set, args[0])
		if err != nil {
			return err
		}
		t.warnUntrusted(k)
		chosen = []*keyset.Key{k}
	}
	if !private && !named {
		t.noteNone(chosen)
	}
	switch {
	case private:
		return t.exportPrivate(file, chosen, named)
	case named && chosen[0].Public() == nil:
		return refuse(exitRefused, "key %s is symmetric: it has no public half", chosen[0].ID())
	case t.format == "pem":
		return t.exportPEM(chosen, named)
	}
	list, err := t.publicJWKs(set, chosen, named)
	if err != nil {
		return err
	}
	return t.printJWKs(list)
}

// warnUntrusted warns of a key that is shown all the same.
func (t *tool) warnUntrusted(k *keyset.Key) {
	if s := k.State(t.now); s == keyset.Revoked || s == keyset.Expired {
		t.note("WARNING: key %s is %s: nobody should trust it any more", k.ID(), s)
	}
}

// noteNone says why there is no public key to print, if there is none.
func (t *tool) noteNone(all []*keyset.Key) {
	symmetric := true
	for _, k := range all {
		if published(k, t.now) {
			return
		}
		symmetric = symmetric && (k.Use() != keyset.Signature || k.Algorithm().Symmetric())
	}
	if symmetric {
		t.note("there is no public key: all signature keys are symmetric, and no other service can verify with them")
		return
	}
	t.note("there is no public key that verifies now; see keygen list")
}

// publicJWKs are those that a key set holds now, or the one that was named.
func (t *tool) publicJWKs(set *keyset.Set, chosen []*keyset.Key, named bool) ([]json.RawMessage, error) {
	if named {
		text, err := publicJWK(chosen[0])
		return []json.RawMessage{text}, err
	}
	text, err := set.PublicSet(t.now)
	if err != nil {
		return nil, err
	}
	var listed struct{ Keys []json.RawMessage }
	return listed.Keys, json.Unmarshal(text, &listed)
}

// printJWKs prints a set, or the only key of it.
func (t *tool) printJWKs(list []json.RawMessage) error {
	switch {
	case t.format != "jwk":
		return t.printJSON(map[string]any{"keys": list})
	case len(list) == 0:
		return refuse(exitNotFound, "there is no key to print")
	case len(list) > 1:
		return refuse(exitUsage, "--format jwk is for one key, and there are %d; name it: keygen export --format jwk KID", len(list))
	}
	return t.printJSON(list[0])
}

// publicJWK is the public half of a key of any use and state, or nil for a symmetric one.
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

// exportPEM prints public keys: the one that was named, or those that others verify with now.
func (t *tool) exportPEM(chosen []*keyset.Key, named bool) error {
	for _, k := range chosen {
		if k.Public() == nil || !named && !published(k, t.now) {
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
func (t *tool) printPEM(k *keyset.Key, kind string, der []byte) error {
	_, err := fmt.Fprintf(t.stdout, "%s %s\n%s", k.Algorithm(), k.ID(), pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
	return err
}

func (t *tool) exportPrivate(file keyset.File, chosen []*keyset.Key, named bool) error {
	secrets, err := privateJWKs(file)
	if err != nil {
		return err
	}
	t.warnReadable()
	list := []json.RawMessage{}
	for _, k := range chosen {
		switch reason := t.unprintable(k); {
		case reason != "" && named:
			return refuse(exitRefused, "key %s: %s", k.ID(), reason)
		case reason != "":
			t.note("left out key %s: %s", k.ID(), reason)
		case t.format == "pem":
			if err := t.printPrivatePEM(k, secrets[k.ID()]); err != nil {
				return err
			}
		default:
			list = append(list, secrets[k.ID()])
		}
	}
	if t.format == "pem" {
		return nil
	}
	return t.printJWKs(list)
}

// unprintable says why there is no private key to print, or nothing.
func (t *tool) unprintable(k *keyset.Key) string {
	switch {
	case !k.HasPrivate() || k.External():
		return "the file has no private half of it: it is in a KMS, or was erased"
	case t.format == "pem" && k.Algorithm().Symmetric():
		return "PEM has no form for a symmetric key; use --format jwks"
	}
	return ""
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

func (t *tool) printPrivatePEM(k *keyset.Key, text json.RawMessage) error {
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
