// Package tokens is keygen token: it decodes and explains tokens. [Command]
// makes the command. No error and no output repeats a token.
package tokens

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/cloakroom-go/cloakroom/cmd/keygen/internal/tool"
	"github.com/cloakroom-go/cloakroom/internal/claims"
	"github.com/cloakroom-go/cloakroom/internal/diagnose"
	"github.com/cloakroom-go/cloakroom/internal/span"
	"github.com/cloakroom-go/cloakroom/keys"
)

// Command returns keygen token, with its subcommands.
func Command(t *tool.Tool) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "token",
		Short: "Decode a token, or check it",
		Long:  "Token decode shows what a token says, token explain whether it is accepted.",
		RunE: func(*cobra.Command, []string) error {
			return errors.New("use token decode or token explain")
		},
	}
	cmd.AddCommand(decodeCommand(t), explainCommand(t))
	return cmd
}

func decodeCommand(t *tool.Tool) *cobra.Command {
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
		Args: tool.AtMostOne,
		RunE: t.Do(func(ctx context.Context, args []string) error { return decode(t, ctx, args) }),
	}
}

func explainCommand(t *tool.Tool) *cobra.Command {
	var want diagnose.Want
	var quiet bool
	cmd := &cobra.Command{
		Use:   "explain [FILE]",
		Short: "Say whether a token is accepted, and if not, why",
		Long: `Explain makes every check that a verifier makes of a token of this module, in the
same order, and goes on after one that fails. Its verdict is that of token.Verifier
and token.Carrier with these keys. It prints the state of the key when the token
was issued and now, how far off the dates are, and whether a difference of clocks
would explain that.

` + readTokenHelp + `

The output has neither the token nor a value of the session, so you can put it
into a ticket. Issuer and audience are compared if they are given. By default,
verifiers grant a leeway of 10s for service tokens; for session tokens an
application grants 1m on iat, and none on exp.

The verdicts of a check are ok, failed, warning (verifiers ignore it, and you
should not) and not checked. Exit codes: 0 good, 6 refused, 7 it has expired or is
not valid yet, and is good otherwise.`,
		Example: `  keygen token explain token.txt
  keygen token explain token.txt --audience https://billing.example --issuer https://app.example
  keygen token explain --at 2026-11-24T03:00:00Z --json < token.txt
  keygen token explain --quiet token.txt && echo good`,
		Args: tool.AtMostOne,
	}
	f := cmd.Flags()
	f.StringVar(&want.Audience, "audience", "", "the `name` that aud must be")
	f.StringVar(&want.Issuer, "issuer", "", "the `name` that iss must be")
	f.Var((*tool.Duration)(&want.Leeway), "leeway",
		"how far clocks may be off, at most 5m (default: what verifiers grant)")
	f.BoolVar(&quiet, "quiet", false, "print no checks: the exit code says whether the token is good")
	cmd.RunE = t.Do(func(ctx context.Context, args []string) error {
		if want.Leeway == 0 && f.Changed("leeway") {
			want.Leeway = -1 // none, where 0 means the usual one
		}
		d, err := examine(t, ctx, args, want)
		if err == nil && !quiet {
			err = printDiagnosis(t, d)
		}
		if err != nil {
			return err
		}
		return conclude(t, d)
	})
	return cmd
}

// readTokenHelp is part of the help of each command that reads a token.
const readTokenHelp = `The token is read from FILE, or from standard input. It can't be an argument:
other users of this machine see those, and whoever has a token can use it.`

// maxToken is how long a token may be, in bytes: longer than any that fits into
// the header of a request.
const maxToken = 64 << 10

// readToken returns the token that is in the file that the command line names,
// or on standard input.
func readToken(t *tool.Tool, args []string) (string, error) {
	name := "-"
	if len(args) > 0 {
		name = args[0]
	}
	if err := tool.OnlyOnce(name == "-", t.Secret.StandardInput()); err != nil {
		return "", err
	}
	in := t.Stdin
	if name != "-" {
		f, err := openToken(name)
		if err != nil {
			return "", err
		}
		defer f.Close()
		in = f
	} else if tool.IsTerminal(t.Stdin) {
		t.Note("paste the token, and end with a line break and Ctrl-D")
	}
	text, err := io.ReadAll(io.LimitReader(in, maxToken+1))
	if err != nil {
		return "", err
	}
	token := strings.TrimSpace(string(text))
	switch {
	case len(text) > maxToken:
		return "", tool.Refuse(tool.ExitToken, "this is not a token: it is longer than 64 KiB")
	case token == "":
		return "", tool.Refuse(tool.ExitToken, "there is no token: the input is empty")
	}
	return token, nil
}

// openToken opens the file with a token in it. No error repeats name, which may
// be the token.
func openToken(name string) (*os.File, error) {
	f, err := os.Open(name)
	if err == nil {
		return f, nil
	}
	if isOpaque(name) || strings.Count(name, ".") >= 2 && !strings.ContainsAny(name, "/ ") {
		return nil, tool.Refuse(tool.ExitUsage, "the argument is the name of a file, and there is none; "+
			"if it was a token, other users of this machine could see it: end its session, and give tokens on standard input")
	}
	var why *fs.PathError
	errors.As(err, &why)
	return nil, fmt.Errorf("the file with the token: %w", why.Err)
}

// isOpaque reports whether text is what package opaque makes. No token is: a
// token begins with its header's brace, in base64url.
func isOpaque(text string) bool {
	return strings.HasPrefix(text, "cr1_") || strings.HasPrefix(text, "crd1_")
}

const isOpaqueText = "this is an opaque credential and no token: a random number that says nothing; its session is " +
	"on the server"

// contents are the parts of a token that keygen token decode prints.
type contents struct {
	Encryption json.RawMessage `json:"encryption,omitempty"`
	Header     json.RawMessage `json:"header,omitempty"`
	Claims     json.RawMessage `json:"claims,omitempty"`
}

func decode(t *tool.Tool, ctx context.Context, args []string) error {
	text, err := readToken(t, args)
	switch {
	case err != nil:
		return err
	case isOpaque(text):
		return tool.Refuse(tool.ExitToken, isOpaqueText)
	}
	var ring *keys.Ring
	if strings.Count(text, ".") == 4 { // it can't be decrypted without
		if ring, err = t.Ring(); err != nil {
			return err
		}
	}
	d := diagnose.Token(ctx, ring, text, diagnose.Want{}, t.Now)
	c := contents{d.Encryption, d.Header, d.Claims}
	if c.Encryption == nil && c.Header == nil {
		if c = foreignJWT(text); c.Header == nil {
			return tool.Refuse(tool.ExitToken, "this is not a JWT: %s", d.Problem())
		}
	}
	t.Note("NOTHING WAS VERIFIED: anybody may have made this token. To check it: keygen token explain")
	noteForeign(t, d)
	if err := printContents(t, c); err != nil {
		return err
	}
	if c.Header == nil {
		return tool.Refuse(tool.ExitToken, "the token can't be decrypted with the keys in %s: %s%s",
			t.Path(), d.Problem(), otherKeys(d))
	}
	return nil
}

// examine makes every check of the token that args name.
func examine(t *tool.Tool, ctx context.Context, args []string, want diagnose.Want) (*diagnose.Diagnosis, error) {
	if want.Leeway > claims.MaxLeeway {
		return nil, tool.Refuse(tool.ExitUsage, "--leeway %v: no verifier grants more than %s",
			want.Leeway, span.Format(claims.MaxLeeway))
	}
	text, err := readToken(t, args)
	if err != nil {
		return nil, err
	}
	if isOpaque(text) {
		form := diagnose.Check{Name: "form", Result: diagnose.Failed, Text: isOpaqueText}
		return &diagnose.Diagnosis{Verdict: diagnose.Bad, Kind: "unknown", Checks: []diagnose.Check{form}}, nil
	}
	ring, err := t.Ring()
	if err != nil {
		return nil, err
	}
	return diagnose.Token(ctx, ring, text, want, t.Now), nil
}

// conclude returns an error if the token is refused.
func conclude(t *tool.Tool, d *diagnose.Diagnosis) error {
	var failed []string
	for _, c := range d.Checks {
		if c.Result == diagnose.Failed {
			failed = append(failed, tool.Words(c.Name))
		}
	}
	switch d.Verdict {
	case diagnose.Bad:
		return tool.Refuse(tool.ExitToken, "the token is refused: %s%s", strings.Join(failed, ", "), otherKeys(d))
	case diagnose.OutOfTime:
		return tool.Refuse(tool.ExitExpired, "the token is good but for its time: %s", strings.Join(failed, ", "))
	}
	t.Note("the token is good: a verifier with these keys accepts it now")
	return nil
}

// otherKeys says what to do if the key file lacks a key of the token.
func otherKeys(d *diagnose.Diagnosis) string {
	kid, unknown := d.KeyID, d.KeyStateNow == "unknown"
	if d.EncryptionKeyStateNow == "unknown" {
		kid, unknown = d.EncryptionKeyID, true
	}
	if !unknown {
		return ""
	}
	return fmt.Sprintf("; there is no key %q; try --keyset with the file that has it", kid)
}

// printDiagnosis prints the checks of d. In a table, those that were not made
// come at the end, by their reasons.
func printDiagnosis(t *tool.Tool, d *diagnose.Diagnosis) error {
	if t.Format == "json" {
		return t.PrintJSON(d)
	}
	kind := d.Kind + " token"
	if d.Kind == "unknown" {
		kind = "token of an unknown kind"
	}
	var out bytes.Buffer
	fmt.Fprintf(&out, "%s: %s\n\n", kind, d.Verdict)
	w := tool.NewTable(&out)
	w.Row("CHECK", "VERDICT", "WHY")
	var reasons []string
	skipped := make(map[string][]string)
	for _, c := range d.Checks {
		if c.Result != diagnose.Skipped {
			w.Row(tool.Words(c.Name), c.Result, c.Text)
			continue
		}
		if skipped[c.Text] == nil {
			reasons = append(reasons, c.Text)
		}
		skipped[c.Text] = append(skipped[c.Text], tool.Words(c.Name))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	fmt.Fprintln(&out)
	for _, reason := range reasons {
		fmt.Fprintf(&out, "not checked: %s: %s\n", strings.Join(skipped[reason], ", "), tool.Cell(reason))
	}
	_, err := out.WriteTo(t.Stdout)
	return err
}
