package diagnose_test

import (
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/internal/diagnose"
	"github.com/cloakroom-go/cloakroom/keys"
	"github.com/cloakroom-go/cloakroom/revocation"
	"github.com/cloakroom-go/cloakroom/session"
	"github.com/cloakroom-go/cloakroom/token"
)

const app, orders = "https://app.example", "https://orders.example"

// open has a Carrier of app open a token that it has not seen before.
func (d *desk) open(text string) (*session.Record, error) {
	clock := func() time.Time { return start }
	carrier, err := token.NewCarrier(token.CarrierConfig{
		Ring: d.ring, Issuer: app, Now: clock, Revocations: revocation.NewVolatile(revocation.Config{Now: clock}),
	})
	require.NoError(d.t, err)
	rec, _, err := carrier.Open(d.t.Context(), text)
	return rec, err
}

// verify has a Verifier of orders verify a token.
func (d *desk) verify(text string) error {
	verifier, err := token.NewVerifier(token.VerifierConfig{
		Keys: d.ring, Issuer: app, Audience: orders, Now: func() time.Time { return start },
	})
	require.NoError(d.t, err)
	_, err = verifier.Verify(d.t.Context(), text)
	return err
}

func (d *desk) diagnose(text, audience string) *diagnose.Diagnosis {
	return diagnose.Token(d.t.Context(), d.ring, text, diagnose.Want{Issuer: app, Audience: audience}, start)
}

// agree requires that the diagnosis of a token agrees with a Carrier and with a
// Verifier. It returns the verdict of the diagnosis for the Verifier.
func (d *desk) agree(text string) diagnose.Verdict {
	d.t.Helper()
	rec, err := d.open(text)
	alive := err == nil && start.Before(rec.IdleDeadline) && start.Before(rec.Deadline)
	got := d.diagnose(text, app)
	require.Equal(d.t, alive, got.Verdict == diagnose.Good && got.Kind == "session", "carrier: %v\n%+v", err, got)
	if err == nil {
		require.NotEqual(d.t, diagnose.Bad, got.Verdict)
	}
	err = d.verify(text)
	got = d.diagnose(text, orders)
	require.Equal(d.t, err == nil, got.Verdict == diagnose.Good && got.Kind == "service", "verifier: %v\n%+v", err, got)
	if errors.Is(err, token.ErrExpired) {
		require.Equal(d.t, diagnose.OutOfTime, got.Verdict)
	}
	return got.Verdict
}

// What the diagnosis says is what Carrier and Verifier say, whatever is done to
// a token.
func TestAgrees(t *testing.T) {
	d := newDesk(t)
	seen := make(map[diagnose.Verdict]int)
	agree := func(text string) { t.Helper(); seen[d.agree(text)]++ }
	unix := func(d time.Duration) int64 { return start.Add(d).Unix() }
	for key := range d.all {
		if d.all[key].Use() != keys.Signature {
			continue
		}
		for _, seal := range []string{"", "enc", "wrap", "enc expired", "enc revoked", "strange enc"} {
			for _, before := range []time.Duration{
				-time.Hour, -61 * time.Second, -time.Minute, -10 * time.Second, 0, 59 * time.Second,
				time.Minute, 69 * time.Second, 70 * time.Second, time.Hour, 39 * aDay,
			} {
				agree(d.session(key, seal, before, nil))
			}
		}
		for _, more := range []object{
			nil, {"sub": nil, "auth_time": nil}, {"sub": nil}, {"auth_time": nil}, {"aud": "x"}, {"iss": "x"}, {"sid": ""},
			{"typ": 1}, {"nbf": unix(time.Minute)}, {"nbf": unix(aDay)}, {"iat": unix(time.Hour), "exp": unix(61 * time.Minute)},
			{"exp": unix(16 * time.Minute)}, {"exp": unix(aDay)}, {"dl": unix(0)}, {"dl": unix(-time.Hour)},
			{"gen": nil, "lin": "x"},
			{"gen": 0}, {"aud": []string{orders}}, {"aud": []string{app}}, {"aud": []string{app, orders}}, {"data": nil},
			{"data": 1},
		} {
			for _, before := range []time.Duration{-11 * time.Second, -10 * time.Second, 0, 69 * time.Second, 70 * time.Second} {
				agree(d.service(key, before, more))
				agree(d.session(key, "enc", before, more))
			}
		}
	}
	for _, text := range []string{
		d.service("active", 0, nil), d.session("active", "enc", 0, nil), d.session("active", "wrap", 0, nil),
	} {
		agree(text)
		for i := range text { // one character at a time
			for _, c := range []string{"A", ".", "", "\n", "é"} {
				agree(text[:i] + c + text[i+1:])
			}
		}
	}
	require.Greater(t, seen[diagnose.Good], 10)
	require.Greater(t, seen[diagnose.OutOfTime], 10)
	require.Greater(t, seen[diagnose.Bad], 1000)
}

// FuzzAgrees: whatever a token is, the diagnosis and the verifiers agree.
func FuzzAgrees(f *testing.F) {
	d := newDesk(f)
	for _, seed := range []string{
		d.service("active", 0, nil), d.session("active", "enc", 0, nil), d.session("active", "", 0, nil),
		"", "a.b.c", "....", "Bearer x",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		(&desk{t: t, all: d.all, ring: d.ring}).agree(text)
	})
}
