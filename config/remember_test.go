package config_test

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/config"
	"github.com/cloakroom-go/cloakroom/session"
)

const day = 24 * time.Hour

// later is a clock that is ahead of the real one by what it was moved.
type later struct{ by atomic.Int64 }

func (l *later) Now() time.Time { return time.Now().Add(time.Duration(l.by.Load())) }

func (l *later) Advance(d time.Duration) { l.by.Add(int64(d)) }

func inEachMode(t *testing.T, f func(t *testing.T, c config.Config)) {
	for _, mode := range []config.Mode{config.Stateless, config.Opaque, config.Auto} {
		t.Run(string(mode), func(t *testing.T) { f(t, config.Config{Mode: mode, Keys: config.KeysConfig{File: keyFile(t)}}) })
	}
}

func remembered(s *session.Session) {
	_ = s.Login("alice")
	_ = s.Remember(true)
}

// Where nothing is set, a remembered session lives as long as the keys allow.
func TestRememberedByDefault(t *testing.T) {
	inEachMode(t, func(t *testing.T, c config.Config) {
		var clock later
		app := build(t, c, config.Options{Now: clock.Now})
		cookie := visit(t, app, nil, remembered)
		require.InDelta(t, int(30*day/time.Second), cookie.MaxAge, 60)
		clock.Advance(day - time.Minute)
		require.Equal(t, "alice", subjectOf(t, app, cookie))
		clock.Advance(2 * time.Minute)
		want := ""
		if c.Mode == config.Opaque {
			want = "alice"
		}
		require.Equal(t, want, subjectOf(t, app, cookie), "a token lives for 24 hours, by the policy of the keys")
	})
}

func TestRememberedLimitsAreRead(t *testing.T) {
	inEachMode(t, func(t *testing.T, c config.Config) {
		c.Session.RememberedIdleTimeout = config.Duration(2 * time.Hour)
		c.Session.RememberedLifetime = config.Duration(20 * time.Hour)
		var clock later
		app := build(t, c, config.Options{Now: clock.Now})
		cookie := visit(t, app, nil, remembered)
		require.InDelta(t, int(20*time.Hour/time.Second), cookie.MaxAge, 60)
		clock.Advance(2*time.Hour - time.Minute)
		require.Equal(t, "alice", subjectOf(t, app, cookie))
		clock.Advance(2*time.Hour + time.Minute)
		require.Empty(t, subjectOf(t, app, cookie))
	})
}

// The end of all sessions of a subject is remembered as long as the longest of
// them could live.
func TestEndSubjectOutlastsRememberedSessions(t *testing.T) {
	inEachMode(t, func(t *testing.T, c config.Config) {
		var clock later
		app := build(t, c, config.Options{Now: clock.Now})
		var rec session.Record
		visit(t, app, nil, func(s *session.Session) { remembered(s); rec = s.Snapshot() })
		clock.Advance(time.Minute)
		require.NoError(t, app.Revocations.EndSubject(t.Context(), "alice"))
		require.NoError(t, app.Close())
		clock.Advance(29 * day)
		require.ErrorIs(t, build(t, c, config.Options{Now: clock.Now}).Revocations.Check(&rec), session.Ended)
	})
}

func TestRememberedRefused(t *testing.T) {
	long := config.SessionConfig{RememberedIdleTimeout: config.Duration(14 * day)}
	for _, row := range []struct {
		name string
		in   config.Config
		want string
	}{
		{"longer than the keys allow", config.Config{Keys: config.KeysConfig{File: keyFile(t)}, Session: long}, `config: field "session.remembered_idle_timeout": is 14d, but the policy of the keys limits tokens to 1d: sessions would end early; run: keygen policy --token-life 14d`},
		{"persistent, with ordinary limits alone", config.Config{Mode: config.Opaque, Session: config.SessionConfig{Persistent: true, IdleTimeout: config.Duration(time.Minute)}}, `config: field "session.remembered_idle_timeout": `},
		{"persistent, in tokens", config.Config{Keys: config.KeysConfig{File: keyFile(t)}, Session: config.SessionConfig{Persistent: true, IdleTimeout: config.Duration(time.Minute)}}, `config: field "session.remembered_idle_timeout": `},
		{"longer than the preset", config.Config{Mode: config.Opaque, Session: config.SessionConfig{Preset: "aal2", RememberedLifetime: config.Duration(30 * day)}}, `config: field "session.remembered_lifetime": 30d is longer than the 1d of preset aal2; shorten it or drop the preset`},
		{"shorter than the ordinary limit", config.Config{Mode: config.Opaque, Session: config.SessionConfig{RememberedLifetime: config.Duration(time.Hour)}}, `config: field "session.remembered_lifetime": `},
		{"idle for longer than the lifetime that is not set", config.Config{Mode: config.Opaque, Session: config.SessionConfig{IdleTimeout: config.Duration(30 * day)}}, `config: field "session.idle_timeout": `},
	} {
		t.Run(row.name, func(t *testing.T) {
			_, err := row.in.Build(config.Options{})
			require.ErrorContains(t, err, row.want)
			require.NotContains(t, err.Error(), "\n", "one mistake, one error")
		})
	}
	build(t, config.Config{Mode: config.Opaque, Keys: config.KeysConfig{File: keyFile(t)}, Session: long},
		config.Options{})
}
