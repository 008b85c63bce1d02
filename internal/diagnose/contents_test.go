package diagnose_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/internal/diagnose"
	"github.com/cloakroom-go/cloakroom/keys"
	"github.com/cloakroom-go/cloakroom/revocation"
	"github.com/cloakroom-go/cloakroom/session"
	"github.com/cloakroom-go/cloakroom/token"
)

// The states go into the diagnosis by themselves, for programs.
func TestDiagnoseStates(t *testing.T) {
	d := newDesk(t)
	for _, tt := range []struct{ key, now, issued string }{
		{"active", "active", "active"}, {"pending", "pending", "pending"}, {"staged", "staged", "staged"},
		{"retiring", "retiring", "retiring"},
		{"expired", "expired", "expired"}, {"pruned", "expired", "expired"}, {"revoked", "revoked", "revoked"},
		{"stranger", "unknown", ""},
	} {
		got := diagnose.Token(t.Context(), d.ring, d.service(tt.key, 0, nil), diagnose.Want{}, start)
		assert.Equal(t, d.all[tt.key].ID(), got.KeyID)
		assert.Equal(t, []string{tt.now, tt.issued}, []string{got.KeyStateNow, got.KeyStateIssued}, tt.key)
		assert.Empty(t, got.EncryptionKeyID)
		assert.Equal(t, start, got.IssuedAt)
		assert.Equal(t, start.Add(time.Minute), got.ExpiresAt)
	}
	for _, tt := range []struct{ key, now, issued string }{
		{"enc", "active", "active"}, {"enc expired", "expired", "retiring"}, {"enc revoked", "revoked", ""},
		{"strange enc", "unknown", ""},
	} {
		got := diagnose.Token(t.Context(), d.ring, d.session("active", tt.key, 36*time.Hour, nil), diagnose.Want{}, start)
		assert.Equal(t, d.all[tt.key].ID(), got.EncryptionKeyID)
		assert.Equal(t, []string{tt.now, tt.issued}, []string{got.EncryptionKeyStateNow, got.EncryptionKeyStateIssued},
			tt.key)
	}
	before := diagnose.Token(t.Context(), d.ring, d.service("revoked", 3*time.Hour, nil), diagnose.Want{}, start)
	assert.Equal(t, "active", before.KeyStateIssued, "instances did not know that it would be revoked")
}

func TestDiagnoseWithoutKeys(t *testing.T) {
	d := newDesk(t)
	got := diagnose.Token(t.Context(), nil, d.service("active", 0, nil), diagnose.Want{}, start)
	assert.Equal(t, diagnose.Bad, got.Verdict)
	assert.Equal(t, diagnose.Failed, find(got, "key").Result)
	assert.Equal(t, diagnose.Passed, find(got, "expiry").Result)
	bare, err := keys.NewRing(d.all["active"])
	require.NoError(t, err)
	got = diagnose.Token(t.Context(), bare, d.session("active", "", 0, nil), diagnose.Want{}, start)
	assert.Equal(t, diagnose.Good, got.Verdict)
	assert.Contains(t, find(got, "encryption").Text, "clients can read their sessions")
	assert.Equal(t, "exp is 1m after iat", find(got, "lifetime").Text, "a ring without a file has no policy")
	text, err := json.Marshal(diagnose.Token(t.Context(), nil, "x", diagnose.Want{}, start))
	require.NoError(t, err)
	for _, member := range []string{"kid", "issued_at", "expires_at", "key_state_now"} {
		assert.NotContains(t, string(text), `"`+member+`":`, "nothing is said of what is not known")
	}
}

// Checks stand in the order in which verifiers make them: the first that fails
// is the one that they report.
func TestDiagnoseOrder(t *testing.T) {
	d := newDesk(t)
	names := func(text string) (all []string) {
		for _, c := range diagnose.Token(t.Context(), d.ring, text, diagnose.Want{}, start).Checks {
			all = append(all, c.Name)
		}
		return all
	}
	rest := []string{"type", "key", "algorithm", "signature", "claims", "issuer", "audience", "issued_at", "not_before",
		"lifetime"}
	sealed := []string{"form", "encryption_key", "encryption_algorithm", "decryption", "inner_form"}
	assert.Equal(t, slices.Concat([]string{"form"}, rest, []string{"expiry", "login", "revocation"}),
		names(d.service("active", 0, nil)))
	assert.Equal(t, slices.Concat([]string{"form"}, rest,
		[]string{"encryption", "expiry", "deadline", "login", "session_values", "revocation"}),
		names(d.session("active", "", 0, nil)))
	assert.Equal(t, slices.Concat(sealed, rest, []string{"expiry", "deadline", "login", "session_values", "revocation"}),
		names(d.session("active", "enc", 0, nil)))
	assert.Equal(t, slices.Concat(sealed, rest, []string{"expiry", "login", "revocation"}),
		names(d.session("active", "strange enc", 0, nil)))
	assert.Equal(t, slices.Concat([]string{"form"}, rest, []string{"expiry", "login", "revocation"}), names("x"))
}

// A diagnosis can be pasted into a ticket: it has no token in it, nobody's name
// and none of the session's values.
func TestDiagnosisHoldsNoSecrets(t *testing.T) {
	d := newDesk(t)
	secret := object{"data": object{"card-number": "4711-0815"}, "sub": "bob-the-subject",
		"sid": "public-but-none-of-your-business", "jti": "jay-tee-eye"}
	for name, text := range map[string]string{
		"good": d.session("active", "enc", 0, secret), "signed": d.session("active", "", 0, secret),
		"forged": altered(d.session("active", "", 0, secret), 2), "closed": d.session("active", "strange enc", 0, secret),
		"wrong": d.session("active", "enc", 0, with(secret, object{"exp": "4711-0815"})),
		"cut":   d.session("active", "", 0, secret)[:500], "expired": d.session("active", "enc", 20*aDay, secret),
	} {
		got, err := json.Marshal(diagnose.Token(t.Context(), d.ring, text, diagnose.Want{}, start))
		require.NoError(t, err)
		for _, word := range []string{"card-number", "4711", "bob", "none-of-your-business", "jay-tee-eye"} {
			assert.NotContains(t, string(got), word, name)
		}
		for i, segment := range strings.Split(text, ".") {
			if len(segment) > 0 {
				assert.NotContains(t, string(got), segment[:min(len(segment), 20)], "%s: segment %d", name, i)
			}
		}
	}
}

// What a Carrier writes.
func TestContentsOfSession(t *testing.T) {
	d := newDesk(t)
	ring, err := keys.NewRing(d.all["active"], d.all["enc"])
	require.NoError(t, err)
	carrier, err := token.NewCarrier(token.CarrierConfig{
		Ring: ring, Issuer: app, Revocations: revocation.NewVolatile(revocation.Config{}),
		Now: func() time.Time { return start },
	})
	require.NoError(t, err)
	credential, err := carrier.Issue(t.Context(), &session.Record{
		ID: "x", Version: 1, Generation: 1, Lineage: "bGluZWFnZTE", Subject: "alice", CreatedAt: start,
		AuthenticatedAt: start,
		SeenAt:          start, IdleDeadline: start.Add(time.Minute), Deadline: start.Add(time.Hour),
		Values: session.NewValues(map[string]string{"cart": `[1,2]`}),
	}, "")
	require.NoError(t, err)
	got := d.diagnose(credential, app)
	assert.Equal(t, diagnose.Good, got.Verdict)
	assert.Empty(t, got.Problem())
	var header, claims map[string]any
	require.NoError(t, json.Unmarshal(got.Header, &header))
	require.NoError(t, json.Unmarshal(got.Claims, &claims))
	assert.Equal(t, "cloakroom+jwt", header["typ"])
	assert.Equal(t, "alice", claims["sub"])
	assert.Equal(t, map[string]any{"cart": []any{1.0, 2.0}}, claims["data"])
	for _, claim := range []string{"iss", "aud", "sid", "ver", "gen", "jti", "iat", "exp", "auth_time", "dl", "crt"} {
		assert.Contains(t, claims, claim)
	}
	require.NoError(t, json.Unmarshal(got.Encryption, &header))
	assert.Equal(t, "dir", header["alg"])
	assert.Equal(t, "A256GCM", header["enc"])
	assert.Equal(t, "JWT", header["cty"])

	got = diagnose.Token(t.Context(), nil, credential, diagnose.Want{}, start)
	assert.Equal(t, diagnose.Bad, got.Verdict)
	assert.Empty(t, got.Claims)
	assert.NotEmpty(t, got.Problem())
	got = diagnose.Token(t.Context(), d.ring, credential, diagnose.Want{}, start.Add(time.Hour))
	assert.Equal(t, diagnose.OutOfTime, got.Verdict)
}

// The contents of a token can be read even if its signature is not good.
func TestContents(t *testing.T) {
	d := newDesk(t)
	look := func(text string) *diagnose.Diagnosis {
		return diagnose.Token(t.Context(), d.ring, text, diagnose.Want{}, start)
	}
	values := object{"data": object{"card": "4711"}}
	sealed := d.session("active", "enc", 0, values)
	for _, text := range []string{sealed, d.session("active", "enc expired", 0, values),
		d.session("stranger", "", 0, values)} {
		got := look(text)
		assert.Contains(t, string(got.Claims), `"card":"4711"`)
		assert.Contains(t, string(got.Header), `"typ":"cloakroom+jwt"`)
		assert.Equal(t, strings.Count(text, ".") == 4, strings.Contains(string(got.Encryption), `"enc":"A256GCM"`))
	}
	got := look(altered(sealed, 3))
	assert.NotNil(t, got.Encryption)
	assert.Nil(t, got.Header)
	assert.Nil(t, got.Claims)
	assert.Nil(t, look("x").Encryption)
	assert.Equal(t, "decryption: the key does not open it: it was altered, or not made with this key", got.Problem())
	assert.Empty(t, look(sealed).Problem())
}

// Instants are told in whole seconds, and so is how far off they are.
func TestDistanceIsInWholeSeconds(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for off, want := range map[time.Duration]string{
		0: "now", 364 * time.Millisecond: "now", 999 * time.Millisecond: "now", -1: "1 second ago",
		time.Second:  "1 second from now",
		-time.Second: "1 second ago", 90 * time.Second: "90 seconds from now",
		5*time.Second + 364*time.Millisecond: "5 seconds from now",
	} {
		require.Equal(t, want, diagnose.Distance(now.Add(off), now), "%v", off)
	}
}
