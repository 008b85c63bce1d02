package keys_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/internal/keyset"
	"github.com/cloakroom-go/cloakroom/keys"
)

// Failures count too, or an outage would turn every request into a fetch.
func TestRemoteBoundsFetchesInAnOutage(t *testing.T) {
	s := newIssuer(t, answer(500, ""))
	reports := make(chan error, 10)
	r := newRemote(t, s, func(c *keys.RemoteConfig) { c.OnProblem = func(err error) { reports <- err } })
	for range 100 {
		_, err := r.Key(t.Context(), "k", t0)
		require.ErrorIs(t, err, keys.ErrUnavailable)
		require.NotErrorIs(t, err, keyset.ErrUnknownKey)
	}
	require.EqualValues(t, 2, s.hits.Load())
	require.ErrorContains(t, <-reports, "answered 500")
	k := generate(t, keyset.ES256)
	s.publish(newRing(t, k))
	_, err := r.Key(t.Context(), k.ID(), t0.Add(time.Minute))
	require.NoError(t, err)
}

// A thief who has a key that was revoked long ago may be the first to come
// after a quiet time.
func TestRemoteIsNotFooledAfterAQuietTime(t *testing.T) {
	a, b := generate(t, keyset.ES256), generate(t, keyset.ES256)
	s := newIssuer(t, newRing(t, a, b).Handler().ServeHTTP) // max-age=600
	r := newRemote(t, s, nil)
	_, err := r.Key(t.Context(), a.ID(), t0)
	require.NoError(t, err)
	s.publish(newRing(t, b)) // a was revoked
	quiet := t0.Add(11 * time.Minute)
	_, err = r.Key(t.Context(), a.ID(), quiet)
	require.ErrorIs(t, err, keyset.ErrUnknownKey)
	_, err = r.Key(t.Context(), b.ID(), quiet)
	require.NoError(t, err)
	require.EqualValues(t, 2, s.hits.Load())
}

// A fetch that failed long ago is no outage, and a caller that hangs up is not
// served from the old set.
func TestRemoteIsNotFooledAfterAnOutage(t *testing.T) {
	a, b := generate(t, keyset.ES256), generate(t, keyset.ES256)
	s := newIssuer(t, newRing(t, a, b).Handler().ServeHTTP)
	failed := make(chan error, 1)
	r := newRemote(t, s, func(c *keys.RemoteConfig) { c.OnProblem = func(err error) { failed <- err } })
	_, err := r.Key(t.Context(), a.ID(), t0)
	require.NoError(t, err)
	s.serve(answer(500, ""))
	_, err = r.Key(t.Context(), a.ID(), t0.Add(20*time.Minute))
	require.NoError(t, err)
	require.Error(t, <-failed)
	s.publish(newRing(t, b)) // a was revoked
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = r.Key(gone, a.ID(), t0.Add(20*time.Hour))
	require.ErrorIs(t, err, keys.ErrUnavailable)
	require.ErrorIs(t, err, context.Canceled)
	_, err = r.Key(t.Context(), a.ID(), t0.Add(20*time.Hour))
	require.ErrorIs(t, err, keyset.ErrUnknownKey)
}

// When the issuer hangs, one request waits for it. The others get the old set
// without waiting.
func TestRemoteDoesNotWaitTwiceInAnOutage(t *testing.T) {
	k := generate(t, keyset.ES256)
	ring := newRing(t, k)
	synctest.Test(t, func(t *testing.T) {
		hangs := false
		r := through(t, func(req *http.Request) (*http.Response, error) {
			if hangs {
				<-req.Context().Done()
				return nil, req.Context().Err()
			}
			w := httptest.NewRecorder()
			ring.Handler().ServeHTTP(w, req)
			return w.Result(), nil
		})
		waits := func() time.Duration {
			began := time.Now()
			_, err := r.Key(t.Context(), k.ID(), began)
			require.NoError(t, err)
			return time.Since(began)
		}
		require.Zero(t, waits())
		hangs = true
		time.Sleep(20 * time.Minute)
		require.Equal(t, 10*time.Second, waits(), "the timeout")
		for range 10 {
			time.Sleep(time.Minute)
			require.Zero(t, waits())
		}
	})
}

func TestRemoteSurvivesAnOutage(t *testing.T) {
	k := generate(t, keyset.ES256)
	s := newIssuer(t, newRing(t, k).Handler().ServeHTTP)
	r := newRemote(t, s, func(c *keys.RemoteConfig) { c.MaxAge = 2 * time.Hour })
	_, err := r.Key(t.Context(), k.ID(), t0)
	require.NoError(t, err)
	s.serve(answer(503, ""))
	for minutes := 1; minutes < 120; minutes++ {
		_, err := r.Key(t.Context(), k.ID(), t0.Add(time.Duration(minutes)*time.Minute))
		require.NoError(t, err)
	}
	_, err = r.Key(t.Context(), k.ID(), t0.Add(2*time.Hour))
	require.ErrorIs(t, err, keys.ErrUnavailable, "not trusted for ever")
	s.publish(newRing(t, k))
	_, err = r.Key(t.Context(), k.ID(), t0.Add(3*time.Hour))
	require.NoError(t, err)
}

func TestRemoteTimesOut(t *testing.T) {
	release := make(chan struct{})
	s := newIssuer(t, func(http.ResponseWriter, *http.Request) { <-release })
	defer close(release)
	r := newRemote(t, s, func(c *keys.RemoteConfig) { c.Timeout = 20 * time.Millisecond })
	_, err := r.Key(t.Context(), "k", t0)
	require.ErrorIs(t, err, keys.ErrUnavailable)
	require.ErrorIs(t, err, context.DeadlineExceeded)
}
