package revocation_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/keys"
	"github.com/cloakroom-go/cloakroom/revocation"
	"github.com/cloakroom-go/cloakroom/session"
	"github.com/cloakroom-go/cloakroom/sessiontest"
	"github.com/cloakroom-go/cloakroom/token"
)

const issuer = "https://app.example"

// A line is a Transport that needs no network, so that tests can use a clock of
// their own.
type line struct {
	mu     sync.Mutex     // guards the rest
	to     []http.Handler // each request goes to the next one
	asked  []string       // the queries of the requests
	broken error          // what requests fail with
	change func(*http.Response) *http.Response
}

func (l *line) RoundTrip(r *http.Request) (*http.Response, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.broken != nil {
		return nil, l.broken
	}
	l.asked = append(l.asked, r.URL.RawQuery)
	w := httptest.NewRecorder()
	l.to[len(l.asked)%len(l.to)].ServeHTTP(w, r)
	if l.change != nil {
		return l.change(w.Result()), nil
	}
	return w.Result(), nil
}

func (l *line) set(f func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	f()
}

func newRing(t testing.TB, algorithms ...keys.Algorithm) *keys.Ring {
	var all []*keys.Key
	for _, alg := range algorithms {
		k, err := keys.Generate(alg, keys.Dates{})
		require.NoError(t, err)
		all = append(all, k)
	}
	ring, err := keys.NewRing(all...)
	require.NoError(t, err)
	return ring
}

func handler(t testing.TB, l *revocation.List, ring *keys.Ring) *revocation.Handler {
	h, err := revocation.NewHandler(revocation.HandlerConfig{List: l, Ring: ring, Issuer: issuer})
	require.NoError(t, err)
	return h
}

func remote(t testing.TB, to *line, ring *keys.Ring, change ...func(*revocation.RemoteConfig)) *revocation.Remote {
	c := revocation.RemoteConfig{URL: issuer + "/ended", Keys: ring, Issuer: issuer, Transport: to}
	for _, f := range change {
		f(&c)
	}
	r, err := revocation.NewRemote(c)
	require.NoError(t, err)
	t.Cleanup(func() { r.Close() })
	return r
}

// poll waits until the next poll is done.
func poll() {
	time.Sleep(time.Second)
	synctest.Wait()
}

// Whatever ends in the application ends at its services within the interval,
// and nothing else does. A login right after the end is good at once.
func TestEndsReachServices(t *testing.T) {
	acme := session.Tag("tenant", "acme")
	for _, skew := range []time.Duration{0, 5 * time.Second} {
		for name, end := range map[string]func(l *revocation.List, rec *session.Record) error{
			"session": func(l *revocation.List, rec *session.Record) error { return l.EndSession(context.Background(), rec) },
			"generation": func(l *revocation.List, rec *session.Record) error {
				_, err := l.EndBelow(context.Background(), rec)
				return err
			},
			"subject": func(l *revocation.List, _ *session.Record) error { return l.EndSubject(context.Background(), "alice") },
			"tag": func(l *revocation.List, _ *session.Record) error {
				return l.EndTag(context.Background(), "tenant", "acme")
			},
			"all": func(l *revocation.List, _ *session.Record) error { return l.EndAll(context.Background()) },
			"others": func(l *revocation.List, _ *session.Record) error {
				r := sessiontest.Request(httptest.NewRequest(http.MethodGet, "/", nil), sessiontest.Session{Subject: "alice"})
				return l.EndOthers(r.Context())
			},
		} {
			t.Run(name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					l, ring := revocation.NewVolatile(revocation.Config{Skew: skew}), newRing(t, keys.ES256)
					r := remote(t, &line{to: []http.Handler{handler(t, l, ring)}}, ring)
					synctest.Wait()
					rec, other := recordOf("one", "alice"), recordOf("two", "bob")
					rec.Tags = []session.LoginTag{session.Tag("device", "1"), acme}
					for range 2 { // the second end has entries before it
						time.Sleep(10 * time.Second)
						require.NoError(t, r.Check(rec))
						require.NoError(t, end(l, rec))
						poll()
						require.ErrorIs(t, r.Check(rec), session.Ended)
						require.Equal(t, name != "all", r.Check(other) == nil)

						next, err := l.Admit(recordOf("next", "alice"))
						require.NoError(t, err)
						require.NoError(t, r.Check(next))
						poll()
						require.NoError(t, r.Check(next))
						rec = recordOf("three", "alice")
						rec.Tags = []session.LoginTag{acme}
						rec, err = l.Admit(rec)
						require.NoError(t, err)
					}
					// Who comes later hears of it, too.
					late := remote(t, &line{to: []http.Handler{handler(t, l, ring)}}, ring)
					synctest.Wait()
					gone := recordOf("one", "alice")
					gone.AuthenticatedAt = gone.AuthenticatedAt.Add(-15 * time.Second)
					gone.Tags = []session.LoginTag{acme}
					require.ErrorIs(t, late.Check(gone), session.Ended)
					require.NotZero(t, late.Stats().Entries)
				})
			})
		}
	}
}

// services returns a handler that accepts service tokens for orders, and calls
// it with one of alice.
func services(t *testing.T, ring *keys.Ring, r *revocation.Remote) func(rec *session.Record) int {
	v, err := token.NewVerifier(token.VerifierConfig{Keys: ring, Issuer: issuer, Audience: "orders", Revocations: r})
	require.NoError(t, err)
	h := v.Handler(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	i, err := token.NewIssuer(token.IssuerConfig{Ring: ring, Issuer: issuer})
	require.NoError(t, err)
	transport, err := token.NewTransport(token.TransportConfig{
		Issuer: i, Audience: "orders", Origin: "https://orders.example", Base: &line{to: []http.Handler{h}},
	})
	require.NoError(t, err)
	return func(rec *session.Record) int {
		s, _ := session.Begin(rec, session.Options{Policy: session.Policy{}.WithDefaults(), Now: time.Now})
		ctx := session.NewContext(t.Context(), s)
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://orders.example/", nil)
		require.NoError(t, err)
		resp, err := transport.RoundTrip(req)
		require.NoError(t, err)
		return resp.StatusCode
	}
}

// A service answers 401 to whoever has ended, 503 when it has not heard of the
// application for too long, and recovers.
func TestOutageOfTheApplication(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, ring := revocation.NewVolatile(revocation.Config{}), newRing(t, keys.ES256)
		to := &line{to: []http.Handler{handler(t, l, ring)}, broken: errors.New("down")}
		problems := make(chan error, 10)
		r := remote(t, to, ring, func(c *revocation.RemoteConfig) { c.OnProblem = func(err error) { problems <- err } })
		call := services(t, ring, r)
		alice, bob := recordOf("one", "alice"), recordOf("two", "bob")
		synctest.Wait()
		require.Equal(t, http.StatusServiceUnavailable, call(alice), "nothing is known yet")
		require.ErrorContains(t, <-problems, "down")

		to.set(func() { to.broken = nil })
		poll()
		require.Equal(t, http.StatusOK, call(alice))
		require.NoError(t, r.Fresh())
		require.NoError(t, l.EndSession(t.Context(), alice))
		poll()
		require.Equal(t, http.StatusUnauthorized, call(alice))
		require.Equal(t, http.StatusOK, call(bob))
		require.LessOrEqual(t, r.Stats().Staleness, 2*time.Second)

		to.set(func() { to.broken = errors.New("down again") })
		require.NoError(t, l.EndSession(t.Context(), bob))
		time.Sleep(14 * time.Second)
		require.Equal(t, http.StatusOK, call(bob))
		require.Empty(t, problems)
		time.Sleep(14 * time.Second)
		require.ErrorContains(t, <-problems, "down again")
		require.Equal(t, http.StatusOK, call(bob))
		time.Sleep(3 * time.Second)
		require.Equal(t, http.StatusServiceUnavailable, call(bob))
		require.Equal(t, http.StatusUnauthorized, call(alice), "that is known for good")
		require.Empty(t, problems, "once in each outage")
		before := r.Stats()
		require.Greater(t, before.Staleness, 30*time.Second)
		require.Greater(t, before.Failures, uint64(25))

		to.set(func() { to.broken = nil })
		poll()
		require.Equal(t, http.StatusUnauthorized, call(bob))
		require.Equal(t, http.StatusOK, call(recordOf("three", "bob")))
		require.Equal(t, before.Failures, r.Stats().Failures)
		require.NoError(t, r.Close())
		time.Sleep(time.Minute)
		require.ErrorIs(t, r.Check(recordOf("three", "bob")), session.Unavailable, "nobody polls")
	})
}

// The staleness of the list counts, too: an application that does not hear of
// its other instances can't say what has ended.
func TestOutageOfTheLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, ring := newMemoryLog(), newRing(t, keys.ES256)
		log.unread = errors.New("down")
		l := shared(t, log)
		r := remote(t, &line{to: []http.Handler{handler(t, l, ring)}}, ring)
		time.Sleep(3 * time.Second)
		require.ErrorIs(t, r.Check(recordOf("one", "alice")), session.Unavailable, "the list knows nothing yet")
		log.set(func() { log.unread = nil })
		time.Sleep(3 * time.Second)
		require.NoError(t, r.Check(recordOf("one", "alice")))
		log.set(func() { log.unread = errors.New("down") })
		time.Sleep(27 * time.Second)
		require.NoError(t, r.Fresh())
		time.Sleep(6 * time.Second)
		require.NoError(t, l.Fresh(), "it has another bound")
		require.ErrorIs(t, r.Fresh(), session.Unavailable)
		require.Greater(t, r.Stats().Staleness, 30*time.Second)
		log.set(func() { log.unread = nil })
		time.Sleep(3 * time.Second)
		require.NoError(t, r.Fresh())
		require.NoError(t, l.Close())
	})
}

// Instances behind one address share a log, and each has an order of its own.
func TestInstancesBehindOneAddress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, ring := newMemoryLog(), newRing(t, keys.ES256)
		a, b := shared(t, log), shared(t, log)
		synctest.Wait()
		to := &line{to: []http.Handler{handler(t, a, ring), handler(t, b, ring)}}
		r := remote(t, to, ring)
		synctest.Wait()
		var lengths []int64
		to.set(func() {
			to.change = func(w *http.Response) *http.Response { lengths = append(lengths, w.ContentLength); return w }
		})
		for i := range 50 {
			one, two := recordOf(numbered(2*i).ID, "alice"), recordOf(numbered(2*i+1).ID, "bob")
			require.NoError(t, r.Check(one))
			require.NoError(t, a.EndSession(t.Context(), one))
			require.NoError(t, b.EndSession(t.Context(), two))
			poll()
			require.ErrorIs(t, r.Check(one), session.Ended)
			require.ErrorIs(t, r.Check(two), session.Ended)
		}
		require.NoError(t, r.Fresh())
		require.Zero(t, r.Stats().Failures)
		for _, n := range lengths {
			require.Less(t, n, int64(1000), "each answer has only what is new to the service")
		}
		require.NoError(t, a.Close())
		require.NoError(t, b.Close())
	})
}

// After a restart of the application its services know what they knew, and one
// that starts afterwards hears of everything that is in force.
func TestRestartOfTheApplication(t *testing.T) {
	path, ring := journalPath(t), newRing(t, keys.ES256)
	synctest.Test(t, func(t *testing.T) {
		start := func() *revocation.List {
			l, err := revocation.Open(revocation.Config{Path: path, Lifetime: lifetime})
			require.NoError(t, err)
			return l
		}
		l := start()
		to := &line{to: []http.Handler{handler(t, l, ring)}}
		r := remote(t, to, ring)
		before := recordOf("one", "alice")
		require.NoError(t, l.EndSession(t.Context(), before))
		poll()
		require.ErrorIs(t, r.Check(before), session.Ended)
		require.NoError(t, l.Close())
		time.Sleep(time.Hour)
		l = start()
		to.set(func() { to.to = []http.Handler{handler(t, l, ring)} })
		poll()
		require.ErrorIs(t, r.Check(before), session.Ended)
		late := remote(t, to, ring)
		synctest.Wait()
		require.ErrorIs(t, late.Check(before), session.Ended)
		after := recordOf("two", "alice")
		require.NoError(t, l.EndSession(t.Context(), after))
		poll()
		require.ErrorIs(t, r.Check(after), session.Ended)
		require.NoError(t, l.Close())
	})
}

// An end is forgotten when no service token can be that old. Ends of nobody's
// sessions are not sent.
func TestServicesForget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, ring := revocation.NewVolatile(revocation.Config{Lifetime: lifetime}), newRing(t, keys.ES256)
		to := &line{to: []http.Handler{handler(t, l, ring)}}
		r := remote(t, to, ring)
		poll()
		require.NoError(t, l.EndSession(t.Context(), recordOf("one", "alice")))
		require.NoError(t, l.EndSubject(t.Context(), "bob"))
		require.NoError(t, l.EndTag(t.Context(), "tenant", "acme"))
		require.NoError(t, l.EndAll(t.Context()))
		require.NoError(t, l.EndSession(t.Context(), recordOf("nobody's", "")))
		poll()
		require.Equal(t, 4, r.Stats().Entries)
		time.Sleep(20 * time.Minute) // the longest life of a service token, and the longest leeway
		require.Equal(t, 4, r.Stats().Entries)
		time.Sleep(7 * time.Minute)
		require.Zero(t, r.Stats().Entries)
		late := remote(t, to, ring)
		synctest.Wait()
		require.Zero(t, late.Stats().Entries)
		require.NoError(t, late.Fresh())
		require.Equal(t, 5, l.Len())
	})
}

// The keys of the application change while its services go on.
func TestRotationReachesServices(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, ring := revocation.NewVolatile(revocation.Config{}), newRing(t, keys.ES256)
		r := remote(t, &line{to: []http.Handler{handler(t, l, ring)}}, ring)
		poll()
		for _, alg := range []keys.Algorithm{keys.EdDSA, keys.ES256} {
			k, err := keys.Generate(alg, keys.Dates{})
			require.NoError(t, err)
			require.NoError(t, ring.Replace(k))
			rec := recordOf(string(alg), "alice")
			require.NoError(t, l.EndSession(t.Context(), rec))
			poll()
			require.ErrorIs(t, r.Check(rec), session.Ended)
		}
		require.Zero(t, r.Stats().Failures)
	})
}
