package config_test

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/config"
	"github.com/cloakroom-go/cloakroom/middleware"
	"github.com/cloakroom-go/cloakroom/session"
)

// A renewal whose end of the old credential can't be written to the journal
// logs nobody out, but is not answered as if all were well, and the operator
// hears of it.
func TestUnwritableJournalIsLogged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := filepath.Join(t.TempDir(), "journal")
		require.NoError(t, os.Mkdir(dir, 0o700))
		var log lines
		app, err := config.Config{
			Keys:        config.KeysConfig{File: keyFile(t)},
			Revocations: config.RevocationsConfig{File: filepath.Join(dir, "revocations.journal")},
		}.Build(config.Options{Logger: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelError}))})
		require.NoError(t, err)
		cookie := login(t, app, "alice")
		require.NoError(t, os.RemoveAll(dir))
		status, cookie := try(app, cookie, func(s *session.Session) { require.NoError(t, s.Renew()) })
		require.Equal(t, http.StatusServiceUnavailable, status)
		require.Equal(t, "alice", subjectOf(t, app, cookie))
		synctest.Wait()
		require.Equal(t, 1, strings.Count(log.String(), "the list of revocations needs attention"))
		require.Contains(t, log.String(), "revocation: the journal can't be written")
		require.Error(t, app.Close())
	})
}

// Visitors who come and go don't make the list grow where no token opens a
// session.
func TestLogoutsWithoutTokens(t *testing.T) {
	no := false
	for _, row := range []struct {
		name  string
		in    config.Config
		grows bool
	}{
		{"opaque", config.Config{Mode: config.Opaque}, false},
		{"opaque, journal", config.Config{Mode: config.Opaque, Revocations: config.RevocationsConfig{File: filepath.Join(t.TempDir(), "x")}}, false},
		{"opaque, tokens refused", config.Config{Mode: config.Opaque, Keys: config.KeysConfig{File: keyFile(t)}, AcceptOtherForm: &no}, false},
		{"opaque, tokens accepted", config.Config{Mode: config.Opaque, Keys: config.KeysConfig{File: keyFile(t)}}, true},
		{"auto", config.Config{Mode: config.Auto, Keys: config.KeysConfig{File: keyFile(t)}}, true},
	} {
		t.Run(row.name, func(t *testing.T) {
			app := build(t, row.in, config.Options{})
			alice := login(t, app, "alice")
			for range 200 {
				cookie := visit(t, app, nil, func(s *session.Session) { require.NoError(t, session.Key[any]("a").Set(s, 1)) })
				visit(t, app, cookie, func(s *session.Session) { require.NoError(t, s.Destroy()) })
				visit(t, app, cookie, func(s *session.Session) { require.True(t, s.IsNew()) })
			}
			require.Equal(t, row.grows, app.Revocations.Len() > 0)
			require.NoError(t, app.Revocations.EndSubject(t.Context(), "alice"))
			require.Empty(t, subjectOf(t, app, alice))
		})
	}
}

// EndSubject and then Login, in one request, leaves the visitor logged in here
// and nowhere else; a login that another request has under way fails.
func TestEndSubjectInItsRequest(t *testing.T) {
	for _, mode := range []config.Mode{config.Stateless, config.Opaque, config.Auto} {
		for _, before := range []string{"", "alice", "bob"} {
			t.Run(fmt.Sprintf("%s, as %q", mode, before), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) { endSubjectInItsRequest(t, mode, before) })
			})
		}
	}
}

func endSubjectInItsRequest(t *testing.T, mode config.Mode, before string) {
	app := build(t, config.Config{Mode: mode, Keys: config.KeysConfig{File: keyFile(t)}}, config.Options{})
	other := login(t, app, "alice")
	var cookie *http.Cookie
	if before != "" {
		cookie = login(t, app, before)
	}
	cookie = visit(t, app, cookie, func(s *session.Session) {
		require.NoError(t, app.Revocations.EndSubject(session.NewContext(t.Context(), s), "alice"))
		require.NoError(t, s.Login("alice"))
	})
	require.Equal(t, "alice", subjectOf(t, app, cookie))
	require.Empty(t, subjectOf(t, app, other))

	status, _ := try(app, cookie, func(s *session.Session) {
		require.NoError(t, app.Revocations.EndSubject(t.Context(), "alice"))
		require.NoError(t, s.Login("alice"))
	})
	require.Equal(t, http.StatusConflict, status)
	require.Empty(t, subjectOf(t, app, cookie))
}

// Ends of subjects' sessions have filled the list: nobody can begin an
// anonymous stateless session, and everything else goes on.
func TestFullListOfRevocations(t *testing.T) {
	for _, mode := range []config.Mode{config.Stateless, config.Opaque, config.Auto} {
		t.Run(string(mode), func(t *testing.T) {
			var log lines
			app := build(t, config.Config{
				Mode:        mode,
				Keys:        config.KeysConfig{File: keyFile(t)},
				Revocations: config.RevocationsConfig{InsecureVolatile: true, MaxEntries: 10_000},
			}, logTo(&log))
			set := func(s *session.Session) { require.NoError(t, session.Key[any]("a").Set(s, 1)) }
			before, alice := visit(t, app, nil, set), login(t, app, "alice")
			for i := range 9_000 {
				rec := &session.Record{ID: fmt.Sprint(i), Subject: fmt.Sprint(i), Deadline: time.Now().Add(time.Hour)}
				require.NoError(t, app.Revocations.EndSession(t.Context(), rec))
			}
			w := httptest.NewRecorder()
			app.Middleware.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				set(session.From(r.Context()))
			})).ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
			if mode == config.Opaque {
				require.Equal(t, 200, w.Code)
			} else {
				require.Equal(t, 503, w.Code)
				require.Empty(t, w.Result().Cookies())
			}
			require.Equal(t, "bob", subjectOf(t, app, login(t, app, "bob")))
			before = visit(t, app, before, set)
			before = visit(t, app, before, func(s *session.Session) { require.NoError(t, s.Renew()) })
			before = visit(t, app, before, func(s *session.Session) { require.NoError(t, s.Login("carol")) })
			require.Equal(t, "carol", subjectOf(t, app, before))
			visit(t, app, alice, func(s *session.Session) { require.NoError(t, s.Destroy()) })
			require.Empty(t, subjectOf(t, app, alice))
		})
	}
}

// A session that was remembered is logged out under the ordinary limits. A
// token from before would live much longer, and must not open it again.
func TestLogoutReachesTokensUnderLongerLimits(t *testing.T) {
	for _, mode := range []config.Mode{config.Stateless, config.Opaque, config.Auto} {
		for _, single := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, single instance %v", mode, single), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					app := build(t, config.Config{
						Mode:        mode,
						Keys:        config.KeysConfig{File: keyFile(t)},
						Revocations: config.RevocationsConfig{SingleInstance: single},
					}, config.Options{})
					remembered := visit(t, app, login(t, app, "alice"),
						func(s *session.Session) { require.NoError(t, s.Remember(true)) })
					require.Equal(t, "alice", subjectOf(t, app, remembered))
					ordinary := visit(t, app, remembered, func(s *session.Session) { require.NoError(t, s.Remember(false)) })
					visit(t, app, ordinary, func(s *session.Session) { require.NoError(t, s.Destroy()) })
					for range 4 { // past the ordinary lifetime of 12 hours
						require.Empty(t, subjectOf(t, app, remembered))
						require.Empty(t, subjectOf(t, app, ordinary))
						time.Sleep(5 * time.Hour)
					}
				})
			})
		}
	}
}

func TestEndOfAllThatIsNotDurableIsAnEvent(t *testing.T) {
	var got []middleware.Event
	c := config.Config{Mode: config.Stateless, Keys: config.KeysConfig{File: keyFile(t)}}
	app := build(t, c, config.Options{OnEvent: func(_ context.Context, e middleware.Event) { got = append(got, e) }})
	require.NoError(t, app.Close())
	require.ErrorIs(t, app.Revocations.EndAll(t.Context()), session.Unavailable)
	require.Len(t, got, 1)
	require.Equal(t, middleware.EndedAll, got[0].Kind)
	require.Equal(t, session.Unavailable, got[0].Reason)
	require.ErrorIs(t, got[0].Err, session.Unavailable)
}
