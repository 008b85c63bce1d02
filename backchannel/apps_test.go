package backchannel_test

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/backchannel"
	"github.com/cloakroom-go/cloakroom/config"
	"github.com/cloakroom-go/cloakroom/internal/keyset"
	"github.com/cloakroom-go/cloakroom/keys"
	"github.com/cloakroom-go/cloakroom/opaque"
	"github.com/cloakroom-go/cloakroom/revocation"
	"github.com/cloakroom-go/cloakroom/session"
)

const patience = 10 * time.Second

// A sharedStore is a store with a log, for two instances.
type sharedStore struct {
	opaque.Store
	mu      sync.Mutex // guards the rest
	entries []revocation.Entry
	changed chan struct{}
}

func (*sharedStore) InProcess() bool { return false }

func (s *sharedStore) Append(_ context.Context, entries []revocation.Entry) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.entries = append(s.entries, entries...)
	close(s.changed)
	s.changed = make(chan struct{})
	return nil
}

// Read takes the number of entries that the caller knows for its position.
func (s *sharedStore) Read(ctx context.Context, pos string, wait time.Duration) (revocation.Reading, error) {
	for deadline := time.After(wait); ; {
		s.mu.Lock()
		all, changed := s.entries, s.changed
		s.mu.Unlock()
		if len(all) > len(pos) || pos == "" || wait == 0 {
			next := strings.Repeat("1", len(all))
			return revocation.Reading{Entries: all[min(len(pos), len(all)):], Next: next, Complete: true}, nil
		}
		select {
		case <-changed:
		case <-deadline:
			wait = 0
		case <-ctx.Done():
			return revocation.Reading{}, ctx.Err()
		}
	}
}

// twoInstances starts two instances of an application over one store.
func twoInstances(t *testing.T, mode config.Mode) (here, there *config.App) {
	t.Helper()
	memory, err := opaque.NewMemoryStore(opaque.MemoryConfig{})
	require.NoError(t, err)
	t.Cleanup(func() { memory.Close() })
	store := &sharedStore{Store: memory, changed: make(chan struct{})}
	set, path := new(keyset.Set), filepath.Join(t.TempDir(), "keys.json")
	for _, alg := range []keys.Algorithm{keys.ES256, keys.Direct} {
		key, err := keys.Generate(alg, keys.Dates{})
		require.NoError(t, err)
		require.NoError(t, set.Add((*keyset.Key)(key)))
	}
	require.NoError(t, keyset.File{Path: path}.Create(t.Context(), set))
	secret := make([]byte, 32)
	rand.Read(secret)
	t.Setenv("BACKCHANNEL_TEST_SECRET", base64.StdEncoding.EncodeToString(secret))
	start := func() *config.App {
		c := config.Config{Mode: mode, Keys: config.KeysConfig{File: path}}
		c.Store.SecretEnv = "BACKCHANNEL_TEST_SECRET"
		app, err := c.Build(config.Options{Store: store, Logger: slog.New(slog.DiscardHandler)})
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, app.Close()) })
		require.Eventually(t, func() bool { return app.Ready(t.Context()) == nil }, patience, time.Millisecond)
		return app
	}
	return start(), start()
}

// visit lets f work on the session of one request with that cookie, and returns
// the cookie that the browser has afterwards.
func visit(t *testing.T, app *config.App, cookie *http.Cookie, f func(s *session.Session)) *http.Cookie {
	t.Helper()
	r, w := httptest.NewRequest(http.MethodGet, "https://shop.example/", nil), httptest.NewRecorder()
	if cookie != nil {
		r.AddCookie(&http.Cookie{Name: cookie.Name, Value: cookie.Value})
	}
	app.Middleware.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		f(session.From(r.Context()))
	})).ServeHTTP(w, r)
	require.Equal(t, http.StatusOK, w.Code)
	for _, set := range w.Result().Cookies() {
		cookie = set
	}
	return cookie
}

func subjectOf(t *testing.T, app *config.App, cookie *http.Cookie) (subject string) {
	t.Helper()
	visit(t, app, cookie, func(s *session.Session) { subject = s.Subject() })
	return subject
}

// In every mode a logout token ends the session: the next request is anonymous,
// here and on another instance, and an open stream is told. Sessions of others
// go on, and so does a later login when the token comes once more.
func TestLogout(t *testing.T) {
	for _, mode := range []config.Mode{config.Opaque, config.Stateless, config.Auto} {
		t.Run(string(mode), func(t *testing.T) {
			p := newProvider(t, "https://id.example")
			here, there := twoInstances(t, mode)
			h := p.handler(t, here.Revocations)
			loginAs := func(app *config.App, subject, sid string) *http.Cookie {
				return visit(t, app, nil, func(s *session.Session) {
					require.NoError(t, s.Login("local "+subject, backchannel.Tags(p.issuer, subject, sid)...))
				})
			}
			for name, who := range map[string]fields{"alice": {"sid": "s-alice", "sub": "alice"}, "erin": {"sub": "erin"}} {
				alice, bob := loginAs(there, name, "s-"+name), loginAs(here, "bob", "s2")
				token := p.logout(t, time.Now(), who)
				visit(t, here, alice, func(s *session.Session) {
					visit(t, there, alice, func(s2 *session.Session) {
						require.Equal(t, http.StatusOK, post(h, token).Code)
						isClosed(t, s.Ended())
						isClosed(t, s2.Ended())
					})
				})
				require.Empty(t, subjectOf(t, here, alice))
				require.Eventually(t, func() bool { return subjectOf(t, there, alice) == "" }, patience, time.Millisecond)

				// Both instances have heard of the end, so a login is later than it.
				again := loginAs(here, name, "s-"+name)
				for _, on := range []http.Handler{h, p.handler(t, there.Revocations)} {
					require.Equal(t, http.StatusOK, post(on, token).Code)
				}
				for _, app := range []*config.App{here, there} {
					require.Equal(t, "local "+name, subjectOf(t, app, again), "a replay ends nothing newer")
					require.Equal(t, "local bob", subjectOf(t, app, bob))
				}
			}
		})
	}
}

func isClosed(t *testing.T, ended <-chan struct{}) {
	t.Helper()
	select {
	case <-ended:
	case <-time.After(patience):
		t.Error("an open stream was not told")
	}
}
