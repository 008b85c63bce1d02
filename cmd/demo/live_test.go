package main

import (
	"bufio"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/config"
)

// A stream is what the live page reads.
type stream struct {
	t     *testing.T
	lines chan string // closed at its end
}

// live opens the stream.
func (b *browser) live() *stream {
	b.t.Helper()
	response, err := b.client.Get(b.url + "/live/events")
	require.NoError(b.t, err)
	require.Equal(b.t, "text/event-stream", response.Header.Get("Content-Type"))
	s := &stream{b.t, make(chan string, 64)}
	go func() {
		defer response.Body.Close()
		defer close(s.lines)
		for text := bufio.NewScanner(response.Body); text.Scan(); {
			s.lines <- text.Text()
		}
	}()
	return s
}

// awaits expects a line.
func (s *stream) awaits(want string) *stream {
	s.t.Helper()
	late := time.After(patience)
	for {
		select {
		case line, ok := <-s.lines:
			if line == want {
				return s
			}
			require.True(s.t, ok, "the stream has ended without %q", want)
		case <-late:
			require.FailNow(s.t, "the stream never says "+want)
		}
	}
}

// awaitEnd expects the stream to end.
func (s *stream) awaitEnd() {
	s.t.Helper()
	late := time.After(patience)
	for {
		select {
		case _, ok := <-s.lines:
			if !ok {
				return
			}
		case <-late:
			require.FailNow(s.t, "the stream never ends")
		}
	}
}

// The stream of a session ends with it, and the next one says so.
func TestLive(t *testing.T) {
	eachMode(t, func(t *testing.T, _ config.Mode, d *running) {
		desk, phone := d.browser(t).login("alice"), d.browser(t).login("alice")
		got := desk.page("GET", "/live")
		shows(t, got, 200, "<script src=\"/web/live.js\" defer>")
		require.Contains(t, got.Header.Get("Content-Security-Policy"), "; script-src 'self'; connect-src 'self'")

		one, two := desk.live().awaits(`data: "alice"`), phone.live().awaits("event: alive")
		require.Equal(t, http.StatusSeeOther, desk.page("POST", "/devices/end-others").StatusCode)
		two.awaitEnd()
		phone.live().awaits("event: ended").awaitEnd()
		desk.want("POST", "/logout", "", 200, "")
		one.awaitEnd()
		desk.live().awaits("event: ended").awaitEnd()
	})
}

// An open stream does not hold up the end of the demo.
func TestStopWithAStream(t *testing.T) {
	d := start(t, "-keys", newKeyPath(t))
	s := d.browser(t).login("alice").live().awaits("event: alive")
	began := time.Now()
	require.NoError(t, d.end())
	require.Less(t, time.Since(began), shutdownTimeout)
	s.awaitEnd()
}
