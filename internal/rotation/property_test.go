package rotation_test

import (
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/internal/keyset"
	"github.com/cloakroom-go/cloakroom/internal/rotation"
)

// What is random comes from this seed: go test -run Soak -args -seed 7.
var seedFlag = flag.Uint64("seed", 1, "of the random steps and of the simulation")

// scale is how much of something to do: 10 times as much with CLOAKROOM_SOAK=1.
func scale(n int) int {
	if os.Getenv("CLOAKROOM_SOAK") != "" {
		return 10 * n
	}
	return n
}

// Whatever steps operators take, in whatever order and at whatever time, on
// machines whose clocks differ by up to the clock_skew: what is accepted keeps
// the rules (oracle_test.go), what is refused changes nothing, and what is safe
// is not refused.
func TestSoakRandomSteps(t *testing.T) {
	first, total, worlds := *seedFlag, make(map[string]int), scale(least(150, 30))
	for n := range uint64(worlds) {
		w := newWorld(t, first+n)
		w.live(first+n, 30)
		for what, n := range w.count {
			total[what] += n
		}
	}
	t.Logf("seeds %d to %d: %v", first, first+uint64(worlds)-1, total)
	for _, what := range []string{"if due", "rotate", "promote", "retire", "revoke", "fresh", "revoke all", "add",
		"policy", "prune"} {
		require.NotZero(t, total[what], what)
	}
	for _, what := range []string{"rotate", "promote", "retire", "add", "policy"} {
		require.NotZero(t, total[what+" refused"], what)
	}
}

// A world is a key file, some operators, and what must be true of it.
type world struct {
	testing.TB
	rng    *rand.Rand
	now    time.Time        // by the clock that is right
	clocks [3]time.Duration // what those of the operators are ahead
	set    *keyset.Set
	file   keyset.File // of some worlds; the others do without a disk
	since  time.Time   // when the set was written, by the clock of who wrote it
	diary  []string
	count  map[string]int

	slow    []slowCaches         // that were filled under longer cache lives
	listed  map[string]time.Time // since when a key is known to whoever reads the file as it is
	needed  map[string]time.Time // until when tokens of a key may have to verify
	rushed  map[string]bool      // keys that signed before everybody knew them, since nothing else could
	revoked map[string]string    // when and why, by kid
	pruned  map[string]bool
}

func newWorld(t testing.TB, seed uint64) *world {
	w := &world{TB: t, rng: rand.New(rand.NewPCG(seed, 1)), now: zero(), count: make(map[string]int)}
	w.listed, w.needed = make(map[string]time.Time), make(map[string]time.Time)
	w.rushed = make(map[string]bool)
	w.revoked, w.pruned = make(map[string]string), make(map[string]bool)
	p := w.policy(time.Duration(1+w.rng.IntN(300)) * time.Second)
	for i := range w.clocks {
		w.clocks[i] = w.upTo(p.ClockSkew) - p.ClockSkew/2
	}
	algs := []keyset.Algorithm{[]keyset.Algorithm{keyset.EdDSA, keyset.ES256, keyset.HS256}[w.rng.IntN(3)]}
	if enc := w.rng.IntN(3); enc > 0 {
		algs = append(algs, []keyset.Algorithm{keyset.Direct, keyset.A256KW}[enc-1])
	}
	var err error
	w.since = w.clock()
	w.set, err = rotation.New(p, w.since, algs...)
	require.NoError(t, err)
	if seed%5 == 0 {
		w.file = place(t, w.set)
		w.set, err = w.file.Read()
		require.NoError(t, err)
	}
	w.note("new %v", algs)
	w.checkStep(&keyset.Set{}, w.since, true)
	return w
}

// live takes steps. Who fails tells how it came to that.
func (w *world) live(seed uint64, steps int) {
	defer func() {
		if w.Failed() {
			w.Logf("seed %d, policy %v:\n%s", seed, w.set.Policy().Fields(),
				newDesk(w, w.set).plain(strings.Join(append(w.diary, newDesk(w, w.set).lives()...), "\n")))
		}
	}()
	for range steps {
		w.step()
		if w.Failed() {
			w.FailNow()
		}
	}
}

// upTo is random, in whole seconds.
func (w *world) upTo(most time.Duration) time.Duration {
	return time.Duration(w.rng.Int64N(int64(most/time.Second)+1)) * time.Second
}

// clock is what the clock of some operator shows.
func (w *world) clock() time.Time { return w.now.Add(w.clocks[w.rng.IntN(len(w.clocks))]) }

func (w *world) note(format string, args ...any) {
	w.diary = append(w.diary, fmt.Sprintf("%s %s", after(w.now), fmt.Sprintf(format, args...)))
}

// policy is a random one that does not contradict itself. Clocks don't change
// their habits.
func (w *world) policy(skew time.Duration) keyset.Policy {
	for {
		p := keyset.Policy{
			TokenLife: time.Minute + w.upTo(time.Hour<<w.rng.IntN(8)), Leeway: time.Second +
				w.upTo(5*time.Minute), ClockSkew: skew,
			DistributionLag: time.Second + w.upTo(10*time.Minute), ReloadInterval: time.Second + w.upTo(5*time.Minute),
			CacheLife: 10*time.Minute + w.upTo(3*time.Hour), PeakRate: 1 + w.rng.IntN(2000),
		}
		p.Grace = p.DistributionLag + p.ReloadInterval + p.ClockSkew + w.upTo(time.Hour<<w.rng.IntN(4))
		p.RotationPeriod = p.DistributionLag + p.ReloadInterval + p.ClockSkew + p.CacheLife +
			w.upTo(time.Hour<<w.rng.IntN(10))
		if p.Validate() == nil && p.CheckRate() == nil {
			return p
		}
	}
}

// wait lets time pass: a little, until a date of a key, a second before or
// after it, or for long.
func (w *world) wait() {
	p := w.set.Policy()
	switch w.rng.IntN(10) {
	case 0:
	case 1, 2:
		w.now = w.now.Add(w.upTo(10 * time.Second))
	case 3:
		w.now = w.now.Add(w.upTo(p.Spread()))
	case 4, 5, 6:
		var to []time.Time
		for _, at := range dates(w.set) {
			if at.After(w.now.Add(time.Second)) {
				to = append(to, at)
			}
		}
		if len(to) > 0 {
			w.now = to[w.rng.IntN(min(3, len(to)))].Add(time.Duration(w.rng.IntN(3)-1) * time.Second)
		}
	case 7, 8:
		w.now = w.now.Add(w.upTo(p.RotationPeriod))
	case 9:
		w.now = w.now.Add(w.upTo(4 * p.RotationPeriod))
	}
}

// dates lists the instants at which something happens to the keys of a set, in
// their order.
func dates(s *keyset.Set) (all []time.Time) {
	grace := s.Policy().Grace
	for _, k := range s.Keys() {
		d := k.Dates()
		all = append(all, d.PublishAt, d.SignFrom, d.SignUntil, d.VerifyUntil, d.SignUntil.Add(grace))
	}
	slices.SortFunc(all, time.Time.Compare)
	return slices.CompactFunc(all, time.Time.Equal)
}

// step takes a random step, and looks whether the rules are kept.
func (w *world) step() {
	w.wait()
	now := w.clock()
	name, step, safe := w.choose(now)
	before := w.set
	err := w.try(step, now)
	w.note("%s by a clock that shows %s: %v", name, after(now), err)
	switch {
	case err == nil:
		w.count[name]++
		w.checkStep(before, now, false)
	case safe:
		w.Errorf("%s is refused: %v", name, err)
	case errors.Is(err, rotation.ErrRefused), strings.Contains(err.Error(), "there is no key for use"):
		w.count[name+" refused"]++
	default:
		w.Errorf("%s can't be done: %v", name, err)
	}
	if name == "if due" && err == nil {
		if before = w.set; !rotation.NextDue(before, now).After(now) { // a recovery leaves the tidying to the next run
			require.NoError(w, w.try(rotation.IfDue(), now))
			w.checkStep(before, now, false)
		}
		w.afterIfDue(before, now)
	}
}

// try takes a step on the set, or on the file of the world.
func (w *world) try(step rotation.Step, now time.Time) error {
	if w.file.Path == "" {
		before := w.set.Clone()
		next, err := step.Try(w.set, now)
		same(w, before, w.set)
		if err == nil {
			w.set = next
		}
		return err
	}
	was := content(w, w.file.Path)
	before, next, err := step.Apply(w.Context(), w.file, now)
	if err != nil {
		require.Equal(w, was, content(w, w.file.Path), "a step that is refused writes nothing")
		return err
	}
	same(w, w.set, before)
	changed := int64(0)
	if len(rotation.Diff(before, next)) > 0 {
		changed = 1
	}
	require.Equal(w, before.Generation()+changed, next.Generation(), "each write has its generation")
	w.set = next
	return nil
}

// choose returns a random step, and whether it must not be refused.
func (w *world) choose(now time.Time) (name string, step rotation.Step, safe bool) {
	list := w.set.Keys()
	if len(list) == 0 {
		return "if due", rotation.IfDue(), true // it recovers from what is remembered of them
	}
	k := list[w.rng.IntN(len(list))]
	_, _, gone := k.Revoked()
	switch w.rng.IntN(20) {
	case 0, 1, 2:
		use := []keyset.Use{"", k.Use()}[w.rng.IntN(2)]
		return "rotate", rotation.Rotate(use), w.mayRotate(use, now)
	case 3, 4:
		return "promote", rotation.Promote(k.ID()), w.known(k, now)
	case 5, 6:
		return "retire", rotation.Retire(k.ID()), w.mayWithdraw(k, now)
	case 7:
		return "revoke", rotation.Revoke(rotation.RevokeOptions{Reason: "x"}, k.ID()), !gone
	case 8:
		return "fresh", rotation.Revoke(rotation.RevokeOptions{Fresh: true}, k.ID()), !gone
	case 9:
		if w.rng.IntN(3) == 0 {
			return "revoke all", rotation.RevokeAll("y"), true
		}
	case 10, 11:
		if len(list) < 60 {
			return "add", w.add(now), false
		}
	case 12, 13:
		return "policy", setPolicy(w.policy(w.set.Policy().ClockSkew)), false
	case 14:
		return "prune", rotation.Prune(), true
	}
	return "if due", rotation.IfDue(), true
}

func (w *world) add(now time.Time) rotation.Step {
	algs := [...]keyset.Algorithm{keyset.ES256, keyset.EdDSA, keyset.HS256, keyset.Direct, keyset.A256KW}
	o := rotation.AddOptions{VerifyOnly: w.rng.IntN(5) == 0}
	if w.rng.IntN(2) == 0 {
		o.PublishAt = now.Add(w.upTo(2 * w.set.Policy().RotationPeriod))
	}
	return rotation.Add(algs[w.rng.IntN(len(algs))], o)
}
