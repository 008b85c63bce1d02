package revocation_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/keys"
	"github.com/cloakroom-go/cloakroom/revocation"
	"github.com/cloakroom-go/cloakroom/session"
)

func TestHandlerConfig(t *testing.T) {
	l := revocation.NewVolatile(revocation.Config{})
	_, err := revocation.NewHandler(revocation.HandlerConfig{})
	for _, field := range []string{"List", "Ring", "Issuer"} {
		require.ErrorContains(t, err, "HandlerConfig."+field+" is required")
	}
	_, err = revocation.NewHandler(revocation.HandlerConfig{List: &revocation.List{}, Ring: newRing(t), Issuer: issuer})
	require.ErrorContains(t, err, "List")
	_, err = revocation.NewHandler(revocation.HandlerConfig{List: l, Ring: newRing(t, keys.HS256), Issuer: issuer})
	require.ErrorContains(t, err, "symmetric")

	// The keys may change afterwards.
	ring := newRing(t, keys.ES256)
	h := handler(t, l, ring)
	require.Equal(t, http.StatusOK, ask(h, http.MethodGet, "").Code)
	for _, none := range []*keys.Ring{newRing(t, keys.HS256), newRing(t)} {
		require.NoError(t, ring.Replace(none.Set().Keys()...))
		w := ask(h, http.MethodGet, "")
		require.Equal(t, http.StatusServiceUnavailable, w.Code)
		require.Equal(t, "no-store", w.Header().Get("Cache-Control"))
	}
	require.Equal(t, http.StatusServiceUnavailable, ask(&revocation.Handler{}, http.MethodGet, "").Code)
}

func ask(h http.Handler, method, query string, header ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, "/ended"+query, nil)
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func TestHandlerAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := revocation.NewVolatile(revocation.Config{})
		ring := newRing(t, keys.ES256)
		h := handler(t, l, ring)
		first := ask(h, http.MethodGet, "")
		require.Equal(t, http.StatusOK, first.Code)
		require.Equal(t, "application/jwt", first.Header().Get("Content-Type"))
		require.Equal(t, "private, max-age=1", first.Header().Get("Cache-Control"))
		etag := first.Header().Get("ETag")

		time.Sleep(900 * time.Millisecond)
		require.Equal(t, first.Body.String(), ask(h, http.MethodGet, "").Body.String(), "signed once in a second")
		require.Equal(t, first.Body.String(), ask(h, http.MethodGet, "?after=x&after=.&after=").Body.String())
		require.Equal(t, http.StatusNotModified, ask(h, http.MethodGet, "", "If-None-Match", etag).Code)
		head := ask(h, http.MethodHead, "")
		require.Equal(t, []any{http.StatusOK, etag, 0}, []any{head.Code, head.Header().Get("ETag"), head.Body.Len()})

		require.NoError(t, l.EndSession(t.Context(), recordOf("one", "alice")))
		second := ask(h, http.MethodGet, "", "If-None-Match", etag)
		require.Equal(t, http.StatusOK, second.Code, "something has ended")
		require.Equal(t, second.Body.String(), get(t, h, ""))
		time.Sleep(time.Second)
		require.NotEqual(t, second.Body.String(), get(t, h, ""))

		k, err := keys.Generate(keys.ES256, keys.Dates{})
		require.NoError(t, err)
		before := get(t, h, "")
		require.NoError(t, ring.Replace(k))
		require.NotEqual(t, before, get(t, h, ""), "the key may have been revoked")

		post := ask(h, http.MethodPost, "")
		require.Equal(t, []any{http.StatusMethodNotAllowed, "GET, HEAD"}, []any{post.Code, post.Header().Get("Allow")})
	})
}

// However many ends there are, an answer has at most 1 MiB, and a service gets
// all of them in a few.
func TestManyEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, ring := revocation.NewVolatile(revocation.Config{}), newRing(t, keys.ES256)
		endMany(t, l, 15_000)
		to := &line{to: []http.Handler{handler(t, l, ring), handler(t, l, ring)}}
		longest := int64(0)
		to.change = func(w *http.Response) *http.Response { longest = max(longest, w.ContentLength); return w }
		r := remote(t, to, ring)
		synctest.Wait()
		require.NoError(t, r.Fresh())
		require.Equal(t, 15_000, r.Stats().Entries)
		require.EqualValues(t, 2, r.Stats().Fetches)
		require.Less(t, longest, int64(800_000))
		id := ids(15_000)
		for i := range 1000 {
			rec := &session.Record{ID: id(), Subject: strconv.Itoa(i), Generation: 3}
			require.ErrorIs(t, r.Check(rec), session.Ended)
		}
		require.NoError(t, l.EndSession(t.Context(), recordOf("one more", "alice")))
		endMany(t, l, 14_999)
		poll()
		require.Equal(t, 30_000, r.Stats().Entries)
		require.Zero(t, r.Stats().Failures)
	})
}

// Somebody who logs in and out all the time costs the application no more
// memory than the list, and no end is lost.
func TestFloodOfOneSubject(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, ring := revocation.NewVolatile(revocation.Config{}), newRing(t, keys.EdDSA)
		r := remote(t, &line{to: []http.Handler{handler(t, l, ring)}}, ring)
		poll()
		other := recordOf("other", "bob")
		require.NoError(t, l.EndSession(t.Context(), other))
		var last *session.Record
		for i := range 12_000 {
			last = recordOf(fmt.Sprint(i), "alice")
			require.NoError(t, l.EndSession(t.Context(), last))
			if i%100 == 0 {
				time.Sleep(time.Millisecond)
			}
		}
		require.LessOrEqual(t, l.Recent(), 9_000)
		poll()
		require.ErrorIs(t, r.Check(other), session.Ended)
		require.ErrorIs(t, r.Check(last), session.Ended)
		late := remote(t, &line{to: []http.Handler{handler(t, l, ring)}}, ring)
		synctest.Wait()
		require.ErrorIs(t, late.Check(other), session.Ended)
		require.ErrorIs(t, late.Check(last), session.Ended)
		require.Less(t, late.Stats().Entries, 1000)
	})
}

// Ends that only a store knows are not lost when there are many of them, nor
// before a service has asked for the first time. Their memory is bounded.
func TestFloodOfEndsOfAStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, ring := revocation.NewVolatile(revocation.Config{}), newRing(t, keys.EdDSA)
		to := &line{to: []http.Handler{handler(t, l, ring)}}
		end := func(name string) *session.Record {
			rec := recordOf(name, "bob")
			l.Changed(rec, nil, nil)
			return rec
		}
		all := []*session.Record{end("before anybody asked")}
		first := remote(t, to, ring)
		poll()
		for i := range 30_000 {
			if rec := end(fmt.Sprint(i)); i%1000 == 0 {
				all = append(all, rec)
			}
			if i == 15_000 {
				require.NoError(t, l.EndSession(t.Context(), recordOf("listed", "carol")))
				all = append(all, recordOf("listed", "carol"))
			}
		}
		poll()
		late := remote(t, to, ring)
		poll()
		for _, rec := range all {
			require.ErrorIs(t, first.Check(rec), session.Ended, rec.ID)
			require.ErrorIs(t, late.Check(rec), session.Ended, rec.ID)
		}

		renewed := recordOf("renewed", "alice")
		for range 30_000 {
			next := *renewed
			next.Generation++
			l.Changed(renewed, &next, nil)
			renewed = &next
		}
		for i := range 300_000 {
			end(fmt.Sprint("more ", i))
		}
		require.LessOrEqual(t, l.Recent(), 300_000)
		last := end("last")
		poll()
		require.ErrorIs(t, first.Check(last), session.Ended)
		time.Sleep(time.Hour)
		end("much later")
		require.LessOrEqual(t, l.Recent(), 1)
	})
}
