package introspect

import (
	"cmp"
	"context"
	"crypto/sha256"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/cloakroom-go/cloakroom/internal/clientauth"
	"github.com/cloakroom-go/cloakroom/internal/fault"
	"github.com/cloakroom-go/cloakroom/internal/jose"
	"github.com/cloakroom-go/cloakroom/internal/recent"
	"github.com/cloakroom-go/cloakroom/internal/weburl"
	"github.com/cloakroom-go/cloakroom/session"
	"github.com/cloakroom-go/cloakroom/token"
)

// Bounds of Client.
const (
	defaultTimeout = 5 * time.Second
	maxTimeout     = time.Minute
	defaultMaxAge  = 10 * time.Second
	maxMaxAge      = time.Minute
	defaultMemory  = 8 << 20 // bytes
	answerBytes    = 600     // what an answer costs beside its texts, roughly
)

// ErrInactive is the error for a token that the endpoint calls inactive. It
// doesn't say why.
var ErrInactive error = fmt.Errorf("introspect: the token is not active: %w", session.NotFound)

// ClientConfig configures a [Client].
type ClientConfig struct {
	_ [0]func() // no unkeyed literals, no comparison

	// URL is where the endpoint is: https, or http on this machine (localhost,
	// 127.0.0.1, ::1); without user, password and fragment. Required.
	URL string

	// ID and Secret prove to the endpoint who asks. Required.
	ID     string
	Secret string // see ID

	// Audience is the only aud that is accepted, exactly. "" means ID: service
	// tokens for this service. A gateway that gets the credentials of sessions
	// names the aud of the application's session tokens.
	Audience string

	// MaxAge is how long an answer is used again, counted from when it was asked
	// for, and never beyond its exp. A logout is late by as much. 0 means 10
	// seconds; at most 1 minute. If it is negative, no answer is used again.
	MaxAge time.Duration

	// MemoryBytes is roughly how much memory the answers take that are kept. 0
	// means 8 MiB: some 10,000 answers.
	MemoryBytes int

	// Timeout is for one request to the endpoint. 0 means 5 seconds; at most 1
	// minute.
	Timeout time.Duration

	// Transport makes the requests. If nil, one like http.DefaultTransport.
	Transport http.RoundTripper

	// InsecureAllowHTTP accepts an http URL on another host. Whoever listens there
	// gets every token and the secret.
	InsecureAllowHTTP bool

	// Now is the clock. If nil, time.Now.
	Now func() time.Time
}

// A Client asks an endpoint who a token identifies. Make one with [NewClient].
// It is safe for concurrent use.
//
// Good answers are kept, under the SHA-256 of the token, for
// ClientConfig.MaxAge; equal questions at the same time share one request. A
// bad answer is never kept: a stranger who invents tokens sends each of them
// once, so that would only push good answers out.
type Client struct {
	c       ClientConfig
	client  *http.Client
	answers recent.Map[verdict]

	ctx       context.Context // of all requests; ends with Close
	cancel    context.CancelFunc
	questions sync.WaitGroup

	mu      sync.Mutex // guards running; never held during a request
	running map[digest]*question
}

// A digest stands for a token.
type digest [sha256.Size]byte

// A verdict is an answer that is good until an instant.
type verdict struct {
	caller token.Caller
	until  time.Time
}

// A question is shared by all who wait for its answer. It is given up when
// nobody does any more.
type question struct {
	waiting int // guarded by Client.mu
	ctx     context.Context
	cancel  context.CancelFunc

	done   chan struct{}
	caller token.Caller // to be read when done is closed
	err    error        // as caller
}

// NewClient checks c and returns a Client. It reports every mistake at once. It
// asks nothing yet.
func NewClient(c ClientConfig) (*Client, error) {
	bad := fault.In("introspect: ClientConfig")
	wrong := weburl.Wrong(c.URL, c.InsecureAllowHTTP, "whoever listens gets every token")
	bad.If(wrong != "", "URL", "%s", wrong)
	bad.If(c.ID == "", "ID", "is required")
	bad.If(c.Secret == "", "Secret", "is required")
	wrongSecret := clientauth.WrongSecret(c.Secret)
	bad.If(wrongSecret != "", "Secret", "%s", wrongSecret)
	bad.If(c.MaxAge > maxMaxAge, "MaxAge", "is %v: must be at most %v", c.MaxAge, maxMaxAge)
	bad.If(c.MemoryBytes < 0, "MemoryBytes", "is %d: must not be negative", c.MemoryBytes)
	bad.If(c.Timeout < 0 || c.Timeout > maxTimeout, "Timeout", "is %v: must be between 0 and %v", c.Timeout, maxTimeout)
	if err := bad.Err(); err != nil {
		return nil, err
	}
	c.Audience, c.Timeout = cmp.Or(c.Audience, c.ID), cmp.Or(c.Timeout, defaultTimeout)
	c.MaxAge = max(0, cmp.Or(c.MaxAge, defaultMaxAge))
	if c.Now == nil {
		c.Now = time.Now
	}
	client := &Client{
		c: c, client: weburl.Client(c.Transport), running: make(map[digest]*question),
		answers: recent.Map[verdict]{Period: c.MaxAge, MaxBytes: cmp.Or(c.MemoryBytes, defaultMemory)},
	}
	client.ctx, client.cancel = context.WithCancel(context.Background())
	return client, nil
}

// Introspect returns the user that a token identifies, for token.NewContext. An
// error wraps a [session.Reason]: [session.Unavailable] if the endpoint gives
// no answer that can be used; then nobody may be let in, and the client of the
// service is told 503. Any other error says that the token is refused: it is
// [ErrInactive], or wraps token.ErrWrongAudience, or the token identifies
// nobody.
//
// ExpiresAt of the Caller is exp of the answer, which may be earlier than that
// of the token.
func (c *Client) Introspect(ctx context.Context, credential string) (*token.Caller, error) {
	if credential == "" || len(credential) > jose.MaxLength {
		return nil, fmt.Errorf("introspect: no token has this length: %w", session.Malformed)
	}
	key, now := digest(sha256.Sum256([]byte(credential))), c.c.Now()
	if kept, ok := c.answers.Get(string(key[:])); ok && now.Before(kept.until) {
		return copied(kept.caller), nil
	}
	q, err := c.start(key, credential, now)
	if err != nil {
		return nil, err
	}
	select {
	case <-q.done:
	case <-ctx.Done():
		c.leave(q, key)
		return nil, fmt.Errorf("introspect: nobody waits for the answer any more: %w: %w", context.Cause(ctx),
			session.Unavailable)
	}
	if q.err != nil {
		return nil, q.err
	}
	return copied(q.caller), nil
}

// copied returns a copy of caller that shares no slice with it.
func copied(caller token.Caller) *token.Caller {
	caller.AMR = slices.Clone(caller.AMR)
	return &caller
}

// start returns the question about a token that is under way, or a new one.
func (c *Client) start(key digest, credential string, now time.Time) (*question, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if q := c.running[key]; q != nil {
		q.waiting++
		return q, nil
	}
	if c.ctx.Err() != nil {
		return nil, fmt.Errorf("introspect: the Client is closed: %w", session.Unavailable)
	}
	q := &question{waiting: 1, done: make(chan struct{})}
	q.ctx, q.cancel = context.WithCancel(c.ctx)
	c.running[key] = q
	c.questions.Go(func() { c.run(q, key, credential, now) })
	return q, nil
}

// leave takes back one who waits for the answer. The last one cancels the
// request.
func (c *Client) leave(q *question, key digest) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if q.waiting--; q.waiting == 0 {
		q.cancel()
		c.forget(q, key)
	}
}

// forget removes a question, so that nobody joins it any more. mu is held.
func (c *Client) forget(q *question, key digest) {
	if c.running[key] == q {
		delete(c.running, key)
	}
}

// run answers a question, which began at now.
func (c *Client) run(q *question, key digest, credential string, now time.Time) {
	defer q.cancel()
	says, err := c.ask(q.ctx, credential)
	if err == nil {
		q.caller, err = c.judge(says)
	}
	if err == nil {
		until := now.Add(c.c.MaxAge)
		if !q.caller.ExpiresAt.IsZero() && q.caller.ExpiresAt.Before(until) {
			until = q.caller.ExpiresAt
		}
		size := answerBytes + says.size
		c.answers.Put(string(key[:]), verdict{q.caller, until}, size)
	}
	q.err = err
	c.mu.Lock()
	c.forget(q, key)
	c.mu.Unlock()
	close(q.done)
}

// judge returns the user that an answer identifies.
func (c *Client) judge(says *reply) (token.Caller, error) {
	switch {
	case !says.active:
		return token.Caller{}, ErrInactive
	case !slices.Contains(says.Audiences, c.c.Audience):
		return token.Caller{}, fmt.Errorf("introspect: %w", token.ErrWrongAudience)
	case says.Subject == "":
		return token.Caller{}, fmt.Errorf("introspect: the token identifies nobody: %w", session.Forged)
	}
	return token.Caller{
		Issuer: says.Issuer, Subject: says.Subject, SessionID: says.ID, ClientID: says.ClientID, AMR: says.AMR,
		AuthenticatedAt: says.AuthenticatedAt, IssuedAt: says.IssuedAt(), ExpiresAt: says.ExpiresAt(),
	}, nil
}

// Close ends the requests that are under way and waits for them.
func (c *Client) Close() error {
	c.mu.Lock() // so that no request starts after this one
	c.cancel()
	c.mu.Unlock()
	c.questions.Wait()
	c.client.CloseIdleConnections()
	return nil
}

// noAnswer says why the endpoint has not answered.
func noAnswer(err error) error {
	return fmt.Errorf("introspect: the endpoint gives no answer: %w: %w", err, session.Unavailable)
}
