package redisstore

import (
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// add returns an open connection and its other end.
func add(t *testing.T, c *connections) (ours *connection, theirs net.Conn) {
	t.Helper()
	a, b := net.Pipe()
	ours = &connection{Conn: a, in: c, since: time.Now()}
	c.unready.Add(1)
	c.open[ours] = true
	go func() { _, _ = io.Copy(io.Discard, b) }()
	t.Cleanup(func() { _, _ = ours.Close(), b.Close() })
	return ours, b
}

func isOpen(c *connections, conn *connection) bool { return c.open[conn] }

// Only the connection that owes an answer is closed, and not one that answers
// late.
func TestCloseSilent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newConnections(Config{})
		silent, _ := add(t, c)
		busy, answers := add(t, c)
		idle, _ := add(t, c)
		start := time.Now()
		for _, conn := range []*connection{silent, busy} {
			_, err := conn.Write([]byte("command"))
			require.NoError(t, err)
		}
		time.Sleep(200 * time.Millisecond) // of the bubble's clock
		go func() { _, _ = answers.Write([]byte("answer")) }()
		_, err := io.ReadFull(busy, make([]byte, 6))
		require.NoError(t, err)
		_, err = busy.Write([]byte("command"))
		require.NoError(t, err)
		time.Sleep(100 * time.Millisecond)

		c.closeSilent(start)
		require.False(t, isOpen(c, silent))
		require.True(t, isOpen(c, busy))
		require.True(t, isOpen(c, idle))
		_, err = silent.Write([]byte("command"))
		require.Error(t, err)
	})
}

func TestCloseOld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newConnections(Config{})
		old, _ := add(t, c)
		time.Sleep(2 * time.Second) // of the bubble's clock
		young, _ := add(t, c)
		c.closeOld()
		require.False(t, isOpen(c, old))
		require.True(t, isOpen(c, young))
	})
}
