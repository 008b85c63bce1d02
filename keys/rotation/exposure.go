package rotation

import (
	"time"

	"github.com/cloakroom-go/cloakroom/internal/span"
	"github.com/cloakroom-go/cloakroom/keys"
)

// An Exposure says how long one kind of verifier goes on trusting a key that
// is revoked, and how long it refuses new tokens, with each of the two strategies of Revoke.
type Exposure struct {
	Verifier string   `json:"verifier"` // the kind, for people
	Standby  Exposed  `json:"standby"`  // the key that was published already signs next
	Fresh    *Exposed `json:"fresh"`    // RevokeOptions.Fresh; null for keys that only this application has
}

// Exposed is what happens to one kind of verifier.
type Exposed struct {
	Trusts  string `json:"trusts"`  // for how long it accepts tokens of the revoked key
	Refuses string `json:"refuses"` // for how long it refuses tokens of the new key
	Why     string `json:"why"`     // what about it makes it so
}

const (
	none    = "0s"
	forever = "without end"
)

// unknownEvery bounds how often keys.Remote and a Ring look for a key that they don't know.
const unknownEvery = 30 * time.Second

// Exposures returns, for each kind of verifier, what a revocation of a key with this algorithm means
// under the policy. The figures for other libraries are the defaults of their current versions, for a standby that has
// been published for its lead, and for verifiers that tokens come to all the time: what has no tokens to judge may fetch
// the set only with the next one.
//
// A verifier may fetch the old set from an instance that has not read the file yet, so all of them wait
// for the spread of the policy besides.
func Exposures(p keys.Policy, alg keys.Algorithm) []Exposure {
	p = p.WithDefaults()
	spread := span.Format(p.Spread())
	own := Exposure{
		Verifier: "instances of this application",
		Standby:  Exposed{spread, none, "distribution_lag + reload_interval + clock_skew, until they have read the file; one that can't read it signs for the grace of " + span.Format(p.Grace) + " and verifies until it can, or is stopped"},
		Fresh:    &Exposed{spread, span.Format(p.DistributionLag + min(p.ReloadInterval, unknownEvery)), "an instance that meets the new key looks for the file at once, at most every 30s; it has to have arrived there"},
	}
	if alg.Use() != keys.Signature || alg.Symmetric() {
		own.Fresh = nil
		return []Exposure{own}
	}
	return append([]Exposure{own}, others(p)...)
}

func others(p keys.Policy) []Exposure {
	after := func(d time.Duration) string { return span.Format(p.Spread() + d) }
	slow := after(max(15*time.Minute, p.CacheLife))
	return []Exposure{
		{
			"keys.Remote and token.Verifier (this module)",
			Exposed{after(11 * time.Minute), none, "refreshes with the first token after the max-age of 10m, and after a minute more no token is judged before; during an outage trusts the old set for RemoteConfig.MaxAge, 24h by default"},
			&Exposed{after(unknownEvery), after(unknownEvery), "the first new token makes it fetch the set, at most every 30s, until all instances serve the new one"},
		},
		{
			"panva/jose (JavaScript)",
			Exposed{after(10 * time.Minute), none, "cacheMaxAge of 10m"},
			&Exposed{after(30 * time.Second), after(30 * time.Second), "fetches at an unknown key, at most every 30s"},
		},
		{
			"keyfunc, jwkset (Go)",
			Exposed{after(time.Hour), none, "refreshes every hour"},
			&Exposed{after(5 * time.Minute), after(5 * time.Minute), "fetches at an unknown key, at most every 5m"},
		},
		{
			"jwx jwk.Cache (Go)",
			Exposed{slow, none, "refreshes after max-age, but not before 15m; v3 as late as 30d, if the set says so"},
			&Exposed{slow, slow, "does not fetch at an unknown key"},
		},
		{
			"ConfigurationManager (.NET)",
			Exposed{after(12 * time.Hour), none, "refreshes every 12h"},
			&Exposed{after(5 * time.Minute), after(5 * time.Minute), "fetches at an unknown key, at most every 5m"},
		},
		{
			"go-oidc, zitadel/oidc (Go)",
			Exposed{forever, none, "keys never expire there, and a standby that it knows is no reason to fetch: restart these services"},
			&Exposed{after(0), after(0), "the first new token makes it fetch the set, which replaces all keys, until all instances serve the new one"},
		},
		{
			"any other that caches the JWK Set",
			Exposed{after(p.CacheLife), none, "cache_life of the policy"},
			&Exposed{after(p.CacheLife), after(p.CacheLife), "cache_life of the policy, if it does not fetch at an unknown key"},
		},
	}
}
