package revocation_test

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/internal/keyset"
	"github.com/cloakroom-go/cloakroom/keys"
	"github.com/cloakroom-go/cloakroom/revocation"
	"github.com/cloakroom-go/cloakroom/session"
)

// says is an answer with a body.
func says(body string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, body) })
}

// get returns what a handler answers.
func get(t testing.TB, h http.Handler, query string) string {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/ended"+query, nil))
	require.Equal(t, http.StatusOK, w.Code)
	return w.Body.String()
}

func signed(t testing.TB, ring *keys.Ring, typ, payload string) string {
	key, err := ring.Current(keys.Signature, time.Now())
	require.NoError(t, err)
	body, err := (*keyset.Key)(key).Unsigned(typ, []byte(payload)).Sign()
	require.NoError(t, err)
	return body
}

const endedTyp = "cloakroom-ended+jwt"

// payloadAt is what a good document says, with changes as pairs of an old and a
// new text.
func payloadAt(at time.Time, changes ...string) string {
	text := fmt.Sprintf(`{"iss":"https://app.example","iat":%d,"stale":0,`+
		`"log":"a","after":0,"upto":0,"more":false,"ended":""}`, at.Unix())
	return strings.NewReplacer(changes...).Replace(text)
}

// Nothing is taken from an answer that is not a document of the application,
// and the service then knows of nothing.
func TestForgedDocuments(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ring, other, secret := newRing(t, keys.ES256), newRing(t, keys.ES256), newRing(t, keys.HS256)
		both, err := keys.NewRing(append(ring.Set().Keys(), secret.Set().Keys()...)...)
		require.NoError(t, err)
		l := revocation.NewVolatile(revocation.Config{})
		require.NoError(t, l.EndAll(t.Context()))
		good := get(t, handler(t, l, ring), "")
		part := strings.Split(good, ".")
		now := time.Now()
		doc := func(changes ...string) string { return signed(t, ring, endedTyp, payloadAt(now, changes...)) }
		none := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none","kid":"a","typ":"` + endedTyp + `"}`))
		const ofAll = "e9000000000000,4000000000"
		for name, body := range map[string]string{
			"empty": "", "text": "hello", "truncated": good[:len(good)-1], "cut": part[0] + "." + part[1] + ".",
			"two":               good + good,
			"line break":        good + "\n",
			"padding":           part[0] + "." + part[1] + "=." + part[2],
			"other payload":     part[0] + "." + strings.Split(doc(), ".")[1] + "." + part[2],
			"another's key":     signed(t, other, endedTyp, payloadAt(now)),
			"symmetric":         signed(t, secret, endedTyp, payloadAt(now)),
			"service token":     signed(t, ring, "at+jwt", payloadAt(now)),
			"session token":     signed(t, ring, "cloakroom+jwt", payloadAt(now)),
			"type by its tail":  signed(t, ring, "x-"+endedTyp, payloadAt(now)),
			"type in capitals":  signed(t, ring, "Cloakroom-Ended+JWT", payloadAt(now)),
			"none":              none + "." + part[1] + ".",
			"another issuer":    doc("app.example", "app.example.org"),
			"no issuer":         doc(`"iss":"https://app.example",`, ""),
			"no date":           doc(fmt.Sprintf(`"iat":%d,`, now.Unix()), ""),
			"no entries":        doc(`,"ended":""`, ""),
			"no position":       doc(`"upto":0,`, ""),
			"later":             signed(t, ring, endedTyp, payloadAt(now.Add(10*time.Minute))),
			"number as text":    doc(`"after":0`, `"after":"0"`),
			"negative":          doc(`"after":0`, `"after":-1`),
			"backward":          doc(`"after":0`, `"after":0,"x":0`, `"upto":0`, `"upto":-1`),
			"long ago":          doc(`"stale":0`, `"stale":9007199254740991`),
			"twice":             doc(`"more":false`, `"more":false,"more":false`),
			"endless":           doc(`"more":false`, `"more":true`),
			"with a gap":        doc(`"after":0,"upto":0`, `"after":7,"upto":9`),
			"not JSON":          signed(t, ring, endedTyp, "["),
			"unknown entry":     doc(`"ended":""`, `"ended":"`+ofAll+` x1,2"`),
			"entry cut":         doc(`"ended":""`, `"ended":"`+ofAll+` sAAAA,1,4000000000"`),
			"entry with more":   doc(`"ended":""`, `"ended":"`+ofAll+`,1"`),
			"entry with spaces": doc(`"ended":""`, `"ended":"`+ofAll+`  `+ofAll+`"`),
			"huge":              good + strings.Repeat("A", 1<<20),
			"huge and good":     doc(`"ended":""`, `"ended":"`+strings.Repeat(ofAll+" ", 40000)+ofAll+`"`),
		} {
			r := remote(t, &line{to: []http.Handler{says(body)}}, both)
			poll()
			rec := recordOf("one", "alice")
			require.ErrorIs(t, r.Check(rec), session.Unavailable, name)
			require.Zero(t, r.Stats().Entries, name)
			require.Equal(t, r.Stats().Fetches, r.Stats().Failures, name)
			require.NoError(t, r.Close())
		}
		r := remote(t, &line{to: []http.Handler{says(doc(`"more"`, `"new":{"a":1},"more"`))}}, both)
		poll()
		require.NoError(t, r.Check(recordOf("one", "alice")), "a newer version may say more")
		require.NoError(t, r.Close())
	})
}

// The error that an operator sees has nothing of what was answered, or sent.
func TestProblemsKeepSecrets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ring := newRing(t, keys.ES256)
		for _, h := range []http.Handler{
			says("hunter2"), says(signed(t, ring, "hunter2", payloadAt(time.Now()))), http.NotFoundHandler(),
			says(signed(t, ring, endedTyp, payloadAt(time.Now(), "app.example", "hunter2"))),
			says(signed(t, ring, endedTyp, payloadAt(time.Now(), `"ended":""`, `"ended":"hunter2"`))),
		} {
			problems := make(chan error, 1)
			r := remote(t, &line{to: []http.Handler{h}}, ring, func(c *revocation.RemoteConfig) {
				c.ClientID, c.ClientSecret, c.OnProblem = "orders", "hunter2", func(err error) { problems <- err }
			})
			err := <-problems
			require.ErrorContains(t, err, "revocation: the ends of sessions in the application are not known here")
			require.NotContains(t, err.Error(), "hunter2")
			require.NoError(t, r.Close())
		}
	})
}

// An answer that is recorded and sent again, kept back, or given to another
// question does not take an end back, and does not make the service look as if
// it knew what has ended since.
func TestReplayedDocuments(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ring := newRing(t, keys.ES256)
		l := revocation.NewVolatile(revocation.Config{})
		h := handler(t, l, ring)
		to := &line{to: []http.Handler{h}}
		r := remote(t, to, ring)
		poll()
		recorded := get(t, h, "")
		rec := recordOf("one", "alice")
		require.NoError(t, l.EndSession(t.Context(), rec))
		poll()
		require.ErrorIs(t, r.Check(rec), session.Ended)
		newest := get(t, h, "")
		to.set(func() { to.to = []http.Handler{says(recorded), says(newest)} })
		time.Sleep(28 * time.Second)
		require.ErrorIs(t, r.Check(rec), session.Ended)
		require.NoError(t, r.Fresh())
		time.Sleep(5 * time.Second)
		require.ErrorIs(t, r.Check(rec), session.Ended)
		require.ErrorIs(t, r.Fresh(), session.Unavailable)

		// A service that starts meanwhile does not take it for new for long.
		late := remote(t, &line{to: []http.Handler{says(recorded), says(newest)}}, ring)
		poll()
		require.ErrorIs(t, late.Check(rec), session.Ended)
		require.Greater(t, late.Stats().Staleness, 20*time.Second)
		time.Sleep(10 * time.Second)
		require.ErrorIs(t, late.Fresh(), session.Unavailable)
		require.NoError(t, late.Close())

		// Behind a line that keeps everything back for a minute.
		var kept []string
		to.set(func() {
			to.to = []http.Handler{http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
				now := httptest.NewRecorder()
				h.ServeHTTP(now, req)
				kept = append(kept, now.Body.String())
				if len(kept) > 60 {
					fmt.Fprint(w, kept[len(kept)-60])
				}
			})}
		})
		time.Sleep(2 * time.Minute)
		require.ErrorIs(t, r.Fresh(), session.Unavailable)
		to.set(func() { to.to = []http.Handler{h} })
		poll()
		require.NoError(t, r.Fresh())
	})
}

// An answer to a service that knew more lacks what this one has not heard of.
func TestAnswerToAnotherQuestion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ring := newRing(t, keys.ES256)
		l := revocation.NewVolatile(revocation.Config{})
		h := handler(t, l, ring)
		first := &line{to: []http.Handler{h}}
		other := remote(t, first, ring)
		poll()
		require.NoError(t, l.EndSession(t.Context(), recordOf("one", "alice")))
		poll()
		poll()
		require.NoError(t, other.Close())
		r := remote(t, &line{to: []http.Handler{says(get(t, h, "?"+first.asked[len(first.asked)-1]))}}, ring)
		poll()
		require.ErrorIs(t, r.Fresh(), session.Unavailable)
		require.NotZero(t, r.Stats().Failures)
	})
}

// The clocks of a service and its application may differ by 10 seconds. More
// than that looks like an answer from before.
func TestClocksDiffer(t *testing.T) {
	for off, stale := range map[time.Duration]int{ // in seconds
		0: 2, 9 * time.Second: 2, -9 * time.Second: 2, -30 * time.Second: 2, 20 * time.Second: 12, 2 * time.Minute: 112,
	} {
		synctest.Test(t, func(t *testing.T) {
			ring := newRing(t, keys.ES256)
			l := revocation.NewVolatile(revocation.Config{Now: func() time.Time { return time.Now().Add(-off) }})
			r := remote(t, &line{to: []http.Handler{handler(t, l, ring)}}, ring, func(c *revocation.RemoteConfig) {
				c.MaxStaleness = time.Hour
			})
			time.Sleep(10 * time.Second)
			synctest.Wait()
			require.NoError(t, r.Fresh())
			require.InDelta(t, stale, r.Stats().Staleness.Seconds(), 1.1, "behind by %v", off)
			require.NoError(t, r.Close())
		})
	}
}

// What is cut on its way is no document, wherever it is cut.
func TestTruncatedDocuments(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ring := newRing(t, keys.ES256)
		l := revocation.NewVolatile(revocation.Config{})
		require.NoError(t, l.EndAll(t.Context()))
		to := &line{to: []http.Handler{handler(t, l, ring)}}
		cut := 0
		to.change = func(resp *http.Response) *http.Response {
			body, err := io.ReadAll(resp.Body)
			require.NoError(t, err)
			cut++
			resp.Body = io.NopCloser(bytes.NewReader(body[:cut*len(body)/101]))
			return resp
		}
		r := remote(t, to, ring, func(c *revocation.RemoteConfig) { c.Interval = 100 * time.Millisecond })
		time.Sleep(9900 * time.Millisecond)
		synctest.Wait()
		require.EqualValues(t, 100, r.Stats().Failures)
		require.Zero(t, r.Stats().Entries)
		time.Sleep(100 * time.Millisecond)
		synctest.Wait()
		require.Equal(t, 1, r.Stats().Entries)
		require.NoError(t, r.Close())
	})
}
