package redisstore_test

import (
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/internal/apptest"
	"github.com/cloakroom-go/cloakroom/middleware"
	"github.com/cloakroom-go/cloakroom/opaque"
	"github.com/cloakroom-go/cloakroom/session"
)

// A handler that is serving an opaque session learns within milliseconds that
// another instance has ended it. The time is that of the whole logout, and
// until the handler knows.
func TestEnded(t *testing.T) {
	s := startServer(t)
	instance := func() *middleware.Middleware {
		store := open(t, s.config())
		list := openList(t, store)
		carrier, err := opaque.NewCarrier(opaque.CarrierConfig{Store: store, Secrets: apptest.Secrets(), Revocations: list})
		require.NoError(t, err)
		m, err := middleware.New(middleware.Config{Carrier: carrier, Revocations: list})
		require.NoError(t, err)
		return m
	}
	a, b := instance(), instance()
	var took []time.Duration
	for range 100 {
		credential := apptest.Begin(t, a, "alice")
		stream := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			ended := session.From(r.Context()).Ended()
			began := time.Now()
			status, _ := apptest.Visit(b, credential, func(s *session.Session) { _ = s.Destroy() })
			require.Equal(t, http.StatusOK, status)
			select {
			case <-ended:
				took = append(took, time.Since(began))
			case <-time.After(patience):
				t.Error("the logout is not known here")
			}
		})
		a.Handler(stream).ServeHTTP(httptest.NewRecorder(), apptest.Cookies(credential))
	}
	require.NotEmpty(t, took)
	slices.Sort(took)
	t.Logf("p50 %v, p90 %v, most %v", took[len(took)/2], took[len(took)*9/10], took[len(took)-1])
}
