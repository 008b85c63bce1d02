package keyset_test

import (
	"encoding/json"
	"fmt"
	"math"
	"math/big"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/internal/keyset"
	"github.com/cloakroom-go/cloakroom/internal/span"
)

const (
	day  = 24 * time.Hour
	year = 365 * day
)

// durations points at the durations of a policy, in the order of its fields.
func durations(p *keyset.Policy) [8]*time.Duration {
	return [...]*time.Duration{&p.TokenLife, &p.Leeway, &p.ClockSkew, &p.DistributionLag, &p.ReloadInterval, &p.CacheLife,
		&p.Grace, &p.RotationPeriod}
}

var policyNames = [...]string{"token_life", "leeway", "clock_skew", "distribution_lag", "reload_interval", "cache_life",
	"grace", "rotation_period"}

// example is a policy whose numbers are easy to follow by hand.
func example() keyset.Policy {
	return keyset.Policy{TokenLife: 15 * time.Minute, Leeway: time.Minute, ClockSkew: time.Minute,
		DistributionLag: 2 * time.Minute, ReloadInterval: 30 * time.Second, CacheLife: time.Hour, Grace: time.Hour,
		RotationPeriod: 30 * day}
}

// powers is a policy in which each sum tells its terms.
func powers() (p keyset.Policy) {
	for i, d := range durations(&p) {
		*d = time.Second << i
	}
	p.PeakRate = 3
	return p
}

func TestPolicyFormulas(t *testing.T) {
	tests := []struct {
		name                     string
		in                       keyset.Policy
		spread, lead, verifyOnly time.Duration
		listed                   int
		uses                     float64
	}{
		{"example", example(), 210 * time.Second, time.Hour + 3*time.Minute + 30*time.Second, time.Hour + 17*time.Minute, 3, 500 * (30*86400 + 3660)},
		{"powers", powers(), (4 + 8 + 16) * time.Second, (4 + 8 + 16 + 32) * time.Second, (1 + 2 + 4 + 64) * time.Second, 3, 3 * (128 + 64 + 4)},
		{"defaults", keyset.Policy{}, 210 * time.Second, time.Hour + 3*time.Minute + 30*time.Second, 25*time.Hour + 2*time.Minute, 3, 500 * (30*86400 + 3660)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			require.Equal(t, tt.spread, tt.in.Spread())
			for _, alg := range all {
				want := tt.spread // nobody else verifies
				if alg == keyset.ES256 || alg == keyset.EdDSA || alg == keyset.PS256 || alg == keyset.RS256 {
					want = tt.lead
				}
				require.Equal(t, want, tt.in.Lead(alg), alg)
			}
			require.Equal(t, tt.verifyOnly, tt.in.VerifyOnly())
			require.Equal(t, tt.listed, tt.in.Listed())
			require.Equal(t, tt.uses, tt.in.GCMUses())
		})
	}
	for periods, want := range map[time.Duration]int{77 * time.Minute: 3, 77*time.Minute - time.Second: 4,
		77 * time.Minute / 2: 4, 77*time.Minute/2 - time.Second: 5, 77 * time.Minute / 6: 8, year: 3} {
		p := example()
		p.RotationPeriod = periods
		require.Equal(t, want, p.Listed(), "%s", periods)
	}
}

func TestPolicyDefaults(t *testing.T) {
	want := keyset.Policy{TokenLife: day, Leeway: time.Minute, ClockSkew: time.Minute, DistributionLag: 2 * time.Minute,
		ReloadInterval: 30 * time.Second, CacheLife: time.Hour, Grace: time.Hour, RotationPeriod: 30 * day, PeakRate: 500}
	require.Equal(t, want, keyset.Policy{}.WithDefaults())
	require.Equal(t, want, want.WithDefaults())
	require.Equal(t, powers(), powers().WithDefaults(), "what is set stays")
	require.NoError(t, keyset.Policy{}.Validate())
	require.NoError(t, keyset.Policy{}.CheckRate())
	for i := range policyNames {
		p, other := keyset.Policy{}, want
		*durations(&p)[i], *durations(&other)[i] = 77*time.Second, 77*time.Second
		require.Equal(t, other, p.WithDefaults(), "the other defaults stay")
	}
	require.Equal(t, [][2]string{
		{"token_life", "1d"}, {"leeway", "1m"}, {"clock_skew", "1m"}, {"distribution_lag", "2m"}, {"reload_interval", "30s"},
		{"cache_life", "1h"}, {"grace", "1h"}, {"rotation_period", "30d"}, {"peak_rate", "500/s"},
	}, keyset.Policy{}.Fields())
}

// Each row violates one thing by one second, and the row beside it doesn't.
func TestPolicyValidate(t *testing.T) {
	with := func(edit func(p *keyset.Policy)) keyset.Policy {
		p := example()
		edit(&p)
		return p
	}
	ratio := "keys: policy: verify-only = token_life + leeway + clock_skew + grace = %s is over 10 rotation periods: " +
		"keys would be trusted long after they ceased to sign"
	listed := "keys: policy: 1 active + 1 standby + ceil(verify-only / rotation_period) = %d keys would be published, " +
		"and 8 are allowed: rotate less often, or let tokens live shorter"
	short := "keys: policy: rotation_period %s is shorter than the lead = distribution_lag + reload_interval + " +
		"clock_skew + cache_life = 1h3m30s: a standby could not be known in time"
	long := time.Hour + 2*time.Minute // what verify-only is besides the token's life
	tests := []struct {
		name string
		in   keyset.Policy
		want []string
	}{
		{"example", example(), nil},
		{"period is the lead", with(func(p *keyset.Policy) { p.RotationPeriod = 63*time.Minute + 30*time.Second }), nil},
		{"period under the lead", with(func(p *keyset.Policy) { p.RotationPeriod = 63*time.Minute + 29*time.Second }), []string{fmt.Sprintf(short, "1h3m29s")}},
		{"period under the lead of the defaults", keyset.Policy{TokenLife: time.Minute, RotationPeriod: time.Hour}, []string{fmt.Sprintf(short, "1h")}},
		{"grace is long enough", with(func(p *keyset.Policy) { p.Grace = 240 * time.Second }), nil},
		{"grace is too short", with(func(p *keyset.Policy) { p.Grace = 239 * time.Second }), []string{"keys: policy: grace 3m59s is shorter than distribution_lag + 2 * reload_interval + clock_skew = 4m: an instance that has not read the new file yet, because one look failed, would stop signing"}},
		{"cache life as served", with(func(p *keyset.Policy) { p.CacheLife = 10 * time.Minute }), nil},
		{"cache life under that", with(func(p *keyset.Policy) { p.CacheLife = 599 * time.Second }), []string{"keys: policy: cache_life 9m59s is shorter than the 10m that the JWK Set is served with"}},
		{"eight keys", with(func(p *keyset.Policy) { p.RotationPeriod, p.TokenLife = 2*time.Hour, 12*time.Hour-long }), nil},
		{"nine keys", with(func(p *keyset.Policy) { p.RotationPeriod, p.TokenLife = 2*time.Hour, 12*time.Hour-long+time.Second }), []string{fmt.Sprintf(listed, 9)}},
		{"ten periods", with(func(p *keyset.Policy) { p.RotationPeriod, p.TokenLife = 2*time.Hour, 20*time.Hour-long }), []string{fmt.Sprintf(listed, 12)}},
		{"over ten periods", with(func(p *keyset.Policy) { p.RotationPeriod, p.TokenLife = 2*time.Hour, 20*time.Hour-long+time.Second }), []string{fmt.Sprintf(listed, 13), fmt.Sprintf(ratio, "20h0m1s")}},
		{"everything at once", keyset.Policy{RotationPeriod: time.Hour, Grace: time.Second, CacheLife: time.Second}, []string{
			"keys: policy: grace 1s is shorter than distribution_lag + 2 * reload_interval + clock_skew = 4m: an instance " +
				"that has not read the new file yet, because one look failed, would stop signing",
			"keys: policy: cache_life 1s is shorter than the 10m that the JWK Set is served with",
			fmt.Sprintf(listed, 27), fmt.Sprintf(ratio, "1d2m1s"),
		}},
		{"ten years", with(func(p *keyset.Policy) { p.RotationPeriod, p.TokenLife, p.Grace = 10*year, 10*year, 10*year }), nil},
		{"highest rate", with(func(p *keyset.Policy) { p.PeakRate = math.MaxInt32 }), nil},
		{"negative rate", with(func(p *keyset.Policy) { p.PeakRate = -1 }), []string{"keys: policy: peak_rate must be positive and at most 2^31-1"}},
		{"rate that no file holds", with(func(p *keyset.Policy) { p.PeakRate = overInt32() }), []string{"keys: policy: peak_rate must be positive and at most 2^31-1"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := tt.in.Validate()
			if tt.want == nil {
				require.NoError(t, err)
				return
			}
			require.EqualError(t, err, strings.Join(tt.want, "\n"))
		})
	}
}

// overInt32 is negative where an int has 32 bits.
func overInt32() int { n := int64(math.MaxInt32) + 1; return int(n) }

// Numbers that would overflow the formulas never reach them.
func TestPolicyBounds(t *testing.T) {
	for i, name := range policyNames {
		for _, d := range []time.Duration{-1, -time.Second, 1, time.Second + 1, time.Hour + time.Millisecond,
			10*year + time.Second, math.MaxInt64, math.MaxInt64 / 2, math.MinInt64} {
			p := example()
			*durations(&p)[i] = d
			require.EqualError(t, p.Validate(), "keys: policy: "+name+" must be whole seconds, positive and at most 10 years",
				"%d", d)
		}
	}
	var all keyset.Policy
	for _, d := range durations(&all) {
		*d = math.MaxInt64
	}
	all.PeakRate = -5
	require.Len(t, strings.Split(all.Validate().Error(), "\n"), 9)
}

// The formulas agree with ones in numbers without bounds, for policies near and
// beyond all bounds.
func TestPolicyAgainstBigNumbers(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	valid, refused := 0, 0
	for range 20000 {
		var p keyset.Policy
		for i, d := range durations(&p) {
			switch random.IntN(3) {
			case 0:
				*d = time.Duration(random.Int64N(1<<random.IntN(9)+1)) * time.Minute // 0 stands for the default
			case 1:
				*d = time.Duration(random.Int64N(1<<random.IntN(29)+1)) * time.Second
			}
			if i == 7 { // else few would be valid
				*d = time.Duration(random.Int64N(1<<random.IntN(24)+1)) * time.Minute
			}
		}
		if wantValid(p.WithDefaults()) {
			valid++
			require.NoError(t, p.Validate(), "%v", p)
			requireRoundTrip(t, p)
			continue
		}
		refused++
		require.Error(t, p.Validate(), "%v", p)
	}
	require.Greater(t, valid, 1000)
	require.Greater(t, refused, 1000)
}

func wantValid(p keyset.Policy) bool {
	n := func(d ...time.Duration) *big.Int {
		sum := new(big.Int)
		for _, d := range d {
			sum.Add(sum, big.NewInt(int64(d)))
		}
		return sum
	}
	for _, d := range durations(&p) {
		if n(*d).Cmp(n(10*year)) > 0 {
			return false
		}
	}
	spread := n(p.DistributionLag, p.ReloadInterval, p.ClockSkew)
	verify := n(p.TokenLife, p.Leeway, p.ClockSkew, p.Grace)
	lead := new(big.Int).Add(spread, n(p.CacheLife))
	six := new(big.Int).Mul(big.NewInt(6), n(p.RotationPeriod)) // with an active key and a standby, eight
	least := n(p.DistributionLag, p.ReloadInterval, p.ReloadInterval, p.ClockSkew)
	return n(p.RotationPeriod).Cmp(lead) >= 0 && n(p.Grace).Cmp(least) >= 0 &&
		p.CacheLife >= 10*time.Minute && verify.Cmp(six) <= 0
}

func requireRoundTrip(t *testing.T, p keyset.Policy) {
	t.Helper()
	s := newSet(t)
	require.NoError(t, s.SetPolicy(p))
	require.Equal(t, p.WithDefaults(), reread(t, s).Policy())
}

func TestPolicyCheckRate(t *testing.T) {
	// 2^31 in all, with the grace and the skew.
	p := keyset.Policy{PeakRate: 512, RotationPeriod: 1<<22*time.Second - time.Hour - time.Minute}
	require.EqualValues(t, uint64(keyset.MaxSeals), p.GCMUses())
	require.NoError(t, p.CheckRate())
	p.RotationPeriod += time.Second
	require.EqualError(t, p.CheckRate(), "keys: policy: peak_rate * (rotation_period + grace + clock_skew) = 512 * "+
		"48d13h5m5s = 2.1e+09 tokens under one key, and 2^31 are allowed (NIST SP 800-38D, Section 8.3, halved): rotate "+
		"every 48d12h4m4s, or use A256KW, which has a fresh key for each token")
	require.NoError(t, p.Validate(), "it concerns Direct keys alone")

	advice := regexp.MustCompile(`rotate every ([0-9a-z]+), or use A256KW`)
	advised := 0
	for _, rate := range []int{513, 1000, 5000, 20_000, 100_000, 586_000, 600_000, 10_000_000, math.MaxInt32} {
		for _, life := range []time.Duration{time.Minute, day, 30 * day} {
			p := keyset.Policy{PeakRate: rate, TokenLife: life, RotationPeriod: 10 * year}
			text := p.CheckRate().Error()
			require.Contains(t, text, "use A256KW, which has a fresh key for each token")
			found := advice.FindStringSubmatch(text)
			if found == nil {
				require.NotContains(t, text, "rotate every")
				continue
			}
			advised++
			var err error
			p.RotationPeriod, err = span.Parse(found[1])
			require.NoError(t, err)
			require.NoError(t, p.CheckRate(), "who follows the advice is told no more")
			require.NoError(t, p.Validate())
			p.RotationPeriod += time.Second
			require.Error(t, p.CheckRate(), "the longest that is good")
		}
	}
	require.Equal(t, 12, advised, "where tokens live too long for so short a period, there is no such advice")
}

// Caches that were filled when the cache life was longer are reckoned with
// until they have expired, also after the file was read again, and whatever the
// policy becomes meanwhile.
func TestPolicySucceeding(t *testing.T) {
	rules := func(life time.Duration) keyset.Rules {
		return keyset.Rules{Policy: keyset.Policy{CacheLife: life}}
	}
	slow, fast := rules(12*time.Hour), rules(10*time.Minute)
	p := fast.Succeeding(slow, at(0))
	lead, fastLead, emptied := 12*time.Hour+p.Spread(), 10*time.Minute+p.Spread(), at(12).Add(time.Minute)
	s := newSet(t)
	require.NoError(t, s.SetRules(p))
	for _, p := range []keyset.Rules{p, reread(t, s).Rules(), s.Rules(), p.Succeeding(p, at(3)),
		fast.Succeeding(p, at(3))} {
		require.Equal(t, 10*time.Minute, p.CacheLife)
		require.Equal(t, at(-5).Add(lead), p.SafeFrom(keyset.ES256, at(-5)), "before, by the old policy")
		require.Equal(t, emptied, p.SafeFrom(keyset.EdDSA, at(0)))
		require.Equal(t, emptied, p.SafeFrom(keyset.EdDSA, at(11)))
		require.Equal(t, at(13).Add(fastLead), p.SafeFrom(keyset.RS256, at(13)))
		require.Equal(t, at(1).Add(p.Spread()), p.SafeFrom(keyset.HS256, at(1)), "no other services")
		require.Equal(t, at(1).Add(p.Spread()), p.SafeFrom(keyset.Direct, at(1)))
	}
	require.Equal(t, at(0).Add(fastLead), fast.SafeFrom(keyset.ES256, at(0)))
	require.Equal(t, at(13).Add(fastLead), fast.Succeeding(p, at(13)).SafeFrom(keyset.ES256, at(13)), "forgotten")
	require.Equal(t, at(1).Add(lead), slow.Succeeding(p, at(1)).SafeFrom(keyset.ES256, at(1)), "longer again")
	hour := rules(time.Hour)
	require.Equal(t, emptied, hour.Succeeding(p, at(1)).SafeFrom(keyset.ES256, at(1)))
	require.Equal(t, emptied, fast.Succeeding(hour.Succeeding(slow, at(0)), at(2)).SafeFrom(keyset.ES256, at(2)))
}

// Only what is set is written, in seconds.
func TestPolicyFile(t *testing.T) {
	policyOf := func(p keyset.Policy) map[string]any {
		f := keyset.File{Path: create(t, generate(t, keyset.EdDSA))}
		require.NoError(t, f.Update(t.Context(), func(s *keyset.Set) error { return s.SetPolicy(p) }))
		back, err := f.Read()
		require.NoError(t, err)
		require.Equal(t, p.WithDefaults(), back.Policy())
		text, err := os.ReadFile(f.Path)
		require.NoError(t, err)
		var file struct{ Policy map[string]any }
		require.NoError(t, json.Unmarshal(text, &file))
		return file.Policy
	}
	require.Nil(t, policyOf(keyset.Policy{}))
	require.Equal(t, map[string]any{"leeway": 90.0}, policyOf(keyset.Policy{Leeway: 90 * time.Second}))
	p := example()
	p.Leeway, p.CacheLife, p.PeakRate = 61*time.Second, 2*time.Hour, 7
	require.Equal(t, map[string]any{
		"token_life": 900.0, "leeway": 61.0, "clock_skew": 60.0, "distribution_lag": 120.0, "reload_interval": 30.0,
		"cache_life": 7200.0, "grace": 3600.0, "rotation_period": 2592000.0, "peak_rate": 7.0,
	}, policyOf(p))
}

func TestPolicyFileRefuses(t *testing.T) {
	text, err := newSet(t, generate(t, keyset.EdDSA)).Encode()
	require.NoError(t, err)
	key := keyText(t, string(text))
	read := func(policy string) (*keyset.Set, error) {
		path := filepath.Join(t.TempDir(), "keys.json")
		require.NoError(t, os.WriteFile(path, []byte(`{"generation":1,"policy":`+policy+`,"keys":[`+key+`]}`), 0o600))
		return keyset.File{Path: path}.Read()
	}
	tests := []struct{ name, in, want string }{
		{"unknown member", `{"token_lifetime":60}`, `policy member "token_lifetime" is not known to this version`},
		{"other case", `{"Token_life":60}`, `policy member "Token_life" is not known`},
		{"zero", `{"token_life":0}`, `policy member "token_life" is not a positive number`},
		{"negative", `{"grace":-3600}`, `policy member "grace" is not a positive number`},
		{"float", `{"grace":3600.0}`, `policy member "grace" is not a positive number`},
		{"fraction", `{"grace":3600.5}`, `policy member "grace" is not a positive number`},
		{"exponent", `{"grace":36e2}`, `policy member "grace" is not a positive number`},
		{"text", `{"grace":"3600"}`, `policy member "grace" is not a positive number`},
		{"text with a unit", `{"grace":"1h"}`, `policy member "grace" is not a positive number`},
		{"null", `{"grace":null}`, `policy member "grace" is not a positive number`},
		{"2^31", `{"token_life":2147483648}`, `policy member "token_life" is not a positive number`},
		{"2^63", `{"token_life":9223372036854775808}`, `policy member "token_life" is not a positive number`},
		{"seconds whose nanoseconds overflow to one", `{"token_life":18446744074}`, `policy member "token_life" is not a positive number`},
		{"over ten years", `{"token_life":315360001}`, "token_life must be whole seconds"},
		{"rate zero", `{"peak_rate":0}`, `policy member "peak_rate" is not a positive number`},
		{"rate negative", `{"peak_rate":-1}`, `policy member "peak_rate" is not a positive number`},
		{"rate 2^31", `{"peak_rate":2147483648}`, `policy member "peak_rate" is not a positive number`},
		{"end of slow caches in milliseconds", `{"cache_life_was":60,"cache_life_was_until":1790000000000}`, `policy member "cache_life_was_until" is not a positive number`},
		{"twice", `{"grace":3600,"grace":3600}`, "not strict JSON"},
		{"array", `[]`, "not a JSON object"},
		{"null policy", `null`, "not a JSON object"},
		{"contradiction", `{"grace":1}`, "grace 1s is shorter than distribution_lag + 2 * reload_interval + clock_skew = 4m"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := read(tt.in)
			require.ErrorIs(t, err, keyset.ErrInvalidFile)
			require.ErrorContains(t, err, tt.want)
		})
	}
	s, err := read(`{"grace":7200,"peak_rate":2147483647}`)
	require.NoError(t, err, "the file that the rows change")
	require.Equal(t, 2*time.Hour, s.Policy().Grace)
	require.Equal(t, math.MaxInt32, s.Policy().PeakRate)
}

func TestSetPolicy(t *testing.T) {
	s := newSet(t)
	require.Equal(t, keyset.Policy{}.WithDefaults(), s.Policy())
	require.NoError(t, s.SetPolicy(example()))
	require.ErrorContains(t, s.SetPolicy(keyset.Policy{Grace: time.Second}), "grace 1s is shorter")
	require.Equal(t, example().WithDefaults(), s.Policy(), "the old one stays")
}
