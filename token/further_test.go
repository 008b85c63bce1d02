package token_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/internal/keyset"
	"github.com/cloakroom-go/cloakroom/keys"
	"github.com/cloakroom-go/cloakroom/session"
	"github.com/cloakroom-go/cloakroom/token"
)

// saying returns an Issuer whose tokens have further claims.
func (b *bench) saying(t testing.TB, further map[string]any) *token.Issuer {
	i, err := token.NewIssuer(token.IssuerConfig{Ring: b.ring, Issuer: "https://app.example", Now: b.clock,
		Claims: func(context.Context, *session.Session, string) (map[string]any, error) { return further, nil }})
	require.NoError(t, err)
	return i
}

func TestFurtherClaims(t *testing.T) {
	b := newBench(t, keys.ES256)
	roles := session.Key[[]string]("roles")
	type acr struct{}
	type tenant struct {
		Name string `json:"name"`
		Plan string `json:"plan,omitempty"`
	}
	i, err := token.NewIssuer(token.IssuerConfig{Ring: b.ring, Issuer: "https://app.example", Now: b.clock,
		Claims: func(ctx context.Context, s *session.Session, audience string) (map[string]any, error) {
			if audience != "orders" {
				return nil, nil
			}
			return map[string]any{"roles": roles.Get(s), "acr": ctx.Value(acr{}), "tenant": tenant{Name: "<acme>"}}, nil
		}})
	require.NoError(t, err)
	s := b.of(record(map[string]string{"roles": `["admin","ops"]`}))
	ctx := context.WithValue(t.Context(), acr{}, "urn:example:2")
	bearer, err := i.Issue(ctx, s, "orders")
	require.NoError(t, err)
	_, claims := decoded(t, bearer)
	assert.Equal(t, []any{"admin", "ops"}, claims["roles"])
	assert.Equal(t, "urn:example:2", claims["acr"])
	assert.Equal(t, map[string]any{"name": "<acme>"}, claims["tenant"])
	_, err = b.verifier(t).Verify(t.Context(), bearer)
	require.NoError(t, err)
	bearer, err = i.Issue(ctx, s, "billing")
	require.NoError(t, err)
	_, claims = decoded(t, bearer)
	assert.NotContains(t, claims, "roles", "each service is told what it needs")
}

// No claim of the application takes the place of one that verifiers decide by,
// whatever its case or spelling.
func TestAttackReservedClaims(t *testing.T) {
	b := newBench(t, keys.ES256)
	for _, name := range strings.Fields("iss aud sub exp nbf iat jti client_id sid gen auth_time since amr tg lin ver " +
		"crt dl prs snc data events") {
		for _, value := range []any{"mallory", 1, nil, []string{"orders"}} {
			_, err := b.saying(t, map[string]any{"roles": 1, name: value}).Issue(t.Context(), b.of(record(nil)), "orders")
			assert.ErrorIs(t, err, session.BadValue, name)
			assert.ErrorContains(t, err, `returned a claim "`+name+`", which is a reserved name`)
			assert.NotContains(t, err.Error(), "mallory")
		}
	}
	// A name is another name if it is not the same; JSON in it is quoted.
	odd := map[string]any{"Sub": "mallory", "sub ": "mallory", `x":1,"sub`: "mallory", "s\u0075b\u200b": "mallory"}
	bearer, err := b.saying(t, odd).Issue(t.Context(), b.of(record(nil)), "orders")
	require.NoError(t, err)
	caller, err := b.verifier(t).Verify(t.Context(), bearer)
	require.NoError(t, err)
	assert.Equal(t, "alice", caller.Subject)
	_, claims := decoded(t, bearer)
	assert.Equal(t, "alice", claims["sub"])
}

// secret has no form in JSON, and says why in words that nobody may see.
type secret struct{}

func (secret) MarshalJSON() ([]byte, error) { return nil, errors.New("hunter2") }

// broken says something that is not one JSON value.
type broken string

func (b broken) MarshalJSON() ([]byte, error) { return []byte(b), nil }

func TestAttackHugeAndBrokenClaims(t *testing.T) {
	b := newBench(t, keys.ES256)
	for _, value := range []any{
		secret{}, math.NaN(), math.Inf(1), make(chan int), func() {}, "hunter2\xff", map[string]any{"x": "hunter2\xff"},
		broken(`"hunter2","sub":"mallory"`), broken(`{"hunter2":1,"hunter2":2}`), broken(""), broken(`"hunter2`),
		json.RawMessage(`1,"sub":"hunter2"`), complex(1, 2),
	} {
		_, err := b.saying(t, map[string]any{"x": value}).Issue(t.Context(), b.of(record(nil)), "orders")
		assert.ErrorIs(t, err, session.BadValue, "%T", value)
		assert.ErrorContains(t, err, `token: IssuerConfig.Claims returned a claim "x" of type `)
		assert.NotContains(t, err.Error(), "hunter2")
	}
	for _, name := range []string{"", "\xff", strings.Repeat("x", 65)} {
		_, err := b.saying(t, map[string]any{name: "hunter2"}).Issue(t.Context(), b.of(record(nil)), "orders")
		assert.ErrorContains(t, err, "a claim whose name is not UTF-8 of 1 to 64 bytes")
		assert.NotContains(t, err.Error(), "hunter2")
	}
	many := map[string]any{}
	for n := range 300 {
		many[strings.Repeat("x", 1+n%60)+string(rune('a'+n/60))] = "hunter2"
	}
	for _, further := range []map[string]any{
		{"x": strings.Repeat("hunter2", 300)}, {"x": make([]string, 1000)}, many, {"x": strings.Repeat("x", 1<<20)},
	} {
		_, err := b.saying(t, further).Issue(t.Context(), b.of(record(nil)), "orders")
		assert.ErrorIs(t, err, session.BadValue)
		assert.ErrorContains(t, err, "over the limit of 2048")
		assert.NotContains(t, err.Error(), "hunter2")
	}
	bearer, err := b.saying(t, map[string]any{"x": strings.Repeat("x", 2045)}).Issue(t.Context(), b.of(record(nil)),
		"orders")
	require.NoError(t, err)
	_, err = b.verifier(t).Verify(t.Context(), bearer)
	require.NoError(t, err)
	i, err := token.NewIssuer(token.IssuerConfig{Ring: b.ring, Issuer: "https://app.example", Now: b.clock,
		Claims: func(context.Context, *session.Session, string) (map[string]any, error) {
			return nil, io.ErrUnexpectedEOF
		}})
	require.NoError(t, err)
	_, err = i.Issue(t.Context(), b.of(record(nil)), "orders")
	assert.ErrorIs(t, err, io.ErrUnexpectedEOF)
	assert.Equal(t, session.Unavailable, session.ReasonOf(err), "it could not tell")
}

// careless verifies as 22 of 43 programs do: iss, aud and the times, but no
// typ.
func (b *bench) careless(t *testing.T, text, audience string, now time.Time) error {
	t.Helper()
	_, err := jwt.NewParser(jwt.WithValidMethods([]string{"ES256"}), jwt.WithIssuer("https://app.example"),
		jwt.WithAudience(audience), jwt.WithExpirationRequired(), jwt.WithIssuedAt(),
		jwt.WithTimeFunc(func() time.Time { return now }),
	).Parse(text, func(parsed *jwt.Token) (any, error) {
		k, err := b.ring.Key(t.Context(), parsed.Header["kid"].(string), now)
		return (*keyset.Key)(k).Public(), err
	})
	return err
}

// Where tokens are signed only, a session token passes for no service: a
// verifier that ignores typ sees another audience, since no service can have
// that of session tokens.
func TestAttackSessionTokenForService(t *testing.T) {
	b := newBench(t, keys.ES256)
	cookie, err := b.Issue(t.Context(), record(nil), "")
	require.NoError(t, err)
	require.NoError(t, b.careless(t, cookie, "https://app.example", start), "only the audience tells them apart")
	i := b.issuer(t)
	for _, audience := range []string{"https://app.example", "https://app.example/", "https://App.example", "orders"} {
		bearer, err := i.Issue(t.Context(), b.of(record(nil)), audience)
		if audience == "https://app.example" {
			require.ErrorIs(t, err, session.BadValue)
			continue
		}
		require.NoError(t, err)
		require.NoError(t, b.careless(t, bearer, audience, start))
		require.ErrorIs(t, b.careless(t, cookie, audience, start), jwt.ErrTokenInvalidAudience)
		_, err = b.verifier(t, func(c *token.VerifierConfig) { c.Audience = audience }).Verify(t.Context(), cookie)
		require.ErrorIs(t, err, session.Forged)
		_, _, err = b.Open(t.Context(), bearer)
		require.ErrorIs(t, err, session.Forged)
	}
}

// A library without any leeway accepts a token whose issuer's clock is 5 s
// ahead of its own.
func TestIssuersClockAhead(t *testing.T) {
	b := newBench(t, keys.ES256)
	bearer := b.issue(t, b.issuer(t), record(nil), "orders")
	for behind, want := range map[time.Duration]error{
		0: nil, time.Second: nil, 5 * time.Second: nil, 6 * time.Second: jwt.ErrTokenUsedBeforeIssued,
	} {
		require.ErrorIs(t, b.careless(t, bearer, "orders", start.Add(-behind)), want, "%v", behind)
	}
}

// Claims about one user never get into a token of another, who logs in while
// they are looked up.
func TestClaimsOfTheSubject(t *testing.T) {
	b := newBench(t, keys.ES256)
	i, err := token.NewIssuer(token.IssuerConfig{Ring: b.ring, Issuer: "https://app.example", Now: b.clock,
		Claims: func(_ context.Context, s *session.Session, _ string) (map[string]any, error) {
			if s.Subject() == "alice" {
				if err := s.Login("bob"); err != nil {
					return nil, err
				}
			}
			return map[string]any{"roles": "those of " + s.Subject()}, nil
		}})
	require.NoError(t, err)
	bearer := b.issue(t, i, record(nil), "orders")
	caller, err := b.verifier(t).Verify(t.Context(), bearer)
	require.NoError(t, err)
	require.Equal(t, "bob", caller.Subject)
	require.JSONEq(t, `"those of bob"`, string(caller.Claims["roles"]))
}
