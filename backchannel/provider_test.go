package backchannel_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/backchannel"
	"github.com/cloakroom-go/cloakroom/keys"
	"github.com/cloakroom-go/cloakroom/revocation"
	"github.com/cloakroom-go/cloakroom/session"
)

const (
	client = "app-17"
	event  = "http://schemas.openid.net/event/backchannel-logout"
)

// A provider is an OpenID provider, as far as it logs users out.
type provider struct {
	issuer  string
	private *ecdsa.PrivateKey
	kid     string
	keys    *keys.Ring // public
}

func newProvider(t testing.TB, issuer string) *provider {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	public, err := keys.Import(keys.ES256, private.Public(), keys.Dates{})
	require.NoError(t, err)
	ring, err := keys.NewRing(public)
	require.NoError(t, err)
	return &provider{issuer, private, public.ID(), ring}
}

// fields are claims, or members of a header. A nil one takes a default away.
type fields map[string]any

func (f fields) over(defaults fields) map[string]any {
	all := maps.Clone(defaults)
	maps.Copy(all, f)
	maps.DeleteFunc(all, func(_ string, value any) bool { return value == nil })
	return all
}

// claims are those of a good logout token that is made at an instant, except
// for sub and sid.
func (p *provider) claims(at time.Time, change fields) jwt.MapClaims {
	return change.over(fields{
		"iss": p.issuer, "aud": client, "iat": at.Unix(), "exp": at.Unix() + 120, "jti": rand.Text(),
		"events": fields{event: fields{}},
	})
}

// sign returns a token of the provider.
func (p *provider) sign(t testing.TB, claims jwt.MapClaims, header fields) string {
	t.Helper()
	return signed(t, jwt.SigningMethodES256, p.private, claims, header.over(fields{"kid": p.kid, "typ": "logout+jwt"}))
}

func signed(t testing.TB, alg jwt.SigningMethod, key any, claims jwt.MapClaims, header map[string]any) string {
	t.Helper()
	token := jwt.NewWithClaims(alg, claims)
	delete(token.Header, "typ")
	maps.Copy(token.Header, header)
	text, err := token.SignedString(key)
	require.NoError(t, err)
	return text
}

// logout returns a good token that was made at an instant.
func (p *provider) logout(t testing.TB, at time.Time, who fields) string {
	t.Helper()
	return p.sign(t, p.claims(at, who), nil)
}

// handler is for the provider's tokens.
func (p *provider) handler(t testing.TB, l *revocation.List, change ...func(*backchannel.Config)) *backchannel.Handler {
	t.Helper()
	c := backchannel.Config{Issuer: p.issuer, Keys: p.keys, ClientID: client, Revocations: l}
	for _, f := range change {
		f(&c)
	}
	h, err := backchannel.NewHandler(c)
	require.NoError(t, err)
	return h
}

// post posts a token as a provider does.
func post(h http.Handler, token string) *httptest.ResponseRecorder {
	return send(h, url.Values{"logout_token": {token}}.Encode())
}

func send(h http.Handler, form string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodPost, "https://shop.example/logged-out", strings.NewReader(form))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

// A desk is a list with a clock that the test sets.
type desk struct {
	*revocation.List
	now time.Time
}

func newDesk() *desk {
	d := &desk{now: time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)}
	d.List = revocation.NewVolatile(revocation.Config{Lifetime: 12 * time.Hour, Now: d.clock})
	return d
}

func (d *desk) clock() time.Time { return d.now }

// at is for the Config of a handler.
func (d *desk) at(c *backchannel.Config) { c.Now = d.clock }

// login returns the record of a login by a provider.
func (d *desk) login(p *provider, subject, sid string) *session.Record {
	return &session.Record{
		ID: rand.Text(), Subject: "local " + subject, Generation: 1, CreatedAt: d.now, AuthenticatedAt: d.now,
		Tags: tagsOf(backchannel.Tags(p.issuer, subject, sid)),
	}
}

// ended reports whether a session has ended.
func (d *desk) ended(rec *session.Record) bool { return d.Check(rec) != nil }

func tagsOf(options []session.LoginOption) (tags []session.LoginTag) {
	for _, option := range options {
		tags = append(tags, option.(session.LoginTag))
	}
	return tags
}
