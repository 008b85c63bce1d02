// Package exposure reports how long verifiers still trust a revoked key, and
// how long they refuse the tokens of the key that signs next. It knows the
// defaults of the libraries that cache JWK Sets.
//
// [Report] makes the report that keygen revoke prints. The simulations of
// package rotation hold its figures against what verifiers do.
package exposure

import (
	"time"

	"github.com/cloakroom-go/cloakroom/internal/keyset"
	"github.com/cloakroom-go/cloakroom/internal/span"
)

// A Verifier is one kind of verifier, with the effect of a revocation on it for
// both strategies of rotation.Revoke.
type Verifier struct {
	Name    string `json:"verifier"`
	Standby Effect `json:"standby"` // the published standby signs next
	Fresh   Effect `json:"fresh"`   // a key signs next that was never published
}

// An Effect is what one strategy means for one kind of verifier.
type Effect struct {
	Trusts  string `json:"trusts"`  // for how long it accepts tokens of the revoked key
	Refuses string `json:"refuses"` // for how long it refuses tokens of the new key
	Why     string `json:"why"`     // which behaviour of the verifier causes it
}

// unknownEvery is how often keys.Remote and keys.Ring at most look for a key
// that they don't know.
const unknownEvery = 30 * time.Second

// Report returns the effect of revoking a key with this algorithm at the time
// now. The standby was published at the instant published; zero means that it
// is made now.
//
// The figures for other libraries are their defaults, for verifiers that
// receive tokens all the time. A verifier without tokens may fetch the set only
// with the next one. It may get the old set from an instance that has not read
// the file yet, so each figure includes the spread of the policy.
func Report(p keyset.Rules, alg keyset.Algorithm, published, now time.Time) (all []Verifier) {
	p.Policy = p.WithDefaults()
	known := time.Duration(0)
	if !published.IsZero() {
		known = max(0, now.Sub(published))
	}
	all = append(all, ownInstances(p, known))
	if alg.Use() != keyset.Signature || alg.Symmetric() {
		return all // no other service has the key
	}
	// SafeFrom counts caches that were filled before cache_life was shortened.
	cacheLife := p.SafeFrom(keyset.ES256, now).Sub(now) - p.Spread()
	for _, c := range caches(cacheLife) {
		trusts, fresh := span.Format(p.Spread()+c.trusts), p.Spread()+c.fresh
		if c.trusts == 0 {
			trusts = "without end"
		}
		all = append(all, Verifier{
			c.name, Effect{trusts, span.Format(max(0, fresh-known)), c.why},
			Effect{span.Format(fresh), span.Format(fresh), c.whyFresh},
		})
	}
	return all
}

func ownInstances(p keyset.Rules, known time.Duration) Verifier {
	trusts, refuses := span.Format(p.Spread()), p.DistributionLag+min(p.ReloadInterval, unknownEvery)
	why := "distribution_lag + reload_interval + clock_skew, until they have read the file; " +
		"one that can't read it signs for " + span.Format(p.Grace-p.DistributionLag) +
		" and verifies until it can, or is stopped"
	whyFresh := "an instance that meets the new key looks for the file at once, at most every 30s; " +
		"it has to have arrived there"
	return Verifier{
		"instances of this application", Effect{trusts, span.Format(max(0, refuses-known)), why},
		Effect{trusts, span.Format(refuses), whyFresh},
	}
}

// A cache is how one kind of verifier caches JWK Sets.
type cache struct {
	name string

	// trusts is how long it trusts a revoked key if it knows the key that signs
	// next; 0 means without end.
	trusts time.Duration

	// fresh is how long it trusts a revoked key, and refuses the next one, if
	// nobody knows the next one.
	fresh time.Duration

	why, whyFresh string
}

// caches returns the verifiers that are not instances of the application. Where
// no other source is named, the defaults were read in the library's source code
// on 2026-11-22, and the time until it accepts an unknown key was measured on
// 2026-11-29 with the version named.
func caches(cacheLife time.Duration) []cache {
	slow := max(15*time.Minute, cacheLife)
	return []cache{
		{ // Cache-Control of keys.Handler (10m), and RemoteConfig
			"keys.Remote and token.Verifier (this module)", 11 * time.Minute, unknownEvery,
			"refreshes with the first token after the max-age of 10m, and after a minute more no token is judged before; " +
				"during an outage trusts the old set for RemoteConfig.MaxAge, 24h by default",
			"the first new token makes it fetch the set, at most every 30s, until all instances serve the new one",
		},
		{ // jose 6.2.18: createRemoteJWKSet, cacheMaxAge and cooldownDuration
			"panva/jose (JavaScript)", 10 * time.Minute, 30 * time.Second,
			"cacheMaxAge of 10m", "fetches at an unknown key, at most every 30s",
		},
		{ // keyfunc 3.9.2: RefreshInterval and RefreshUnknownKID; over 75s measured
			"keyfunc, jwkset (Go)", time.Hour, 5 * time.Minute,
			"refreshes every hour", "fetches at an unknown key, at most every 5m",
		},
		{ // jwx 2.1.7 and 3.4.0 (httprc): the minimum interval; over 75s measured
			"jwx jwk.Cache (Go)", slow, slow,
			"refreshes after max-age, but not before 15m; v3 as late as 30d, if the set says so",
			"does not fetch at an unknown key",
		},
		{ // Microsoft's documentation of AutomaticRefreshInterval and
			// RefreshInterval, read on 2026-11-22; not measured
			"ConfigurationManager (.NET)", 12 * time.Hour, 5 * time.Minute,
			"refreshes every 12h", "fetches at an unknown key, at most every 5m",
		},
		{ // go-oidc 3.21.0; zitadel/oidc 3.52.0, where issue 747 is about it
			"go-oidc, zitadel/oidc (Go)", 0, 0,
			"keys never expire there, and a standby that it knows is no reason to fetch: restart these services",
			"the first new token makes it fetch the set, which replaces all keys, until all instances serve the new one",
		},
		{
			"any other that caches the JWK Set", cacheLife, cacheLife,
			"cache_life of the policy", "cache_life of the policy, if it does not fetch at an unknown key",
		},
	}
}
