package storetest

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

	"github.com/cloakroom-go/cloakroom/internal/itemtest"
	"github.com/cloakroom-go/cloakroom/internal/servertest"
	"github.com/cloakroom-go/cloakroom/opaque"
	"github.com/cloakroom-go/cloakroom/session"
)

// A service offers a store over the network.
type service struct{ store *store }

// A Call is what the client sends. Package rpc wants it exported.
type Call struct {
	Method  string
	Key     string
	Version uint64
	Item    opaque.Item // Touch: its instants are the arguments
}

// An Answer is what the server returns.
type Answer struct {
	Item     opaque.Item
	OK       bool
	Conflict bool
	Failed   string
}

// Call is the one method that package rpc sees.
func (s *service) Call(c Call, a *Answer) error {
	ctx, err := context.Background(), error(nil)
	switch c.Method {
	case "Get":
		a.Item, a.OK, err = s.store.Get(ctx, c.Key)
	case "Create":
		err = s.store.Create(ctx, c.Key, c.Item)
	case "Swap":
		a.OK, err = s.store.Swap(ctx, c.Key, c.Version, c.Item)
	case "Touch":
		a.OK, err = s.store.Touch(ctx, c.Key, c.Item.SeenAt, c.Item.IdleDeadline)
	case "Put": // a plain write
		s.store.mu.Lock()
		defer s.store.mu.Unlock()
		s.store.put(c.Key, c.Item)
		a.OK = true
	case "Delete":
		err = s.store.Delete(ctx, c.Key)
	}
	if a.Conflict = errors.Is(err, session.Conflict); err != nil && !a.Conflict {
		a.Failed = err.Error()
	}
	return nil
}

// serve returns the address at which s is offered.
func serve(t *testing.T, s *store) string {
	t.Helper()
	server := rpc.NewServer()
	if err := server.RegisterName("Store", &service{s}); err != nil {
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
	sendsAgain   remoteFlaw = "sends everything again"
	sendsLater   remoteFlaw = "sends a create again later"
	takesForNo   remoteFlaw = "takes an error for a no"
	takesForYes  remoteFlaw = "takes an error for a yes"
	plainError   remoteFlaw = "returns an error of its own"
	notDone      remoteFlaw = "says that nothing was done"
	tellsKey     remoteFlaw = "repeats the key in an error"
	tellsData    remoteFlaw = "repeats the data in an error"
	waitsOn      remoteFlaw = "waits after the deadline"
	undoes       remoteFlaw = "deletes what it created"
	oneConn      remoteFlaw = "never connects again"
	goesAround   remoteFlaw = "goes around the proxy"
	readThenSwap remoteFlaw = "reads, compares, and writes"
)

// A client is a store on the server at addr.
type client struct {
	addr string
	flaw remoteFlaw
	mu   sync.Mutex
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
	pending := conn.Go("Store.Call", q, &Answer{}, make(chan *rpc.Call, 1))
	select {
	case <-pending.Done:
		if pending.Error == nil {
			a = *pending.Reply.(*Answer)
		}
		err = pending.Error
	case <-ctx.Done():
		err = ctx.Err()
	}
	if err != nil {
		c.drop(conn)
	}
	return a, err
}

func (c *client) ask(ctx context.Context, q Call) (Answer, error) {
	a, err := c.once(ctx, q)
	if err == nil && a.Failed == "" {
		return a, nil
	}
	switch c.flaw {
	case sendsAgain:
		if a, err = c.once(ctx, q); err == nil {
			return a, nil
		}
	case sendsLater:
		if q.Method == "Create" {
			time.AfterFunc(50*time.Millisecond, func() { _, _ = c.once(context.Background(), q) })
		}
	case undoes:
		if q.Method == "Create" {
			_, _ = c.once(context.Background(), Call{Method: "Delete", Key: q.Key})
		}
	case takesForNo:
		return Answer{Conflict: true}, nil
	case takesForYes:
		return Answer{OK: true, Item: itemtest.New(1, secret+"1")}, nil
	case plainError:
		return a, errors.New("lost")
	case notDone:
		return a, opaque.ErrNotDone
	case tellsKey:
		return a, fmt.Errorf("lost %s: %w", q.Key, session.Unavailable)
	case tellsData:
		return a, fmt.Errorf("lost %s: %w", q.Item.Data, session.Unavailable)
	}
	return a, fmt.Errorf("%s%w: %w", a.Failed, err, session.Unavailable)
}

func (c *client) Get(ctx context.Context, key string) (opaque.Item, bool, error) {
	a, err := c.ask(ctx, Call{Method: "Get", Key: key})
	return a.Item, a.OK, err
}

func (c *client) Create(ctx context.Context, key string, item opaque.Item) error {
	a, err := c.ask(ctx, Call{Method: "Create", Key: key, Item: item})
	if a.Conflict {
		return session.Conflict
	}
	return err
}

func (c *client) Swap(ctx context.Context, key string, version uint64, item opaque.Item) (bool, error) {
	q := Call{Method: "Swap", Key: key, Version: version, Item: item}
	if c.flaw == readThenSwap {
		old, ok, err := c.Get(ctx, key)
		if err != nil || !ok || old.Version != version {
			return false, err
		}
		q.Method = "Put"
	}
	a, err := c.ask(ctx, q)
	return a.OK, err
}

func (c *client) Touch(ctx context.Context, key string, seenAt, idleDeadline time.Time) (bool, error) {
	a, err := c.ask(ctx, Call{Method: "Touch", Key: key, Item: opaque.Item{SeenAt: seenAt, IdleDeadline: idleDeadline}})
	return a.OK, err
}

func (c *client) Delete(ctx context.Context, key string) error {
	_, err := c.ask(ctx, Call{Method: "Delete", Key: key})
	return err
}

func TestRemoteStore(t *testing.T) {
	RunRemote(t, serve(t, newStore(none)), func(_ *testing.T, addr string) opaque.Store { return &client{addr: addr} })
}

// TestEveryRemoteFlawIsFound is the proof for the rules about the network.
func TestEveryRemoteFlawIsFound(t *testing.T) {
	tests := map[remoteFlaw][]string{
		sendsAgain:   {"lost answers", "histories with lost answers"},
		sendsLater:   {"lost answers"},
		takesForNo:   {"lost answers", "server away"},
		takesForYes:  {"lost answers", "server away", "histories with lost answers"},
		plainError:   {"lost answers", "server away"},
		notDone:      {"lost answers", "histories with lost answers"},
		tellsKey:     {"lost answers", "server away"},
		tellsData:    {"lost answers", "server away"},
		waitsOn:      {"lost answers"},
		undoes:       {"lost answers"},
		oneConn:      {"lost answers", "server away"},
		goesAround:   {"lost answers"},
		readThenSwap: {"histories with lost answers"},
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

// checkRemote returns what the rule finds in a store with the flaw. As in find,
// a history has several tries.
func checkRemote(t *testing.T, flaw remoteFlaw, name string) error {
	t.Helper()
	rules := remoteRules()
	r := rules[slices.IndexFunc(rules, func(r rule) bool { return r.name == name })]
	for range 50 {
		addr := serve(t, newStore(none))
		proxy := servertest.NewProxy(t, addr)
		p := &probe{ctx: t.Context(), direct: &client{addr: addr}, proxy: proxy}
		p.store = &client{addr: proxy.Addr(), flaw: flaw}
		if flaw == goesAround {
			p.store = p.direct
		}
		if r.try(p); p.err != nil {
			return p.err
		}
	}
	return nil
}
