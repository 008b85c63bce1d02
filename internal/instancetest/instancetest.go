// Package instancetest runs three instances of an application, each as its
// configuration makes it, over one store: what ends on one of them has ended on
// all, whatever happens to an instance or to the store meanwhile.
//
//	func TestInstances(t *testing.T) {
//		instancetest.Run(t, instancetest.Store{
//			Opener: mystore.Opener(),
//			URL:    func(prefix string) string { return "mystore://" + addr + "?prefix=" + prefix },
//			…
//		})
//	}
//
// The plays of package apptest try more orders of events. They make the parts
// of an instance themselves, and let time pass as they like; here everything is
// as in production.
package instancetest

import (
	"context"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/config"
	"github.com/cloakroom-go/cloakroom/internal/apptest"
	"github.com/cloakroom-go/cloakroom/internal/keyset"
	"github.com/cloakroom-go/cloakroom/keys"
	"github.com/cloakroom-go/cloakroom/opaque"
	"github.com/cloakroom-go/cloakroom/session"
)

// A Store is what the instances share.
type Store struct {
	Opener opaque.Opener

	// URL returns the URL of a store of its own for each prefix, on the server at
	// addr.
	URL func(addr, prefix string) string

	// Addr is the address of the server, for a proxy in front of it. If "", there
	// is none, and no instance can be cut off.
	Addr string

	// Lose makes the store with that prefix, and no other one, lose everything, as
	// a server does that comes back without its data. The instances go on.
	Lose func(t *testing.T, prefix string)
}

const (
	// patience is how long something may take that a busy machine does late.
	patience = 30 * time.Second

	instances = 3
)

// Run runs the instances in each mode.
func Run(t *testing.T, s Store) {
	t.Helper()
	rows := make(map[string]func(*testing.T))
	for _, mode := range apptest.Modes() {
		rows[mode] = func(t *testing.T) { s.ends(t, config.Mode(mode)) }
		if s.Addr != "" {
			rows[mode+", cut off"] = func(t *testing.T) { s.cutOff(t, config.Mode(mode)) }
		}
	}
	together(t, rows)
}

// together runs tests side by side, however few the processors: they wait most
// of the time.
func together(t *testing.T, rows map[string]func(*testing.T)) {
	var all sync.WaitGroup
	for name, row := range rows {
		all.Go(func() { t.Run(name, row) })
	}
	all.Wait()
}

// A fleet is some instances, and what is known of the sessions that they made.
type fleet struct {
	config config.Config
	opener opaque.Opener
	apps   []*config.App

	mu    sync.Mutex // guards the rest
	made  int
	alive map[string]string // by credential: the subject
	dead  []string          // credentials
}

// Start starts n instances, and waits until they are ready. They are closed
// when the test ends.
func Start(t *testing.T, o opaque.Opener, url string, mode config.Mode, n int) []*config.App {
	t.Helper()
	return newFleet(t, o, url, mode, n).apps
}

func newFleet(t *testing.T, o opaque.Opener, url string, mode config.Mode, n int) *fleet {
	t.Helper()
	dir := t.TempDir()
	secret := filepath.Join(dir, "secret")
	require.NoError(t, os.WriteFile(secret, []byte("MTIzNDU2Nzg5MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTI="), 0o600))
	f := &fleet{opener: o, alive: make(map[string]string)}
	f.config = config.Config{Mode: mode, Timeout: config.Duration(10 * time.Second)}
	f.config.Store = config.StoreConfig{URL: config.StoreURL(url), SecretFile: secret}
	if mode != config.Opaque {
		f.config.Keys.File = KeyFile(t, dir)
	}
	for range n {
		f.apps = append(f.apps, f.start(t, f.config))
	}
	return f
}

// KeyFile makes a key file in dir.
func KeyFile(t *testing.T, dir string) string {
	set := new(keyset.Set)
	for _, alg := range []keys.Algorithm{keys.ES256, keys.Direct} {
		key, err := keys.Generate(alg, keys.Dates{})
		require.NoError(t, err)
		require.NoError(t, set.Add((*keyset.Key)(key)))
	}
	path := filepath.Join(dir, "keys.json")
	require.NoError(t, keyset.File{Path: path}.Create(t.Context(), set))
	return path
}

// start starts one more instance, and waits until it is ready.
func (f *fleet) start(t *testing.T, c config.Config) *config.App {
	t.Helper()
	app, err := c.Build(config.Options{Stores: []opaque.Opener{f.opener}, Logger: slog.New(slog.DiscardHandler)})
	require.NoError(t, err)
	t.Cleanup(func() { _ = app.Close() }) // it may be closed already
	isReady(t, app)
	return app
}

func isReady(t *testing.T, app *config.App) {
	t.Helper()
	require.Eventually(t, func() bool { return ready(t, app) == nil }, patience, time.Millisecond)
}

func ready(t *testing.T, app *config.App) error {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	return app.Ready(ctx)
}

// restart ends all instances, and starts new ones.
func (f *fleet) restart(t *testing.T) {
	t.Helper()
	for i, app := range f.apps {
		require.NoError(t, app.Close())
		f.apps[i] = f.start(t, f.config)
	}
}

// login makes a session on an instance. In mode auto, every other one is too
// large for a cookie.
func (f *fleet) login(t *testing.T, app *config.App, subject string) (credential string) {
	t.Helper()
	f.mu.Lock()
	f.made++
	isLarge := f.config.Mode == config.Auto && f.made%2 == 0
	f.mu.Unlock()
	credential = visit(t, app, "", func(s *session.Session) {
		require.NoError(t, s.Login(subject))
		if isLarge {
			require.NoError(t, session.Key[any]("big").Set(s, strings.Repeat("x", 6000)))
		}
	})
	f.lives(credential, subject)
	return credential
}

func (f *fleet) lives(credential, subject string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.alive[credential] = subject
}

// dies notes that sessions have ended, and waits until every instance knows
// that. From then on none of them opens.
func (f *fleet) dies(t *testing.T, credentials ...string) {
	t.Helper()
	for _, credential := range credentials {
		for i, app := range f.apps {
			require.Eventually(t, func() bool { return apptest.SubjectOf(app.Middleware, credential) == "" },
				patience, time.Millisecond, "instance %d", i)
		}
		f.mu.Lock()
		delete(f.alive, credential)
		f.dead = append(f.dead, credential)
		f.mu.Unlock()
	}
}

// judge opens every session on every instance.
func (f *fleet) judge(t *testing.T, when string) {
	t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	require.NotEmpty(t, f.dead)
	for i, app := range f.apps {
		for _, credential := range f.dead {
			require.Empty(t, apptest.SubjectOf(app.Middleware, credential), "%s, instance %d: it has ended", when, i)
		}
		for credential, subject := range f.alive {
			require.Equal(t, subject, apptest.SubjectOf(app.Middleware, credential), "%s, instance %d", when, i)
		}
	}
}

// visit is a request that succeeds. It returns the credential that the browser
// has afterwards.
func visit(t *testing.T, app *config.App, credential string, f func(s *session.Session)) (next string) {
	t.Helper()
	status, next := apptest.Visit(app.Middleware, credential, f)
	require.Equal(t, http.StatusOK, status)
	return next
}

func logOut(t *testing.T) func(s *session.Session) {
	return func(s *session.Session) { require.NoError(t, s.Destroy()) }
}

// A stream is a request that is served until its session is over.
type stream struct{ opened, ended chan struct{} }

// follow begins a request on an instance, and waits until it has asked for the
// end of its session.
func follow(app *config.App, credential string) stream {
	s := stream{make(chan struct{}), make(chan struct{})}
	go func() {
		defer close(s.ended)
		apptest.Visit(app.Middleware, credential, func(x *session.Session) {
			ended := x.Ended()
			close(s.opened)
			<-ended
		})
	}()
	<-s.opened
	return s
}

func (s stream) isOver(t *testing.T, what string) {
	t.Helper()
	select {
	case <-s.ended:
	case <-time.After(patience):
		require.Fail(t, "a stream goes on though its session has ended", what)
	}
}

func (s stream) goesOn(t *testing.T, what string) {
	t.Helper()
	select {
	case <-s.ended:
		require.Fail(t, "a stream has ended though its session lives", what)
	default:
	}
}
