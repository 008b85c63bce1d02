package middleware_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/middleware"
	"github.com/cloakroom-go/cloakroom/opaque"
	"github.com/cloakroom-go/cloakroom/session"
)

// An observer keeps what it is told.
type observer struct {
	events

	mu         sync.Mutex // guards operations
	operations []middleware.Operation
	ctx        context.Context // of the last operation
}

func (o *observer) Event(ctx context.Context, e middleware.Event) { o.Add(ctx, e) }

func (o *observer) Operation(ctx context.Context, is middleware.Operation) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.operations, o.ctx = append(o.operations, is), ctx
}

// told returns the operations since the last call, each as its name and form,
// with its conflicts and the reason of its error, if there are any.
func (o *observer) told() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	var all []string
	for _, is := range o.operations {
		text := is.Name + " " + is.Form
		if is.Conflicts > 0 {
			text += " x" + strconv.Itoa(is.Conflicts)
		}
		if is.Err != nil {
			text += " " + session.ReasonOf(is.Err).String()
		}
		all = append(all, text)
	}
	o.operations = nil
	return strings.Join(all, ", ")
}

func observed(o *observer) func(*middleware.Config) {
	return func(c *middleware.Config) { c.Observer = o }
}

func TestObserver(t *testing.T) {
	for _, form := range []string{"stateless", "opaque"} {
		t.Run(form, func(t *testing.T) {
			var o observer
			w := newWorld(t)
			b := newSite(t, w.Middleware(t, form, observed(&o))).Browser()
			for _, row := range []struct {
				name string
				do   func(s *session.Session)
				want string // FORM stands for the form
			}{
				{"no session", func(*session.Session) {}, ""},
				{"begin", func(s *session.Session) { assert.NoError(t, visits.Set(s, 1)) }, "issue FORM"},
				{"read", func(s *session.Session) { visits.Get(s) }, "open FORM"},
				{"change", func(s *session.Session) { assert.NoError(t, visits.Set(s, 2)) }, "open FORM, save FORM"},
				{"login", func(s *session.Session) { assert.NoError(t, s.Login("alice")) }, "open FORM, issue FORM, retire FORM"},
				{"logout", func(s *session.Session) { assert.NoError(t, s.Destroy()) }, "open FORM, end FORM"},
			} {
				b.Do(row.do)
				require.Equal(t, strings.ReplaceAll(row.want, "FORM", form), o.told(), row.name)
			}
			require.Equal(t, []string{"created", "renewed", "ended"}, o.Kinds())
		})
	}
}

// What is no success is told with its reason.
func TestObserverErrors(t *testing.T) {
	var o observer
	w := newWorld(t)
	failing := &failingStore{Store: w.Store}
	w.Store = failing
	site := newSite(t, w.Middleware(t, "opaque", observed(&o)))
	site.Holding("cr1_" + strings.Repeat("A", 43)).Do(func(*session.Session) {})
	require.Equal(t, "open opaque not_found", o.told())

	b := site.Browser()
	b.Do(func(s *session.Session) { assert.NoError(t, s.Login("alice")) })
	require.Equal(t, "issue opaque", o.told())
	failing.err = errors.New("no connection")
	got := b.Get(func(http.ResponseWriter, *http.Request, *session.Session) { t.Error("the handler ran") })
	require.Equal(t, http.StatusServiceUnavailable, got.StatusCode)
	require.Equal(t, "open opaque unavailable", o.told())
	require.Equal(t, []string{"refused:not_found", "created", "failed:unavailable"}, o.Kinds())
}

// A failingStore fails to look up while err is set.
type failingStore struct {
	opaque.Store
	err error
}

func (s *failingStore) Get(ctx context.Context, key string) (opaque.Item, bool, error) {
	if s.err != nil {
		return opaque.Item{}, false, s.err
	}
	return s.Store.Get(ctx, key)
}

// Requests that change one session at once conflict where the store decides who
// was first. In one process, tokens take turns.
func TestObserverConflicts(t *testing.T) {
	for form, want := range map[string][]string{
		"opaque":    {"save opaque", "save opaque x1"},
		"stateless": {"save stateless", "save stateless"},
	} {
		t.Run(form, func(t *testing.T) {
			var o observer
			b := newSite(t, newWorld(t).Middleware(t, form, observed(&o))).Browser()
			b.Do(func(s *session.Session) { assert.NoError(t, visits.Set(s, 0)) })
			o.told()
			b.Together(2, func(_ int, s *session.Session) {
				_, err := visits.Update(s, func(n int) int { return n + 1 })
				assert.NoError(t, err)
			})
			all := strings.Split(o.told(), ", ")
			slices.Sort(all)
			require.Equal(t, append([]string{"open " + form, "open " + form}, want...), all)
		})
	}
}

// A change that meets a login in another request fails with Conflict, and
// starts again under the new credential.
func TestObserverConflictOfCredentials(t *testing.T) {
	var o observer
	b := newSite(t, newWorld(t).Middleware(t, "auto", observed(&o))).Browser()
	b.Do(func(s *session.Session) { assert.NoError(t, visits.Set(s, 1)) })
	o.told()
	b.Do(func(s *session.Session) {
		assert.Equal(t, "open stateless", o.told())
		b.Site.Holding(b.Credential()).Do(func(s *session.Session) { // moves to the store
			assert.NoError(t, session.Key[string]("large").Set(s, string(make([]byte, 4096))))
		})
		assert.Equal(t, "open stateless, save stateless too_large, issue opaque, retire stateless", o.told())
		assert.NoError(t, visits.Set(s, 2))
	})
	require.Equal(t, "save stateless x1 conflict, open stateless, open opaque, issue stateless too_large, save opaque",
		o.told())
	require.Equal(t, []string{"created", "moved"}, o.Kinds())
}

// An operation takes as long as its carrier, and its context has the values of
// the request's.
func TestObserverTook(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		type key struct{}
		var o observer
		memory, err := opaque.NewMemoryStore(opaque.MemoryConfig{})
		require.NoError(t, err)
		defer memory.Close()
		carrier, err := opaque.NewCarrier(opaque.CarrierConfig{Store: slowStore{memory}})
		require.NoError(t, err)
		m, err := middleware.New(middleware.Config{Carrier: carrier, Observer: &o})
		require.NoError(t, err)
		r := httptest.NewRequestWithContext(context.WithValue(t.Context(), key{}, "trace"), http.MethodGet, "/", nil)
		m.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			assert.NoError(t, visits.Set(session.From(r.Context()), 1))
			io.WriteString(w, "ok")
		})).ServeHTTP(httptest.NewRecorder(), r)
		require.Len(t, o.operations, 1)
		require.Equal(t, 30*time.Millisecond, o.operations[0].Took)
		require.Equal(t, "trace", o.ctx.Value(key{}))
	})
}

// A slowStore takes 30 ms to create an item.
type slowStore struct{ *opaque.MemoryStore }

func (s slowStore) Create(ctx context.Context, key string, item opaque.Item) error {
	time.Sleep(30 * time.Millisecond)
	return s.MemoryStore.Create(ctx, key, item)
}

// idle is an observer that does nothing.
type idle struct{}

func (idle) Event(context.Context, middleware.Event)         {}
func (idle) Operation(context.Context, middleware.Operation) {}

// Observing allocates nothing.
func TestObserverAllocates(t *testing.T) {
	read := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { visits.Get(session.From(r.Context())) })
	for _, mode := range modes {
		w := newWorld(t)
		allocations := func(by middleware.Observer) float64 {
			m := w.Middleware(t, mode, func(c *middleware.Config) { c.Observer = by })
			r := httptest.NewRequest(http.MethodGet, "/", nil)
			r.AddCookie(&http.Cookie{Name: "__Host-session", Value: seed(t, m)})
			h, out := m.Handler(read), &sink{header: make(http.Header)}
			return testing.AllocsPerRun(100, func() {
				clear(out.header)
				h.ServeHTTP(out, r)
			})
		}
		require.Equal(t, allocations(nil), allocations(idle{}), mode)
	}
}
