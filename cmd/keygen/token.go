package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/cloakroom-go/cloakroom/keys"
	"github.com/cloakroom-go/cloakroom/token"
)

func (t *tool) tokenCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "token",
		Short: "Look into a token",
		RunE:  func(*cobra.Command, []string) error { return errors.New("use token decode or token verify") },
	}
	cmd.AddCommand(&cobra.Command{
		Use:   "decode TOKEN|-",
		Short: "Print what a token says, verified or not",
		Long: `Decode prints the headers and the claims of a token, given as the argument or,
with -, on standard input, where other users of this machine can't see it. It
verifies nothing: anybody may have made the token. An encrypted token is opened
with the key file.`,
		Args: cobra.ExactArgs(1),
		RunE: t.do(func(ctx context.Context, args []string) error { return t.decode(ctx, args[0]) }),
	}, &cobra.Command{
		Use:   "verify TOKEN|-",
		Short: "Check a token's signature, type and dates with the key file",
		Long: `Verify checks the signature, the type and the dates of a token of this module,
given as the argument or, with -, on standard input, with the keys of the key
file, and prints what it says. Whether the session was ended meanwhile, only the
application knows.`,
		Args: cobra.ExactArgs(1),
		RunE: t.do(func(ctx context.Context, args []string) error { return t.verify(ctx, args[0]) }),
	})
	return cmd
}

// maxToken is how much is read from standard input, in bytes: more than any token has.
const maxToken = 1 << 20

// readToken returns the token that the command line names.
func (t *tool) readToken(arg string) (string, error) {
	text := arg
	if arg == "-" {
		in, err := io.ReadAll(io.LimitReader(t.stdin, maxToken))
		if err != nil {
			return "", err
		}
		text = strings.TrimSpace(string(in))
	}
	switch {
	case text == "":
		return "", refuse(exitToken, "there is no token: the input is empty")
	case strings.HasPrefix(text, opaquePrefix):
		return "", refuse(exitToken, "this is an opaque credential and no token: a random number that says nothing; its session is on the server")
	}
	return text, nil
}

// opaquePrefix is how package opaque begins its credentials. No token does: a
// token begins with its header's brace, in base64url.
const opaquePrefix = "cr1_"

// contents is what is printed of a token.
type contents struct {
	Verified   *bool           `json:"verified,omitempty"`
	Expired    *bool           `json:"expired,omitempty"`
	Encryption json.RawMessage `json:"encryption,omitempty"`
	Header     json.RawMessage `json:"header,omitempty"`
	Claims     json.RawMessage `json:"claims,omitempty"`
}

func (t *tool) decode(ctx context.Context, arg string) error {
	text, err := t.readToken(arg)
	if err != nil {
		return err
	}
	ring, err := keys.OpenRing(t.path())
	if err != nil && strings.Count(text, ".") == 4 {
		return err // it can't be decrypted without
	}
	e, err := token.Explain(ctx, ring, text, time.Now())
	if err != nil {
		return &exit{exitToken, err}
	}
	t.note("NOTHING WAS VERIFIED: anybody may have made this token. To check it: keygen token verify")
	if !json.Valid(e.Claims) {
		e.Claims = nil
	}
	if err := t.printJSON(contents{Encryption: e.Encryption, Header: e.Header, Claims: e.Claims}); err != nil {
		return err
	}
	if e.Header == nil {
		return refuse(exitToken, "can't be decrypted with the keys in %s: %s", t.path(), problem(ring, e))
	}
	return nil
}

func (t *tool) verify(ctx context.Context, arg string) error {
	text, err := t.readToken(arg)
	if err != nil {
		return err
	}
	ring, err := keys.OpenRing(t.path())
	if err != nil {
		return err
	}
	e, err := token.Explain(ctx, ring, text, time.Now())
	if err != nil {
		return &exit{exitToken, err}
	}
	if !json.Valid(e.Claims) {
		e.Claims = nil
	}
	if err := t.printJSON(contents{&e.Verified, &e.Expired, e.Encryption, e.Header, e.Claims}); err != nil {
		return err
	}
	switch {
	case !e.Verified:
		return refuse(exitToken, "no good by the keys in %s: %s", t.path(), problem(ring, e))
	case e.Expired:
		return refuse(exitExpired, "the token has expired")
	}
	t.note("signature, type and dates are good; whether the session was ended meanwhile, only the application knows")
	return nil
}

// problem says why a token is not verified, or can't be decrypted. A key that
// the ring lacks is named: the token may be of another key file.
func problem(ring *keys.Ring, e *token.Explanation) string {
	text := e.Header
	if text == nil {
		text = e.Encryption
	}
	var header struct{ Kid string }
	if err := json.Unmarshal(text, &header); err != nil || header.Kid == "" {
		return e.Problem
	}
	for _, k := range ring.Keys() {
		if k.ID() == header.Kid {
			return e.Problem
		}
	}
	return fmt.Sprintf("there is no key %+q; try --keyset with the file that has it (%s)", header.Kid, e.Problem)
}
