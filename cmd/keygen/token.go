package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
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
		Long: `Token looks into a token: decode shows what it says, verify whether it is good,
and explain why it is not.`,
		RunE: func(*cobra.Command, []string) error {
			return errors.New("use token decode, token verify or token explain")
		},
	}
	cmd.AddCommand(t.decodeCommand(), t.verifyCommand(), t.explainCommand())
	return cmd
}

func (t *tool) decodeCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "decode [FILE]",
		Short: "Print what a token says, verified or not",
		Long: `Decode prints the headers and the claims of a token as JSON, or with --format
table as rows. It verifies nothing: anybody may have made the token. An encrypted
token is opened with the key file; for one that is signed only, no key file is
needed. It shows JWTs of other systems too, if they are not encrypted, and says
why no verifier of this module accepts them.

` + readTokenHelp + `

Exit codes: 0 printed, 4 or 8 the key file is needed and can't be read, 6 this is
no JWT, or it can't be decrypted.`,
		Example: `  keygen token decode token.txt
  keygen token decode < token.txt`,
		Args: atMostOne,
		RunE: t.do(texts(), func(ctx context.Context, args []string) error { return t.decode(ctx, args) }),
	}
}

func (t *tool) verifyCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "verify [FILE]",
		Short: "Check a token's signature, type and dates with the key file",
		Long: `Verify checks the signature, the type and the dates of a token of this module
with the keys of the key file, and prints what it says as JSON, or with --format
table as rows. Whether the session was ended meanwhile, only the application
knows. If the token is no good, keygen token explain says why in detail.

` + readTokenHelp + `

Exit codes: 0 good, 6 no good, 7 it has expired and is good otherwise.`,
		Example: `  keygen token verify token.txt --at 2026-11-24T03:00:00Z`,
		Args:    atMostOne,
		RunE:    t.do(texts(), func(ctx context.Context, args []string) error { return t.verify(ctx, args) }),
	}
}

func (t *tool) explainCommand() *cobra.Command {
	var want token.Expected
	cmd := &cobra.Command{
		Use:   "explain [FILE]",
		Short: "Say why a token fails, or that it does not",
		Long: `Explain makes every check that a verifier makes of a token of this module, in the
same order, and goes on after one that fails. It says what the key was when the
token was issued and what it is now (pending, active, retiring, expired, revoked,
pruned), how far off the dates are, and whether clocks that differ would explain
it.

` + readTokenHelp + `

What is printed holds neither the token nor a value of the session, so it can go
into a ticket. Issuer and audience are compared if they are given. If nothing else
is said, verifiers grant a leeway of 10s for service tokens; for session tokens an
application grants 1m on iat, and none on exp.

The verdicts of a check are ok, failed, warning (verifiers pass it over, and you
should not) and not checked. Exit codes: 0 good, 6 no good, 7 it has expired or is
not valid yet, and is good otherwise.`,
		Example: `  keygen token explain token.txt
  keygen token explain token.txt --audience https://billing.example --issuer https://app.example
  keygen token explain --at 2026-11-24T03:00:00Z --json < token.txt`,
		Args: atMostOne,
	}
	f := cmd.Flags()
	f.StringVar(&want.Audience, "audience", "", "the `name` that aud must be")
	f.StringVar(&want.Issuer, "issuer", "", "the `name` that iss must be")
	f.Var((*duration)(&want.Leeway), "leeway", "how far clocks may be off, at most 5m (default: what verifiers grant)")
	cmd.RunE = t.do(tables(), func(ctx context.Context, args []string) error {
		switch {
		case want.Leeway > 5*time.Minute:
			return refuse(exitUsage, "--leeway %v: no verifier grants more than 5m", want.Leeway)
		case want.Leeway == 0 && f.Changed("leeway"):
			want.Leeway = -1 // none, where 0 means the usual one
		}
		return t.explain(ctx, args, want)
	})
	return cmd
}

// readTokenHelp is part of the help of each command that reads a token.
const readTokenHelp = `The token is read from FILE, or from standard input. It can't be an argument:
other users of this machine see those, and who has a token is its user.`

// maxToken is how long a token may be, in bytes: longer than any that fits into
// the header of a request.
const maxToken = 64 << 10

// readToken returns the token that is in the file that the command line names, or on standard input.
func (t *tool) readToken(args []string) (string, error) {
	name := "-"
	if len(args) > 0 {
		name = args[0]
	}
	if err := onlyOnce(name == "-", t.secret.standardInput()); err != nil {
		return "", err
	}
	in := t.stdin
	if name != "-" {
		f, err := openToken(name)
		if err != nil {
			return "", err
		}
		defer f.Close()
		in = f
	} else if isTerminal(t.stdin) {
		t.note("paste the token, and end with a line break and Ctrl-D")
	}
	text, err := io.ReadAll(io.LimitReader(in, maxToken+1))
	if err != nil {
		return "", err
	}
	token := strings.TrimSpace(string(text))
	switch {
	case len(text) > maxToken:
		return "", refuse(exitToken, "this is no token: it is longer than 64 KiB")
	case token == "":
		return "", refuse(exitToken, "there is no token: the input is empty")
	}
	return token, nil
}

// openToken opens the file with a token in it. No error repeats name, which may be the token.
func openToken(name string) (*os.File, error) {
	f, err := os.Open(name)
	if err == nil {
		return f, nil
	}
	if isOpaque(name) || strings.Count(name, ".") >= 2 && !strings.ContainsAny(name, "/ ") {
		return nil, refuse(exitUsage, "the argument is the name of a file, and there is none; if it was a token, other users of this machine could see it: end its session, and give tokens on standard input")
	}
	var why *fs.PathError
	errors.As(err, &why)
	return nil, fmt.Errorf("the file with the token: %w", why.Err)
}

// readJWT is readToken for what can only be a token.
func (t *tool) readJWT(args []string) (string, error) {
	text, err := t.readToken(args)
	if err == nil && isOpaque(text) {
		err = refuse(exitToken, isOpaqueText)
	}
	return text, err
}

// isOpaque reports whether text is what package opaque makes. No token is: a
// token begins with its header's brace, in base64url.
func isOpaque(text string) bool { return strings.HasPrefix(text, "cr1_") }

const isOpaqueText = "this is an opaque credential and no token: a random number that says nothing; its session is on the server"

// contents is what is printed of a token.
type contents struct {
	Verified   *bool           `json:"verified,omitempty"`
	Expired    *bool           `json:"expired,omitempty"`
	Encryption json.RawMessage `json:"encryption,omitempty"`
	Header     json.RawMessage `json:"header,omitempty"`
	Claims     json.RawMessage `json:"claims,omitempty"`
}

func (t *tool) decode(ctx context.Context, args []string) error {
	text, err := t.readJWT(args)
	if err != nil {
		return err
	}
	var ring *keys.Ring
	if strings.Count(text, ".") == 4 { // it can't be decrypted without
		if ring, err = t.ring(); err != nil {
			return err
		}
	}
	e, err := t.takeApart(ctx, ring, text)
	if err != nil {
		return err
	}
	t.note("NOTHING WAS VERIFIED: anybody may have made this token. To check it: keygen token verify")
	t.noteForeign(ctx, ring, text)
	if !json.Valid(e.Claims) {
		e.Claims = nil
	}
	if err := t.printContents(contents{Encryption: e.Encryption, Header: e.Header, Claims: e.Claims}); err != nil {
		return err
	}
	if e.Header == nil {
		return refuse(exitToken, "can't be decrypted with the keys in %s: %s", t.path(), whyNot(ring, e))
	}
	return nil
}

func (t *tool) verify(ctx context.Context, args []string) error {
	text, err := t.readJWT(args)
	if err != nil {
		return err
	}
	ring, err := t.ring()
	if err != nil {
		return err
	}
	e, err := token.Explain(ctx, ring, text, t.now)
	if err != nil {
		return &exit{exitToken, err}
	}
	if !json.Valid(e.Claims) {
		e.Claims = nil
	}
	if err := t.printContents(contents{&e.Verified, &e.Expired, e.Encryption, e.Header, e.Claims}); err != nil {
		return err
	}
	switch {
	case !e.Verified:
		return refuse(exitToken, "no good by the keys in %s: %s; for more: keygen token explain", t.path(), whyNot(ring, e))
	case e.Expired:
		return refuse(exitExpired, "the token has expired")
	}
	t.note("signature, type and dates are good; whether the session was ended meanwhile, only the application knows")
	return nil
}

// whyNot says why a token is not verified, or can't be decrypted. A key that
// the ring lacks is named: the token may be of another key file.
func whyNot(ring *keys.Ring, e *token.Explanation) string {
	text := e.Header
	if text == nil {
		text = e.Encryption
	}
	var header struct{ Kid string }
	if err := json.Unmarshal(text, &header); err != nil || header.Kid == "" {
		return e.Problem
	}
	if slices.ContainsFunc(append(ring.Keys(), ring.Pruned()...), func(k *keys.Key) bool { return k.ID() == header.Kid }) {
		return e.Problem
	}
	return fmt.Sprintf("there is no key %+q; try --keyset with the file that has it (%s)", header.Kid, e.Problem)
}

func (t *tool) explain(ctx context.Context, args []string, want token.Expected) error {
	text, err := t.readToken(args)
	if err != nil {
		return err
	}
	if isOpaque(text) {
		return t.printDiagnosis(&token.Diagnosis{Verdict: token.Bad, Kind: "unknown", Checks: []token.Check{{Name: "form", Result: token.Failed, Text: isOpaqueText}}})
	}
	ring, err := t.ring()
	if err != nil {
		return err
	}
	return t.printDiagnosis(token.Diagnose(ctx, ring, text, want, t.now))
}

// printDiagnosis prints d, and returns an error if the token is no good.
func (t *tool) printDiagnosis(d *token.Diagnosis) error {
	show := t.tabulate
	if t.format == "json" {
		show = func(d *token.Diagnosis) error { return t.printJSON(d) }
	}
	if err := show(d); err != nil {
		return err
	}
	var failed []string
	for _, c := range d.Checks {
		if c.Result == token.Failed {
			failed = append(failed, words(c.Name))
		}
	}
	switch d.Verdict {
	case token.Bad:
		return refuse(exitToken, "the token is no good: %s", strings.Join(failed, ", "))
	case token.OutOfTime:
		return refuse(exitExpired, "the token is good but for its time: %s", strings.Join(failed, ", "))
	}
	t.note("the token is good: a verifier with these keys accepts it now")
	return nil
}

// tabulate prints the checks of d. Those that were not made come at the end, by their reasons.
func (t *tool) tabulate(d *token.Diagnosis) error {
	kind := d.Kind + " token"
	if d.Kind == "unknown" {
		kind = "token of an unknown kind"
	}
	var out bytes.Buffer
	fmt.Fprintf(&out, "%s: %s\n\n", kind, d.Verdict)
	w := newTable(&out)
	w.row("CHECK", "VERDICT", "WHY")
	var reasons []string
	skipped := make(map[string][]string)
	for _, c := range d.Checks {
		if c.Result != token.Skipped {
			w.row(words(c.Name), c.Result, c.Text)
			continue
		}
		if skipped[c.Text] == nil {
			reasons = append(reasons, c.Text)
		}
		skipped[c.Text] = append(skipped[c.Text], words(c.Name))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	fmt.Fprintln(&out)
	for _, reason := range reasons {
		fmt.Fprintf(&out, "not checked: %s: %s\n", strings.Join(skipped[reason], ", "), cell(reason))
	}
	_, err := out.WriteTo(t.stdout)
	return err
}

// words is the name of a check for people.
func words(name string) string { return strings.ReplaceAll(name, "_", " ") }
