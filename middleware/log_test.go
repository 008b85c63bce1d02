package middleware_test

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/cloakroom-go/cloakroom/middleware"
	"github.com/cloakroom-go/cloakroom/session"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestLogLevels(t *testing.T) {
	tests := []struct {
		event middleware.Event
		want  string
	}{
		{middleware.Event{Kind: middleware.Created}, "DEBUG"},
		{middleware.Event{Kind: middleware.Renewed}, "DEBUG"},
		{middleware.Event{Kind: middleware.Ended}, "DEBUG"},
		{middleware.Event{Kind: middleware.Moved, Subject: "alice"}, "DEBUG"},
		{middleware.Event{Kind: middleware.Abandoned, Reason: session.Unavailable}, "DEBUG"},
		{middleware.Event{Kind: middleware.Created, Subject: "alice"}, "INFO"},
		{middleware.Event{Kind: middleware.Renewed, Subject: "alice"}, "INFO"},
		{middleware.Event{Kind: middleware.Ended, Subject: "alice"}, "INFO"},
		{middleware.Event{Kind: middleware.EndedSubject, Subject: "alice"}, "INFO"},
		{middleware.Event{Kind: middleware.EndedAll}, "INFO"},
		{middleware.Event{Kind: middleware.EndedAll, Err: errors.New("no disk")}, "ERROR"},
		{middleware.Event{Kind: middleware.Refused, Reason: session.Ended}, "INFO"},
		{middleware.Event{Kind: middleware.Refused, Reason: session.Forged}, "WARN"},
		{middleware.Event{Kind: middleware.Refused, Reason: session.CrossOrigin}, "WARN"},
		{middleware.Event{Kind: middleware.NearlyFull, Subject: "alice"}, "WARN"},
		{middleware.Event{Kind: middleware.CookieDropped}, "WARN"},
		{middleware.Event{Kind: middleware.Failed, Reason: session.Unavailable}, "ERROR"},
	}
	for _, tt := range tests {
		var log bytes.Buffer
		logger := slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
		middleware.LogEvents(logger)(t.Context(), tt.event)
		assert.Contains(t, log.String(), "level="+tt.want+" ", tt.event.Kind)
	}
}

// What a client sends fills no log.
func TestLogLinesAreShort(t *testing.T) {
	var log bytes.Buffer
	long := strings.Repeat("x", 100_000)
	middleware.LogEvents(slog.New(slog.NewTextHandler(&log, nil)))(t.Context(), middleware.Event{
		Kind: middleware.Refused, Reason: session.CrossOrigin, Method: long, Path: long, Origin: long, Host: long,
	})
	assert.Equal(t, 4*200, strings.Count(log.String(), "x"))
}

// The example of a sum is the last of what was counted.
func TestExampleOfRefusals(t *testing.T) {
	var log bytes.Buffer
	onEvent := middleware.LogEvents(slog.New(slog.NewTextHandler(&log, nil)))
	now := time.Now()
	for i, path := range []string{"/first", "/second", "/third", "/last"} {
		at := now.Add(time.Duration(i) * time.Second)
		onEvent(t.Context(), middleware.Event{
			Kind: middleware.Refused, Reason: session.Forged, Method: "GET", Path: path, Time: at,
		})
	}
	onEvent(t.Context(), middleware.Event{Kind: middleware.Created, Time: now.Add(time.Minute)})
	assert.Contains(t, log.String(), "path=/last count=3\n")
}

// A bot writes one line a minute, not one a request.
func TestRefusalsAreSummedUp(t *testing.T) {
	eachMode(t, func(t *testing.T, mode string, w *world) {
		var log bytes.Buffer
		onEvent := middleware.LogEvents(slog.New(slog.NewTextHandler(&log, nil)))
		m := w.Middleware(t, mode, func(c *middleware.Config) { c.OnEvent = onEvent })
		lines := func() []string {
			defer log.Reset()
			return strings.Split(strings.TrimSpace(log.String()), "\n")
		}
		for range 600 {
			w.Advance(500 * time.Millisecond)
			subjectOf(m, "garbage")
			subjectOf(m, unknownID())
			begin(t, m, "") // anonymous sessions have no line at all
		}
		got := lines()
		require.Len(t, got, 10, "two reasons in five minutes")
		assert.Contains(t, got[0], `msg="session refused" session="" subject="" reason=malformed`)
		assert.Contains(t, got[1], `msg="session refused" session="" subject="" reason=not_found`)
		assert.Contains(t, strings.Join(got[2:], "\n"), "count=119\n", "with the first line, two a second")
		for _, line := range got[2:] {
			assert.Contains(t, line, `msg="session refused again"`)
			assert.Contains(t, line, "method=GET path=/")
			assert.Regexp(t, "reason=(malformed|not_found) error=", line)
		}

		w.Advance(time.Minute)
		begin(t, m, "alice")
		got = lines()
		require.Len(t, got, 3, "the rest comes with the next event, whatever it is")
		assert.Contains(t, strings.Join(got[:2], "\n"), "session refused again")
		assert.Contains(t, got[2], "subject=alice")

		w.Advance(2 * time.Minute)
		subjectOf(m, "garbage")
		got = lines()
		require.Len(t, got, 1, "after a quiet minute, at once again")
		assert.Contains(t, got[0], `msg="session refused" `)
	})
}

// Whose session it was can be told, unless the store has forgotten it.
func TestRefusalNamesTheSession(t *testing.T) {
	eachMode(t, func(t *testing.T, mode string, w *world) {
		var e events
		m := w.Middleware(t, mode, watched(&e))
		alice := begin(t, m, "alice")
		id := ""
		visit(m, alice, func(s *session.Session) { id = s.ID() })
		w.Advance(time.Second)
		require.NoError(t, w.List.EndSubject(t.Context(), "alice"))
		assert.Empty(t, subjectOf(m, alice))
		got := e.All()[len(e.All())-1]
		assert.Equal(t, middleware.Refused, got.Kind)
		assert.Equal(t, session.Ended, got.Reason)
		assert.Equal(t, "alice", got.Subject)
		assert.Equal(t, id, got.SessionID)

		if mode == "opaque" {
			return // a tombstone says nothing of its session
		}
		bob := begin(t, m, "bob")
		visit(m, bob, func(s *session.Session) { assert.NoError(t, s.Destroy()) })
		assert.Empty(t, subjectOf(m, bob))
		assert.Equal(t, "bob", e.All()[len(e.All())-1].Subject)
	})
}
