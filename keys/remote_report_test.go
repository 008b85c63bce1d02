package keys_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
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
)

// overTheNet answers each request with what handler says, without a network.
func overTheNet(t testing.TB, url string, handler http.HandlerFunc, edit func(*keys.RemoteConfig)) *keys.Remote {
	cfg := keys.RemoteConfig{URL: url, Transport: transport(func(req *http.Request) (*http.Response, error) {
		w := httptest.NewRecorder()
		handler(w, req)
		return w.Result(), nil
	})}
	if edit != nil {
		edit(&cfg)
	}
	r, err := keys.NewRemote(cfg)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, r.Close()) })
	return r
}

// through returns a Remote whose requests carry answers.
func through(t testing.TB, carry transport) *keys.Remote {
	return overTheNet(t, "https://a.example", nil, func(c *keys.RemoteConfig) { c.Transport = carry })
}

type transport func(*http.Request) (*http.Response, error)

func (f transport) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

const hollowKey = "the Ed25519 public key is a point of small order: anybody can sign for it"

// OnProblem reports a key that its issuer publishes in vain: once, and again
// for another reason.
func TestRemoteReportsKeysThatAreLeftOut(t *testing.T) {
	k := generate(t, keyset.ES256)
	entry := keyText(t, get(newRing(t, k).Handler(), nil).Body.String())
	body := ""
	serve := func(keys ...string) { body = `{"keys":[` + strings.Join(append(keys, entry), ",") + `]}` }
	var reports []string
	fetches := 0
	r := overTheNet(t, "https://a.example", func(w http.ResponseWriter, _ *http.Request) {
		fetches++
		fmt.Fprint(w, body)
	}, func(c *keys.RemoteConfig) {
		c.OnProblem = func(err error) {
			kid, _ := leftOut(t, err)
			require.True(t, kid == "" || strings.Contains(err.Error(), "key "+kid+" of"))
			reports = append(reports, err.Error())
		}
	})
	fetch := func(n int) []string {
		t.Helper()
		reports = nil
		_, err := r.Key(t.Context(), "invented", t0.Add(time.Duration(n)*time.Minute))
		require.ErrorIs(t, err, keyset.ErrUnknownKey)
		require.Equal(t, n, fetches)
		keys.Settle(r)
		return reports
	}
	const hollow = `{"kty":"OKP","crv":"Ed25519","kid":"a","x":"AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}`
	serve(hollow, `{"kty":"AKP","kid":"<b>\u001b","alg":"ML-DSA-44"}`)
	require.Equal(t, []string{
		"keys: fetch key set: key a of the set is left out: " + hollowKey,
		"keys: fetch key set: key number 2 of the set is left out: " +
			"its kid has more than 256 bytes, or characters that can't be printed",
	}, fetch(1))
	require.Empty(t, fetch(2), "nothing new")
	serve()
	require.Empty(t, fetch(3))
	serve(`{"kty":"OKP","crv":"Ed25519","kid":"a","x":"AQ"}`)
	require.Len(t, fetch(4), 1, "it is there again, with another mistake")
	serve(`{"kty":"OKP","crv":"Ed25519","kid":"a","use":"enc","x":"AQ"}`)
	require.Equal(t, []string{"keys: fetch key set: key a of the set is left out: member use: it is not sig"}, fetch(5))
}

// The clock was ahead while the set was fetched. A key that was revoked since
// then must not be trusted until the clock gets there.
func TestRemoteFetchedByAClockThatWasAhead(t *testing.T) {
	a, b := generate(t, keyset.ES256), generate(t, keyset.ES256)
	for _, ahead := range []time.Duration{2 * time.Minute, time.Hour, 30 * 24 * time.Hour} {
		ring, status := newRing(t, a, b), http.StatusOK
		r := overTheNet(t, "https://a.example", func(w http.ResponseWriter, req *http.Request) {
			if status != http.StatusOK {
				w.WriteHeader(status)
				return
			}
			ring.Handler().ServeHTTP(w, req)
		}, nil)
		_, err := r.Key(t.Context(), a.ID(), t0.Add(ahead))
		require.NoError(t, err)
		ring = newRing(t, b) // a was revoked, and the clock was set right
		_, err = r.Key(t.Context(), a.ID(), t0)
		require.ErrorIs(t, err, keyset.ErrUnknownKey, ahead)
		_, err = r.Key(t.Context(), b.ID(), t0)
		require.NoError(t, err)

		// The age of a set from the future is unknown: in an outage it is trusted
		// for MaxAge from the instant at which that was noticed.
		_, err = r.Key(t.Context(), b.ID(), t0.Add(ahead+time.Hour))
		require.NoError(t, err)
		keys.Settle(r)
		status = http.StatusServiceUnavailable
		_, err = r.Key(t.Context(), b.ID(), t0.Add(time.Hour-time.Minute))
		require.NoError(t, err)
		_, err = r.Key(t.Context(), b.ID(), t0.Add(25*time.Hour))
		require.ErrorIs(t, err, keys.ErrUnavailable, ahead)
	}
}

// A fetch failed while the clock was ahead. Once the clock is right, that does
// not count as a moment ago: the next caller waits for a new fetch.
func TestRemoteThatFailedByAClockThatWasAhead(t *testing.T) {
	a, b := generate(t, keyset.ES256), generate(t, keyset.ES256)
	s := newIssuer(t, newRing(t, a, b).Handler().ServeHTTP)
	r := newRemote(t, s, nil)
	_, err := r.Key(t.Context(), a.ID(), t0)
	require.NoError(t, err)
	s.serve(answer(503, ""))
	_, err = r.Key(t.Context(), a.ID(), t0.Add(20*time.Hour))
	require.NoError(t, err)
	keys.Settle(r)
	s.publish(newRing(t, b)) // a was revoked
	_, err = r.Key(t.Context(), a.ID(), t0.Add(2*time.Hour))
	require.ErrorIs(t, err, keyset.ErrUnknownKey)
}

// Requests that have read the clock earlier may come later. That does not mean
// that the clock was ahead.
func TestRemoteToleratesCallersOutOfOrder(t *testing.T) {
	k := generate(t, keyset.ES256)
	s := newIssuer(t, newRing(t, k).Handler().ServeHTTP)
	r := newRemote(t, s, nil)
	for _, at := range []time.Duration{0, -time.Second, -time.Minute, time.Second} {
		_, err := r.Key(t.Context(), k.ID(), t0.Add(at))
		require.NoError(t, err)
	}
	require.EqualValues(t, 1, s.hits.Load())
}

// One host has several spellings (RFC 9110, Section 4.2.3).
func TestRemoteKnowsItsHostInARedirect(t *testing.T) {
	k := generate(t, keyset.ES256)
	ring := newRing(t, k)
	for _, tt := range []struct {
		url, to string
		ok      bool
	}{
		{"https://a.example/jwks", "https://a.example:443/moved", true},
		{"https://a.example:443/jwks", "https://A.Example/moved", true},
		{"https://a.example:8443/jwks", "https://A.EXAMPLE:8443/moved", true},
		{"http://localhost/jwks", "https://LocalHost/moved", true},
		{"https://a.example/jwks", "https://a.example:8443/moved", false},
		{"https://a.example/jwks", "https://b.example/moved", false},
		{"https://a.example/jwks", "https://a.example.b.example/moved", false},
		{"https://a.example/jwks", "http://a.example:443/moved", false},
	} {
		r := overTheNet(t, tt.url, func(w http.ResponseWriter, req *http.Request) {
			if req.URL.Path == "/jwks" {
				http.Redirect(w, req, tt.to, http.StatusFound)
				return
			}
			ring.Handler().ServeHTTP(w, req)
		}, nil)
		_, err := r.Key(t.Context(), k.ID(), t0)
		require.Equal(t, tt.ok, err == nil, "%s to %s: %v", tt.url, tt.to, err)
	}
}

func TestRemoteConfigRefusesPortsThatDoNotExist(t *testing.T) {
	for _, url := range []string{
		"https://a.example:99999/jwks", "https://a.example:65536", "https://a.example:0", "https://:443/jwks",
	} {
		_, err := keys.NewRemote(keys.RemoteConfig{URL: url})
		require.EqualError(t, err, "keys: RemoteConfig.URL has no host, or a port that is not between 1 and 65535", url)
	}
	r, err := keys.NewRemote(keys.RemoteConfig{URL: "https://a.example:65535/jwks"})
	require.NoError(t, err)
	require.NoError(t, r.Close())
}

// Close does not wait for the time limit of a fetch.
func TestRemoteCloseEndsAFetchAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := through(t, func(req *http.Request) (*http.Response, error) {
			<-req.Context().Done()
			return nil, req.Context().Err()
		})
		got := make(chan error, 1)
		go func() { _, err := r.Key(context.Background(), "k", time.Now()); got <- err }()
		synctest.Wait()
		began := time.Now()
		require.NoError(t, r.Close())
		require.Zero(t, time.Since(began))
		err := <-got
		require.ErrorIs(t, err, keys.ErrUnavailable)
		require.ErrorIs(t, err, context.Canceled)
		require.False(t, errors.Is(err, context.DeadlineExceeded))
	})
}

// If no key of a set can be used, the fetch has failed: the key of a token is
// then not unknown, because nobody can say anything about it.
func TestRemoteWithoutAUsableKeyIsUnavailable(t *testing.T) {
	weak := answer(http.StatusOK, `{"keys":[{"kty":"RSA","kid":"a","alg":"RS256","n":"AQ","e":"AQAB"},{}]}`)
	r := overTheNet(t, "https://a.example", weak, nil)
	_, err := r.Key(t.Context(), "a", t0)
	require.ErrorIs(t, err, keys.ErrUnavailable)
	require.NotErrorIs(t, err, keyset.ErrUnknownKey)
	require.ErrorContains(t, err, "no key of it can be used to verify: key a of the set is left out: "+
		"RSA key of 1 bits: at least 2048 are needed; and 1 more")
}

// The query of a URL may be a credential, and errors go into logs.
func TestErrorsOfRemoteLackTheQuery(t *testing.T) {
	var reported error
	r := overTheNet(t, "https://a.example/jwks?token=hunter2", nil, func(c *keys.RemoteConfig) {
		c.OnProblem = func(err error) { reported = err }
		c.Transport = transport(func(req *http.Request) (*http.Response, error) {
			if req.URL.Path == "/moved" {
				return nil, errors.New("it is down")
			}
			w := httptest.NewRecorder()
			http.Redirect(w, req, "/moved?token=hunter3", http.StatusFound)
			return w.Result(), nil
		})
	})
	_, err := r.Key(t.Context(), "a", t0)
	keys.Settle(r)
	for _, err := range []error{err, reported} {
		require.ErrorContains(t, err, `"https://a.example/moved": it is down`)
		require.NotContains(t, err.Error(), "hunter")
	}
}

// constantSignature is S = 0 and R = the identity: under a key A of order 1 it
// fits each message m, since [S]B = R + [h(m)]A.
func constantSignature() []byte {
	signature := make([]byte, ed25519.SignatureSize)
	signature[0] = 1
	return signature
}

// With such a key, package crypto/ed25519 accepts one signature for every
// message, and anybody can write it down. Here it verifies nothing.
func TestConstantSignatureVerifiesNothing(t *testing.T) {
	identity := make(ed25519.PublicKey, ed25519.PublicKeySize)
	identity[0] = 1
	jwk := fmt.Sprintf(`{"kty":"OKP","crv":"Ed25519","kid":"hollow","alg":"EdDSA","x":%q}`, b64(identity))
	for i := range 10 {
		require.True(t, ed25519.Verify(identity, fmt.Append(nil, i), constantSignature()), "why it matters")
	}
	good := generate(t, keyset.ES256)
	entry := keyText(t, get(newRing(t, good).Handler(), nil).Body.String())
	s := newIssuer(t, answer(200, `{"keys":[`+entry+`,`+jwk+`]}`))
	reports := make(chan error, 10)
	r := newRemote(t, s, func(c *keys.RemoteConfig) { c.OnProblem = func(err error) { reports <- err } })
	_, err := r.Key(t.Context(), "hollow", t0)
	require.ErrorIs(t, err, keyset.ErrUnknownKey)
	require.EqualError(t, <-reports, "keys: fetch key set: key hollow of the set is left out: "+hollowKey)
	k, err := r.Key(t.Context(), good.ID(), t0)
	require.NoError(t, err)
	require.ErrorIs(t, (*keyset.Key)(k).Verify("a.b", constantSignature()), keyset.ErrForged)
}

// slowBody arrives after the time limit of the fetch, and ignores its context.
type slowBody struct{ io.Reader }

func (b slowBody) Read(p []byte) (int, error) {
	time.Sleep(11 * time.Second)
	return b.Reader.Read(p)
}

func (slowBody) Close() error { return nil }

// A set of large RSA keys must not keep a fetch busy beyond its time limit.
func TestModuliAreCheckedWithinTheTimeoutOfTheFetch(t *testing.T) {
	for alg, want := range map[keyset.Algorithm]error{keyset.RS256: context.DeadlineExceeded, keyset.ES256: nil} {
		k := one(t, alg)
		body := get(newRing(t, k).Handler(), nil).Body.Bytes()
		synctest.Test(t, func(t *testing.T) {
			r := through(t, func(*http.Request) (*http.Response, error) {
				return &http.Response{StatusCode: http.StatusOK, Body: slowBody{bytes.NewReader(body)}}, nil
			})
			_, err := r.Key(t.Context(), k.ID(), time.Now())
			require.ErrorIs(t, err, want)
		})
	}
}

// refusedSets has answers without a usable key, and the reason in the error.
var refusedSets = map[string]string{
	``: "strict JSON", `[]`: "JSON object", `{}`: "no keys member",
	`{"keys":{}}`: "JSON array", `{"keys":null}`: "JSON array", `{"keys":[5]}`: "JSON object",
	`{"keys":[{}]}`: "it has no kid", `{"keys":[` + strings.Repeat(`{},`, 100) + `{}]}`: "more than 100",
	`{"keys":[]}{"keys":[]}`: "strict JSON", `{"keys":[],"keys":[]}`: "strict JSON",
	`{"keys":[{"kty":"oct","kid":"a"}]}`:                                              "private or symmetric",
	`{"keys":[{"kty":"EC","kid":"a","x":""}]}`:                                        "member x: empty",
	`{"keys":[{"kty":"EC","kid":"a","alg":"ES256","crv":"P-256","x":"AA","y":"AA"}]}`: "the numbers of the key",
}

// An error names package keys once, and no other package.
func TestErrorsOfSetsHaveOnePrefix(t *testing.T) {
	_, err := keyset.ParsePublicSet([]byte(`{"keys":[]}`))
	require.EqualError(t, err, "keys: no key of the set can be used to verify")
	for in, want := range refusedSets {
		_, err := keyset.ParsePublicSet([]byte(in))
		require.ErrorContains(t, err, want, in)
		require.Regexp(t, `^keys: `, err)
		require.NotRegexp(t, `.(keys|jose): `, err)

		r := overTheNet(t, "https://a.example", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, in) }, nil)
		_, err = r.Key(t.Context(), "a", t0)
		require.ErrorContains(t, err, "fetch key set: ", in)
		require.NotRegexp(t, `.(keys|jose): `, err)
	}
}
