package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/cmd/keygen/internal/tool"
	"github.com/cloakroom-go/cloakroom/internal/keyset"
	"github.com/cloakroom-go/cloakroom/keys"
	"github.com/cloakroom-go/cloakroom/revocation"
	"github.com/cloakroom-go/cloakroom/token"
)

// What keygen token explain says by its exit code is what token.Verifier says
// of a service token, and token.Carrier of a session token.
func TestExplainIsTheVerdictOfVerifiers(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keys.json")
	require.Equal(t, tool.ExitOK, run([]string{"init", "--keyset", path, "--at", "-3d", "--write-at"}, nil, io.Discard,
		io.Discard))
	set, err := keys.File{Path: path}.Read()
	require.NoError(t, err)
	ring, err := set.Ring()
	require.NoError(t, err)
	now := time.Now().Truncate(time.Second)
	signer, err := ring.Current(keys.Signature, now)
	require.NoError(t, err)
	sealer, err := ring.Current(keys.Encryption, now)
	require.NoError(t, err)
	clock := func() time.Time { return now }
	verifier, err := token.NewVerifier(token.VerifierConfig{Keys: ring, Issuer: "app", Audience: "orders", Now: clock})
	require.NoError(t, err)
	carrier, err := token.NewCarrier(token.CarrierConfig{
		Ring: ring, Issuer: "app", Now: clock, Revocations: revocation.NewVolatile(revocation.Config{Now: clock}),
	})
	require.NoError(t, err)

	seen := make(map[int]int)
	agree := func(text, audience string, accepted bool, about any) {
		got := run([]string{
			"token", "explain", "--quiet", "--keyset", path, "--issuer", "app", "--audience", audience, "--at",
			now.Format(time.RFC3339),
		}, strings.NewReader(text), io.Discard, new(bytes.Buffer))
		require.Equal(t, accepted, got == tool.ExitOK, "exit code %d of %v", got, about)
		seen[got]++
	}
	for i, change := range changedClaims(now) {
		claims := map[string]any{
			"iss": "app", "aud": "orders", "sub": "alice", "auth_time": now.Unix(), "client_id": "app",
			"since": now.UnixMilli(), "sid": "x", "gen": 1, "jti": "x", "iat": now.Unix(), "exp": now.Add(time.Minute).Unix(),
		}
		text := signType(signer, "at+jwt", changed(claims, change))
		_, err := verifier.Verify(t.Context(), text)
		agree(text, "orders", err == nil, change)

		maps.Copy(claims, map[string]any{
			"aud": "app", "sid": fmt.Sprint("session", i), "lin": "x", "ver": 1, "crt": now.Unix(),
			"auth_time": json.RawMessage(fmt.Sprint(now.Unix(), ".000")), "dl": now.Add(time.Hour).Unix(), "data": struct{}{},
		})
		inner := signType(signer, "cloakroom+jwt", changed(claims, change))
		sealed, err := (*keyset.Key)(sealer).Seal([]byte(inner), "JWT")
		require.NoError(t, err)
		for _, text := range []string{sealed, inner, sealed[:len(sealed)-4] + "AAAA", inner[:len(inner)-4] + "AAAA"} {
			rec, _, err := carrier.Open(t.Context(), text)
			agree(text, "app", err == nil && now.Before(rec.IdleDeadline) && now.Before(rec.Deadline), change)
			_, err = verifier.Verify(t.Context(), text)
			require.Error(t, err)
		}
	}
	require.Greater(t, seen[tool.ExitOK], 5)
	require.Greater(t, seen[tool.ExitToken], 20)
	require.Greater(t, seen[tool.ExitExpired], 5)
}

func changed(claims, change map[string]any) map[string]any {
	all := maps.Clone(claims)
	maps.Copy(all, change)
	maps.DeleteFunc(all, func(_ string, value any) bool { return value == nil })
	return all
}

// changedClaims are claims that differ from good ones; nil for one that is
// missing.
func changedClaims(now time.Time) (all []map[string]any) {
	at := func(d time.Duration) int64 { return now.Add(d).Unix() }
	day := 24 * time.Hour
	all = []map[string]any{
		{}, {"sub": nil, "auth_time": nil}, {"iss": "x"}, {"aud": "x"}, {"aud": []string{"orders"}},
		{"aud": []string{"app", "orders"}},
		{"iat": at(time.Hour), "exp": at(time.Hour + time.Minute), "dl": at(2 * time.Hour)}, {"nbf": at(day)}, {"nbf": at(0)},
		{"exp": at(day)}, {"exp": at(day), "dl": at(day)}, {"exp": at(0)}, {"exp": at(-time.Hour)}, {"dl": at(0)},
		{"dl": at(-time.Hour)},
		{"iat": at(-time.Hour), "exp": at(-9 * time.Second)}, {"iat": at(-time.Hour), "exp": at(time.Minute)},
		{"data": []int{}},
	}
	for _, d := range []time.Duration{9, 10, 11, 59, 60, 61} {
		all = append(all, map[string]any{"iat": at(d * time.Second), "exp": at(3 * time.Minute)},
			map[string]any{"iat": at(-time.Minute), "exp": at(-d * time.Second)}, map[string]any{"nbf": at(d * time.Second)})
	}
	for _, name := range []string{
		"iss", "aud", "sub", "auth_time", "sid", "gen", "jti", "iat", "exp", "nbf", "lin", "ver", "crt", "dl", "prs", "snc",
		"data", "client_id", "since", "tg",
	} {
		for _, value := range []any{nil, "", 0, true} {
			all = append(all, map[string]any{name: value})
		}
	}
	return all
}
