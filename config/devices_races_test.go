package config_test

import (
	"context"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/config"
	"github.com/cloakroom-go/cloakroom/session"
)

// shifted returns options whose clock is ahead by what shift says.
func shifted(shift *atomic.Int64) config.Options {
	return config.Options{Now: func() time.Time { return time.Now().Add(time.Duration(shift.Load())) }}
}

func inModes(t *testing.T, d config.DevicesConfig, o config.Options, test func(t *testing.T, app *config.App)) {
	d.Enabled = true
	for _, mode := range []config.Mode{config.Opaque, config.Stateless, config.Auto} {
		t.Run(string(mode), func(t *testing.T) {
			in := config.Config{Mode: mode, Devices: d}
			if mode != config.Opaque {
				in.Keys = config.KeysConfig{File: keyFile(t)}
			}
			test(t, build(t, in, o))
		})
	}
}

// A login in a request whose session was renewed meanwhile begins another
// session. At the limit it ends the renewed one, and must not wait for the save
// that it is part of.
func TestLoginEndsTheSessionItCameWith(t *testing.T) {
	inModes(t, config.DevicesConfig{Limit: 1}, config.Options{}, func(t *testing.T, app *config.App) {
		cookie := login(t, app, "alice")
		w := serve(app, request(cookie), func(ctx context.Context) {
			cookie = visit(t, app, cookie, func(s *session.Session) { require.NoError(t, s.Renew()) })
			require.NoError(t, session.From(ctx).Login("alice"))
			require.NoError(t, session.From(ctx).Save(ctx))
		})
		require.Equal(t, http.StatusOK, w.Code)
		require.Empty(t, subjectOf(t, app, cookie))
		require.Len(t, idsOf(t, app, "alice"), 1)
	})
}

// Without a limit, both sessions live, and both are listed.
func TestLoginKeepsTheSessionItCameWith(t *testing.T) {
	inModes(t, config.DevicesConfig{}, config.Options{}, func(t *testing.T, app *config.App) {
		cookie := login(t, app, "alice")
		id := idOf(t, app, cookie)
		serve(app, request(cookie), func(ctx context.Context) {
			cookie = visit(t, app, cookie, func(s *session.Session) { require.NoError(t, s.Renew()) })
			require.NoError(t, session.From(ctx).Login("alice"))
		})
		require.Equal(t, "alice", subjectOf(t, app, cookie))
		require.Len(t, idsOf(t, app, "alice"), 2)
		require.NoError(t, app.Devices.End(t.Context(), "alice", id))
		require.Empty(t, subjectOf(t, app, cookie))
	})
}

// A session that has timed out never stands in the way of a login, even while
// nobody can tell for sure that it has.
func TestLoginAtTheLimitAfterATimeout(t *testing.T) {
	var shift atomic.Int64
	for _, refuse := range []bool{false, true} {
		inModes(t, config.DevicesConfig{Limit: 1, RefuseNew: refuse}, shifted(&shift), func(t *testing.T, app *config.App) {
			for _, after := range []time.Duration{31 * time.Minute, 55 * time.Minute, 65 * time.Minute} {
				login(t, app, "alice")
				shift.Add(int64(after))
			}
			login(t, app, "alice")
			require.Len(t, idsOf(t, app, "alice"), 1)
		})
	}
}

// However often somebody logs in, each login ends one session at most.
func TestManyLoginsAtTheLimit(t *testing.T) {
	var shift atomic.Int64
	inModes(t, config.DevicesConfig{Limit: 20}, shifted(&shift), func(t *testing.T, app *config.App) {
		all := make([]*http.Cookie, 0, 200)
		for range cap(all) {
			shift.Add(int64(time.Second))
			all = append(all, login(t, app, "alice"))
		}
		for i, cookie := range all {
			want := ""
			if i >= len(all)-20 {
				want = "alice"
			}
			require.Equal(t, want, subjectOf(t, app, cookie), "login %d", i)
		}
	})
}

// A tag of a login that is still to be saved ends the session that the login
// was in, too.
func TestEndTagOfAPendingLogin(t *testing.T) {
	inModes(t, config.DevicesConfig{}, config.Options{}, func(t *testing.T, app *config.App) {
		cookie := login(t, app, "alice")
		serve(app, request(cookie), func(ctx context.Context) {
			require.NoError(t, session.From(ctx).Login("alice", session.Tag("tenant", "acme")))
			require.NoError(t, app.Revocations.EndTag(ctx, "tenant", "acme"))
		})
		require.Empty(t, subjectOf(t, app, cookie))
		require.Empty(t, idsOf(t, app, "alice"))
	})
}
