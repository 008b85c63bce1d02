package redisstore

import (
	"context"
	"crypto/tls"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/valkey-io/valkey-go"
)

// connections are the open ones. The client would find out that nobody answers
// on a connection only seconds after the requests that used it have failed, and
// would give it to every request until then.
type connections struct {
	cfg Config

	unready atomic.Int64 // those that are being made, or have not got their first answer

	mu   sync.Mutex
	open map[*connection]bool
}

func newConnections(cfg Config) *connections {
	return &connections{cfg: cfg, open: map[*connection]bool{}}
}

// dial has the signature that the client wants.
func (c *connections) dial(ctx context.Context, addr string, d *net.Dialer, t *tls.Config) (net.Conn, error) {
	if err := c.cfg.permit(addr); err != nil {
		return nil, err
	}
	dialContext := d.DialContext
	if t != nil {
		dialContext = (&tls.Dialer{NetDialer: d, Config: t}).DialContext
	}
	c.unready.Add(1)
	conn, err := dialContext(ctx, "tcp", addr)
	if err != nil {
		c.unready.Add(-1)
		return nil, unconnected{err}
	}
	wrapped := &connection{Conn: conn, in: c, since: time.Now()}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.open[wrapped] = true
	return wrapped, nil
}

// An unconnected is the error of a connection that could not be made. The
// commands that get it were never sent.
type unconnected struct{ error }

func (e unconnected) Unwrap() error { return e.error }

// await returns the reply to a command, or the error of ctx. While one command
// makes a connection, the client lets the others wait for as long as that
// command may take; so they then run in goroutines of their own. What is left
// behind there sends nothing after the end of ctx.
func (c *connections) await(ctx context.Context, do command) (valkey.ValkeyResult, error) {
	if c.unready.Load() == 0 {
		return do(ctx), nil
	}
	reply := make(chan valkey.ValkeyResult, 1)
	go func() { reply <- do(ctx) }()
	select {
	case r := <-reply:
		return r, nil
	case <-ctx.Done():
		return valkey.ValkeyResult{}, ctx.Err()
	}
}

// closeSilent closes the connections that have owed an answer for at least half
// of the time since start, which is when a command began that got none.
func (c *connections) closeSilent(start time.Time) {
	since := time.Now().Add(-time.Since(start) / 2).UnixNano()
	c.closeIf(func(conn *connection) bool {
		asked := conn.asked.Load()
		return asked != 0 && asked <= since
	})
}

// closeOld closes the connections that have been open for more than a second.
// If a new one leads to a server that takes no writes, there is no better one
// yet, and reads go on.
func (c *connections) closeOld() {
	c.closeIf(func(conn *connection) bool { return time.Since(conn.since) > time.Second })
}

func (c *connections) closeIf(is func(*connection) bool) {
	c.mu.Lock()
	var closing []*connection
	for conn := range c.open {
		if is(conn) {
			closing = append(closing, conn)
		}
	}
	c.mu.Unlock()
	for _, conn := range closing {
		_ = conn.Close()
	}
}

// A connection knows since when it owes an answer.
type connection struct {
	net.Conn
	in    *connections
	since time.Time
	ready atomic.Bool
	asked atomic.Int64 // when the first bytes were written after the last answer, in nanoseconds; 0 if none
}

func (c *connection) Write(b []byte) (int, error) {
	c.asked.CompareAndSwap(0, time.Now().UnixNano())
	return c.Conn.Write(b)
}

// Read takes any bytes for an answer: several commands wait on one connection,
// and answers come in their order.
func (c *connection) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if n > 0 {
		c.asked.Store(0)
		c.setReady()
	}
	return n, err
}

func (c *connection) setReady() {
	if !c.ready.Load() && c.ready.CompareAndSwap(false, true) {
		c.in.unready.Add(-1)
	}
}

func (c *connection) Close() error {
	c.setReady()
	c.in.mu.Lock()
	delete(c.in.open, c)
	c.in.mu.Unlock()
	return c.Conn.Close()
}
