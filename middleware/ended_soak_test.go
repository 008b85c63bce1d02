//go:build unix

package middleware_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"runtime"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/internal/apptest"
	"github.com/cloakroom-go/cloakroom/session"
)

// streamsThatFit returns how many streams to open: each needs two files.
func streamsThatFit(t *testing.T) int {
	if os.Getenv("CLOAKROOM_SOAK") == "" {
		return 200
	}
	var files syscall.Rlimit
	require.NoError(t, syscall.Getrlimit(syscall.RLIMIT_NOFILE, &files))
	return min(10_000, (int(files.Cur)-300)/2/200*200)
}

// Thousands of streams: half of them are ended on another instance, the others
// are closed by their clients. All end, and nothing is left of them.
func TestEndedSoak(t *testing.T) {
	for _, mode := range []string{"stateless", "opaque"} {
		t.Run(mode, func(t *testing.T) { endStreams(t, mode, streamsThatFit(t)) })
	}
}

// A crowd is the streams of one server.
type crowd struct {
	instance   // of the server
	address    string
	open, told atomic.Int64 // streams, and those that Ended has told
}

func newCrowd(t *testing.T, i instance) *crowd {
	c := &crowd{instance: i}
	server := httptest.NewServer(i.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ended := session.From(r.Context()).Ended()
		c.open.Add(1)
		defer c.open.Add(-1)
		_ = http.NewResponseController(w).Flush()
		select {
		case <-ended:
			c.told.Add(1)
		case <-r.Context().Done():
		}
	})))
	t.Cleanup(server.Close)
	c.address = server.Listener.Addr().String()
	return c
}

func (c *crowd) waitFor(t *testing.T, open int) {
	require.Eventually(t, func() bool { return c.open.Load() == int64(open) }, 60*time.Second, time.Millisecond)
}

func endStreams(t *testing.T, mode string, n int) {
	a, b := instances(t, mode)
	fresh := func() bool { return a.list.Fresh() == nil && b.list.Fresh() == nil }
	require.Eventually(t, fresh, 5*time.Second, time.Millisecond)
	c := newCrowd(t, a)
	goroutines := runtime.NumGoroutine()
	rounds := 2
	if os.Getenv("CLOAKROOM_SOAK") != "" {
		rounds = 10
	}
	var memory []int64
	for range rounds {
		c.endStreams(t, b, n)
		left := func() bool { return runtime.NumGoroutine() <= goroutines+2 }
		require.Eventually(t, left, 30*time.Second, time.Millisecond)
		memory = append(memory, apptest.Heap())
	}
	t.Logf("bytes in use after each crowd: %d", memory)
	require.Less(t, memory[rounds-1]-memory[0], int64(1<<20+n*100), "the last crowd leaves more than the first")
}

// endStreams opens n streams of sessions and ends half of the sessions on the
// instance elsewhere.
func (c *crowd) endStreams(t *testing.T, elsewhere instance, n int) {
	credentials := make([]string, 20) // few: carriers remember what they have opened
	for i := range credentials {
		// Many ends of one subject would become one that ends the others, too.
		credentials[i] = begin(t, elsewhere.Middleware, fmt.Sprint("user ", i))
	}
	goroutines, memory := runtime.NumGoroutine(), apptest.Heap()
	streams := make([]net.Conn, n)
	for i := range streams {
		streams[i] = openStream(t, c.address, credentials[i%len(credentials)])
	}
	c.waitFor(t, n)
	t.Logf("%d streams: %d goroutines and %d bytes each, of client and server", n,
		(runtime.NumGoroutine()-goroutines)/n, (apptest.Heap()-memory)/int64(n))

	began := time.Now()
	for i := 0; i < len(credentials); i += 2 {
		elsewhere.do(t, credentials[i], func(_ context.Context, s *session.Session) error { return s.Destroy() })
	}
	c.waitFor(t, n/2)
	t.Logf("%d logouts ended %d streams in %v", len(credentials)/2, n/2, time.Since(began))
	for i, conn := range streams {
		if i%len(credentials)%2 == 0 {
			_, err := io.Copy(io.Discard, conn)
			require.NoError(t, err)
		}
		conn.Close()
	}
	c.waitFor(t, 0)
	require.EqualValues(t, n/2, c.told.Swap(0))
}

// openStream sends a request and reads the header of its response.
func openStream(t *testing.T, address, credential string) net.Conn {
	conn, err := net.Dial("tcp", address)
	require.NoError(t, err)
	_, err = fmt.Fprintf(conn,
		"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nCookie: __Host-session=%s\r\n\r\n", credential)
	require.NoError(t, err)
	response, err := http.ReadResponse(bufio.NewReaderSize(conn, 16), nil)
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, response.StatusCode)
	return conn
}
