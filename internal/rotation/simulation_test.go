package rotation_test

import (
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/internal/exposure"
	"github.com/cloakroom-go/cloakroom/internal/keyset"
	"github.com/cloakroom-go/cloakroom/internal/rotation"
	"github.com/cloakroom-go/cloakroom/internal/span"
	"github.com/cloakroom-go/cloakroom/keys"
)

const (
	simStep = 30 * time.Second
	simSkew = 30 * time.Second // of each clock, either way
)

// simPolicy has short times, so that a thousand rotations take three weeks, not
// a hundred years.
func simPolicy() keyset.Policy {
	return keyset.Policy{
		TokenLife: 15 * time.Minute, Leeway: time.Minute, ClockSkew: 2 * simSkew, DistributionLag: 2 * time.Minute,
		ReloadInterval: 30 * time.Second, CacheLife: 10 * time.Minute, Grace: 10 * time.Minute,
		RotationPeriod: 30 * time.Minute,
	}
}

// simScale makes the simulation longer where there is time for it.
func simScale() int {
	if os.Getenv("CLOAKROOM_SOAK") != "" {
		return 10
	}
	return 1
}

// least returns how much of a simulation to run: less with the race detector,
// because make test also runs all of it without.
func least(all, raceDetector int) int {
	if raced {
		return raceDetector
	}
	return all
}

// A thousand rotations with three replicas, wrong clocks, files that arrive
// late, and verifiers with caches: nobody refuses a valid token, or trusts an
// expired key for longer than caches and clocks can explain.
func TestSimulationSoakRotations(t *testing.T) {
	t.Parallel()
	for run := range simScale() {
		synctest.Test(t, func(t *testing.T) {
			s := newSimulation(t, uint64(run))
			for s.handovers() < least(1000, 40) {
				s.operate(t)
				s.step(t)
			}
			s.report(t, fmt.Sprintf("rotation, run %d", run))
			s.close()
		})
	}
}

// Keys are revoked, one after the other, with the standby or with a fresh key
// in their place: nobody trusts a revoked key, or refuses the new one, for
// longer than the exposure report says.
func TestSimulationSoakRevocations(t *testing.T) {
	t.Parallel()
	for run := range simScale() {
		synctest.Test(t, func(t *testing.T) {
			s := newSimulation(t, 1000+uint64(run))
			s.pass(t, 30*time.Minute)
			for i := range least(60, 4) {
				for !s.ready(t) {
					s.pass(t, time.Minute)
				}
				s.revoke(t, i%2 == 1)
				s.pass(t, 80*time.Minute)
				s.judge(t)
			}
			s.report(t, fmt.Sprintf("revocation, run %d", run))
			s.close()
		})
	}
}

// A simToken is the part of a token that verifiers need: the rest would only
// cost time.
type simToken struct {
	kid, seal string
	exp       time.Time
	signed    []byte // the signature of some
}

const simInput = "header.payload"

type simulation struct {
	rnd      *rand.Rand
	file     keyset.File // of the operator
	skew     time.Duration
	replicas []*replica
	parties  []*party
	tokens   []simToken
	signers  []string // every key that has signed, in their order
	ended    map[string]time.Time
	cron     time.Time // when the cron job comes next
	close    func()

	steps, refusals, tokensSigned, checked, unable int
	revoked                                        string
	revokedAt                                      time.Time
	fresh                                          bool
}

func newSimulation(t *testing.T, seed uint64) *simulation {
	s := &simulation{rnd: rand.New(rand.NewPCG(seed, 7)), ended: make(map[string]time.Time)}
	t.Logf("seed %d", seed)
	dir := t.TempDir()
	s.file = keyset.File{Path: filepath.Join(dir, "keys.json")}
	set, err := rotation.New(simPolicy(), time.Now(), keyset.EdDSA, keyset.Direct)
	require.NoError(t, err)
	require.NoError(t, s.file.Create(t.Context(), set))
	s.skew = s.offset()
	for i := range 3 {
		s.replicas = append(s.replicas, s.newReplica(t, filepath.Join(dir, fmt.Sprint("replica", i))))
	}
	s.newParties(t)
	return s
}

// offset returns how wrong a clock is: anything within the bounds, often the
// bounds themselves.
func (s *simulation) offset() time.Duration {
	return max(-simSkew, min(simSkew, time.Duration(s.rnd.Int64N(int64(4*simSkew)))-2*simSkew)).Truncate(time.Second)
}

// apply takes a step by the operator's clock. The file reaches each replica
// within the distribution lag.
func (s *simulation) apply(t *testing.T, step rotation.Step) error {
	before, after, err := step.Apply(t.Context(), s.file, time.Now().Add(s.skew))
	if err != nil {
		return err
	}
	if after.Generation() == before.Generation() {
		return nil
	}
	require.Equal(t, before.Generation()+1, after.Generation())
	for _, k := range before.Keys() {
		if after.Key(k.ID()) == nil && k.Use() == keyset.Signature {
			s.ended[k.ID()] = k.Dates().VerifyUntil
		}
	}
	for _, r := range s.replicas {
		lag := time.Duration(s.rnd.Int64N(int64(simPolicy().DistributionLag-simStep))) + time.Second
		time.AfterFunc(lag, func() { s.deliver(t, r) })
	}
	return nil
}

// operate is a cron job that runs at random times, some of them almost too
// late, and an operator who rotates ahead of the plan.
func (s *simulation) operate(t *testing.T) {
	if now := time.Now(); now.After(s.cron) {
		s.cron = now.Add(time.Duration(1+s.rnd.IntN(28)) * time.Minute)
		require.NoError(t, s.apply(t, rotation.IfDue()))
	}
	if s.rnd.IntN(75) == 0 {
		if err := s.apply(t, rotation.Rotate("")); err != nil {
			require.ErrorIs(t, err, rotation.ErrRefused)
			s.refusals++
		}
	}
}

// pass lets time pass, with a cron job that comes often.
func (s *simulation) pass(t *testing.T, d time.Duration) {
	for range int(d / simStep) {
		if s.steps%10 == 0 {
			require.NoError(t, s.apply(t, rotation.IfDue()))
		}
		s.step(t)
	}
}

// handovers is how often another key has begun to sign.
func (s *simulation) handovers() int { return len(s.signers) - 1 }

// step lets time pass, tokens be made, and tokens be shown around.
func (s *simulation) step(t *testing.T) {
	time.Sleep(simStep)
	synctest.Wait()
	s.steps++
	for _, r := range s.replicas {
		s.sign(t, r)
	}
	now := time.Now()
	s.tokens = slices.DeleteFunc(s.tokens, func(tk simToken) bool { return now.After(tk.exp.Add(2 * simSkew)) })
	if n := len(s.tokens); n > 0 {
		s.show(t, s.tokens[s.rnd.IntN(n)])
		s.show(t, s.tokens[0])   // about to expire
		s.show(t, s.tokens[n-1]) // as fresh as can be
	}
	s.forge(t)
}

func (s *simulation) sign(t *testing.T, r *replica) {
	now := r.now()
	signer, err := r.ring.Current(keys.Signature, now)
	sealer, err2 := r.ring.Current(keys.Encryption, now)
	if err != nil || err2 != nil {
		s.unable++
		t.Errorf("%s can't sign: %v %v", r.name, err, err2)
		return
	}
	if !slices.Contains(s.signers, signer.ID()) {
		s.signers = append(s.signers, signer.ID())
	}
	tk := simToken{kid: signer.ID(), seal: sealer.ID(), exp: now.Add(simPolicy().TokenLife)}
	for _, end := range []time.Time{(*keyset.Key)(signer).TokensUntil(), (*keyset.Key)(sealer).TokensUntil()} {
		if end.Before(tk.exp) {
			tk.exp = end
		}
	}
	require.Greater(t, tk.exp.Sub(now), simPolicy().TokenLife/2, "a token that hardly lives")
	if s.rnd.IntN(500) == 0 {
		tk.signed, err = (*keyset.Key)(signer).Sign(simInput)
		require.NoError(t, err)
	}
	s.tokensSigned++
	s.tokens = append(s.tokens, tk)
}

// show presents a token to everybody to whose clock it has not expired.
func (s *simulation) show(t *testing.T, tk simToken) {
	for _, p := range s.parties {
		if !p.now().Before(tk.exp) || tk.kid == s.revoked {
			continue
		}
		p.presented++
		k := p.trusts(t, tk.kid)
		if r, ok := p.verifier.(*replica); ok && k != nil {
			k2 := r.trusts(t, tk.seal)
			if k2 == nil {
				k = nil
			}
		}
		switch {
		case k == nil && s.revoked == "":
			p.refused++
			t.Errorf("%s refuses a valid token of key %s, %s before its end", p.name, tk.kid, tk.exp.Sub(p.now()))
		case k == nil:
			p.refused++
			p.lastRefusal = time.Now()
		case tk.signed != nil:
			s.checked++
			require.NoError(t, k.Verify(simInput, tk.signed))
		}
	}
}

// forge shows everybody tokens that a thief makes with keys that have expired
// or were revoked.
func (s *simulation) forge(t *testing.T) {
	now := time.Now()
	for kid, end := range s.ended {
		if now.Sub(end) > 3*time.Hour {
			delete(s.ended, kid)
			continue
		}
		for _, p := range s.parties {
			if now.After(end) && s.revoked == "" && s.fooled(t, p, kid) {
				p.late = max(p.late, now.Sub(end))
			}
		}
	}
	for _, p := range s.parties {
		if s.revoked != "" && s.fooled(t, p, s.revoked) {
			p.lastTrust = now
		}
	}
}

func (s *simulation) fooled(t *testing.T, p *party, kid string) bool {
	if c, ok := p.verifier.(*cache); ok {
		return c.holds(kid)
	}
	return p.trusts(t, kid) != nil
}

// ready reports whether the standby has been published for its lead, which the
// exposure report assumes.
func (s *simulation) ready(t *testing.T) bool {
	set, err := s.file.Read()
	require.NoError(t, err)
	now := time.Now().Add(s.skew)
	return slices.ContainsFunc(set.Keys(), func(k *keyset.Key) bool {
		known := now.Sub(k.Dates().PublishAt) > simPolicy().Lead(keyset.EdDSA)
		return known && k.Use() == keyset.Signature && k.State(now) == keyset.Pending
	})
}

// revoke revokes the key that signs now.
func (s *simulation) revoke(t *testing.T, fresh bool) {
	set, err := s.file.Read()
	require.NoError(t, err)
	ring, err := (*keys.Set)(set).Ring()
	require.NoError(t, err)
	signer, err := ring.Current(keys.Signature, time.Now().Add(s.skew))
	require.NoError(t, err)
	require.NoError(t, s.apply(t, rotation.Revoke(rotation.RevokeOptions{Reason: "test", Fresh: fresh}, signer.ID())))
	s.revoked, s.revokedAt, s.fresh = signer.ID(), time.Now(), fresh
	s.tokens = slices.DeleteFunc(s.tokens, func(tk simToken) bool { return tk.kid == s.revoked })
	for _, p := range s.parties {
		p.lastTrust, p.lastRefusal = s.revokedAt, s.revokedAt
	}
}

// judge compares what happened since the last revocation with the exposure
// report.
func (s *simulation) judge(t *testing.T) {
	for _, p := range s.parties {
		said := s.exposed(t, p.name)
		trusted, refused := p.lastTrust.Sub(s.revokedAt), p.lastRefusal.Sub(s.revokedAt)
		w := p.worst[s.fresh]
		p.worst[s.fresh] = [2]time.Duration{max(w[0], trusted), max(w[1], refused)}
		if said.Trusts != "without end" {
			bound, err := span.Parse(said.Trusts)
			require.NoError(t, err)
			require.LessOrEqual(t, trusted, bound+simStep, "%s trusts a revoked key (fresh %v)", p.name, s.fresh)
		}
		bound, err := span.Parse(said.Refuses)
		require.NoError(t, err)
		require.LessOrEqual(t, refused, bound+simStep, "%s refuses new tokens (fresh %v)", p.name, s.fresh)
	}
	s.revoked = ""
}

func (s *simulation) exposed(t *testing.T, name string) exposure.Effect {
	published := s.revokedAt.Add(-simPolicy().Lead(keyset.EdDSA))
	for _, e := range exposure.Report(keyset.Rules{Policy: simPolicy()}, keyset.EdDSA, published, s.revokedAt) {
		if e.Name != name {
			continue
		}
		if s.fresh {
			return e.Fresh
		}
		return e.Standby
	}
	t.Fatalf("the report lacks %q", name)
	return exposure.Effect{}
}

// report prints the counts, and checks that clocks and caches explain all trust
// in expired keys.
func (s *simulation) report(t *testing.T, title string) {
	p := simPolicy()
	bounds := map[string]time.Duration{
		"instances of this application":                p.ClockSkew,
		"keys.Remote and token.Verifier (this module)": p.ClockSkew + 11*time.Minute,
		"any other that caches the JWK Set":            p.ClockSkew + p.CacheLife,
		"panva/jose (JavaScript)":                      p.ClockSkew + 10*time.Minute,
		"keyfunc, jwkset (Go)":                         p.ClockSkew + time.Hour,
		// It trusts a key until it meets one that it doesn't know.
		"go-oidc, zitadel/oidc (Go)": p.ClockSkew + 2*p.RotationPeriod + p.Grace,
	}
	var out strings.Builder
	fmt.Fprintf(&out, "simulation of %s: %d handovers, %d steps refused, "+
		"%d tokens signed by 3 replicas (%d signatures checked), %s", title, s.handovers(), s.refusals,
		s.tokensSigned, s.checked, span.Format(time.Duration(s.steps)*simStep))
	for _, party := range s.parties {
		fmt.Fprintf(&out, "\n  %-46s %8d presented, %3d refused; trusts expired keys for %s",
			party.name, party.presented, party.refused, party.late.Round(time.Second))
		require.LessOrEqual(t, party.late, bounds[party.name]+simStep, party.name)
		for _, fresh := range []bool{false, true} {
			if w, ok := party.worst[fresh]; ok {
				fmt.Fprintf(&out, "; revoked (fresh %v): trusts %s, refuses %s", fresh, w[0], w[1])
			}
		}
	}
	require.Zero(t, s.unable)
	account(t, out.String())
}

// account adds a line to what make test prints at its end, because go test is
// silent about tests that pass. It skips runs with the race detector: they are
// only a part, see least.
func account(t *testing.T, text string) {
	t.Log(text)
	path := os.Getenv("TEST_REPORT")
	if path == "" || raced {
		return
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	require.NoError(t, err)
	_, err = io.WriteString(f, text+"\n")
	require.NoError(t, err)
	require.NoError(t, f.Close())
}
