// Package jwkscheck is keygen jwks check: it compares the JWK Set that a server
// publishes with the key file. [Command] makes the command.
package jwkscheck

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"os"
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
		Short: "See what verifiers see of the keys",
		Long:  "Jwks looks at a published JWK Set (RFC 7517, Section 5): see keygen jwks check.",
		RunE:  func(*cobra.Command, []string) error { return errors.New("use jwks check URL") },
	}
	cmd.AddCommand(jwksCheckCommand(t))
	return cmd
}

func jwksCheckCommand(t *tool.Tool) *cobra.Command {
	c := &jwksCheck{Tool: t, polls: 5, every: time.Second, timeout: 10 * time.Second, sleep: sleep}
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
	f.BoolVar(&c.insecure, "insecure-http", false, "accept http to another host: whoever is in between can change the answer")
	cmd.RunE = t.Do(tool.Tables(), func(ctx context.Context, args []string) error { return c.run(ctx, args[0]) })
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
	base           *http.Transport // if nil, http.DefaultTransport; for tests

	url     *url.URL
	began   time.Time   // when tool.now was taken; has a monotonic reading
	set     *keyset.Set // of the key file; nil if there is none
	answers []*answer
}

func (c *jwksCheck) run(ctx context.Context, rawURL string) (err error) {
	if err := c.prepare(rawURL); err != nil {
		return err
	}
	if c.set, err = c.compareWith(); err != nil {
		return err
	}
	if err := c.poll(ctx); err != nil {
		return err
	}
	r := c.judge()
	c.judgeRevalidation(ctx)
	if err := c.report(r); err != nil {
		return err
	}
	return c.verdict(r)
}

// prepare checks the arguments.
func (c *jwksCheck) prepare(rawURL string) (err error) {
	c.url, err = url.Parse(rawURL)
	switch {
	case err != nil || !weburl.HasHost(c.url) || c.url.Scheme != "http" && c.url.Scheme != "https":
		return tool.Refuse(tool.ExitUsage, "this is no URL to fetch; write it like https://app.example/.well-known/jwks.json")
	case c.url.User != nil || c.url.Fragment != "":
		return tool.Refuse(tool.ExitUsage, "the URL of a JWK Set has no user, no password and no fragment")
	case c.url.Scheme == "http" && !weburl.IsLocal(c.url) && !c.insecure:
		return tool.Refuse(tool.ExitUsage, "%s is not https: whoever can change the answer can forge every token; --insecure-http looks all the same", rawURL)
	case c.polls < 1 || c.polls > 100:
		return tool.Refuse(tool.ExitUsage, "--polls %d: between 1 and 100", c.polls)
	case c.every > time.Hour:
		return tool.Refuse(tool.ExitUsage, "--every %v: at most 1h", c.every)
	case c.timeout == 0 || c.timeout > time.Minute:
		return tool.Refuse(tool.ExitUsage, "--timeout %v: must be more than 0, and at most 1m", c.timeout)
	}
	c.began = time.Now()
	return nil
}

// compareWith returns the keys of the key file, or nil if none was named and there is none.
func (c *jwksCheck) compareWith() (*keyset.Set, error) {
	if c.Keyset == "" && os.Getenv("CLOAKROOM_KEYSET") == "" {
		if _, err := os.Lstat(c.Path()); errors.Is(err, fs.ErrNotExist) {
			c.Note("no key file to compare with; name it with --keyset")
			return nil, nil
		}
	}
	return c.Read()
}

// clock is the time now, as the command sees it: that of --at, going on.
func (c *jwksCheck) clock() time.Time { return c.Now.Add(time.Since(c.began)) }

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (c *jwksCheck) poll(ctx context.Context) error {
	for n := range c.polls {
		if n > 0 {
			if err := c.sleep(ctx, c.every); err != nil {
				return err
			}
		}
		a := c.fetch(ctx, "")
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if a.err == nil {
			a.read()
		}
		c.answers = append(c.answers, a)
	}
	return nil
}

// Bounds of a fetch: those of keys.Remote.
const (
	maxJWKS      = 1 << 20 // bytes
	maxRedirects = 5
)

// An answer is what came of one fetch.
type answer struct {
	err       error // why there is no answer, or none that verifiers accept
	network   bool  // err is of the network, not of the server
	status    int
	header    http.Header
	body      []byte
	at        time.Time // when the header was there
	address   string    // which instance, or balancer, answered
	redirects []string

	members []member
	keys    map[string]*keyset.Key // those that verifiers can use, by kid
	kids    []string               // of keys, in the order of the set
}

// A misstep is an answer that verifiers refuse.
type misstep string

func (m misstep) Error() string { return string(m) }

// fetch fetches the set over a new connection; etag may be "".
func (c *jwksCheck) fetch(ctx context.Context, etag string) *answer {
	a := new(answer)
	if err := c.get(ctx, etag, a); err != nil {
		a.err = err
		a.network = !errors.As(err, new(misstep))
	}
	return a
}

func (c *jwksCheck) get(ctx context.Context, etag string, a *answer) error {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	trace := &httptrace.ClientTrace{GotConn: func(i httptrace.GotConnInfo) { a.address = i.Conn.RemoteAddr().String() }}
	req, err := http.NewRequestWithContext(httptrace.WithClientTrace(ctx, trace), http.MethodGet, c.url.String(), nil)
	if err != nil {
		return err
	}
	req.Header.Set("Accept", "application/jwk-set+json, application/json;q=0.9")
	if etag != "" {
		req.Header.Set("If-None-Match", etag)
	}
	resp, err := c.client(a).Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	a.status, a.header, a.at = resp.StatusCode, resp.Header, c.clock()
	a.body, err = io.ReadAll(io.LimitReader(resp.Body, maxJWKS+1))
	switch {
	case resp.StatusCode != http.StatusOK && !(etag != "" && resp.StatusCode == http.StatusNotModified):
		return misstep(fmt.Sprintf("the server answered %d", resp.StatusCode))
	case err != nil:
		return err
	case len(a.body) > maxJWKS:
		return misstep("the answer is larger than 1 MiB")
	}
	return nil
}

// client follows redirects as keys.Remote does, and notes them.
func (c *jwksCheck) client(a *answer) *http.Client {
	base := c.base
	if base == nil {
		base = http.DefaultTransport.(*http.Transport)
	}
	transport := base.Clone()
	transport.DisableKeepAlives = true
	return &http.Client{Transport: transport, CheckRedirect: func(req *http.Request, via []*http.Request) error {
		a.redirects = append(a.redirects, req.URL.String())
		switch {
		case len(via) > maxRedirects:
			return misstep("too many redirects")
		case !weburl.SameHost(req.URL, c.url):
			return misstep("redirect to another host, which verifiers refuse: " + req.URL.Host)
		case c.url.Scheme == "https" && req.URL.Scheme != "https":
			return misstep("redirect from https to http, which verifiers refuse")
		}
		return nil
	}}
}
