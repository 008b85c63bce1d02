package otelcloakroom_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/cloakroom-go/cloakroom/config"
	"github.com/cloakroom-go/cloakroom/keys"
	"github.com/cloakroom-go/cloakroom/keys/rotation"
	"github.com/cloakroom-go/cloakroom/opaque"
	"github.com/cloakroom-go/cloakroom/otelcloakroom"
	"github.com/cloakroom-go/cloakroom/session"
)

const visits = session.Key[int]("visits")

// An application is one whose metrics are collected.
type application struct {
	*config.App
	mode   config.Mode
	reader *metric.ManualReader
	keys   string      // the path of the key file
	store  *flakyStore // nil except in mode opaque
}

// start builds an application that is observed. In mode opaque it has a store
// that can fail.
func start(t testing.TB, mode config.Mode) *application {
	t.Helper()
	a := &application{mode: mode, reader: metric.NewManualReader(), keys: filepath.Join(t.TempDir(), "keys.json")}
	ctx, policy := context.Background(), keys.Policy{}
	require.NoError(t, rotation.Create(ctx, keys.File{Path: a.keys}, policy, time.Now(), keys.ES256, keys.Direct))
	observer, err := otelcloakroom.New(otelcloakroom.Config{
		MeterProvider: metric.NewMeterProvider(metric.WithReader(a.reader)),
	})
	require.NoError(t, err)
	c := config.Config{Mode: mode, Keys: config.KeysConfig{File: a.keys}}
	o := config.Options{Observer: observer, Logger: slog.New(slog.DiscardHandler)}
	if mode == config.Opaque {
		memory, err := opaque.NewMemoryStore(opaque.MemoryConfig{})
		require.NoError(t, err)
		t.Cleanup(func() { memory.Close() })
		a.store = &flakyStore{MemoryStore: memory}
		c.Revocations.InsecureVolatile, o.Store = true, a.store
	}
	a.App, err = c.Build(o)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, a.Close()) })
	return a
}

// A flakyStore takes 30 ms to fail while it is down.
type flakyStore struct {
	*opaque.MemoryStore
	down atomic.Bool
}

func (s *flakyStore) Get(ctx context.Context, key string) (opaque.Item, bool, error) {
	if s.down.Load() {
		time.Sleep(30 * time.Millisecond)
		return opaque.Item{}, false, errors.New("shelf: down")
	}
	if err := ctx.Err(); err != nil {
		return opaque.Item{}, false, err
	}
	return s.MemoryStore.Get(ctx, key)
}

// A visitor is a browser with a cookie.
type visitor struct {
	t      testing.TB
	app    *application
	cookie *http.Cookie
}

// visit lets f work on the visitor's session, and returns the status.
func (v *visitor) visit(f func(s *session.Session), change ...func(*http.Request)) int {
	r := httptest.NewRequest(http.MethodGet, "https://shop.example/private/path", nil)
	if v.cookie != nil {
		r.AddCookie(&http.Cookie{Name: v.cookie.Name, Value: v.cookie.Value})
	}
	for _, change := range change {
		change(r)
	}
	w := httptest.NewRecorder()
	v.app.Middleware.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		f(session.From(r.Context()))
	})).ServeHTTP(w, r)
	for _, set := range w.Result().Cookies() {
		v.cookie = set
	}
	return w.Code
}

// count increments the visits of a session.
func (v *visitor) count(s *session.Session) {
	_, err := visits.Update(s, func(n int) int { return n + 1 })
	require.NoError(v.t, err)
}

// collected returns all metrics, each line a series:
// name{attributes} value, and for a histogram the number and the sum.
func (a *application) collected(t testing.TB) []string {
	t.Helper()
	var lines []string
	for _, m := range a.metrics(t) {
		add := func(attributes attribute.Set, value string) {
			checkAttributes(t, attributes)
			var all []string
			for _, kv := range attributes.ToSlice() {
				all = append(all, string(kv.Key)+"="+kv.Value.String())
			}
			lines = append(lines, fmt.Sprintf("%s{%s} %s", m.Name, strings.Join(all, ","), value))
		}
		switch data := m.Data.(type) {
		case metricdata.Sum[int64]:
			for _, p := range data.DataPoints {
				add(p.Attributes, fmt.Sprint(p.Value))
			}
		case metricdata.Gauge[float64]:
			for _, p := range data.DataPoints {
				add(p.Attributes, strconv.FormatFloat(p.Value, 'f', -1, 64))
			}
		case metricdata.Histogram[float64]:
			for _, p := range data.DataPoints {
				add(p.Attributes, fmt.Sprintf("%d, %v", p.Count, p.Sum))
			}
		default:
			t.Errorf("%s has data of type %T", m.Name, data)
		}
	}
	slices.Sort(lines)
	return lines
}

func (a *application) metrics(t testing.TB) []metricdata.Metrics {
	t.Helper()
	var all metricdata.ResourceMetrics
	require.NoError(t, a.reader.Collect(context.Background(), &all))
	require.Len(t, all.ScopeMetrics, 1)
	return all.ScopeMetrics[0].Metrics
}
