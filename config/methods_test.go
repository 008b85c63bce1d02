package config_test

import (
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/config"
	"github.com/cloakroom-go/cloakroom/session"
)

// How a visitor has authenticated is kept in every mode: over a save, a
// renewal, a move to the store and back, and a restart where the session
// survives it. The next login says it anew.
func TestLoginMethods(t *testing.T) {
	pad := session.Key[string]("pad")
	for _, mode := range []config.Mode{config.Opaque, config.Stateless, config.Auto} {
		t.Run(string(mode), func(t *testing.T) {
			in := config.Config{Mode: mode, Keys: config.KeysConfig{File: keyFile(t)},
				Revocations: config.RevocationsConfig{File: filepath.Join(t.TempDir(), "revocations")}}
			app := build(t, in, config.Options{})
			amr := func(cookie *http.Cookie) (names []string) {
				visit(t, app, cookie, func(s *session.Session) { names = s.AMR() })
				return names
			}
			want := []string{"pwd", "otp"}
			cookie := visit(t, app, nil, func(s *session.Session) {
				require.NoError(t, s.Login("alice", session.AMR(want...), session.Tag("tenant", "acme")))
			})
			require.Equal(t, want, amr(cookie))
			cookie = visit(t, app, cookie, func(s *session.Session) { require.NoError(t, pad.Set(s, "x")) })
			require.Equal(t, want, amr(cookie))
			cookie = visit(t, app, cookie, func(s *session.Session) { require.NoError(t, s.Renew()) })
			require.Equal(t, want, amr(cookie))
			if mode == config.Auto {
				cookie = visit(t, app, cookie, func(s *session.Session) {
					require.NoError(t, pad.Set(s, strings.Repeat("x", 5000)))
				})
				require.Equal(t, "opaque", form(cookie))
				require.Equal(t, want, amr(cookie))
				cookie = visit(t, app, cookie, func(s *session.Session) { require.NoError(t, s.Clear()) })
				require.Equal(t, "token", form(cookie))
				require.Equal(t, want, amr(cookie))
			}
			if mode != config.Opaque { // the store is this process's memory
				require.NoError(t, app.Close())
				app = build(t, in, config.Options{})
				require.Equal(t, want, amr(cookie))
			}
			cookie = visit(t, app, cookie, func(s *session.Session) {
				require.NoError(t, s.Login("alice", session.AMR("hwk")))
			})
			require.Equal(t, []string{"hwk"}, amr(cookie))
			cookie = visit(t, app, cookie, func(s *session.Session) { require.NoError(t, s.Login("alice")) })
			require.Empty(t, amr(cookie))
		})
	}
}
