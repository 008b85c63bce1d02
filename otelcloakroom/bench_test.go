package otelcloakroom_test

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/metric/noop"
	sdk "go.opentelemetry.io/otel/sdk/metric"

	"github.com/cloakroom-go/cloakroom/config"
	"github.com/cloakroom-go/cloakroom/keys"
	"github.com/cloakroom-go/cloakroom/keys/rotation"
	"github.com/cloakroom-go/cloakroom/middleware"
	"github.com/cloakroom-go/cloakroom/otelcloakroom"
	"github.com/cloakroom-go/cloakroom/session"
)

// An idle observer does nothing.
type idle struct{}

func (idle) Event(context.Context, middleware.Event)            {}
func (idle) Operation(context.Context, middleware.Operation)    {}
func (idle) Watch(func() config.Stats) (stop func(), err error) { return func() {}, nil }

// BenchmarkRequest measures a request that reads a value and one that changes
// it, by who observes: nobody, an observer that does nothing, this package
// without an SDK, and this package.
func BenchmarkRequest(b *testing.B) {
	for _, mode := range []config.Mode{config.Stateless, config.Opaque} {
		for _, row := range []struct {
			name string
			by   config.Observer
		}{
			{"none", nil},
			{"idle", idle{}},
			{"no SDK", newObserver(b, noop.NewMeterProvider())},
			{"SDK", newObserver(b, withSDK())},
		} {
			path := filepath.Join(b.TempDir(), "keys.json")
			file := keys.File{Path: path}
			require.NoError(b, rotation.Create(b.Context(), file, keys.Policy{}, time.Now(), keys.ES256, keys.Direct))
			app, err := config.Config{Mode: mode, Keys: config.KeysConfig{File: path}}.Build(
				config.Options{Observer: row.by, Logger: slog.New(slog.DiscardHandler)})
			require.NoError(b, err)
			defer app.Close()
			b.Run("read/"+string(mode)+"/"+row.name, func(b *testing.B) {
				request(b, app, func(s *session.Session) { visits.Get(s) })
			})
			b.Run("change/"+string(mode)+"/"+row.name, func(b *testing.B) {
				request(b, app, func(s *session.Session) {
					if _, err := visits.Update(s, func(n int) int { return n + 1 }); err != nil {
						b.Error(err)
					}
				})
			})
		}
	}
}

func newObserver(b *testing.B, provider metric.MeterProvider) *otelcloakroom.Observer {
	observer, err := otelcloakroom.New(otelcloakroom.Config{MeterProvider: provider})
	require.NoError(b, err)
	return observer
}

func withSDK() metric.MeterProvider {
	return sdk.NewMeterProvider(sdk.WithReader(sdk.NewManualReader()))
}

func request(b *testing.B, app *config.App, f func(*session.Session)) {
	first := httptest.NewRecorder()
	h := app.Middleware.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		f(session.From(r.Context()))
	}))
	login := app.Middleware.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		s := session.From(r.Context())
		if s.Login("alice") != nil || visits.Set(s, 1) != nil {
			b.Error("the session can't be made")
		}
	}))
	login.ServeHTTP(first, httptest.NewRequest(http.MethodGet, "/", nil))
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.AddCookie(first.Result().Cookies()[0])
	w := &sink{header: make(http.Header)}
	b.ReportAllocs()
	for b.Loop() {
		clear(w.header)
		h.ServeHTTP(w, r)
	}
}

// A sink is a ResponseWriter that keeps nothing.
type sink struct{ header http.Header }

func (s *sink) Header() http.Header         { return s.header }
func (s *sink) Write(p []byte) (int, error) { return len(p), nil }
func (s *sink) WriteHeader(int)             {}

// BenchmarkOperation measures what is added to a request for each call of a
// carrier.
func BenchmarkOperation(b *testing.B) {
	o := newObserver(b, withSDK())
	is := middleware.Operation{Name: "open", Form: "stateless", Took: time.Millisecond}
	b.ReportAllocs()
	for b.Loop() {
		o.Operation(b.Context(), is)
	}
}
