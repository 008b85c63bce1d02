package rotation

import (
	"time"

	"github.com/cloakroom-go/cloakroom/internal/keyset"
	"github.com/cloakroom-go/cloakroom/internal/span"
)

// An Exposure says how long one kind of verifier still trusts a key after its
// revocation, and how long it refuses new tokens, for both strategies of
// Revoke.
type Exposure struct {
	Verifier string  `json:"verifier"` // the kind, for people
	Standby  Exposed `json:"standby"`  // the published standby signs next
	Fresh    Exposed `json:"fresh"`    // RevokeOptions.Fresh
}

// Exposed is what one strategy means for one kind of verifier.
type Exposed struct {
	Trusts  string `json:"trusts"`  // for how long it accepts tokens of the revoked key
	Refuses string `json:"refuses"` // for how long it refuses tokens of the new key
	Why     string `json:"why"`     // which behaviour of the verifier causes it
}

const forever = "without end"

// unknownEvery is how often keys.Remote and a Ring look for an unknown key at
// most.
const unknownEvery = 30 * time.Second

// A verifierKind is how one kind of verifier caches keys.
type verifierKind struct {
	name string

	// standby is for how long it trusts a revoked key when the standby signs; 0
	// means without end.
	standby time.Duration

	// fresh is for how long it trusts a revoked key, and refuses the new one,
	// when a key signs that nobody knows.
	fresh time.Duration

	why, whyFresh string // for people
}

// Exposures returns, for each kind of verifier, what the revocation of a key
// with this algorithm means under the policy at the time now. The standby was
// published at the instant published; zero means that it is created now.
//
// The figures for other libraries are the defaults of their current versions,
// for verifiers that receive tokens all the time. A verifier without tokens may
// fetch the set only with the next one. It may get the old set from an instance
// that has not read the file yet, so each figure includes the spread of the
// policy.
func Exposures(p keyset.Rules, alg keyset.Algorithm, published, now time.Time) (all []Exposure) {
	p.Policy = p.WithDefaults()
	known := time.Duration(0)
	if !published.IsZero() {
		known = max(0, now.Sub(published))
	}
	all = append(all, ownInstances(p, known))
	if alg.Use() != keyset.Signature || alg.Symmetric() {
		return all
	}
	cacheLife := p.SafeFrom(keyset.ES256, now).Sub(now) - p.Spread() // longer than p.CacheLife for a while after a change
	for _, k := range otherVerifiers(cacheLife) {
		all = append(all, k.exposure(p.Spread(), known))
	}
	return all
}

func (k *verifierKind) exposure(spread, known time.Duration) Exposure {
	fresh := spread + k.fresh
	e := Exposure{
		k.name, Exposed{span.Format(spread + k.standby), span.Format(max(0, fresh-known)), k.why},
		Exposed{span.Format(fresh), span.Format(fresh), k.whyFresh},
	}
	if k.standby == 0 {
		e.Standby.Trusts = forever
	}
	return e
}

func ownInstances(p keyset.Rules, known time.Duration) Exposure {
	trusts, refuses := span.Format(p.Spread()), p.DistributionLag+min(p.ReloadInterval, unknownEvery)
	why := "distribution_lag + reload_interval + clock_skew, until they have read the file; " +
		"one that can't read it signs for " + span.Format(p.Grace-p.DistributionLag) +
		" and verifies until it can, or is stopped"
	return Exposure{
		"instances of this application",
		Exposed{trusts, span.Format(max(0, refuses-known)), why},
		Exposed{trusts, span.Format(refuses), "an instance that meets the new key looks for the file at once, " +
			"at most every 30s; it has to have arrived there"},
	}
}

// otherVerifiers returns the verifiers that are not instances of the
// application.
func otherVerifiers(cacheLife time.Duration) []verifierKind {
	slow := max(15*time.Minute, cacheLife)
	return []verifierKind{
		{
			"keys.Remote and token.Verifier (this module)", 11 * time.Minute, unknownEvery,
			"refreshes with the first token after the max-age of 10m, and after a minute more no token is judged before; " +
				"during an outage trusts the old set for RemoteConfig.MaxAge, 24h by default",
			"the first new token makes it fetch the set, at most every 30s, until all instances serve the new one",
		},
		{
			"panva/jose (JavaScript)", 10 * time.Minute, 30 * time.Second,
			"cacheMaxAge of 10m", "fetches at an unknown key, at most every 30s",
		},
		{
			"keyfunc, jwkset (Go)", time.Hour, 5 * time.Minute,
			"refreshes every hour", "fetches at an unknown key, at most every 5m",
		},
		{
			"jwx jwk.Cache (Go)", slow, slow,
			"refreshes after max-age, but not before 15m; v3 as late as 30d, if the set says so",
			"does not fetch at an unknown key",
		},
		{
			"ConfigurationManager (.NET)", 12 * time.Hour, 5 * time.Minute,
			"refreshes every 12h", "fetches at an unknown key, at most every 5m",
		},
		{
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
