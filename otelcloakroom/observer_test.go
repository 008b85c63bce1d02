package otelcloakroom_test

import (
	"context"
	"errors"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/metric/noop"
	sdk "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/cloakroom-go/cloakroom/config"
	"github.com/cloakroom-go/cloakroom/keys"
	"github.com/cloakroom-go/cloakroom/otelcloakroom"
	"github.com/cloakroom-go/cloakroom/revocation"
	"github.com/cloakroom-go/cloakroom/session"
)

// allowed are the values that each attribute may have.
func allowed() map[attribute.Key][]string {
	reasons := []string{"malformed", "forged", "unknown_key", "not_found", "ambiguous", "idle_timeout", "lifetime_over",
		"ended", "conflict", "too_large", "bad_value", "too_late", "unavailable", "no_middleware", "too_many",
		"cross_origin"}
	return map[attribute.Key][]string{
		"cloakroom.event.kind": {"created", "renewed", "moved", "ended", "refused", "failed", "nearly_full", "abandoned",
			"cookie_dropped", "ended_subject", "ended_tag", "ended_all"},
		"cloakroom.event.reason":          reasons,
		"cloakroom.operation.name":        {"open", "issue", "save", "retire", "forget", "end"},
		"cloakroom.session.form":          {"stateless", "opaque"},
		"cloakroom.revocation.entry.type": {"session", "subject"},
		"error.type":                      append(reasons, "canceled", "_OTHER"),
	}
}

// checkAttributes fails for an attribute that is not on the list: metrics must
// not grow with what clients send, nor say whose sessions they are about.
func checkAttributes(t testing.TB, attributes attribute.Set) {
	t.Helper()
	for _, kv := range attributes.ToSlice() {
		require.Contains(t, allowed()[kv.Key], kv.Value.String(), kv.Key)
	}
}

func TestAllowedReasonsAreComplete(t *testing.T) {
	var all []string
	for r := session.Reason(1); r.String() != "none"; r++ {
		all = append(all, r.String())
	}
	require.Equal(t, all, allowed()["cloakroom.event.reason"])
}

// run does everything that a metric counts, as far as the mode has it.
func run(t *testing.T, a *application) {
	v := &visitor{t: t, app: a}
	nothing := func(*session.Session) {}
	ok := func(f func(*session.Session)) {
		t.Helper()
		require.Equal(t, http.StatusOK, v.visit(f))
	}
	ok(v.count)
	ok(func(s *session.Session) { require.NoError(t, s.Login("alice@mail.example")) })
	ok(func(s *session.Session) { // another request is faster
		other := *v
		require.Equal(t, http.StatusOK, other.visit(v.count))
		v.count(s)
	})
	require.Equal(t, http.StatusForbidden, v.visit(nothing, func(r *http.Request) {
		r.Method = http.MethodPost
		r.Header.Set("Origin", "https://evil.example")
	}))
	switch a.mode {
	case config.Stateless:
		require.NoError(t, a.Keys.Reload())
		require.NoError(t, os.Rename(a.keys, a.keys+".gone"))
		require.Error(t, a.Keys.Reload())
		require.NoError(t, os.Rename(a.keys+".gone", a.keys))
	case config.Opaque:
		a.store.down.Store(true)
		require.Equal(t, http.StatusServiceUnavailable, v.visit(nothing))
		a.store.down.Store(false)
		v.visit(nothing, func(r *http.Request) { // the client goes away
			ctx, cancel := context.WithCancel(r.Context())
			cancel()
			*r = *r.WithContext(ctx)
		})
	case config.Auto: // moves to the store
		ok(func(s *session.Session) {
			require.NoError(t, session.Key[string]("large").Set(s, strings.Repeat("x", 4096)))
		})
	}
	ok(func(s *session.Session) { require.NoError(t, s.Destroy()) })
	require.NoError(t, a.Revocations.EndSubject(t.Context(), "alice@mail.example"))
	require.NoError(t, a.Revocations.EndAll(t.Context()))
	v.cookie = &http.Cookie{Name: "__Host-session", Value: "nonsense"}
	ok(nothing)
	v.cookie = nil
	ok(func(s *session.Session) { require.NoError(t, s.Login("bob@mail.example")) })
	time.Sleep(3 * time.Hour)
	ok(nothing)
}

// The files in testdata have every series after run, with its value: for a
// duration the number and the sum.
func TestMetrics(t *testing.T) {
	for _, mode := range []config.Mode{config.Stateless, config.Opaque, config.Auto} {
		t.Run(string(mode), func(t *testing.T) {
			want, err := os.ReadFile("testdata/" + string(mode) + ".txt")
			require.NoError(t, err)
			synctest.Test(t, func(t *testing.T) {
				a := start(t, mode)
				run(t, a)
				require.Equal(t, string(want), strings.Join(a.collected(t), "\n")+"\n")
			})
		})
	}
}

// Every figure is in the metric that is named after it.
func TestFigures(t *testing.T) {
	reader := sdk.NewManualReader()
	observer, err := otelcloakroom.New(otelcloakroom.Config{MeterProvider: sdk.NewMeterProvider(sdk.WithReader(reader))})
	require.NoError(t, err)
	synctest.Test(t, func(t *testing.T) {
		stop, err := observer.Watch(func() config.Stats {
			return config.Stats{
				Revocations: revocation.Stats{Staleness: 1500 * time.Millisecond, Sessions: 2, Subjects: 3, Appends: 4,
					FailedAppends: 5, Losses: 6, ClockOffset: -7 * time.Second},
				Keys:        keys.Health{Reloads: 8, FailedReloads: 9, NextAt: time.Now().Add(10 * time.Hour)},
				StoredItems: 11, StoredBytes: 12,
			}
		})
		require.NoError(t, err)
		defer stop()
		a := &application{reader: reader}
		require.Equal(t, []string{
			"cloakroom.key.reload{error.type=_OTHER} 9",
			"cloakroom.key.reload{} 8",
			"cloakroom.key.time_to_rotation{} 36000",
			"cloakroom.memory.item.count{} 11",
			"cloakroom.memory.size{} 12",
			"cloakroom.revocation.append{error.type=_OTHER} 5",
			"cloakroom.revocation.append{} 4",
			"cloakroom.revocation.clock_offset{} -7",
			"cloakroom.revocation.entry.count{cloakroom.revocation.entry.type=session} 2",
			"cloakroom.revocation.entry.count{cloakroom.revocation.entry.type=subject} 3",
			"cloakroom.revocation.loss{} 6",
			"cloakroom.revocation.staleness{} 1.5",
		}, a.collected(t))
	})
}

// An operation that takes 30 ms is in the bucket from 25 ms to 50 ms.
func TestBuckets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := start(t, config.Opaque)
		v := &visitor{t: t, app: a}
		v.visit(v.count)
		a.store.down.Store(true)
		v.visit(v.count)
		for _, m := range a.metrics(t) {
			data, ok := m.Data.(metricdata.Histogram[float64])
			if !ok {
				continue
			}
			for _, p := range data.DataPoints {
				if p.Sum == 0.03 {
					at := slices.Index(p.BucketCounts, 1)
					require.Equal(t, []float64{0.025, 0.05}, p.Bounds[at-1:at+1])
					return
				}
			}
		}
		t.Error("no operation took 30 ms")
	})
}

// An App that is closed is not watched any more, and its Observer is free for
// another. Until then, figures of two Apps would replace each other.
func TestWatch(t *testing.T) {
	observer, err := otelcloakroom.New(otelcloakroom.Config{}) // of the global MeterProvider
	require.NoError(t, err)
	build := func() (*config.App, error) {
		return config.Config{Mode: config.Opaque}.Build(config.Options{Observer: observer})
	}
	app, err := build()
	require.NoError(t, err)
	_, err = build()
	require.ErrorContains(t, err, "this Observer watches another App already; make one for each with New")
	require.NoError(t, app.Close())
	app, err = build()
	require.NoError(t, err)
	require.NoError(t, app.Close())
}

func TestCloseStopsWatching(t *testing.T) {
	a := start(t, config.Auto)
	require.NotEmpty(t, a.collected(t))
	require.NoError(t, a.Close())
	var all metricdata.ResourceMetrics
	require.NoError(t, a.reader.Collect(t.Context(), &all))
	require.Empty(t, all.ScopeMetrics)
}

// A MeterProvider that fails makes New and Watch fail.
func TestInstrumentsFail(t *testing.T) {
	_, err := otelcloakroom.New(otelcloakroom.Config{MeterProvider: failingProvider{counters: true}})
	require.ErrorContains(t, err, "otelcloakroom: can't make the instruments: meter: full")
	observer, err := otelcloakroom.New(otelcloakroom.Config{MeterProvider: failingProvider{}})
	require.NoError(t, err)
	for range 2 { // a failure leaves the Observer free
		_, err = observer.Watch(func() config.Stats { return config.Stats{} })
		require.ErrorContains(t, err, "otelcloakroom: can't make the instruments: meter: full")
	}
}

// A failingProvider makes meters that fail to make gauges, or counters too.
type failingProvider struct {
	noop.MeterProvider
	counters bool
}

func (p failingProvider) Meter(string, ...metric.MeterOption) metric.Meter {
	return failingMeter{counters: p.counters}
}

type failingMeter struct {
	noop.Meter
	counters bool
}

var errFull = errors.New("meter: full")

func (m failingMeter) Int64Counter(string, ...metric.Int64CounterOption) (metric.Int64Counter, error) {
	if m.counters {
		return nil, errFull
	}
	return noop.Int64Counter{}, nil
}

func (m failingMeter) Float64ObservableGauge(
	string, ...metric.Float64ObservableGaugeOption,
) (metric.Float64ObservableGauge, error) {
	return nil, errFull
}
