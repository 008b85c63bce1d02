package token_test

import (
	"context"
	"encoding/base64"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/cloakroom-go/cloakroom/internal/apptest"
	"github.com/cloakroom-go/cloakroom/keys"
	"github.com/cloakroom-go/cloakroom/session"
	"github.com/cloakroom-go/cloakroom/token"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func (b *bench) issuer(t testing.TB) *token.Issuer {
	issuer, err := token.NewIssuer(token.IssuerConfig{Ring: b.ring, Issuer: "https://app.example", Now: b.clock})
	require.NoError(t, err)
	return issuer
}

func (b *bench) verifier(t testing.TB, change ...func(*token.VerifierConfig)) *token.Verifier {
	c := token.VerifierConfig{Keys: b.ring, Issuer: "https://app.example", Audience: "orders", Now: b.clock, Leeway: -1}
	for _, f := range change {
		f(&c)
	}
	verifier, err := token.NewVerifier(c)
	require.NoError(t, err)
	return verifier
}

// of returns a Session that holds rec.
func (b *bench) of(rec *session.Record) *session.Session {
	s, _ := session.Begin(rec, session.Options{Policy: session.Policy{}.WithDefaults(), Now: b.clock, Saver: noSaver{}})
	return s
}

func TestServiceToken(t *testing.T) {
	for _, alg := range []keys.Algorithm{keys.ES256, keys.EdDSA, keys.PS256, keys.RS256} {
		b := newBench(t, alg, keys.Direct)
		bearer, err := b.issuer(t).Issue(t.Context(), b.of(record(map[string]string{"secret": "1"})), "orders")
		require.NoError(t, err)
		assert.Equal(t, 2, strings.Count(bearer, "."), "any JWT library reads it")
		caller, err := b.verifier(t).Verify(t.Context(), bearer)
		require.NoError(t, err)
		assert.Equal(t, &token.Caller{
			Issuer: "https://app.example", Subject: "alice", SessionID: "c2Vzc2lvbi1vZi1hbGljZQ",
			ClientID: "https://app.example", AuthenticatedAt: record(nil).AuthenticatedAt.Truncate(time.Second),
			AMR: []string{"pwd", "otp"}, IssuedAt: start.Add(-5 * time.Second).Local(),
			ExpiresAt: start.Add(time.Minute).Local(),
		}, caller)
		payload, err := base64.RawURLEncoding.DecodeString(strings.Split(bearer, ".")[1])
		require.NoError(t, err)
		assert.NotContains(t, string(payload), "secret", "values stay at the edge")
	}
}

// A service token lives no longer than its key verifies.
func TestServiceTokenEndsWithItsKey(t *testing.T) {
	b := newBench(t, keys.ES256)
	k, err := keys.Generate(keys.ES256, keys.Dates{SignUntil: start.Add(time.Hour), VerifyUntil: start.Add(time.Hour)})
	require.NoError(t, err)
	require.NoError(t, b.ring.Replace(k))
	b.now = start.Add(time.Hour - 20*time.Second)
	rec := *record(nil)
	rec.IdleDeadline, rec.Deadline = b.now.Add(time.Hour), b.now.Add(time.Hour)
	bearer, err := b.issuer(t).Issue(t.Context(), b.of(&rec), "orders")
	require.NoError(t, err)
	caller, err := b.verifier(t).Verify(t.Context(), bearer)
	require.NoError(t, err)
	require.Equal(t, start.Add(time.Hour).Local(), caller.ExpiresAt)
	b.now = start.Add(time.Hour)
	_, err = b.issuer(t).Issue(t.Context(), b.of(&rec), "orders")
	require.ErrorIs(t, err, session.Unavailable)
}

func TestVerifierRefuses(t *testing.T) {
	b := newBench(t, keys.ES256)
	good, err := b.issuer(t).Issue(t.Context(), b.of(record(nil)), "orders")
	require.NoError(t, err)
	cookie, err := b.Issue(t.Context(), record(nil), "")
	require.NoError(t, err)
	ended := b.verifier(t, func(c *token.VerifierConfig) { c.Revocations = b.list })
	tests := []struct {
		name     string
		verifier *token.Verifier
		token    string
		after    time.Duration
		want     error
	}{
		{"good", b.verifier(t), good, 0, nil},
		{"a second before exp", b.verifier(t), good, 59 * time.Second, nil},
		{"at exp", b.verifier(t), good, 60 * time.Second, session.LifetimeOver},
		{"at exp with leeway", b.verifier(t, func(c *token.VerifierConfig) { c.Leeway = 0 }), good, 69 * time.Second, nil},
		{"at exp and leeway", b.verifier(t, func(c *token.VerifierConfig) { c.Leeway = 0 }), good, 70 * time.Second,
			session.LifetimeOver},
		{"issuer's clock ahead", b.verifier(t), good, -5 * time.Second, nil},
		{"from the future", b.verifier(t), good, -6 * time.Second, session.Forged},
		{"other audience", b.verifier(t, func(c *token.VerifierConfig) { c.Audience = "billing" }), good, 0, session.Forged},
		{"other issuer", b.verifier(t, func(c *token.VerifierConfig) { c.Issuer = "https://other.example" }), good, 0,
			session.Forged},
		{"session token", b.verifier(t, func(c *token.VerifierConfig) { c.Audience = "https://app.example" }), cookie, 0,
			session.Forged},
		{"unknown key", b.verifier(t, func(c *token.VerifierConfig) { c.Keys = apptest.NewRing(t, b.clock) }), good, 0,
			session.UnknownKey},
		{"empty", b.verifier(t), "", 0, session.Malformed},
		{"not revoked", ended, good, 0, nil},
	}
	for _, tt := range tests {
		b.now = start.Add(tt.after)
		caller, err := tt.verifier.Verify(t.Context(), tt.token)
		if tt.want == nil {
			assert.NoError(t, err, tt.name)
			continue
		}
		assert.ErrorIs(t, err, tt.want, tt.name)
		assert.Nil(t, caller, tt.name)
	}
	b.now = start
	require.NoError(t, b.list.EndSession(t.Context(), record(nil)))
	_, err = ended.Verify(t.Context(), good)
	assert.ErrorIs(t, err, session.Ended)
	_, _, err = b.Open(t.Context(), good)
	assert.ErrorIs(t, err, session.Forged, "nor does a service token pass for a session")
}

// A service can tell why a token was refused where that helps, whatever else is
// wrong with it behind that.
func TestVerifierTellsApart(t *testing.T) {
	b := newBench(t, keys.ES256)
	good, err := b.issuer(t).Issue(t.Context(), b.of(record(nil)), "orders")
	require.NoError(t, err)
	all := map[error]session.Reason{
		token.ErrWrongIssuer: session.Forged, token.ErrWrongAudience: session.Forged, token.ErrExpired: session.LifetimeOver,
		token.ErrNotYetValid: session.Forged,
	}
	tests := []struct {
		issuer, audience string
		after            time.Duration
		want             error
		text             string
	}{
		{"https://other.example", "billing", time.Hour, token.ErrWrongIssuer, "token: from another issuer"},
		{"https://app.example", "billing", time.Hour, token.ErrWrongAudience, "token: for another audience"},
		{"https://app.example", "orders", time.Hour, token.ErrExpired, "token: expired"},
		{"https://app.example", "orders", -time.Hour, token.ErrNotYetValid,
			"token: issued in the future (iat): the clock here, or the issuer's, is wrong"},
	}
	for _, tt := range tests {
		b.now = start.Add(tt.after)
		v := b.verifier(t, func(c *token.VerifierConfig) { c.Issuer, c.Audience = tt.issuer, tt.audience })
		_, err := v.Verify(t.Context(), good)
		assert.EqualError(t, err, tt.text)
		for sentinel, reason := range all {
			assert.Equal(t, tt.want == sentinel, errors.Is(err, sentinel), "%v is %v", err, sentinel)
			assert.Equal(t, reason, session.ReasonOf(sentinel))
		}
		assert.ErrorIs(t, err, all[tt.want])
	}
}

func TestIssueRefuses(t *testing.T) {
	b := newBench(t, keys.ES256)
	issuer := b.issuer(t)
	anonymous := record(nil)
	anonymous.Subject = ""
	_, err := issuer.Issue(t.Context(), b.of(anonymous), "orders")
	assert.ErrorIs(t, err, session.BadValue)
	_, err = issuer.Issue(t.Context(), b.of(nil), "orders")
	assert.ErrorIs(t, err, session.BadValue)
	_, err = issuer.Issue(t.Context(), b.of(record(nil)), "")
	assert.ErrorContains(t, err, "audience is required")
	_, err = token.NewIssuer(token.IssuerConfig{Ring: b.ring, Issuer: "x", ClientID: "\xff", SessionAudience: "\xff"})
	assert.ErrorContains(t, err, "ClientID must be UTF-8")
	assert.ErrorContains(t, err, "SessionAudience must be UTF-8")

	_, err = token.NewIssuer(token.IssuerConfig{Ring: apptest.NewRing(t, b.clock, keys.HS256), Issuer: "x", Now: b.clock,
		Lifetime: time.Hour})
	assert.ErrorContains(t, err, "symmetric")
	assert.ErrorContains(t, err, "Lifetime")
	require.NoError(t, b.ring.Replace(apptest.NewRing(t, b.clock, keys.HS256).Set().Keys()...))
	_, err = issuer.Issue(t.Context(), b.of(record(nil)), "orders")
	assert.ErrorIs(t, err, session.Unavailable, "also when the ring changes later")
}

func TestVerifierHandler(t *testing.T) {
	b := newBench(t, keys.ES256)
	good, err := b.issuer(t).Issue(t.Context(), b.of(record(nil)), "orders")
	require.NoError(t, err)
	h := b.verifier(t).Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		caller, ok := token.CallerFrom(r.Context())
		assert.True(t, ok)
		io.WriteString(w, caller.Subject)
	}))
	tests := []struct {
		name          string
		authorization []string
		status        int
		challenge     string
	}{
		{"good", []string{"Bearer " + good}, 200, ""},
		{"scheme in any case", []string{"bEaReR " + good}, 200, ""},
		{"none", nil, 401, "Bearer"},
		{"other scheme", []string{"Basic YTpi"}, 401, "Bearer"},
		{"no token", []string{"Bearer"}, 401, "Bearer"},
		{"empty token", []string{"Bearer "}, 401, `Bearer error="invalid_token"`},
		{"bad token", []string{"Bearer x.y.z"}, 401, `Bearer error="invalid_token"`},
		{"two headers", []string{"Bearer " + good, "Bearer " + good}, 401, `Bearer error="invalid_token"`},
		{"two spaces", []string{"Bearer  " + good}, 200, ""},
	}
	for _, tt := range tests {
		r := httptest.NewRequest(http.MethodGet, "/?access_token="+good, nil)
		r.AddCookie(&http.Cookie{Name: "access_token", Value: good})
		r.Header["Authorization"] = tt.authorization
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		assert.Equal(t, tt.status, w.Code, tt.name)
		assert.Equal(t, tt.challenge, w.Header().Get("WWW-Authenticate"), tt.name)
		if tt.status == 200 {
			assert.Equal(t, "alice", w.Body.String(), tt.name)
		}
	}
	_, ok := token.CallerFrom(t.Context())
	assert.False(t, ok)
}

// The operator hears why a request was denied, and the client does not.
func TestVerifierOnRefused(t *testing.T) {
	b := newBench(t, keys.ES256)
	good, err := b.issuer(t).Issue(t.Context(), b.of(record(nil)), "orders")
	require.NoError(t, err)
	type mark struct{}
	var heard []error
	h := b.verifier(t, func(c *token.VerifierConfig) {
		c.OnRefused = func(ctx context.Context, err error) {
			assert.Equal(t, "of the request", ctx.Value(mark{}))
			heard = append(heard, err)
		}
	}).Handler(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	tests := []struct {
		name          string
		authorization string
		after         time.Duration
		want          error
		status        int
	}{
		{"good", "Bearer " + good, 0, nil, 200},
		{"none", "", 0, session.NotFound, 401},
		{"other scheme", "Basic YTpi", 0, session.NotFound, 401},
		{"malformed", "Bearer x.y.z", 0, session.Malformed, 401},
		{"changed", "Bearer " + good[:len(good)-4] + "AAAA", 0, session.Forged, 401},
		{"expired", "Bearer " + good, time.Hour, session.LifetimeOver, 401},
	}
	for _, tt := range tests {
		b.now, heard = start.Add(tt.after), nil
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r = r.WithContext(context.WithValue(r.Context(), mark{}, "of the request"))
		if tt.authorization != "" {
			r.Header.Set("Authorization", tt.authorization)
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		assert.Equal(t, tt.status, w.Code, tt.name)
		if tt.want == nil {
			assert.Empty(t, heard, tt.name)
			continue
		}
		require.Len(t, heard, 1, tt.name)
		assert.ErrorIs(t, heard[0], tt.want, tt.name)
		for segment := range strings.SplitSeq(good, ".") {
			assert.NotContains(t, heard[0].Error(), segment, tt.name)
		}
		assert.NotContains(t, heard[0].Error(), "YTpi", tt.name)
		assert.NotContains(t, w.Body.String(), "token", tt.name)
	}
}

// The error says where an Issuer comes from, and why there may be none.
func TestTransportNeedsAnIssuer(t *testing.T) {
	_, err := token.NewTransport(token.TransportConfig{Audience: "orders", Origin: "https://orders.example"})
	assert.ErrorContains(t, err, "it is nil where the key file has no ES256, EdDSA or RSA signing key, or there is no "+
		"key file")
}

func TestTransport(t *testing.T) {
	b := newBench(t, keys.ES256)
	var seen []string
	echo := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen = append(seen, r.Header.Get("Authorization"))
		if r.URL.Path == "/away" {
			http.Redirect(w, r, r.URL.Query().Get("to"), http.StatusFound)
		}
	})
	service, elsewhere := httptest.NewServer(echo), httptest.NewServer(echo)
	defer service.Close()
	defer elsewhere.Close()
	transport, err := token.NewTransport(token.TransportConfig{Issuer: b.issuer(t), Audience: "orders",
		Origin: service.URL})
	require.NoError(t, err)
	client := &http.Client{Transport: transport}
	get := func(url string, s *session.Session) error {
		r, err := http.NewRequestWithContext(session.NewContext(t.Context(), s), http.MethodGet, url, nil)
		require.NoError(t, err)
		response, err := client.Do(r)
		if err == nil {
			response.Body.Close()
		}
		return err
	}
	require.NoError(t, get(service.URL+"/away?to="+elsewhere.URL, b.of(record(nil))))
	require.Len(t, seen, 2)
	caller, err := b.verifier(t).Verify(t.Context(), strings.TrimPrefix(seen[0], "Bearer "))
	require.NoError(t, err)
	assert.Equal(t, "alice", caller.Subject)
	assert.Empty(t, seen[1], "a redirect to another origin takes no token along")
	assert.ErrorIs(t, get(service.URL, b.of(nil)), session.BadValue)
	assert.Len(t, seen, 2, "and nothing was sent without a subject")
}

// A token goes to the origin alone: the same host under another scheme, port or
// name is another origin.
func TestTransportSendsTokensToItsOriginAlone(t *testing.T) {
	b := newBench(t, keys.ES256)
	var sent *http.Request
	base := roundTrip(func(r *http.Request) (*http.Response, error) {
		sent = r
		return &http.Response{Body: http.NoBody}, nil
	})
	for url, want := range map[string]bool{
		"https://orders.example:8443/x":   true,
		"https://Orders.Example:8443/x":   true,
		"http://orders.example:8443/x":    false,
		"ws://orders.example:8443/x":      false,
		"https://orders.example/x":        false,
		"https://orders.example:443/x":    false,
		"https://orders.example.:8443/x":  false,
		"https://x.orders.example:8443/x": false,
	} {
		transport, err := token.NewTransport(token.TransportConfig{Issuer: b.issuer(t), Audience: "orders",
			Origin: "https://orders.example:8443", Base: base})
		require.NoError(t, err)
		r, err := http.NewRequestWithContext(session.NewContext(t.Context(), b.of(record(nil))), http.MethodGet, url, nil)
		require.NoError(t, err)
		_, err = transport.RoundTrip(r)
		require.NoError(t, err)
		assert.Equal(t, want, sent.Header.Get("Authorization") != "", url)
		assert.Empty(t, r.Header, "the caller's own request stays as it was (http.RoundTripper)")
	}
}

type roundTrip func(r *http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func TestTransportOrigin(t *testing.T) {
	b := newBench(t, keys.ES256)
	tests := []struct {
		origin string
		ok     bool
	}{
		{"https://orders.example", true},
		{"https://orders.example:8443", true},
		{"http://127.0.0.1:8081", true},
		{"http://localhost:8081", true},
		{"http://orders.example", false},
		{"https://orders.example/", false},
		{"https://orders.example/path", false},
		{"https://user:hunter2@orders.example", false},
		{"http://user:hunter2%@orders.example", false},
		{"orders.example", false},
		{"", false},
	}
	for _, tt := range tests {
		_, err := token.NewTransport(token.TransportConfig{Issuer: b.issuer(t), Audience: "orders", Origin: tt.origin})
		assert.Equal(t, tt.ok, err == nil, "%s: %v", tt.origin, err)
		if err != nil {
			assert.NotContains(t, err.Error(), "hunter2")
		}
	}
	_, err := token.NewTransport(token.TransportConfig{Issuer: b.issuer(t), Audience: "orders",
		Origin: "http://orders.example", InsecureAllowHTTP: true})
	assert.NoError(t, err)
}
