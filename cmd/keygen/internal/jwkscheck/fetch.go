package jwkscheck

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"strings"
	"time"

	"github.com/cloakroom-go/cloakroom/internal/keyset"
	"github.com/cloakroom-go/cloakroom/internal/weburl"
)

// maxJWKS bounds an answer, in bytes. keys.Remote has the same bound.
const maxJWKS = 1 << 20

// An answer is the result of one fetch. The exported fields are printed
// as JSON.
type answer struct {
	Status       int      `json:"status,omitempty"`
	Address      string   `json:"address,omitempty"` // of the instance, or the balancer, that answered
	Redirects    []string `json:"redirects,omitempty"`
	Kids         []string `json:"kids"` // of the keys that verifiers can use, in the order of the set
	ETag         string   `json:"etag,omitempty"`
	CacheControl string   `json:"cache_control,omitempty"`
	Age          string   `json:"age,omitempty"`
	Error        string   `json:"error,omitempty"` // the text of err

	err     error // why there is no answer, or none that verifiers accept
	header  http.Header
	body    []byte
	at      time.Time // when the header was there
	members []member
	keys    map[string]*keyset.Key // those of Kids
}

// A serverError means that the server answered, and verifiers refuse the
// answer. Other errors are of the network.
type serverError string

func (e serverError) Error() string { return string(e) }

func (c *jwksCheck) poll(ctx context.Context) error {
	for n := range c.polls {
		if n > 0 {
			if err := c.sleep(ctx, c.every); err != nil {
				return err
			}
		}
		a := c.fetch(ctx, "")
		if a.err == nil {
			a.err = a.read(ctx)
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		c.answers = append(c.answers, a)
		if a.err != nil {
			a.Error = a.err.Error()
			continue
		}
		c.good = append(c.good, a)
	}
	return nil
}

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// fetch fetches the set over a new connection. With an etag, the server may say
// that the set has not changed (RFC 9110, Section 13.1.2).
func (c *jwksCheck) fetch(ctx context.Context, etag string) *answer {
	a := &answer{Kids: []string{}}
	a.err = c.get(ctx, etag, a)
	return a
}

func (c *jwksCheck) get(ctx context.Context, etag string, a *answer) error {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GotConn: func(i httptrace.GotConnInfo) { a.Address = i.Conn.RemoteAddr().String() },
	})
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.url.String(), nil)
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
	h := resp.Header
	a.Status, a.header, a.at = resp.StatusCode, h, time.Now()
	a.ETag, a.CacheControl, a.Age = h.Get("ETag"), strings.Join(h.Values("Cache-Control"), ", "), h.Get("Age")
	a.body, err = io.ReadAll(io.LimitReader(resp.Body, maxJWKS+1))
	switch {
	case a.Status != http.StatusOK && (etag == "" || a.Status != http.StatusNotModified):
		return serverError(fmt.Sprintf("the server answered %d", a.Status))
	case err != nil:
		return err
	case len(a.body) > maxJWKS:
		return serverError("the answer is larger than 1 MiB")
	}
	return nil
}

// client returns a client for one fetch, which records the redirects. Each
// fetch has a new connection, because a balancer sends all requests of one
// connection to the same instance.
func (c *jwksCheck) client(a *answer) *http.Client {
	transport := c.base.Clone()
	transport.DisableKeepAlives = true
	return &http.Client{Transport: transport, CheckRedirect: func(req *http.Request, via []*http.Request) error {
		a.Redirects = append(a.Redirects, req.URL.String())
		if err := weburl.CheckRedirect(req, via); err != nil {
			return serverError(fmt.Sprintf("%v, which verifiers refuse: %s", err, req.URL.Host))
		}
		return nil
	}}
}
