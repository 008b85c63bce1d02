package config_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/config"
	"github.com/cloakroom-go/cloakroom/internal/keyset"
	"github.com/cloakroom-go/cloakroom/keys"
	"github.com/cloakroom-go/cloakroom/keys/rotation"
	"github.com/cloakroom-go/cloakroom/middleware"
	"github.com/cloakroom-go/cloakroom/opaque"
	"github.com/cloakroom-go/cloakroom/revocation"
	"github.com/cloakroom-go/cloakroom/session"
)

// An observer counts what it is told.
type observer struct {
	mu       sync.Mutex // guards the rest
	told     map[string]int
	stats    func() config.Stats
	stopped  int
	watchErr error
}

func (o *observer) count(what string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.told == nil {
		o.told = map[string]int{}
	}
	o.told[what]++
}

func (o *observer) Event(_ context.Context, e middleware.Event) { o.count(string(e.Kind)) }
func (o *observer) Operation(_ context.Context, is middleware.Operation) {
	o.count(is.Name + " " + is.Form)
}

func (o *observer) Watch(stats func() config.Stats) (stop func(), err error) {
	if o.watchErr != nil {
		return nil, o.watchErr
	}
	o.stats = stats
	stats() // may be called at any time
	return func() {
		stats()
		o.stopped++
	}, nil
}

func TestObserver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var o observer
		var events []string
		c := config.Config{Mode: config.Auto, Keys: config.KeysConfig{File: keyFile(t)}}
		app, err := c.Build(config.Options{Observer: &o, OnEvent: func(_ context.Context, e middleware.Event) {
			events = append(events, string(e.Kind))
		}})
		require.NoError(t, err)
		defer app.Close()
		cookie := login(t, app, "alice")
		cookie = visit(t, app, cookie, func(s *session.Session) {
			require.NoError(t, session.Key[string]("large").Set(s, string(make([]byte, 4096))))
		})
		require.Equal(t, "opaque", form(cookie))
		require.Equal(t, 2, o.stats().StoredItems, "the session, and a note that it has moved there")
		require.Positive(t, o.stats().StoredBytes)
		visit(t, app, cookie, func(s *session.Session) { require.NoError(t, s.Destroy()) })
		require.NoError(t, app.Revocations.EndSubject(t.Context(), "alice"))
		require.Equal(t, []string{"created", "moved", "ended", "ended_subject"}, events)
		require.Equal(t, map[string]int{
			"created": 1, "moved": 1, "ended": 1, "ended_subject": 1,
			"issue stateless": 1, "open stateless": 1, "save stateless": 1, "issue opaque": 1, "retire stateless": 1,
			"open opaque": 1, "end opaque": 1,
		}, o.told)
		require.Equal(t, app.Stats(), o.stats())
		require.NoError(t, app.Close())
		require.NoError(t, app.Close())
		require.Equal(t, 1, o.stopped)
	})
}

// A start that fails because of the observer leaves nothing open and changes no
// keys.
func TestObserverFails(t *testing.T) {
	made := time.Date(2025, 1, 2, 3, 4, 5, 0, time.UTC)
	path := filepath.Join(t.TempDir(), "keys.json")
	require.NoError(t, rotation.Create(t.Context(), keys.File{Path: path}, keys.Policy{}, made, keys.ES256, keys.Direct))
	before, err := os.ReadFile(path)
	require.NoError(t, err)
	synctest.Test(t, func(t *testing.T) {
		c := config.Config{Keys: config.KeysConfig{File: path, Rotate: true}}
		_, err := c.Build(config.Options{
			Observer: &observer{watchErr: errors.New("meter: full")},
			Now:      func() time.Time { return made.AddDate(1, 0, 0) },
		})
		require.EqualError(t, err, "config: Options.Observer can't watch: meter: full")
	})
	after, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, string(before), string(after))
}

func TestStats(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		made := time.Now()
		path := filepath.Join(t.TempDir(), "keys.json")
		require.NoError(t, rotation.Create(t.Context(), keys.File{Path: path}, keys.Policy{}, made, keys.ES256))
		memory, err := opaque.NewMemoryStore(opaque.MemoryConfig{})
		require.NoError(t, err)
		defer memory.Close()
		s := loggedStore{memory, new(atomic.Bool), new(atomic.Bool), new(atomic.Int64)}
		c := config.Config{Keys: config.KeysConfig{File: path}, Store: config.StoreConfig{SecretEnv: secretVariable}}
		app := build(t, c, config.Options{Store: s})
		synctest.Wait()
		time.Sleep(time.Minute)
		stats := app.Stats()
		require.Less(t, stats.Revocations.Staleness, 2*time.Second)
		set, err := keys.File{Path: path}.Read()
		require.NoError(t, err)
		require.NotEqual(t, stats.Keys.Signer, stats.Keys.Next)
		require.Equal(t, (*keyset.Set)(set).Key(stats.Keys.Next).Dates().SignFrom, stats.Keys.NextAt)
		require.True(t, stats.Keys.NextAt.After(made.Add(29*24*time.Hour)))
		require.Zero(t, stats.StoredItems, "the store is not in memory, as it says")

		s.unread.Store(true)
		time.Sleep(time.Minute)
		require.GreaterOrEqual(t, app.Stats().Revocations.Staleness, time.Minute)
		visit(t, app, login(t, app, "alice"), func(s *session.Session) { require.NoError(t, s.Destroy()) })
		require.Equal(t, revocation.Stats{Sessions: 1, Appends: 1}, withoutAge(app.Stats().Revocations))
		require.NoError(t, app.Keys.Reload())
		require.EqualValues(t, 1, app.Stats().Keys.Reloads)
	})
}

func withoutAge(s revocation.Stats) revocation.Stats {
	s.Staleness = 0
	return s
}
