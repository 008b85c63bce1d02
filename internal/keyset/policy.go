package keyset

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"time"

	"github.com/cloakroom-go/cloakroom/internal/instant"
	"github.com/cloakroom-go/cloakroom/internal/jose"
	"github.com/cloakroom-go/cloakroom/internal/span"
)

// A Policy says how fast news of keys travels and how long tokens live, from
// which it follows when a key may sign and for how long it must verify. It is
// kept in the key file, so that the application and keygen go by the same one.
// In every field 0 means the default. Durations are whole seconds.
type Policy struct {
	TokenLife       time.Duration // the longest that a token lives (exp - iat); default 24 hours
	Leeway          time.Duration // that verifiers grant on exp; default 1 minute
	ClockSkew       time.Duration // between any two clocks; default 1 minute
	DistributionLag time.Duration // until a written key file has reached every instance; default 2 minutes
	ReloadInterval  time.Duration // at which instances look for a new file; default 30 seconds
	CacheLife       time.Duration // that verifiers go on with a JWK Set they have; default 1 hour, at least the 10 minutes that Ring.Handler grants
	Grace           time.Duration // that a key goes on signing when its successor fails to appear; default 1 hour
	RotationPeriod  time.Duration // that a key signs; default 30 days
	PeakRate        int           // tokens encrypted in a second, by all instances together; default 500
}

// Rules are a policy in force, with what is remembered of the one before it.
type Rules struct {
	Policy
	slow slowCaches
}

// slowCaches are those that may have been filled before CacheLife was made shorter.
type slowCaches struct {
	life  time.Duration // that they may have; 0 if there are none
	until time.Time     // when the last of them has expired
}

// Bounds of a Policy.
const (
	maxPolicyDuration = 10 * 365 * 24 * time.Hour
	maxListed         = 8  // keys of one use in the public set: every verifier fetches all of them
	maxVerifyRatio    = 10 // verify-only time in rotation periods
)

// fields lists the durations by their names in the key file, with their defaults.
func (p *Policy) fields() [8]policyField {
	return [...]policyField{
		{"token_life", &p.TokenLife, 24 * time.Hour},
		{"leeway", &p.Leeway, time.Minute},
		{"clock_skew", &p.ClockSkew, time.Minute},
		{"distribution_lag", &p.DistributionLag, 2 * time.Minute},
		{"reload_interval", &p.ReloadInterval, 30 * time.Second},
		{"cache_life", &p.CacheLife, time.Hour},
		{"grace", &p.Grace, time.Hour},
		{"rotation_period", &p.RotationPeriod, 30 * 24 * time.Hour},
	}
}

type policyField struct {
	name  string
	value *time.Duration
	zero  time.Duration // what 0 stands for
}

const defaultPeakRate = 500

// WithDefaults returns p with the defaults in place of zeros.
func (p Policy) WithDefaults() Policy {
	for _, f := range p.fields() {
		if *f.value == 0 {
			*f.value = f.zero
		}
	}
	if p.PeakRate == 0 {
		p.PeakRate = defaultPeakRate
	}
	return p
}

// Fields returns the names of the fields, as the key file has them, each with its value, the defaults in
// place of zeros: for people.
func (p Policy) Fields() [][2]string {
	p = p.WithDefaults()
	var all [][2]string
	for _, f := range p.fields() {
		all = append(all, [2]string{f.name, span.Format(*f.value)})
	}
	return append(all, [2]string{"peak_rate", fmt.Sprintf("%d/s", p.PeakRate)})
}

// Spread is how long it takes until every instance goes by a key file that is
// written now: distribution lag + reload interval + clock skew.
func (p Policy) Spread() time.Duration {
	p = p.WithDefaults()
	return p.DistributionLag + p.ReloadInterval + p.ClockSkew
}

// Lead is how long a key must be published before it signs or encrypts: the
// spread, and for a key that other services verify with the life of their
// caches besides.
func (p Policy) Lead(alg Algorithm) time.Duration {
	if alg.Use() == Signature && !alg.Symmetric() {
		return p.Spread() + p.WithDefaults().CacheLife
	}
	return p.Spread()
}

// SafeFrom is the earliest instant at which a key may sign or encrypt that was published at another one: after
// the lead. Caches that were filled before CacheLife was made shorter may live longer than that, see Succeeding.
func (p Rules) SafeFrom(alg Algorithm, published time.Time) time.Time {
	safe, slow := published.Add(p.Lead(alg)), published.Add(p.Spread()+p.slow.life)
	if p.Lead(alg) == p.Spread() {
		return safe
	}
	if slow.After(p.slow.until) {
		slow = p.slow.until
	}
	return instant.Latest(safe, slow)
}

// Succeeding returns p as the policy that takes the place of old at the time now. Making CacheLife shorter does not empty
// the caches that were filled before: SafeFrom reckons with them until they have expired.
func (p Policy) Succeeding(old Rules, now time.Time) Rules {
	old.Policy = old.WithDefaults()
	r := Rules{Policy: p}
	for _, c := range [...]slowCaches{old.slow, {old.CacheLife, now.Add(old.CacheLife + old.ClockSkew).Truncate(time.Second)}} {
		if c.life > p.WithDefaults().CacheLife && c.until.After(now) {
			r.slow = slowCaches{max(r.slow.life, c.life), instant.Latest(r.slow.until, c.until)}
		}
	}
	return r
}

// VerifyOnly is how long a key must verify after it has ceased to sign: token
// life + leeway + clock skew + grace.
func (p Policy) VerifyOnly() time.Duration {
	p = p.WithDefaults()
	return p.TokenLife + p.Leeway + p.ClockSkew + p.Grace
}

// Listed is how many keys of one use are published at a time: one that signs, a
// standby, and those that verify still.
func (p Policy) Listed() int {
	p = p.WithDefaults()
	return 2 + int(math.Ceil(float64(p.VerifyOnly())/float64(p.RotationPeriod)))
}

// GCMUses is how many tokens one key encrypts at the peak rate in a rotation
// period, with the grace and the clock skew that may come on top.
func (p Policy) GCMUses() float64 {
	p = p.WithDefaults()
	return float64(p.PeakRate) * (p.RotationPeriod + p.Grace + p.ClockSkew).Seconds()
}

// Validate reports every contradiction in p at once, with the formula that it
// violates.
func (p Policy) Validate() error {
	errs := p.inBounds()
	if len(errs) > 0 {
		return errors.Join(errs...)
	}
	p = p.WithDefaults()
	add := func(format string, args ...any) { errs = append(errs, fmt.Errorf("keys: policy: "+format, args...)) }
	if lead := p.Lead(ES256); p.RotationPeriod < lead {
		add("rotation_period %s is shorter than the lead = distribution_lag + reload_interval + clock_skew + cache_life = %s: a standby could not be known in time", span.Format(p.RotationPeriod), span.Format(lead))
	}
	if least := p.Spread() + p.ReloadInterval; p.Grace < least {
		add("grace %s is shorter than distribution_lag + 2 * reload_interval + clock_skew = %s: an instance that has not read the new file yet, because one look failed, would stop signing", span.Format(p.Grace), span.Format(least))
	}
	if p.CacheLife < JWKSMaxAge {
		add("cache_life %s is shorter than the %s that the JWK Set is served with", span.Format(p.CacheLife), span.Format(JWKSMaxAge))
	}
	if n := p.Listed(); n > maxListed {
		add("1 active + 1 standby + ceil(verify-only / rotation_period) = %d keys would be published, and %d are allowed: rotate less often, or let tokens live shorter", n, maxListed)
	}
	if v := p.VerifyOnly(); v > maxVerifyRatio*p.RotationPeriod {
		add("verify-only = token_life + leeway + clock_skew + grace = %s is over 10 rotation periods: keys would be trusted long after they ceased to sign", span.Format(v))
	}
	return errors.Join(errs...)
}

// CheckRate reports whether a key that encrypts with AES-GCM directly stays
// within its 2^31 tokens, by what Policy says of all instances together.
func (p Policy) CheckRate() error {
	uses := p.GCMUses()
	if uses <= MaxSeals {
		return nil
	}
	p = p.WithDefaults()
	instead := "use A256KW, which has a fresh key for each token"
	often := p
	often.RotationPeriod = (time.Duration(MaxSeals/float64(p.PeakRate)*float64(time.Second)) - p.Grace - p.ClockSkew).Truncate(time.Second)
	if often.RotationPeriod > 0 && often.Validate() == nil {
		instead = "rotate every " + span.Format(often.RotationPeriod) + ", or " + instead
	}
	return fmt.Errorf("keys: policy: peak_rate * (rotation_period + grace + clock_skew) = %d * %s = %.2g tokens under one key, and 2^31 are allowed (NIST SP 800-38D, Section 8.3, halved): %s",
		p.PeakRate, span.Format(p.RotationPeriod+p.Grace+p.ClockSkew), uses, instead)
}

func (p Policy) inBounds() (errs []error) {
	for _, f := range p.fields() {
		if d := *f.value; d < 0 || d > maxPolicyDuration || d%time.Second != 0 {
			errs = append(errs, fmt.Errorf("keys: policy: %s must be whole seconds, positive and at most 10 years", f.name))
		}
	}
	if p.PeakRate < 0 || p.PeakRate > math.MaxInt32 {
		errs = append(errs, errors.New("keys: policy: peak_rate must be positive and at most 2^31-1"))
	}
	return errs
}

// file returns the fields that are set, in seconds, as the key file has them.
func (p Rules) file() map[string]int64 {
	m := make(map[string]int64)
	for _, f := range p.fields() {
		if *f.value != 0 {
			m[f.name] = int64(*f.value / time.Second)
		}
	}
	if p.PeakRate != 0 {
		m["peak_rate"] = int64(p.PeakRate)
	}
	if p.slow.life != 0 {
		m["cache_life_was"], m["cache_life_was_until"] = int64(p.slow.life/time.Second), p.slow.until.Unix()
	}
	return m
}

// parse reads what file returned.
func (p *Rules) parse(value []byte) error {
	err := jose.Object(value, func(name string, value []byte) error {
		n, err := jose.Int(value)
		if err != nil || n <= 0 || n > math.MaxInt32 && name != "cache_life_was_until" || n > instant.MaxSecond {
			return fmt.Errorf("policy %s is no positive number", nameOf(name))
		}
		switch name {
		case "peak_rate":
			p.PeakRate = int(n)
			return nil
		case "cache_life_was":
			p.slow.life = time.Duration(n) * time.Second
			return nil
		case "cache_life_was_until":
			p.slow.until = time.Unix(n, 0).UTC()
			return nil
		}
		for _, f := range p.fields() {
			if f.name == name {
				*f.value = time.Duration(n) * time.Second
				return nil
			}
		}
		return fmt.Errorf("policy %s is not known to this version", nameOf(name))
	})
	if err != nil {
		return err
	}
	return p.Validate()
}

func (p Rules) equal(other Rules) bool { return maps.Equal(p.file(), other.file()) }
