package exposure_test

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/internal/exposure"
	"github.com/cloakroom-go/cloakroom/internal/keyset"
	"github.com/cloakroom-go/cloakroom/internal/span"
)

func example() keyset.Policy {
	return keyset.Policy{
		TokenLife: 15 * time.Minute, Leeway: time.Minute, ClockSkew: time.Minute, DistributionLag: 2 * time.Minute,
		ReloadInterval: 30 * time.Second, CacheLife: time.Hour, Grace: time.Hour, RotationPeriod: 30 * 24 * time.Hour,
		PeakRate: 500,
	}
}

// with is the example with changes.
func with(edit func(p *keyset.Policy)) keyset.Policy {
	p := example()
	edit(&p)
	return p
}

func zero() time.Time { return time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC) }

// Every figure has the spread in it, since the old set may be fetched from an
// instance that has not read the file yet. The simulations of package rotation
// hold them against what happens.
func TestReport(t *testing.T) {
	listed := func(p keyset.Policy, alg keyset.Algorithm, known time.Duration) (all []string) {
		for _, e := range exposure.Report(keyset.Rules{Policy: p}, alg, zero().Add(-known), zero()) {
			all = append(all, fmt.Sprintf("%s: standby %s %s, fresh %s %s", e.Name, e.Standby.Trusts, e.Standby.Refuses,
				e.Fresh.Trusts, e.Fresh.Refuses))
		}
		return all
	}
	list := func(p keyset.Policy, alg keyset.Algorithm) []string { return listed(p, alg, p.Lead(alg)) }
	want := []string{
		"instances of this application: standby 3m30s 0s, fresh 3m30s 2m30s",
		"keys.Remote and token.Verifier (this module): standby 14m30s 0s, fresh 4m 4m",
		"panva/jose (JavaScript): standby 13m30s 0s, fresh 4m 4m",
		"keyfunc, jwkset (Go): standby 1h3m30s 0s, fresh 8m30s 8m30s",
		"jwx jwk.Cache (Go): standby 1h3m30s 0s, fresh 1h3m30s 1h3m30s",
		"ConfigurationManager (.NET): standby 12h3m30s 0s, fresh 8m30s 8m30s",
		"go-oidc, zitadel/oidc (Go): standby without end 0s, fresh 3m30s 3m30s",
		"any other that caches the JWK Set: standby 1h3m30s 0s, fresh 1h3m30s 1h3m30s",
	}
	for _, alg := range []keyset.Algorithm{keyset.ES256, keyset.EdDSA, keyset.PS256, keyset.RS256} {
		require.Equal(t, want, list(example(), alg))
		require.Equal(t, want, list(keyset.Policy{}, alg), "the defaults are the same here")
	}
	for _, alg := range []keyset.Algorithm{keyset.HS256, keyset.Direct, keyset.A256KW, keyset.ECDHESA256KW} {
		require.Equal(t, []string{"instances of this application: standby 3m30s 0s, fresh 3m30s 2m30s"},
			list(example(), alg), "nobody else has it")
		require.Equal(t, []string{"instances of this application: standby 3m30s 2m, fresh 3m30s 2m30s"},
			listed(example(), alg, 30*time.Second))
	}
	require.Equal(t, []string{ // a standby that is young
		"instances of this application: standby 3m30s 0s, fresh 3m30s 2m30s",
		"keys.Remote and token.Verifier (this module): standby 14m30s 0s, fresh 4m 4m",
		"panva/jose (JavaScript): standby 13m30s 0s, fresh 4m 4m",
		"keyfunc, jwkset (Go): standby 1h3m30s 4m30s, fresh 8m30s 8m30s",
		"jwx jwk.Cache (Go): standby 1h3m30s 59m30s, fresh 1h3m30s 1h3m30s",
		"ConfigurationManager (.NET): standby 12h3m30s 4m30s, fresh 8m30s 8m30s",
		"go-oidc, zitadel/oidc (Go): standby without end 0s, fresh 3m30s 3m30s",
		"any other that caches the JWK Set: standby 1h3m30s 59m30s, fresh 1h3m30s 1h3m30s",
	}, listed(example(), keyset.ES256, 4*time.Minute))
	slow := list(with(func(p *keyset.Policy) { p.CacheLife, p.ReloadInterval = 12*time.Minute, time.Minute }),
		keyset.ES256)
	require.Equal(t, "instances of this application: standby 4m 0s, fresh 4m 2m30s", slow[0])
	require.Equal(t, "jwx jwk.Cache (Go): standby 19m 3m, fresh 19m 19m", slow[4],
		"never before a quarter of an hour, which is more than cache_life")
	require.Equal(t, "any other that caches the JWK Set: standby 16m 0s, fresh 16m 16m", slow[7])
}

// Caches that were filled before cache_life was made shorter are slow still.
func TestReportOfSlowCaches(t *testing.T) {
	slow := with(func(p *keyset.Policy) { p.CacheLife = 12 * time.Hour })
	p := with(func(p *keyset.Policy) { p.CacheLife = 10 * time.Minute }).Succeeding(keyset.Rules{Policy: slow}, zero())
	other := func(at time.Duration) exposure.Verifier {
		all := exposure.Report(p, keyset.ES256, time.Time{}, zero().Add(at))
		return all[len(all)-1]
	}
	require.Equal(t, "any other that caches the JWK Set", other(0).Name)
	require.Equal(t, "12h1m", other(0).Standby.Trusts)
	require.Equal(t, "2h1m", other(10*time.Hour).Fresh.Refuses)
	require.Equal(t, "13m30s", other(13*time.Hour).Standby.Trusts)
}

// Programs read the figures too.
func TestReportIsInDurations(t *testing.T) {
	for _, e := range exposure.Report(keyset.Rules{Policy: keyset.Policy{}}, keyset.ES256, time.Time{}, zero()) {
		for _, x := range []exposure.Effect{e.Standby, e.Fresh} {
			require.NotEmpty(t, x.Why)
			for _, text := range []string{x.Trusts, x.Refuses} {
				if text != "without end" {
					_, err := span.Parse(text)
					require.NoError(t, err)
				}
			}
		}
	}
	text, err := json.Marshal(exposure.Report(keyset.Rules{Policy: keyset.Policy{}}, keyset.Direct, zero(),
		zero().Add(time.Hour))[0])
	require.NoError(t, err)
	require.Contains(t, string(text),
		`"verifier":"instances of this application","standby":{"trusts":"3m30s","refuses":"0s","why":`)
	require.Contains(t, string(text), `"fresh":{"trusts":"3m30s","refuses":"2m30s","why":`)
}
