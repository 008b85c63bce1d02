package cloakroom_test

import (
	"context"
	"crypto/rand"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/config"
	"github.com/cloakroom-go/cloakroom/internal/keyset"
	"github.com/cloakroom-go/cloakroom/keys"
	"github.com/cloakroom-go/cloakroom/middleware"
	"github.com/cloakroom-go/cloakroom/opaque"
	"github.com/cloakroom-go/cloakroom/revocation"
	"github.com/cloakroom-go/cloakroom/session"
	"github.com/cloakroom-go/cloakroom/sessiontest"
	"github.com/cloakroom-go/cloakroom/token"
)

const ours = "config|jose|keys|middleware|opaque|revocation|rotation|session|token"

var (
	ownPrefix   = regexp.MustCompile(`^(sessiontest|` + ours + `): `)
	innerPrefix = regexp.MustCompile(`: (durable|` + ours + `): `)
	sentence    = regexp.MustCompile(`^(A|An|The|This|That|There|It|No|Can't|Could|Failed|Invalid|Unknown|Error) `)
	label       = regexp.MustCompile(`\b(unknown_key|not_found|idle_timeout|lifetime_over|too_large|bad_value|too_late|` +
		`no_middleware|cross_origin)$|session (malformed|forged|ambiguous|ended|conflict|unavailable)$`)
)

// checkText holds an error's text to the rules: each mistake on a line of its
// own, the name of the package in front, once, and then words.
func checkText(t *testing.T, err error) {
	t.Helper()
	require.Error(t, err)
	for line := range strings.SplitSeq(err.Error(), "\n") {
		rest := line[len(ownPrefix.FindString(line)):]
		require.NotEqual(t, line, rest, "the package's name is missing: %s", line)
		require.NotRegexp(t, innerPrefix, line, "a second package's name")
		require.NotRegexp(t, label, line, "a label in the place of words")
		require.NotRegexp(t, sentence, rest, "begins like a sentence")
	}
}

func TestTextsOfConstructors(t *testing.T) {
	_, carrierErr := token.NewCarrier(token.CarrierConfig{MaxLength: -1, MemoryBytes: -1})
	_, issuerErr := token.NewIssuer(token.IssuerConfig{Lifetime: time.Hour})
	_, transportErr := token.NewTransport(token.TransportConfig{Origin: "x"})
	_, verifierErr := token.NewVerifier(token.VerifierConfig{Leeway: time.Hour, MaxAuthAge: -1, ACR: []string{""},
		Revocations: new(revocation.List), Foreign: &token.Foreign{MaxLifetime: -1, Types: []string{"a b", "cloakroom+jwt"}}})
	_, storedErr := opaque.NewCarrier(opaque.CarrierConfig{MaxBytes: -1})
	_, memoryErr := opaque.NewMemoryStore(opaque.MemoryConfig{MaxSessions: -1, MaxBytes: -1})
	_, middlewareErr := middleware.New(middleware.Config{
		Timeout: -1, Accept: []middleware.Carrier{nil}, Policy: session.Policy{IdleTimeout: -1, Lifetime: -1,
			RememberedLifetime: time.Minute, TouchEvery: -1},
		Cookie: middleware.Cookie{Name: "a b", Path: "x", Domain: "com", SameSite: 9, Partitioned: true,
			InsecureAllowHTTP: true},
	})
	_, listErr := revocation.Open(revocation.Config{Skew: -1})
	_, journalErr := revocation.Open(revocation.Config{Path: t.TempDir(), Lifetime: time.Hour})
	_, remoteErr := keys.NewRemote(keys.RemoteConfig{Timeout: time.Hour, MaxAge: 1, RSAAlgorithm: "x"})
	_, ringErr := keys.OpenRing(keys.RingConfig{File: keys.File{Path: filepath.Join(t.TempDir(), "none")}})
	_, buildErr := config.Config{Mode: "x", Issuer: "\xff", Cookie: config.CookieConfig{Path: "x"},
		Timeout: -1}.Build(config.Options{})
	_, parseErr := config.Parse([]byte("mod: x\nsession: {idle_timeout: 0}\ncross_origin: {trusted: [x]}"))
	_, loadErr := config.Load("none.yaml")
	for _, err := range []error{
		carrierErr, issuerErr, transportErr, verifierErr, storedErr, memoryErr, middlewareErr, listErr, journalErr, remoteErr,
		ringErr, buildErr, parseErr, loadErr,
	} {
		checkText(t, err)
	}
}

// Key files that are wrong, in each way that an operator gets to see.
func TestTextsAboutKeyFiles(t *testing.T) {
	for name, content := range map[string]string{"empty": "", "PEM": "-----BEGIN KEY-----", "JSON": "{}", "text": "x"} {
		path := filepath.Join(t.TempDir(), name)
		require.NoError(t, os.WriteFile(path, []byte(content), 0o600))
		_, err := keys.OpenRing(keys.RingConfig{File: keys.File{Path: path}})
		checkText(t, err)
		c := config.Config{Keys: config.KeysConfig{File: path}}
		_, err = c.Build(config.Options{Logger: slog.New(slog.DiscardHandler)})
		checkText(t, err)
	}
}

func TestTextsOfSessions(t *testing.T) {
	r := sessiontest.Request(httptest.NewRequest("GET", "/", nil), sessiontest.Session{Subject: "alice"})
	s := session.From(r.Context())
	checkText(t, session.Key[any]("f").Set(s, func() {}))
	checkText(t, session.Key[any]("").Set(s, 1))
	checkText(t, session.Key[any]("n").Set(s, strings.Repeat("x", 10)+"\xff"))
	require.NoError(t, session.Key[any]("text").Set(s, "x"))
	_, _, err := session.Key[int]("text").Lookup(s)
	checkText(t, err)
	checkText(t, s.Login(""))
	require.NoError(t, s.Destroy())
	checkText(t, session.Key[any]("a").Set(s, 1))
	checkText(t, session.From(t.Context()).Renew())
	for r := session.Malformed; r.String() != "none"; r++ {
		require.NotContains(t, r.Error(), "_")
		require.Equal(t, strings.ToLower(r.Error()), r.Error())
	}
}

// What an operator reads in the log when visitors present what they should not.
func TestTextsOfEvents(t *testing.T) {
	var told []error
	kit := sessiontest.New(t, func(c *middleware.Config) {
		c.OnEvent = func(_ context.Context, e middleware.Event) {
			if e.Err != nil {
				told = append(told, e.Err)
			}
		}
	})
	site := kit.Middleware.Handler(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	cookie := kit.Cookie(sessiontest.Session{Subject: "alice"})
	parts := strings.Split(cookie.Value, ".")
	for _, value := range []string{"x", "a.b.c", cookie.Value + "x",
		parts[0] + "." + parts[1] + "." + parts[2] + ".AAAA." + parts[4], "cr1_" + rand.Text()} {
		r := httptest.NewRequest("GET", "https://app.example/", nil)
		r.AddCookie(&http.Cookie{Name: cookie.Name, Value: value})
		site.ServeHTTP(httptest.NewRecorder(), r)
	}
	r := httptest.NewRequest("POST", "https://app.example/", nil)
	r.Header.Set("Origin", "https://evil.example")
	site.ServeHTTP(httptest.NewRecorder(), r)
	require.GreaterOrEqual(t, len(told), 6)
	for _, err := range told {
		checkText(t, err)
	}
}

// A store that is down: what the store said stays, without its package's name.
func TestTextsOfStores(t *testing.T) {
	store, err := opaque.NewMemoryStore(opaque.MemoryConfig{MaxSessions: 1})
	require.NoError(t, err)
	carrier, err := opaque.NewCarrier(opaque.CarrierConfig{Store: store})
	require.NoError(t, err)
	now := time.Now()
	rec := &session.Record{ID: "x", Version: 1, Generation: 1, CreatedAt: now, SeenAt: now,
		IdleDeadline: now.Add(time.Hour), Deadline: now.Add(time.Hour)}
	_, err = carrier.Issue(t.Context(), rec, "")
	require.NoError(t, err)
	_, err = carrier.Issue(t.Context(), rec, "")
	checkText(t, err)
	require.NoError(t, store.Close())
	_, _, err = carrier.Open(t.Context(), "cr1_"+strings.Repeat("A", 43))
	if err != nil {
		checkText(t, err)
	}
	broken, err := opaque.NewCarrier(opaque.CarrierConfig{Store: down{store}, Secrets: [][]byte{make([]byte, 32)}})
	require.NoError(t, err)
	_, _, err = broken.Open(t.Context(), "cr1_"+strings.Repeat("A", 43))
	checkText(t, err)
	require.ErrorIs(t, err, io.ErrUnexpectedEOF)
}

type down struct{ opaque.Store }

func (down) Get(context.Context, string) (opaque.Item, bool, error) {
	return opaque.Item{}, false, errors.Join(io.ErrUnexpectedEOF)
}

// A service token of somebody else is no session.
func TestTextsOfServices(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keys.json")
	key, err := keys.Generate(keys.ES256, keys.Dates{})
	require.NoError(t, err)
	set, err := keyset.NewSet((*keyset.Key)(key))
	require.NoError(t, err)
	require.NoError(t, keyset.File{Path: path}.Create(t.Context(), set))
	ring, err := keys.OpenRing(keys.RingConfig{File: keys.File{Path: path}})
	require.NoError(t, err)
	defer ring.Close()
	issuer, err := token.NewIssuer(token.IssuerConfig{Ring: ring, Issuer: "other"})
	require.NoError(t, err)
	alice := sessiontest.Request(httptest.NewRequest("GET", "/", nil), sessiontest.Session{Subject: "alice"})
	bearer, err := issuer.Issue(t.Context(), session.From(alice.Context()), "orders")
	require.NoError(t, err)
	verifier, err := token.NewVerifier(token.VerifierConfig{Keys: ring, Issuer: "shop", Audience: "orders"})
	require.NoError(t, err)
	for _, authorization := range []string{"", "Basic x", "Bearer x", "Bearer " + bearer,
		"Bearer " + bearer[:len(bearer)-4] + "AAAA"} {
		r := httptest.NewRequest("GET", "/", nil)
		if authorization != "" {
			r.Header.Set("Authorization", authorization)
		}
		_, err := verifier.Check(r)
		checkText(t, err)
		require.NotContains(t, err.Error(), "session")
	}
}
