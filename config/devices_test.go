package config_test

import (
	"context"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/config"
	"github.com/cloakroom-go/cloakroom/devices"
	"github.com/cloakroom-go/cloakroom/middleware"
	"github.com/cloakroom-go/cloakroom/opaque"
	"github.com/cloakroom-go/cloakroom/session"
)

// withDevices returns an app of each mode that lists sessions in memory.
func withDevices(t *testing.T, c config.DevicesConfig, test func(t *testing.T, app *config.App)) {
	for _, mode := range []config.Mode{config.Opaque, config.Stateless, config.Auto} {
		t.Run(string(mode), func(t *testing.T) {
			c.Enabled = true
			in := config.Config{Mode: mode, Devices: c}
			if mode != config.Opaque {
				in.Keys = config.KeysConfig{File: keyFile(t)}
			}
			test(t, build(t, in, config.Options{
				Client: func(r *http.Request) (string, string) { return r.UserAgent(), "192.0.2.1" },
			}))
		})
	}
}

func idsOf(t *testing.T, app *config.App, subject string) (ids []string) {
	t.Helper()
	list, err := app.Devices.List(t.Context(), subject)
	require.NoError(t, err)
	for _, s := range list {
		ids = append(ids, s.ID)
	}
	return ids
}

func idOf(t *testing.T, app *config.App, cookie *http.Cookie) (id string) {
	t.Helper()
	visit(t, app, cookie, func(s *session.Session) { id = s.ID() })
	return id
}

// A session is listed while it lives, whatever happens to it, and only for its
// subject.
func TestDevices(t *testing.T) {
	withDevices(t, config.DevicesConfig{}, func(t *testing.T, app *config.App) {
		desk, phone, other := login(t, app, "alice"), login(t, app, "alice"), login(t, app, "bob")
		visit(t, app, nil, func(s *session.Session) { require.NoError(t, session.Key[int]("cart").Set(s, 1)) })
		require.ElementsMatch(t, []string{idOf(t, app, desk), idOf(t, app, phone)}, idsOf(t, app, "alice"))
		require.Equal(t, []string{idOf(t, app, other)}, idsOf(t, app, "bob"))

		desk = visit(t, app, desk, func(s *session.Session) { require.NoError(t, s.Renew()) })
		phone = visit(t, app, phone, func(s *session.Session) { require.NoError(t, s.Login("alice")) })
		require.ElementsMatch(t, []string{idOf(t, app, desk), idOf(t, app, phone)}, idsOf(t, app, "alice"))

		err := app.Devices.End(t.Context(), "bob", idOf(t, app, desk))
		require.ErrorIs(t, err, session.NotFound)
		require.Equal(t, "alice", subjectOf(t, app, desk))

		id := idOf(t, app, phone)
		require.NoError(t, app.Devices.End(t.Context(), "alice", id))
		require.Empty(t, subjectOf(t, app, phone))
		require.Equal(t, []string{idOf(t, app, desk)}, idsOf(t, app, "alice"))
		require.ErrorIs(t, app.Devices.End(t.Context(), "alice", id), session.NotFound)

		visit(t, app, desk, func(s *session.Session) { require.NoError(t, s.Login("carol")) })
		require.Empty(t, idsOf(t, app, "alice"))
		require.Len(t, idsOf(t, app, "carol"), 1)
		visit(t, app, other, func(s *session.Session) { require.NoError(t, s.Destroy()) })
		require.Empty(t, idsOf(t, app, "bob"))
	})
}

// A list shows what the application has asked for, and which session is the
// visitor's.
func TestDeviceDetails(t *testing.T) {
	withDevices(t, config.DevicesConfig{}, func(t *testing.T, app *config.App) {
		cookie := visit(t, app, nil, func(s *session.Session) {
			require.NoError(t, s.Login("alice"))
			require.NoError(t, s.Remember(true))
		})
		login(t, app, "alice")
		r := request(cookie)
		var list []devices.Session
		serve(app, r, func(ctx context.Context) {
			var err error
			list, err = app.Devices.List(ctx, "alice")
			require.NoError(t, err)
		})
		require.Len(t, list, 2)
		for _, s := range list {
			require.Equal(t, s.ID == idOf(t, app, cookie), s.Current)
			require.Equal(t, s.Current, s.Remembered)
			require.Equal(t, "192.0.2.1", s.Address)
			require.False(t, s.CreatedAt.IsZero() || s.LoggedInAt.IsZero() || s.SeenAt.IsZero(), "%+v", s)
		}
	})
}

// Each end is reported once, whoever ends the session, and a failed one as a
// failure.
func TestDeviceEvents(t *testing.T) {
	var events []string
	app := build(t, config.Config{Mode: config.Opaque, Devices: config.DevicesConfig{Enabled: true}}, config.Options{
		OnEvent: func(_ context.Context, e middleware.Event) {
			events = append(events, string(e.Kind)+" "+e.Subject+" "+e.Reason.String())
		},
	})
	own, other := login(t, app, "alice"), login(t, app, "alice")
	ownID, otherID := idOf(t, app, own), idOf(t, app, other)
	events = nil
	serve(app, request(own), func(ctx context.Context) {
		require.NoError(t, app.Devices.End(ctx, "alice", otherID))
		require.NoError(t, app.Devices.End(ctx, "alice", ownID))
		require.Empty(t, session.From(ctx).Subject())
		require.ErrorIs(t, app.Devices.End(ctx, "alice", ownID), session.NotFound)
	})
	require.Equal(t, []string{"ended alice ended", "ended alice none"}, events)

	id := idOf(t, app, login(t, app, "alice"))
	events = nil
	require.NoError(t, app.Store.(*opaque.MemoryStore).Close())
	require.Error(t, app.Devices.End(t.Context(), "alice", id))
	require.Equal(t, []string{"failed alice unavailable"}, events)
}

// The end of all sessions of a subject, and of all others, ends them in the
// list too.
func TestDevicesEndTogether(t *testing.T) {
	withDevices(t, config.DevicesConfig{}, func(t *testing.T, app *config.App) {
		desk, phone := login(t, app, "alice"), login(t, app, "alice")
		serve(app, request(desk), func(ctx context.Context) { require.NoError(t, app.Revocations.EndOthers(ctx)) })
		require.Empty(t, subjectOf(t, app, phone))
		require.Len(t, idsOf(t, app, "alice"), 1)
		require.NoError(t, app.Revocations.EndSubject(t.Context(), "alice"))
		require.Empty(t, idsOf(t, app, "alice"))
		login(t, app, "alice")
		require.Len(t, idsOf(t, app, "alice"), 1)
	})
}

// Beyond the limit, the session with the oldest activity ends, or the login is
// refused.
func TestDeviceLimit(t *testing.T) {
	withDevices(t, config.DevicesConfig{Limit: 2}, func(t *testing.T, app *config.App) {
		first, second := login(t, app, "alice"), login(t, app, "alice")
		third := login(t, app, "alice")
		var left []string
		for _, c := range []*http.Cookie{first, second, third} {
			if subjectOf(t, app, c) == "alice" {
				left = append(left, idOf(t, app, c))
			}
		}
		require.ElementsMatch(t, left, idsOf(t, app, "alice"))
		require.Len(t, left, 2)
		require.Equal(t, "alice", subjectOf(t, app, third))
	})
	withDevices(t, config.DevicesConfig{Limit: 1, RefuseNew: true}, func(t *testing.T, app *config.App) {
		first := login(t, app, "alice")
		status, _ := try(app, nil, func(s *session.Session) { require.NoError(t, s.Login("alice")) })
		require.Equal(t, http.StatusForbidden, status)
		require.Equal(t, "alice", subjectOf(t, app, first))
		visit(t, app, first, func(s *session.Session) { require.NoError(t, s.Destroy()) })
		login(t, app, "alice")
	})
}

// After a change of password in one request, the visitor is logged in there and
// nowhere else.
func TestDevicesAfterNewPassword(t *testing.T) {
	withDevices(t, config.DevicesConfig{}, func(t *testing.T, app *config.App) {
		desk, phone := login(t, app, "alice"), login(t, app, "alice")
		w := serve(app, request(desk), func(ctx context.Context) {
			require.NoError(t, app.Revocations.EndSubject(ctx, "alice"))
			require.NoError(t, session.From(ctx).Login("alice"))
		})
		require.Equal(t, 200, w.Code)
		desk = w.Result().Cookies()[0]
		require.Empty(t, subjectOf(t, app, phone))
		require.Equal(t, []string{idOf(t, app, desk)}, idsOf(t, app, "alice"))
		require.NoError(t, app.Devices.End(t.Context(), "alice", idOf(t, app, desk)))
		require.Empty(t, subjectOf(t, app, desk))
	})
}
