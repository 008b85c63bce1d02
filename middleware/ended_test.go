package middleware_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/middleware"
	"github.com/cloakroom-go/cloakroom/opaque"
	"github.com/cloakroom-go/cloakroom/revocation"
	"github.com/cloakroom-go/cloakroom/session"
	"github.com/cloakroom-go/cloakroom/token"
)

// An endLog is a revocation.Log in memory.
type endLog struct {
	mu      sync.Mutex // guards the rest
	entries []revocation.Entry
	changed chan struct{}
}

func (l *endLog) Append(_ context.Context, entries []revocation.Entry) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.entries = append(l.entries, entries...)
	close(l.changed)
	l.changed = make(chan struct{})
	return nil
}

func (l *endLog) Read(ctx context.Context, pos string, wait time.Duration) (revocation.Reading, error) {
	n, _ := strconv.Atoi(pos)
	for late := time.After(wait); ; {
		l.mu.Lock()
		entries, all, changed := l.entries[n:], len(l.entries), l.changed
		l.mu.Unlock()
		reading := revocation.Reading{Entries: entries, Next: strconv.Itoa(all), Complete: true}
		if len(entries) > 0 || pos == "" {
			return reading, nil
		}
		select {
		case <-changed:
		case <-late:
			return reading, nil
		case <-ctx.Done():
			return reading, ctx.Err()
		}
	}
}

// An instance is one of several, which share a log and a store.
type instance struct {
	*middleware.Middleware
	list *revocation.List
}

// storeOnly is what package config gives to a store that no other instance has.
type storeOnly struct{ *revocation.List }

func (storeOnly) EndSession(context.Context, *session.Record) error { return nil }

// instances makes two. In mode "alone" the first one has sessions in its memory
// only, and the second nothing.
func instances(t *testing.T, mode string) (a, b instance) {
	store, err := opaque.NewMemoryStore(opaque.MemoryConfig{})
	require.NoError(t, err)
	t.Cleanup(func() { store.Close() })
	log, ring := &endLog{changed: make(chan struct{})}, newRing(t, time.Now)
	of := func() instance {
		list := revocation.NewVolatile(revocation.Config{})
		in := opaque.CarrierConfig{Store: store, Revocations: storeOnly{list}}
		if mode != "alone" {
			list, err = revocation.Open(revocation.Config{Log: log, Lifetime: 30 * 24 * time.Hour, Skew: time.Second})
			require.NoError(t, err)
			t.Cleanup(func() { list.Close() })
			in.Revocations = list
		}
		stored, err := opaque.NewCarrier(in)
		require.NoError(t, err)
		stateless, err := token.NewCarrier(token.CarrierConfig{
			Ring: ring, Issuer: "https://app.example", Revocations: list, Successors: stored, MaxLength: 1200,
		})
		require.NoError(t, err)
		c := middleware.Config{Revocations: list, Carrier: stateless, Overflow: stored, Policy: briefly()}
		switch mode {
		case "stateless":
			c.Overflow = nil
		case "opaque", "alone":
			c.Carrier, c.Overflow = stored, nil
		}
		m, err := middleware.New(c)
		require.NoError(t, err)
		return instance{m, list}
	}
	return of(), of()
}

// briefly is the policy of the instances.
func briefly() session.Policy {
	return session.Policy{IdleTimeout: 10 * time.Minute, Lifetime: 40 * time.Minute}
}

// A stream is a request that runs until it is closed.
type stream struct {
	ended <-chan struct{}
	close func()
}

// stream opens one. change is done to the session after the call of Ended.
func (i instance) stream(t *testing.T, credential string, change ...func(context.Context, *session.Session)) stream {
	opened, closing, closed := make(chan stream), make(chan struct{}), make(chan struct{})
	go func() {
		defer close(closed)
		h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			s := session.From(r.Context())
			opened <- stream{ended: s.Ended()}
			for _, f := range change {
				f(r.Context(), s)
			}
			<-closing
			assert.Equal(t, s.Ended(), s.Ended())
		})
		r := cookies()
		if credential != "" {
			r = cookies(credential)
		}
		i.Handler(h).ServeHTTP(httptest.NewRecorder(), r)
	}()
	s := <-opened
	s.close = sync.OnceFunc(func() { close(closing); <-closed })
	t.Cleanup(s.close)
	synctest.Wait()
	return s
}

func (s stream) isOver() bool {
	synctest.Wait()
	select {
	case <-s.ended:
		return true
	default:
		return false
	}
}

// do sends another request of the session, and returns its credential.
func (i instance) do(t *testing.T, credential string, f func(ctx context.Context, s *session.Session) error) string {
	r, w := cookies(credential), httptest.NewRecorder()
	i.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		assert.NoError(t, f(r.Context(), session.From(r.Context())))
	})).ServeHTTP(w, r)
	require.Equal(t, http.StatusOK, w.Code, w.Body.String())
	for _, c := range w.Result().Cookies() {
		credential = c.Value
	}
	return credential
}

func eachInstances(t *testing.T, f func(t *testing.T, mode string, a, b instance)) {
	for _, mode := range append([]string{"alone"}, modes...) {
		t.Run(mode, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a, b := instances(t, mode)
				synctest.Wait()
				f(t, mode, a, b)
			})
		})
	}
}

// What ends a session closes the channel, here and on another instance; what
// doesn't leaves it open.
func TestEnded(t *testing.T) {
	type request = func(i instance, credential string)
	does := func(f func(ctx context.Context, s *session.Session) error) request {
		return func(i instance, credential string) { i.do(t, credential, f) }
	}
	ends := map[string]request{
		"logout": does(func(_ context.Context, s *session.Session) error { return s.Destroy() }),
		"end of the subject": func(i instance, _ string) {
			assert.NoError(t, i.list.EndSubject(context.Background(), "alice"))
		},
		"end of all": func(i instance, _ string) { assert.NoError(t, i.list.EndAll(context.Background())) },
		"end of others, by another session": func(i instance, _ string) {
			other := begin(t, i.Middleware, "alice")
			i.do(t, other, func(ctx context.Context, s *session.Session) error { return i.list.EndOthers(ctx) })
		},
		"login as another": does(func(_ context.Context, s *session.Session) error { return s.Login("bob") }),
	}
	stays := map[string]request{
		"nothing": func(instance, string) {},
		"renewal": does(func(_ context.Context, s *session.Session) error { return s.Renew() }),
		"two renewals": func(i instance, credential string) {
			renew := func(_ context.Context, s *session.Session) error { return s.Renew() }
			i.do(t, i.do(t, credential, renew), renew)
		},
		"login as the same": does(func(_ context.Context, s *session.Session) error { return s.Login("alice") }),
		"end of others": func(i instance, credential string) {
			i.do(t, credential, func(ctx context.Context, s *session.Session) error { return i.list.EndOthers(ctx) })
		},
		"end of others, twice": func(i instance, credential string) {
			others := func(ctx context.Context, s *session.Session) error { return i.list.EndOthers(ctx) }
			i.do(t, i.do(t, credential, others), others)
		},
		"move and return": func(i instance, credential string) {
			const big session.Key[string] = "big"
			credential = i.do(t, credential, func(_ context.Context, s *session.Session) error {
				return big.Set(s, b64(random(600)))
			})
			i.do(t, credential, func(_ context.Context, s *session.Session) error { return big.Delete(s) })
		},
		"end of another subject": func(i instance, _ string) {
			assert.NoError(t, i.list.EndSubject(context.Background(), "bob"))
		},
	}
	eachInstances(t, func(t *testing.T, mode string, a, b instance) {
		check := func(name string, act request, over bool) {
			credential := begin(t, a.Middleware, "alice")
			time.Sleep(5 * time.Second)
			streams := []stream{a.stream(t, credential), a.stream(t, credential)}
			if mode != "alone" {
				streams = append(streams, b.stream(t, credential))
			}
			time.Sleep(5 * time.Second)
			for _, s := range streams {
				assert.False(t, s.isOver(), "%s: before", name)
			}
			act(a, credential)
			time.Sleep(5 * time.Second)
			for i, s := range streams {
				assert.Equal(t, over, s.isOver(), "%s: stream %d", name, i)
				s.close()
				assert.True(t, s.isOver(), "%s: stream %d is closed", name, i)
			}
		}
		for name, act := range ends {
			check(name, act, true)
		}
		for name, act := range stays {
			if mode == "auto" || name != "move and return" {
				check(name, act, false)
			}
		}
	})
}

// The deadlines of a session, as its requests move them.
func TestEndedByTime(t *testing.T) {
	touch := func(ctx context.Context, s *session.Session) error { return s.Save(ctx) }
	eachInstances(t, func(t *testing.T, mode string, a, b instance) {
		idle := briefly().IdleTimeout
		credential := begin(t, a.Middleware, "alice")
		here, there := a.stream(t, credential), a.stream(t, credential)
		if mode != "alone" {
			there = b.stream(t, credential)
		}
		time.Sleep(idle - time.Minute)
		a.do(t, credential, touch)
		time.Sleep(2 * time.Minute)
		assert.False(t, here.isOver(), "there was activity")
		if mode == "opaque" || mode == "alone" {
			assert.False(t, there.isOver(), "there was activity, which the store knows")
		}
		time.Sleep(idle - 3*time.Minute)
		assert.False(t, here.isOver(), "just before the deadline")
		time.Sleep(2 * time.Minute)
		assert.True(t, here.isOver(), "idle")
		assert.True(t, there.isOver(), "idle")

		credential = begin(t, a.Middleware, "alice")
		here = a.stream(t, credential)
		end := time.Now().Add(briefly().Lifetime)
		for time.Until(end) > time.Minute {
			assert.False(t, here.isOver())
			credential = a.do(t, credential, touch)
			time.Sleep(min(idle/2, time.Until(end)))
		}
		time.Sleep(2 * time.Minute)
		assert.True(t, here.isOver(), "the lifetime is over")
	})
}

// A visitor's login is not the end of the session that it begins from, but then
// the end of the subject is.
func TestEndedAfterLogin(t *testing.T) {
	eachInstances(t, func(t *testing.T, mode string, a, b instance) {
		if mode == "alone" {
			b = a
		}
		credential := begin(t, a.Middleware, "")
		streams := []stream{a.stream(t, credential), b.stream(t, credential)}
		time.Sleep(5 * time.Second)
		a.do(t, credential, func(_ context.Context, s *session.Session) error { return s.Login("alice") })
		time.Sleep(5 * time.Second)
		for _, s := range streams {
			assert.False(t, s.isOver())
		}
		require.NoError(t, b.list.EndSubject(t.Context(), "alice"))
		for _, s := range streams {
			assert.True(t, s.isOver())
		}
	})
}

// What the request of the stream itself does.
func TestEndedByItself(t *testing.T) {
	eachInstances(t, func(t *testing.T, _ string, a, _ instance) {
		does := func(f func(s *session.Session) error) func(context.Context, *session.Session) {
			return func(ctx context.Context, s *session.Session) {
				time.Sleep(5 * time.Second)
				assert.NoError(t, f(s))
				assert.NoError(t, s.Save(ctx))
			}
		}
		logsIn := does(func(s *session.Session) error { return s.Login("alice") })
		destroys := does(func(s *session.Session) error { return s.Destroy() })
		renews := does(func(s *session.Session) error { return s.Renew() })
		ends := func(ctx context.Context, _ *session.Session) { assert.NoError(t, a.list.EndSubject(ctx, "alice")) }
		of := func(credential string, over bool, change ...func(context.Context, *session.Session)) {
			t.Helper()
			s := a.stream(t, credential, change...)
			time.Sleep(time.Minute)
			assert.Equal(t, over, s.isOver())
			s.close()
			assert.True(t, s.isOver())
		}
		of("", false)
		of("", false, logsIn)
		of("", true, logsIn, destroys)
		of("", true, logsIn, ends)
		of(begin(t, a.Middleware, "alice"), false, renews)
		of(begin(t, a.Middleware, "alice"), true, destroys)
		of(begin(t, a.Middleware, "alice"), true, ends)
		of(begin(t, a.Middleware, "alice"), true, ends, logsIn)
		of(begin(t, a.Middleware, "bob"), true, logsIn)
	})
}

// A session that ends before a handler asks is over when it asks.
func TestEndedBeforeItAsks(t *testing.T) {
	eachInstances(t, func(t *testing.T, _ string, a, _ instance) {
		credential := begin(t, a.Middleware, "alice")
		a.do(t, credential, func(ctx context.Context, s *session.Session) error {
			a.do(t, credential, func(_ context.Context, s *session.Session) error { return s.Destroy() })
			ended := s.Ended()
			synctest.Wait()
			assert.True(t, stream{ended: ended}.isOver())
			return nil
		})
		var late *session.Session
		a.do(t, "", func(ctx context.Context, s *session.Session) error { late = s; return nil })
		assert.True(t, stream{ended: late.Ended()}.isOver(), "the request is over")
		assert.True(t, stream{ended: session.From(t.Context()).Ended()}.isOver(), "there is no middleware")
		assert.Panics(t, func() {
			a.do(t, begin(t, a.Middleware, "alice"), func(ctx context.Context, s *session.Session) error {
				late = s
				s.Ended()
				panic("at the disco")
			})
		})
		assert.True(t, stream{ended: late.Ended()}.isOver(), "the request has panicked")
	})
}
