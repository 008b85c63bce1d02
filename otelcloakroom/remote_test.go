package otelcloakroom_test

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/sdk/metric"

	"github.com/cloakroom-go/cloakroom/otelcloakroom"
	"github.com/cloakroom-go/cloakroom/revocation"
	"github.com/cloakroom-go/cloakroom/session"
)

// A direct Transport asks a handler without a network.
type direct struct{ http.Handler }

func (d direct) RoundTrip(r *http.Request) (*http.Response, error) {
	w := httptest.NewRecorder()
	d.ServeHTTP(w, r)
	return w.Result(), nil
}

// service returns the metrics of a service that asks a what has ended. Until
// then it has asked once, in vain.
func service(t *testing.T, a *application) (s *application, stop func()) {
	h, err := revocation.NewHandler(revocation.HandlerConfig{List: a.Revocations, Ring: a.Keys, Issuer: "shop"})
	require.NoError(t, err)
	mux := http.NewServeMux()
	r, err := revocation.NewRemote(revocation.RemoteConfig{
		URL: "https://shop.example/ended", Keys: a.Keys, Issuer: "shop", Transport: direct{mux},
	})
	require.NoError(t, err)
	synctest.Wait()
	mux.Handle("/ended", h)
	s = &application{reader: metric.NewManualReader()}
	unwatch, err := otelcloakroom.WatchRemote(otelcloakroom.Config{
		MeterProvider: metric.NewMeterProvider(metric.WithReader(s.reader)),
	}, r)
	require.NoError(t, err)
	return s, func() { unwatch(); require.NoError(t, r.Close()) }
}

func TestWatchRemote(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := start(t, "stateless")
		s, stop := service(t, a)
		for _, id := range []string{"one", "two"} {
			rec := &session.Record{ID: id, Generation: 1, Subject: "alice", Deadline: time.Now().Add(time.Hour)}
			require.NoError(t, a.Revocations.EndSession(t.Context(), rec))
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		require.Equal(t, []string{
			"cloakroom.remote.entry.count{} 2",
			"cloakroom.remote.fetch{error.type=_OTHER} 1",
			"cloakroom.remote.fetch{} 2",
			"cloakroom.remote.staleness{} 1",
		}, s.collected(t))
		stop()
	})
}
