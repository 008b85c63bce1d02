// Package jwkscheck is keygen jwks check: it compares the JWK Set that a server
// publishes with the key file. [Command] makes the command.
package jwkscheck

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/cloakroom-go/cloakroom/cmd/keygen/internal/tool"
	"github.com/cloakroom-go/cloakroom/internal/keyset"
	"github.com/cloakroom-go/cloakroom/internal/weburl"
)

// Command returns keygen jwks, with its subcommand.
func Command(t *tool.Tool) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "jwks",
		Short: "Show which keys verifiers get",
		Long:  "Jwks looks at a published JWK Set (RFC 7517, Section 5): see keygen jwks check.",
		RunE:  func(*cobra.Command, []string) error { return errors.New("use jwks check URL") },
	}
	cmd.AddCommand(jwksCheckCommand(t))
	return cmd
}

func jwksCheckCommand(t *tool.Tool) *cobra.Command {
	c := &jwksCheck{
		Tool: t, polls: 5, every: time.Second, timeout: 10 * time.Second,
		sleep: sleep, base: http.DefaultTransport.(*http.Transport),
	}
	cmd := &cobra.Command{
		Use:   "check URL",
		Short: "Compare a live JWK Set with the key file",
		Long: `Check fetches the JWK Set at URL several times, as a verifier of another service
does, and says what that verifier sees: which keys, whether all instances behind
the URL serve the same, the headers, and for how long the answer may be kept. It
compares the keys with those that the key file publishes now, if there is a key
file, and the life of the answer with cache_life of its policy. Each fetch has a
connection of its own, so that a load balancer shows its instances.

Problems are, for example: a key that signs and is not served, so that its tokens
are refused; a key that is served after it was revoked; an answer that may be kept
for longer than cache_life, so that a new key may sign before all verifiers know
it; and, worst, private keys in the set.

Exit codes: 0 all is well, 1 nothing could be fetched, 3 a problem, 8 the set has
no keys.`,
		Example: `  keygen jwks check https://app.example/.well-known/jwks.json
  keygen jwks check --polls 20 --every 500ms --json http://localhost:8080/jwks`,
		Args: tool.One("the URL of a JWK Set"),
	}
	f := cmd.Flags()
	f.IntVar(&c.polls, "polls", c.polls, "how often to fetch")
	f.Var((*tool.Duration)(&c.every), "every", "how long to wait between fetches")
	f.Var((*tool.Duration)(&c.timeout), "timeout", "of one fetch")
	f.BoolVar(&c.insecure, "insecure-http", false,
		"accept http to another host: whoever is in between can change the answer")
	cmd.RunE = t.Do(func(ctx context.Context, args []string) error { return c.run(ctx, args[0]) })
	return cmd
}

// A jwksCheck looks at one URL.
type jwksCheck struct {
	*tool.Tool
	tool.Findings

	polls          int
	every, timeout time.Duration
	insecure       bool
	sleep          func(context.Context, time.Duration) error
	base           *http.Transport // whose proxy and roots fetches use

	url     *url.URL
	set     *keyset.Set   // of the key file; nil if there is none
	policy  keyset.Policy // of the key file, or the default
	answers []*answer
	good    []*answer // those that verifiers accept
}

func (c *jwksCheck) run(ctx context.Context, rawURL string) error {
	if err := c.prepare(rawURL); err != nil {
		return err
	}
	if err := c.readKeyFile(); err != nil {
		return err
	}
	if err := c.poll(ctx); err != nil {
		return err
	}
	list := c.judge()
	c.judgeRevalidation(ctx)
	if err := c.report(list); err != nil {
		return err
	}
	return c.verdict(list)
}

// prepare checks the arguments. The bounds catch mistakes, such as 5h for 5s: a
// monitor that wants to look for longer runs the command again.
func (c *jwksCheck) prepare(rawURL string) (err error) {
	wrong := func(format string, args ...any) error { return tool.Refuse(tool.ExitUsage, format, args...) }
	c.url, err = url.Parse(rawURL)
	switch {
	case err != nil || !weburl.HasHost(c.url) || c.url.Scheme != "http" && c.url.Scheme != "https":
		return wrong("this is not a URL to fetch; write it like https://app.example/.well-known/jwks.json")
	case c.url.User != nil || c.url.Fragment != "":
		return wrong("the URL of a JWK Set has no user, no password and no fragment")
	case !weburl.IsPrivate(c.url, c.insecure):
		return wrong("%s is not https: whoever can change the answer can forge every token; "+
			"--insecure-http looks all the same", rawURL)
	case c.polls < 1 || c.polls > 100:
		return wrong("--polls %d: between 1 and 100", c.polls)
	case c.every > time.Hour:
		return wrong("--every %v: at most 1h", c.every)
	case c.timeout == 0 || c.timeout > time.Minute:
		return wrong("--timeout %v: must be more than 0, and at most 1m", c.timeout)
	}
	return nil
}

// readKeyFile reads the keys to compare with. It does without a key file if no
// flag or variable names one and there is none at the default path, so that the
// command also works on another machine.
func (c *jwksCheck) readKeyFile() (err error) {
	c.policy = keyset.Policy{}.WithDefaults()
	if c.Keyset == "" && os.Getenv("CLOAKROOM_KEYSET") == "" {
		if _, err := os.Lstat(c.Path()); errors.Is(err, fs.ErrNotExist) {
			c.Note("no key file to compare with; name it with --keyset")
			return nil
		}
	}
	if c.set, err = c.Read(); err == nil {
		c.policy = c.set.Policy()
	}
	return err
}

func (c *jwksCheck) report(list []servedKey) error {
	if c.Format == "json" {
		out := map[string]any{"url": c.url.String(), "polls": c.answers, "keys": list, "findings": c.Findings}
		if c.set != nil {
			out["keyset"] = c.Path()
		}
		return c.PrintJSON(out)
	}
	if len(list) > 0 {
		w := tool.NewTable(c.Stdout)
		w.Row("KID", "ALG", "STATE", "SERVED")
		for _, s := range list {
			w.Row(s.ID, s.Algorithm, tool.Dash(s.State), fmt.Sprintf("%d of %d", s.Served, len(c.good)))
		}
		fmt.Fprintln(w)
		if err := w.Flush(); err != nil {
			return err
		}
	}
	return c.Print(c.Tool)
}

// verdict returns the error that gives keygen its exit code. If only the
// network failed, it says nothing about the server.
func (c *jwksCheck) verdict(list []servedKey) error {
	served := slices.ContainsFunc(list, func(s servedKey) bool { return s.Served > 0 })
	answered := slices.ContainsFunc(c.answers, func(a *answer) bool {
		return a.err == nil || errors.As(a.err, new(serverError))
	})
	problems, warnings := c.Count(tool.Problem), c.Count(tool.Warning)
	switch {
	case len(c.leaked()) > 0:
		return tool.Refuse(tool.ExitRefused, "PRIVATE KEYS ARE SERVED")
	case !answered:
		return tool.Refuse(tool.ExitError, "nothing could be fetched: %v", c.answers[0].err)
	case len(c.good) > 0 && !served:
		return tool.Refuse(tool.ExitNotFound, "the set has no keys that verify")
	case problems > 0:
		return tool.Refuse(tool.ExitRefused, "problems: %d, warnings: %d", problems, warnings)
	}
	c.Note("no problem; warnings: %d", warnings)
	return nil
}
