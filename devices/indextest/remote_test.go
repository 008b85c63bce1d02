package indextest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/rpc"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/cloakroom-go/cloakroom/devices"
	"github.com/cloakroom-go/cloakroom/internal/servertest"
	"github.com/cloakroom-go/cloakroom/session"
)

// A service offers an index over the network, by the clock of those who call.
type service struct {
	mu    sync.Mutex // guards index
	index *index
}

// A Call is what the client sends. Package rpc wants it exported.
type Call struct {
	Method, Subject, ID, Replaces string
	Now, At, Token                time.Time
	Entry                         devices.Entry
	Limit                         int
	Keys                          []string
}

// An Answer is what the server returns.
type Answer struct {
	All    []devices.Entry
	OK     bool
	Reason session.Reason
}

// Call is the one method that package rpc sees.
func (s *service) Call(c Call, a *Answer) (err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	ctx, x := context.Background(), s.index
	x.now = func() time.Time { return c.Now }
	switch c.Method {
	case "Enter":
		err = x.Enter(ctx, c.Subject, c.Entry, c.Replaces, c.Limit)
	case "List":
		a.All, err = x.List(ctx, c.Subject)
	case "Extend":
		a.OK, err = x.Extend(ctx, c.Subject, c.ID, c.At, c.Token)
	case "Mark":
		a.All, err = x.Mark(ctx, c.Subject, c.ID, c.At)
	case "Leave":
		err = x.Leave(ctx, c.Subject, c.ID, c.Keys...)
	}
	errors.As(err, &a.Reason)
	return nil
}

// serve returns the address at which an index is offered.
func serve(t *testing.T) string {
	t.Helper()
	server := rpc.NewServer()
	if err := server.RegisterName("Index", &service{index: newIndex(none, time.Now)}); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go server.ServeConn(conn)
		}
	}()
	return l.Addr().String()
}

// A remoteFlaw is one way in which a client can treat a lost answer; "" is the
// correct one.
type remoteFlaw string

const (
	takesForNo  remoteFlaw = "takes an error for a no"
	takesForYes remoteFlaw = "takes an error for a yes"
	plainError  remoteFlaw = "returns an error of its own"
	tellsID     remoteFlaw = "repeats the ID in an error"
	tellsHash   remoteFlaw = "repeats the subject in an error"
	waitsOn     remoteFlaw = "waits after the deadline"
	oneConn     remoteFlaw = "never connects again"
	goesAround  remoteFlaw = "goes around the proxy"
	undoes      remoteFlaw = "leaves after a lost answer"
)

// A client is an index on the server at addr.
type client struct {
	addr string
	flaw remoteFlaw
	now  func() time.Time
	mu   sync.Mutex // guards conn
	conn *rpc.Client
}

func (c *client) connection() (*rpc.Client, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.conn != nil {
		return c.conn, nil
	}
	conn, err := net.Dial("tcp", c.addr)
	if err != nil {
		return nil, err
	}
	c.conn = rpc.NewClient(conn)
	return c.conn, nil
}

// drop gives a connection up that has lost an answer.
func (c *client) drop(conn *rpc.Client) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.conn == conn && c.flaw != oneConn {
		_ = conn.Close()
		c.conn = nil
	}
}

func (c *client) once(ctx context.Context, q Call) (a Answer, err error) {
	if err := ctx.Err(); err != nil {
		return a, err
	}
	conn, err := c.connection()
	if err != nil {
		return a, err
	}
	if c.flaw == waitsOn {
		ctx = context.WithoutCancel(ctx)
	}
	q.Now = c.now()
	pending := conn.Go("Index.Call", q, &Answer{}, make(chan *rpc.Call, 1))
	select {
	case <-pending.Done:
		if err = pending.Error; err == nil {
			return *pending.Reply.(*Answer), nil
		}
	case <-ctx.Done():
		err = ctx.Err()
	}
	c.drop(conn)
	return a, err
}

func (c *client) ask(ctx context.Context, q Call) (Answer, error) {
	a, err := c.once(ctx, q)
	switch {
	case err == nil && a.Reason != 0:
		return a, a.Reason
	case err == nil:
		return a, nil
	}
	switch c.flaw {
	case takesForNo:
		return a, nil
	case takesForYes:
		return Answer{OK: true, All: marked(q.Entry)}, nil
	case plainError:
		return a, errors.New("lost")
	case tellsID:
		return a, fmt.Errorf("lost secret ID %s: %w", q.ID, session.Unavailable)
	case tellsHash:
		return a, fmt.Errorf("lost %s: %w", q.Subject, session.Unavailable)
	case undoes:
		_, _ = c.once(context.Background(), Call{Method: "Leave", Subject: q.Subject, ID: "secret ID"})
	}
	return a, fmt.Errorf("%w: %w", err, session.Unavailable)
}

func (c *client) Enter(ctx context.Context, subject string, e devices.Entry, replaces string, limit int) error {
	_, err := c.ask(ctx, Call{Method: "Enter", Subject: subject, Entry: e, Replaces: replaces, Limit: limit})
	return err
}

func (c *client) List(ctx context.Context, subject string) ([]devices.Entry, error) {
	a, err := c.ask(ctx, Call{Method: "List", Subject: subject})
	return a.All, err
}

func (c *client) Extend(ctx context.Context, subject, id string, seenAt, tokenUntil time.Time) (bool, error) {
	a, err := c.ask(ctx, Call{Method: "Extend", Subject: subject, ID: id, At: seenAt, Token: tokenUntil})
	return a.OK, err
}

func (c *client) Mark(ctx context.Context, subject, id string, until time.Time) ([]devices.Entry, error) {
	a, err := c.ask(ctx, Call{Method: "Mark", Subject: subject, ID: id, At: until})
	return a.All, err
}

func (c *client) Leave(ctx context.Context, subject, id string, keys ...string) error {
	_, err := c.ask(ctx, Call{Method: "Leave", Subject: subject, ID: id, Keys: keys})
	return err
}

func TestRemoteIndex(t *testing.T) {
	RunRemote(t, serve(t), func(_ *testing.T, addr string, now func() time.Time) devices.Index {
		return &client{addr: addr, now: now}
	})
}

// TestEveryRemoteFlawIsFound is the proof for the rules about the network.
func TestEveryRemoteFlawIsFound(t *testing.T) {
	tests := map[remoteFlaw][]string{
		takesForNo:  {"lost answers", "server away"},
		takesForYes: {"lost answers", "server away"},
		plainError:  {"lost answers", "server away"},
		tellsID:     {"lost answers", "server away"},
		tellsHash:   {"lost answers", "server away"},
		waitsOn:     {"lost answers"},
		oneConn:     {"lost answers", "server away"},
		goesAround:  {"lost answers", "server away"},
		undoes:      {"lost answers"},
	}
	for flaw, found := range tests {
		for _, name := range found {
			t.Run(string(flaw)+"/"+name, func(t *testing.T) {
				t.Parallel()
				if checkRemote(t, flaw, name) == nil {
					t.Errorf("the rule %q didn't find it", name)
				}
			})
		}
	}
}

// checkRemote returns what the rule finds in an index with the flaw.
func checkRemote(t *testing.T, flaw remoteFlaw, name string) error {
	t.Helper()
	rules := remoteRules()
	r := rules[slices.IndexFunc(rules, func(r rule) bool { return r.name == name })]
	addr, c := serve(t), newClock()
	proxy := servertest.NewProxy(t, addr)
	p := newProbe(t.Context(), &client{addr: addr, now: c.now}, c)
	p.proxy, p.remote = proxy, &client{addr: proxy.Addr(), flaw: flaw, now: c.now}
	if flaw == goesAround {
		p.remote = p.index
	}
	r.try(p)
	return p.err
}
