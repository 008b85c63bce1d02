//go:build unix

package memcachestore_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/internal/itemtest"
	"github.com/cloakroom-go/cloakroom/internal/servertest"
	"github.com/cloakroom-go/cloakroom/opaque"
	"github.com/cloakroom-go/cloakroom/opaque/memcachestore"
	"github.com/cloakroom-go/cloakroom/session"
)

// slack is how much longer than its deadline a call may take on a machine that
// is busy.
const slack = 2 * time.Second

// A world is a server, a store whose connections a proxy can spoil, and one
// that reads the truth.
type world struct {
	server *servertest.Process
	proxy  *servertest.Proxy
	store  *memcachestore.Store
	truth  *memcachestore.Store
	onNow  atomic.Pointer[func()] // called between gets and cas
}

func newWorld(t *testing.T) *world {
	t.Helper()
	addr := servertest.FreeAddr(t)
	w := &world{server: startAt(t, addr), proxy: servertest.NewProxy(t, addr)}
	w.store = newStore(t, memcachestore.Config{Addr: w.proxy.Addr(), Timeout: time.Second, Now: func() time.Time {
		if f := w.onNow.Swap(nil); f != nil {
			(*f)()
		}
		return time.Now()
	}})
	w.truth = newStore(t, memcachestore.Config{Addr: addr})
	return w
}

// afterRead calls f when the next Swap or Touch has read the item.
func (w *world) afterRead(f func()) { w.onNow.Store(&f) }

// within calls f with a context that ends after d, and fails if f takes longer.
func within(t *testing.T, d time.Duration, f func(ctx context.Context)) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	defer cancel()
	begin := time.Now()
	f(ctx)
	require.Less(t, time.Since(begin), d+slack)
}

// A server that was restarted has lost everything. Connections to the one
// before fail no read, and at most one write.
func TestRestart(t *testing.T) {
	w := newWorld(t)
	addr := servertest.FreeAddr(t)
	server := startAt(t, addr)
	s := newStore(t, memcachestore.Config{Addr: addr})
	var group sync.WaitGroup
	for n := range 8 { // as many idle connections, give or take
		group.Go(func() { _ = s.Create(t.Context(), key(n), itemtest.New(1, "x")) })
	}
	group.Wait()
	require.EqualValues(t, 1, version(t, s, key(0)))

	server.Stop()
	within(t, time.Second, func(ctx context.Context) {
		for name, err := range itemtest.Errors(ctx, s, key(0)) {
			require.ErrorIs(t, err, session.Unavailable, name)
		}
		for name, err := range itemtest.Errors(ctx, s, key(0)) {
			require.ErrorIs(t, err, opaque.ErrNotDone, name)
		}
	})
	startAt(t, addr)
	for n := range 8 {
		require.Zero(t, version(t, s, key(n)), "nobody is let in after a restart")
	}
	ok, err := s.Swap(t.Context(), key(0), 1, itemtest.New(2, "back"))
	require.NoError(t, err)
	require.False(t, ok, "a lost session came back")
	create(t, s, key(9), itemtest.New(1, "x"))

	create(t, w.store, key(1), itemtest.New(1, "x"))
	w.proxy.CloseConnections()
	require.EqualValues(t, 1, version(t, w.store, key(1)), "a read over a connection that was closed while idle")
}

// A server that stands still carries commands out when their callers have given
// up. They take effect at most once, and nothing that was deleted comes back.
func TestPausedServer(t *testing.T) {
	w := newWorld(t)
	create(t, w.store, key(1), itemtest.New(1, "x"))
	create(t, w.store, key(2), itemtest.New(1, "x"))
	w.afterRead(func() { w.server.Pause() })
	within(t, 500*time.Millisecond, func(ctx context.Context) {
		_, err := w.store.Swap(ctx, key(1), 1, itemtest.New(2, "y"))
		require.ErrorIs(t, err, session.Unavailable)
		require.ErrorIs(t, err, context.DeadlineExceeded)
	})
	within(t, 100*time.Millisecond, func(ctx context.Context) {
		for name, err := range itemtest.Errors(ctx, w.store, key(2)) {
			require.ErrorIs(t, err, session.Unavailable, name)
		}
	})
	w.server.Continue()
	ok, err := w.store.Swap(t.Context(), key(1), 2, itemtest.New(3, "z"))
	require.NoError(t, err)
	require.Equal(t, ok, version(t, w.store, key(1)) == 3)
	require.NoError(t, w.store.Delete(t.Context(), key(1)))
	require.Zero(t, version(t, w.store, key(1)))
	create(t, w.store, key(3), itemtest.New(1, "x"))
}

// A call ends with its context, also where that has no deadline.
func TestCancel(t *testing.T) {
	w := newWorld(t)
	create(t, w.store, key(1), itemtest.New(1, "x"))
	w.proxy.Set(servertest.Swallow)
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(50*time.Millisecond, cancel)
	begin := time.Now()
	_, _, err := w.store.Get(ctx, key(1))
	require.ErrorIs(t, err, session.Unavailable)
	require.ErrorIs(t, err, context.Canceled)
	require.Less(t, time.Since(begin), slack)

	w.proxy.Set(servertest.Pass)
	w.afterRead(cancel) // it was done before, so nothing is read
	ok, err := w.store.Swap(ctx, key(1), 1, itemtest.New(2, "y"))
	require.ErrorIs(t, err, session.Unavailable)
	require.False(t, ok)
	ctx, cancel = context.WithCancel(t.Context())
	w.afterRead(cancel)
	_, err = w.store.Swap(ctx, key(1), 1, itemtest.New(2, "y"))
	require.ErrorIs(t, err, session.Unavailable)
	require.NoError(t, w.store.Close())
	require.EqualValues(t, 1, version(t, w.truth, key(1)), "a write after the caller had gone")
}

// Without a deadline, Timeout ends a call.
func TestTimeout(t *testing.T) {
	addr := start(t)
	p := servertest.NewProxy(t, addr)
	s := newStore(t, memcachestore.Config{Addr: p.Addr(), Timeout: 50 * time.Millisecond})
	create(t, s, key(1), itemtest.New(1, "x"))
	p.Set(servertest.Swallow)
	begin := time.Now()
	for name, err := range itemtest.Errors(context.Background(), s, key(1)) {
		require.ErrorIs(t, err, session.Unavailable, name)
	}
	require.Less(t, time.Since(begin), 5*4*50*time.Millisecond+slack)
}

// Callers who give up at any moment leave connections behind. Nobody may get
// what was meant for another.
func TestNobodyGetsAnothersSession(t *testing.T) {
	w := newWorld(t)
	const visitors, each = 8, 100
	for n := range visitors {
		create(t, w.store, key(n), itemtest.New(1, strconv.Itoa(n)))
	}
	var answered, lost atomic.Int64
	var group sync.WaitGroup
	for n := range visitors {
		group.Go(func() {
			for range each {
				ctx, cancel := context.WithTimeout(t.Context(), time.Duration(rand.IntN(20))*time.Millisecond)
				got, ok, err := w.store.Get(ctx, key(n))
				cancel()
				switch {
				case err != nil:
					lost.Add(1)
				case !ok || string(got.Data) != strconv.Itoa(n):
					t.Errorf("visitor %d got ok=%v, data of %q", n, ok, got.Data)
				default:
					answered.Add(1)
				}
			}
		})
	}
	group.Wait()
	require.Positive(t, answered.Load())
	require.Positive(t, lost.Load())
}

// What doesn't belong to the question is refused, and no error repeats it.
func TestWrongAnswers(t *testing.T) {
	header := strings.Repeat("\x00", 7) + "\x01" + strings.Repeat("\x00", 24)
	value := func(key, data string) string {
		return fmt.Sprintf("VALUE %s 0 %d 1\r\n%s\r\nEND\r\n", key, len(data), data)
	}
	rows := map[string]string{
		"another key":      value(key(2), header+"secret"),
		"too short":        value(key(1), "secret"),
		"version 0":        value(key(1), strings.Repeat("\x00", 32)+"secret"),
		"no value":         "VALUE secret\r\n",
		"an error":         "SERVER_ERROR secret\r\n",
		"another protocol": "HTTP/1.1 400 secret\r\n\r\n",
		"nothing":          "",
	}
	for name, answer := range rows {
		t.Run(name, func(t *testing.T) {
			s := newStore(t, memcachestore.Config{Addr: answering(t, answer), Timeout: time.Second})
			for method, err := range itemtest.Errors(t.Context(), s, key(1)) {
				require.ErrorIs(t, err, session.Unavailable, method)
				require.NotContains(t, err.Error(), "secret", method)
				require.NotContains(t, err.Error(), key(1), method)
			}
		})
	}
}

// answering returns the address of a server that gives one answer to everything
// and then closes the connection.
func answering(t *testing.T, answer string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer func() { _ = conn.Close() }()
				if _, err := bufio.NewReader(conn).ReadString('\n'); err == nil {
					_, _ = io.WriteString(conn, answer)
				}
			}()
		}
	}()
	return l.Addr().String()
}
