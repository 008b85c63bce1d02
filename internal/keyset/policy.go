package keyset

import (
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/cloakroom-go/cloakroom/internal/instant"
	"github.com/cloakroom-go/cloakroom/internal/jose"
	"github.com/cloakroom-go/cloakroom/internal/span"
)

// A Policy says how fast news of keys travels and how long tokens live. From
// that follows when a key may sign, and for how long it must verify. It is kept
// in the key file, so that the application and keygen have the same one. In
// every field 0 means the default. Durations are whole seconds.
type Policy struct {
	TokenLife       time.Duration // longest life of a token (exp - iat); default 24 hours
	Leeway          time.Duration // of verifiers, for exp; default 1 minute
	ClockSkew       time.Duration // between any two clocks; default 1 minute
	DistributionLag time.Duration // until a new key file has reached every instance; default 2 minutes
	ReloadInterval  time.Duration // between two looks of an instance for a new file; default 30 seconds
	CacheLife       time.Duration // of a JWK Set in verifiers, at least JWKSMaxAge; default 1 hour
	Grace           time.Duration // in which a key still signs if it has no successor; default 1 hour
	RotationPeriod  time.Duration // in which a key signs; default 30 days
	PeakRate        int           // tokens encrypted in a second, by all instances together; default 500
}

// Rules are a policy in force, with what is remembered of the one before it.
type Rules struct {
	Policy
	slow slowCaches
}

// slowCaches are the caches that were filled before CacheLife was made shorter.
type slowCaches struct {
	life  time.Duration // 0 if there are none
	until time.Time     // when the last of them has expired
}

// Bounds of a Policy.
const (
	maxPolicyDuration = 10 * 365 * 24 * time.Hour
	maxListed         = 8  // keys of one use in the public set: every verifier fetches all of them
	maxVerifyRatio    = 10 // verify-only time in rotation periods
)

// fields lists the durations by their names in the key file, with their
// defaults.
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

// Fields returns the names of the fields, as in the key file, each with its
// value in words. Defaults stand in place of zeros.
func (p Policy) Fields() [][2]string {
	p = p.WithDefaults()
	var all [][2]string
	for _, f := range p.fields() {
		all = append(all, [2]string{f.name, span.Format(*f.value)})
	}
	return append(all, [2]string{"peak_rate", fmt.Sprintf("%d/s", p.PeakRate)})
}

// Spread is how long it takes until every instance uses a key file that is
// written now: distribution lag + reload interval + clock skew.
func (p Policy) Spread() time.Duration {
	p = p.WithDefaults()
	return p.DistributionLag + p.ReloadInterval + p.ClockSkew
}

// Lead is how long a key must be published before it signs or encrypts: the
// spread, plus the life of caches for a key with which other services verify.
func (p Policy) Lead(alg Algorithm) time.Duration {
	if alg.Use() == Signature && !alg.Symmetric() {
		return p.Spread() + p.WithDefaults().CacheLife
	}
	return p.Spread()
}

// SafeFrom is the earliest instant at which a key that was published at the
// given instant may sign or encrypt. It is after the lead, and later if caches
// that were filled under a longer CacheLife could still be without the key, see
// Succeeding.
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

// Succeeding returns p as the policy that replaces old at the time now. Making
// CacheLife shorter does not empty the caches that were filled before: SafeFrom
// takes them into account until they have expired.
func (p Policy) Succeeding(old Rules, now time.Time) Rules {
	old.Policy = old.WithDefaults()
	r := Rules{Policy: p}
	newest := slowCaches{old.CacheLife, now.Add(old.CacheLife + old.ClockSkew).Truncate(time.Second)}
	for _, c := range [...]slowCaches{old.slow, newest} {
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

// Listed is how many keys of one use are published at a time: one that signs,
// one that will be next, and those that only verify.
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
	var errs []error
	add := func(format string, args ...any) { errs = append(errs, fmt.Errorf("keys: policy: "+format, args...)) }
	for _, f := range p.fields() {
		if d := *f.value; d < 0 || d > maxPolicyDuration || d%time.Second != 0 {
			add("%s must be whole seconds, positive and at most 10 years", f.name)
		}
	}
	if p.PeakRate < 0 || p.PeakRate > math.MaxInt32 {
		add("peak_rate must be positive and at most 2^31-1")
	}
	if len(errs) > 0 {
		return errors.Join(errs...) // the sums below could overflow
	}
	p = p.WithDefaults()
	words := span.Format
	if lead := p.Lead(ES256); p.RotationPeriod < lead {
		add("rotation_period %s is shorter than the lead = distribution_lag + reload_interval + clock_skew + cache_life = "+
			"%s: a standby could not be known in time", words(p.RotationPeriod), words(lead))
	}
	if least := p.Spread() + p.ReloadInterval; p.Grace < least {
		add("grace %s is shorter than distribution_lag + 2 * reload_interval + clock_skew = %s: an instance "+
			"that has not read the new file yet, because one look failed, would stop signing", words(p.Grace), words(least))
	}
	if p.CacheLife < JWKSMaxAge {
		add("cache_life %s is shorter than the %s that the JWK Set is served with", words(p.CacheLife), words(JWKSMaxAge))
	}
	if n := p.Listed(); n > maxListed {
		add("1 active + 1 standby + ceil(verify-only / rotation_period) = %d keys would be published, and %d are allowed: "+
			"rotate less often, or let tokens live shorter", n, maxListed)
	}
	if v := p.VerifyOnly(); v > maxVerifyRatio*p.RotationPeriod {
		add("verify-only = token_life + leeway + clock_skew + grace = %s is over 10 rotation periods: "+
			"keys would be trusted long after they ceased to sign", words(v))
	}
	return errors.Join(errs...)
}

// CheckRate returns an error if all instances together could encrypt more than
// 2^31 tokens with one Direct key.
func (p Policy) CheckRate() error {
	uses := p.GCMUses()
	if uses <= MaxSeals {
		return nil
	}
	p = p.WithDefaults()
	instead := "use A256KW, which has a fresh key for each token"
	often := p
	longest := time.Duration(MaxSeals / float64(p.PeakRate) * float64(time.Second))
	often.RotationPeriod = (longest - p.Grace - p.ClockSkew).Truncate(time.Second)
	if often.RotationPeriod > 0 && often.Validate() == nil {
		instead = "rotate every " + span.Format(often.RotationPeriod) + ", or " + instead
	}
	return fmt.Errorf("keys: policy: peak_rate * (rotation_period + grace + clock_skew) = %d * %s = "+
		"%.2g tokens under one key, and 2^31 are allowed (NIST SP 800-38D, Section 8.3, halved): %s",
		p.PeakRate, span.Format(p.RotationPeriod+p.Grace+p.ClockSkew), uses, instead)
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
			return fmt.Errorf("policy %s is not a positive number", nameOf(name))
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
