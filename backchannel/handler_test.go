package backchannel_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/backchannel"
	"github.com/cloakroom-go/cloakroom/keys"
	"github.com/cloakroom-go/cloakroom/revocation"
	"github.com/cloakroom-go/cloakroom/session"
	"github.com/cloakroom-go/cloakroom/token"
)

// Forms of good tokens: what providers send that keep to the text, or to one of
// its drafts.
func TestGoodTokens(t *testing.T) {
	p := newProvider(t, "https://id.example")
	for _, row := range []struct {
		name           string
		claims, header fields
	}{
		{"with all that the text wants", nil, nil},
		{"aud is a list of one", fields{"aud": []string{client}}, nil},
		{"aud is a list", fields{"aud": []string{"mallory", client}}, nil},
		{"typ JWT", nil, fields{"typ": "JWT"}},
		{"no typ", nil, fields{"typ": nil}},
		{"typ with its prefix", nil, fields{"typ": "application/logout+jwt"}},
		{"typ in capitals", nil, fields{"typ": "Logout+JWT"}},
		{"members of the header that nobody knows", nil, fields{"x5t": "AA", "ver": 1, "jwk": fields{"kty": "EC"}}},
		{"no exp, from before the errata", fields{"exp": nil}, nil},
		{"a fraction of a second", fields{"iat": 1796040000.25, "exp": 1796040060.5}, nil},
		{"another event, as of Keycloak", fields{"events": fields{event: fields{}, "revoke_offline_access": true}}, nil},
		{"more in the event", fields{"events": fields{event: fields{"more": []int{1}}}}, nil},
		{"claims that nobody knows", fields{"more": fields{"a": 1}, "typ": "Logout", "azp": "mallory"}, nil},
		{"nbf", fields{"nbf": 1796040000}, nil},
		{"made some seconds ahead", fields{"iat": 1796040009}, nil},
		{"made some minutes ago, without exp", fields{"iat": 1796040000 - 300, "exp": nil}, nil},
		{"expired some seconds ago", fields{"iat": 1796040000 - 120, "exp": 1796040000 - 9}, nil},
	} {
		d := newDesk()
		require.EqualValues(t, 1796040000, d.now.Unix())
		rec := d.login(p, "alice", "s1")
		rec.AuthenticatedAt = d.now.Add(-time.Hour)
		h := p.handler(t, d.List, d.at)
		claims := p.claims(d.now, row.claims)
		claims["sub"], claims["sid"] = "alice", "s1"
		w := post(h, p.sign(t, claims, row.header))
		require.Equal(t, http.StatusOK, w.Code, row.name)
		require.Equal(t, "no-store", w.Header().Get("Cache-Control"))
		require.Empty(t, w.Body.String())
		require.True(t, d.ended(rec), row.name)
	}
}

// A badToken is refused: text makes it from claims that are good.
type badToken struct {
	name string
	text func(t *testing.T, p *provider, good jwt.MapClaims) string
}

// with changes some claims.
func with(name string, change fields) badToken {
	return badToken{name, func(t *testing.T, p *provider, good jwt.MapClaims) string {
		return p.sign(t, change.over(fields(good)), nil)
	}}
}

// under changes the header.
func under(name string, change fields) badToken {
	return badToken{name, func(t *testing.T, p *provider, good jwt.MapClaims) string { return p.sign(t, good, change) }}
}

func (p *provider) publicPEM(t *testing.T) []byte {
	der, err := x509.MarshalPKIXPublicKey(p.private.Public())
	require.NoError(t, err)
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
}

func badTokens() []badToken {
	const now = 1796040000
	return []badToken{
		{"alg none", func(t *testing.T, p *provider, good jwt.MapClaims) string {
			none, key := jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType
			return signed(t, none, key, good, fields{"kid": p.kid, "typ": "logout+jwt"})
		}},
		{"HS256 with the public key", func(t *testing.T, p *provider, good jwt.MapClaims) string {
			return signed(t, jwt.SigningMethodHS256, p.publicPEM(t), good, fields{"kid": p.kid, "typ": "logout+jwt"})
		}},
		{"signed with another key", func(t *testing.T, p *provider, good jwt.MapClaims) string {
			key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
			require.NoError(t, err)
			return signed(t, jwt.SigningMethodES256, key, good, fields{"kid": p.kid, "typ": "logout+jwt"})
		}},
		{"of another provider", func(t *testing.T, p *provider, good jwt.MapClaims) string {
			return newProvider(t, p.issuer).sign(t, good, nil)
		}},
		{"tampered with", func(t *testing.T, p *provider, good jwt.MapClaims) string {
			whole, other := p.sign(t, good, nil), p.sign(t, fields{"sub": "bob"}.over(fields(good)), nil)
			a, b := strings.Split(whole, "."), strings.Split(other, ".")
			return a[0] + "." + b[1] + "." + a[2]
		}},
		{"without its signature", func(t *testing.T, p *provider, good jwt.MapClaims) string {
			whole := p.sign(t, good, nil)
			return whole[:strings.LastIndex(whole, ".")+1]
		}},
		{"empty", func(*testing.T, *provider, jwt.MapClaims) string { return "" }},
		{"no JWT", func(*testing.T, *provider, jwt.MapClaims) string { return "alice" }},
		{"five parts", func(t *testing.T, p *provider, good jwt.MapClaims) string { return p.sign(t, good, nil) + ".a.b" }},
		with("huge", fields{"more": strings.Repeat("a", 20<<10)}),
		with("nonce", fields{"nonce": "n-0S6_WzA2Mj"}),
		with("empty nonce", fields{"nonce": ""}),
		with("no events: an ID token", fields{"events": nil}),
		with("events is a list, of RFC 8417's drafts", fields{"events": []string{event}}),
		with("another event", fields{"events": fields{"https://schemas.openid.net/event/account-disabled": fields{}}}),
		with("the event is no object", fields{"events": fields{event: true}}),
		with("wrong aud", fields{"aud": "mallory"}),
		with("list of wrong aud", fields{"aud": []string{"mallory", client + "0", strings.ToUpper(client)}}),
		with("empty list of aud", fields{"aud": []string{}}),
		with("aud is a number", fields{"aud": 17}),
		with("no aud", fields{"aud": nil}),
		with("wrong iss", fields{"iss": "https://mallory.example"}),
		with("iss with a slash", fields{"iss": "https://id.example/"}),
		with("no iss", fields{"iss": nil}),
		with("no iat", fields{"iat": nil}),
		with("old iat, exp in the future", fields{"iat": now - 310}),
		with("old iat, no exp", fields{"iat": now - 310, "exp": nil}),
		with("future iat", fields{"iat": now + 11}),
		with("iat is a string", fields{"iat": "1796040000"}),
		with("expired", fields{"iat": now - 60, "exp": now - 10}),
		with("nbf in the future", fields{"nbf": now + 11}),
		with("neither sub nor sid", fields{"sub": nil, "sid": nil}),
		with("empty sub", fields{"sub": ""}),
		with("empty sid", fields{"sid": ""}),
		with("sid is a number", fields{"sid": 1}),
		with("no jti", fields{"jti": nil}),
		under("access token", fields{"typ": "at+jwt"}),
		under("session token", fields{"typ": "cloakroom+jwt"}),
		under("security event token", fields{"typ": "secevent+jwt"}),
		under("crit", fields{"crit": []string{"exp"}}),
		{"signed with a key in the header", func(t *testing.T, p *provider, good jwt.MapClaims) string {
			key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
			require.NoError(t, err)
			point, err := key.PublicKey.Bytes()
			require.NoError(t, err)
			b64 := base64.RawURLEncoding.EncodeToString
			public := fields{"kty": "EC", "crv": "P-256", "x": b64(point[1:33]), "y": b64(point[33:])}
			return signed(t, jwt.SigningMethodES256, key, good, fields{"kid": p.kid, "typ": "logout+jwt", "jwk": public})
		}},
		under("unknown key", fields{"kid": "mallory"}),
	}
}

// A token that breaks one rule ends nothing, and the client isn't told which.
func TestBadTokens(t *testing.T) {
	for _, row := range badTokens() {
		t.Run(row.name, func(t *testing.T) {
			p, d := newProvider(t, "https://id.example"), newDesk()
			rec := d.login(p, "alice", "s1")
			var refused []error
			h := p.handler(t, d.List, d.at, func(c *backchannel.Config) {
				c.OnRefused = func(_ context.Context, err error) { refused = append(refused, err) }
				c.OnLogout = func(context.Context, backchannel.Logout) error { return errors.New("called") }
			})
			isRefused(t, post(h, row.text(t, p, p.claims(d.now, fields{"sub": "alice", "sid": "s1"}))))
			require.Zero(t, d.Len())
			require.False(t, d.ended(rec))
			require.Len(t, refused, 1)
			require.NotZero(t, session.ReasonOf(refused[0]))
			require.NotEqual(t, session.Unavailable, session.ReasonOf(refused[0]))
			for _, secret := range []string{"alice", "s1", client, "id.example", "mallory", "n-0S6"} {
				require.NotContains(t, refused[0].Error(), secret)
			}
		})
	}
}

func isRefused(t *testing.T, w *httptest.ResponseRecorder) {
	t.Helper()
	require.Equal(t, http.StatusBadRequest, w.Code)
	require.Equal(t, "no-store", w.Header().Get("Cache-Control"))
	require.Equal(t, "application/json", w.Header().Get("Content-Type"))
	require.JSONEq(t, `{"error":"invalid_request"}`, w.Body.String())
}

// Only a POST of a form with one logout_token in its body counts.
func TestRequests(t *testing.T) {
	p, d := newProvider(t, "https://id.example"), newDesk()
	h := p.handler(t, d.List, d.at)
	good := p.logout(t, d.now, fields{"sub": "alice"})
	form := url.Values{"logout_token": {good}}.Encode()
	request := func(method, target, kind, body string) *httptest.ResponseRecorder {
		r, w := httptest.NewRequest(method, target, strings.NewReader(body)), httptest.NewRecorder()
		if kind != "" {
			r.Header.Set("Content-Type", kind)
		}
		h.ServeHTTP(w, r)
		return w
	}
	const urlencoded = "application/x-www-form-urlencoded"
	for _, row := range []struct{ name, target, kind, body string }{
		{"JSON", "/", "application/json", `{"logout_token":"` + good + `"}`},
		{"JWT", "/", "application/logout+jwt", good},
		{"no type", "/", "", form},
		{"several parts", "/", "multipart/form-data; boundary=b", "--b\r\nContent-Disposition: form-data; name=\"logout_token\"\r\n\r\n" + good + "\r\n--b--\r\n"},
		{"token in the URL", "/?" + form, urlencoded, ""},
		{"no token", "/", urlencoded, "token=" + good},
		{"two tokens", "/", urlencoded, form + "&" + form},
		{"a second, empty one", "/", urlencoded, form + "&logout_token="},
		{"no form", "/", urlencoded, form + "&%zz"},
		{"large", "/", urlencoded, form + "&more=" + strings.Repeat("a", 64<<10)},
	} {
		t.Run(row.name, func(t *testing.T) {
			isRefused(t, request(http.MethodPost, row.target, row.kind, row.body))
			require.Zero(t, d.Len())
		})
	}
	for _, method := range []string{"GET", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH"} {
		w := request(method, "/?"+form, urlencoded, form)
		require.Equal(t, http.StatusMethodNotAllowed, w.Code)
		require.Equal(t, "POST", w.Header().Get("Allow"))
		require.Equal(t, "no-store", w.Header().Get("Cache-Control"))
		require.Zero(t, d.Len())
	}
	// The text allows other parameters, and a query in the registered URL.
	w := request("POST", "/?tenant=1&logout_token=x", urlencoded+"; charset=UTF-8", "state=1&"+form+"&state=2")
	require.Equal(t, http.StatusOK, w.Code)
	require.Equal(t, 1, d.Len())
}

// A logout token opens nothing elsewhere: a service refuses it as a bearer
// token, though issuer, audience and key are right, and the typ, too.
func TestLogoutTokenIsNoServiceToken(t *testing.T) {
	p, d := newProvider(t, "https://id.example"), newDesk()
	for _, foreign := range []*token.Foreign{nil, {}, {Types: []string{"JWT", "", "logout+jwt"}}} {
		v, err := token.NewVerifier(token.VerifierConfig{Keys: p.keys, Issuer: p.issuer, Audience: client, Now: d.clock,
			Foreign: foreign})
		require.NoError(t, err)
		for _, typ := range []any{"logout+jwt", "JWT", nil} {
			text := p.sign(t, p.claims(d.now, fields{"sub": "alice", "sid": "s1"}), fields{"typ": typ})
			require.Equal(t, http.StatusOK, post(p.handler(t, d.List, d.at), text).Code)
			_, err := v.Verify(t.Context(), text)
			require.Error(t, err)
		}
	}
}

// What could not be decided, or not be kept, is no fault of the token's.
func TestUnavailable(t *testing.T) {
	p := newProvider(t, "https://id.example")
	now := time.Now()
	list, err := revocation.Open(revocation.Config{Path: filepath.Join(t.TempDir(), "list"), Lifetime: time.Hour})
	require.NoError(t, err)
	require.NoError(t, list.Close())
	rec := &session.Record{ID: "1", AuthenticatedAt: now.Add(-time.Minute), Subject: "a",
		Tags: tagsOf(backchannel.Tags(p.issuer, "alice", ""))}
	isUnavailable := func(change func(*backchannel.Config)) (refused error) {
		t.Helper()
		h := p.handler(t, list, change, func(c *backchannel.Config) {
			c.OnRefused = func(_ context.Context, err error) { refused = err }
		})
		w := post(h, p.logout(t, now, fields{"sub": "alice"}))
		require.Equal(t, http.StatusServiceUnavailable, w.Code)
		require.Equal(t, "no-store", w.Header().Get("Cache-Control"))
		require.JSONEq(t, `{"error":"temporarily_unavailable"}`, w.Body.String())
		require.ErrorIs(t, refused, session.Unavailable)
		return refused
	}
	server := httptest.NewServer(nil)
	server.Close()
	down, err := keys.NewRemote(keys.RemoteConfig{URL: server.URL})
	require.NoError(t, err)
	defer down.Close()
	isUnavailable(func(c *backchannel.Config) { c.Keys = down })
	require.NoError(t, list.Check(rec))
	isUnavailable(func(*backchannel.Config) {})
	require.ErrorIs(t, list.Check(rec), session.Ended, "in force all the same")

	list = revocation.NewVolatile(revocation.Config{})
	for _, failed := range []error{errors.New("db: down"), session.BadValue} {
		err = isUnavailable(func(c *backchannel.Config) {
			c.OnLogout = func(context.Context, backchannel.Logout) error { return failed }
		})
		require.ErrorIs(t, err, failed)
	}
}

func TestNewHandlerReportsEveryMistake(t *testing.T) {
	h, err := backchannel.NewHandler(backchannel.Config{Leeway: time.Hour})
	require.Nil(t, h)
	for _, field := range []string{"Issuer", "Keys", "ClientID", "Revocations", "Leeway"} {
		assert.ErrorContains(t, err, "backchannel: Config."+field)
	}
}
