package token_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/keys"
	"github.com/cloakroom-go/cloakroom/revocation"
	"github.com/cloakroom-go/cloakroom/token"
)

// What Diagnose says is what Carrier and Verifier say, whatever is done to a token.
func TestDiagnoseAgrees(t *testing.T) {
	d := newDesk(t)
	now := start
	clock := func() time.Time { return now }
	const issuer, orders = "https://app.example", "https://orders.example"
	carrier, err := token.NewCarrier(token.CarrierConfig{Ring: d.ring, Issuer: issuer, Revocations: revocation.NewVolatile(revocation.Config{Now: clock}), Now: clock})
	require.NoError(t, err)
	verifier, err := token.NewVerifier(token.VerifierConfig{Keys: d.ring, Issuer: issuer, Audience: orders, Now: clock})
	require.NoError(t, err)
	seen := make(map[token.Verdict]int)
	agree := func(text string) {
		t.Helper()
		rec, err := token.Unremembered(t.Context(), carrier, text)
		alive := err == nil && now.Before(rec.IdleDeadline) && now.Before(rec.Deadline)
		got := token.Diagnose(t.Context(), d.ring, text, token.Expected{Issuer: issuer, Audience: issuer}, now)
		require.Equal(t, alive, got.Verdict == token.Good && got.Kind == "session", "carrier: %v\n%+v", err, got)
		if err == nil {
			require.NotEqual(t, token.Bad, got.Verdict)
		}
		_, err = verifier.Verify(t.Context(), text)
		got = token.Diagnose(t.Context(), d.ring, text, token.Expected{Issuer: issuer, Audience: orders}, now)
		require.Equal(t, err == nil, got.Verdict == token.Good && got.Kind == "service", "verifier: %v\n%+v", err, got)
		seen[got.Verdict]++
	}
	for key := range d.all {
		if d.all[key].Use() != keys.Signature {
			continue
		}
		for _, seal := range []string{"", "enc", "wrap", "enc expired", "enc revoked", "strange enc"} {
			for _, before := range []time.Duration{-time.Hour, -61 * time.Second, -time.Minute, -10 * time.Second, 0, 59 * time.Second, time.Minute, 69 * time.Second, 70 * time.Second, time.Hour, 39 * aDay} {
				agree(d.session(key, seal, before, nil))
			}
		}
		for _, more := range []object{nil, {"sub": nil, "auth_time": nil}, {"nbf": start.Add(time.Minute).Unix()}, {"exp": start.Add(16 * time.Minute).Unix()}, {"aud": "x"}, {"iss": "x"}, {"sid": ""}, {"typ": 1}} {
			for _, before := range []time.Duration{-11 * time.Second, -10 * time.Second, 0, 69 * time.Second, 70 * time.Second} {
				agree(d.service(key, before, more))
				agree(d.session(key, "enc", before, more))
			}
		}
	}
	for _, text := range []string{d.service("active", 0, nil), d.session("active", "enc", 0, nil), d.session("active", "wrap", 0, nil)} {
		agree(text)
		for i := range text { // one character at a time
			for _, c := range []string{"A", ".", "", "\n", "é"} {
				agree(text[:i] + c + text[i+1:])
			}
		}
	}
	require.Greater(t, seen[token.Good], 10)
	require.Greater(t, seen[token.OutOfTime], 10)
	require.Greater(t, seen[token.Bad], 1000)
}

// FuzzDiagnose: it never fails, and says good of nothing but what a verifier accepts.
func FuzzDiagnose(f *testing.F) {
	d := newDesk(f)
	clock := func() time.Time { return start }
	verifier, err := token.NewVerifier(token.VerifierConfig{Keys: d.ring, Issuer: "https://app.example", Audience: "https://orders.example", Now: clock})
	require.NoError(f, err)
	carrier, err := token.NewCarrier(token.CarrierConfig{Ring: d.ring, Issuer: "https://app.example", Audience: "https://orders.example", Revocations: revocation.NewVolatile(revocation.Config{Now: clock}), Now: clock})
	require.NoError(f, err)
	for _, seed := range []string{d.service("active", 0, nil), d.session("active", "enc", 0, nil), d.session("active", "", 0, nil), "", "a.b.c", "....", "Bearer x"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		got := token.Diagnose(t.Context(), d.ring, text, token.Expected{Issuer: "https://app.example", Audience: "https://orders.example"}, start)
		_, byVerifier := verifier.Verify(t.Context(), text)
		_, byCarrier := token.Unremembered(t.Context(), carrier, text)
		if got.Verdict == token.Good && byVerifier != nil && byCarrier != nil {
			t.Fatalf("good, but: %v; %v", byVerifier, byCarrier)
		}
		if got.Verdict == token.Bad && (byVerifier == nil || byCarrier == nil) {
			t.Fatalf("bad, and accepted: %+v", got)
		}
	})
}
