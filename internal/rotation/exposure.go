package rotation

import (
	"time"

	"github.com/cloakroom-go/cloakroom/internal/keyset"
	"github.com/cloakroom-go/cloakroom/internal/span"
)

// An Exposure says how long one kind of verifier goes on trusting a key that
// is revoked, and how long it refuses new tokens, with each of the two strategies of Revoke.
type Exposure struct {
	Verifier string  `json:"verifier"` // the kind, for people
	Standby  Exposed `json:"standby"`  // the key that was published already signs next
	Fresh    Exposed `json:"fresh"`    // RevokeOptions.Fresh
}

// Exposed is what happens to one kind of verifier.
type Exposed struct {
	Trusts  string `json:"trusts"`  // for how long it accepts tokens of the revoked key
	Refuses string `json:"refuses"` // for how long it refuses tokens of the new key
	Why     string `json:"why"`     // what about it makes it so
}

const forever = "without end"

// unknownEvery bounds how often keys.Remote and a Ring look for a key that they don't know.
const unknownEvery = 30 * time.Second

// A kind of verifier.
type kind struct {
	name    string
	standby time.Duration // for which it trusts a revoked key when the standby signs; 0 means for ever
	fresh   time.Duration // likewise when a key signs that nobody knows, and for which it refuses that one
	why     string
	whyNew  string
}

// Exposures returns, for each kind of verifier, what a revocation of a key with this algorithm means
// under the policy at the time now, if the standby was published at an instant; zero stands for one that is made now. The figures
// for other libraries are the defaults of their current versions, for verifiers that tokens come to all the time: what has
// no tokens to judge may fetch the set only with the next one.
//
// A verifier may fetch the old set from an instance that has not read the file yet, so all of them wait
// for the spread of the policy besides.
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
	for _, k := range others(p.SafeFrom(keyset.ES256, now).Sub(now) - p.Spread()) { // cache_life, and for a while after a change more
		all = append(all, k.exposure(p.Spread(), known))
	}
	return all
}

func (k *kind) exposure(spread, known time.Duration) Exposure {
	fresh := spread + k.fresh
	e := Exposure{
		k.name, Exposed{span.Format(spread + k.standby), span.Format(max(0, fresh-known)), k.why},
		Exposed{span.Format(fresh), span.Format(fresh), k.whyNew},
	}
	if k.standby == 0 {
		e.Standby.Trusts = forever
	}
	return e
}

func ownInstances(p keyset.Rules, known time.Duration) Exposure {
	trusts, refuses := span.Format(p.Spread()), p.DistributionLag+min(p.ReloadInterval, unknownEvery)
	return Exposure{
		"instances of this application",
		Exposed{trusts, span.Format(max(0, refuses-known)), "distribution_lag + reload_interval + clock_skew, until they have read the file; one that can't read it signs for " + span.Format(p.Grace-p.DistributionLag) + " and verifies until it can, or is stopped"},
		Exposed{trusts, span.Format(refuses), "an instance that meets the new key looks for the file at once, at most every 30s; it has to have arrived there"},
	}
}

func others(cacheLife time.Duration) []kind {
	slow := max(15*time.Minute, cacheLife)
	return []kind{
		{
			"keys.Remote and token.Verifier (this module)", 11 * time.Minute, unknownEvery,
			"refreshes with the first token after the max-age of 10m, and after a minute more no token is judged before; during an outage trusts the old set for RemoteConfig.MaxAge, 24h by default",
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
			"refreshes after max-age, but not before 15m; v3 as late as 30d, if the set says so", "does not fetch at an unknown key",
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
