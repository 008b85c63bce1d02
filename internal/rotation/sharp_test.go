package rotation_test

import (
	"container/heap"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/internal/keyset"
	"github.com/cloakroom-go/cloakroom/internal/rotation"
	"github.com/cloakroom-go/cloakroom/keys"
)

// The sharp simulation: a virtual clock, and everything at the worst moment
// that the policy allows. Files arrive at the last second, and clocks are as
// wrong as they may be. Operators rotate in the first second in which that is
// safe, or when it is almost too late. A cache is filled right before the last
// replica serves the new key. simulation_test.go is about ordinary days.

// sharpPolicy lets a cron job come so late that a key goes on in its grace.
func sharpPolicy() keyset.Policy {
	return with(func(p *keyset.Policy) { p.Grace, p.RotationPeriod = 2*time.Hour, 6*time.Hour })
}

const halfSkew = 30 * time.Second // of each clock, either way: the policy's is between two of them

// sharp is one run. Nothing in it happens but events.
type sharp struct {
	testing.TB
	rng      *rand.Rand
	now      time.Time // by the clock that is right
	events   queue
	file     keyset.File
	set      *keyset.Set // as it is in the file
	written  int64       // its generation
	ops      []clock
	replicas []*instance
	parties  []*judge
	stop     time.Time // no more tokens from then on

	revoked map[string]time.Time     // when, by kid
	fresh   map[keyset.Use]time.Time // when an unpublished key took over from one that was revoked

	signers, sealers map[string]bool
	count            map[string]int
	worst            map[string]time.Duration // see sharp_revoke_test.go
}

// An event happens at its time, and after those that were scheduled earlier for
// the same time.
type event struct {
	at time.Time
	n  int
	do func()
}

type queue []event

func (q queue) Len() int { return len(q) }

func (q queue) Less(i, j int) bool {
	return q[i].at.Before(q[j].at) || q[i].at.Equal(q[j].at) && q[i].n < q[j].n
}

func (q queue) Swap(i, j int) { q[i], q[j] = q[j], q[i] }

func (q *queue) Push(e any) { *q = append(*q, e.(event)) }

func (q *queue) Pop() any {
	old := *q
	last := old[len(old)-1]
	*q = old[:len(old)-1]
	return last
}

// at lets something happen, now at the earliest.
func (s *sharp) at(t time.Time, do func()) {
	s.count["events"]++
	if t.Before(s.now) {
		t = s.now
	}
	heap.Push(&s.events, event{t, s.count["events"], do})
}

func (s *sharp) run() {
	for len(s.events) > 0 {
		e := heap.Pop(&s.events).(event)
		s.now = e.at
		e.do()
	}
}

// tally adds what was counted to a total, at the end of a run.
func (s *sharp) tally(total map[string]int) {
	for _, j := range s.parties {
		total["shown to "+j.name] += j.shown
		j.close()
	}
	for what, n := range s.count {
		total[what] += n
	}
}

// upTo is a random time, often the longest.
func (s *sharp) upTo(most time.Duration) time.Duration {
	if s.rng.IntN(3) == 0 {
		return most
	}
	return time.Duration(s.rng.Int64N(int64(most) + 1))
}

// A clock is wrong by up to half the skew, and wanders.
type clock struct {
	s          *sharp
	base, wide time.Duration
	day        time.Duration // in which it goes to and fro
}

func (s *sharp) clock() clock {
	c := clock{s: s, base: s.upTo(halfSkew), day: time.Hour + s.upTo(100*time.Hour)}
	if s.rng.IntN(2) == 0 {
		c.wide = s.upTo(halfSkew - c.base)
	}
	if s.rng.IntN(2) == 0 {
		c.base = -c.base
	}
	return c
}

func (c clock) offset(at time.Time) time.Duration {
	x := float64(at.Sub(zero())%c.day)/float64(c.day)*4 - 2 // -2 to 2
	return c.base + time.Duration(float64(c.wide)*(1-max(x, -x)))
}

// read is what the clock shows now.
func (c clock) read() time.Time { return c.s.now.Add(c.offset(c.s.now)) }

// when returns the first millisecond at which the clock shows an instant.
func (c clock) when(shows time.Time) time.Time {
	at := shows
	for range 8 {
		at = shows.Add(-c.offset(at))
	}
	for at.Add(c.offset(at)).Before(shows) {
		at = at.Add(time.Millisecond)
	}
	return at
}

// An instance of the application has its own copy of the file, and its own
// clock.
type instance struct {
	clock
	ring      *keys.Ring
	path      string
	delivered int64
	tokens    int
}

func newSharp(t testing.TB, seed uint64) *sharp {
	s := &sharp{TB: t, rng: rand.New(rand.NewPCG(seed, 3)), now: zero(), count: make(map[string]int)}
	s.signers, s.sealers, s.worst = make(map[string]bool), make(map[string]bool), make(map[string]time.Duration)
	s.revoked, s.fresh = make(map[string]time.Time), make(map[keyset.Use]time.Time)
	s.ops = []clock{s.clock(), s.clock(), s.clock()}
	var err error
	s.set, err = rotation.New(sharpPolicy(), s.ops[0].read(), keyset.EdDSA, keyset.Direct)
	require.NoError(t, err)
	s.file = place(t, s.set)
	s.written = 1
	for i := range 3 {
		r := &instance{clock: s.clock(), path: filepath.Join(filepath.Dir(s.file.Path), fmt.Sprint(i))}
		require.NoError(t, os.WriteFile(r.path, []byte(content(t, s.file.Path)), 0o600))
		r.ring, err = keys.OpenRing(keys.RingConfig{File: keys.File{Path: r.path}, Now: r.read})
		require.NoError(t, err)
		require.NoError(t, r.ring.Close()) // the test itself says when it reloads
		s.replicas = append(s.replicas, r)
	}
	s.newJudges()
	return s
}

// take takes a step on the file, which then travels.
func (s *sharp) take(step rotation.Step, op clock) error {
	_, after, err := step.Apply(s.Context(), s.file, op.read())
	if err != nil || after.Generation() == s.written {
		return err
	}
	require.Equal(s, s.written+1, after.Generation())
	s.set, s.written = after, after.Generation()
	text, p := content(s, s.file.Path), sharpPolicy()
	last, slowest := time.Time{}, s.replicas[0]
	for _, r := range s.replicas {
		arrives := s.now.Add(s.upTo(p.DistributionLag - time.Millisecond))
		reads := arrives.Add(s.upTo(p.ReloadInterval - time.Millisecond))
		if reads.After(last) {
			last, slowest = reads, r
		}
		s.at(arrives, func() { s.deliver(r, after.Generation(), text) })
		s.at(reads, func() { s.reload(r) })
	}
	s.at(last.Add(-time.Millisecond), func() { s.fillUnlucky(slowest) })
	s.watch()
	return nil
}

func (s *sharp) deliver(r *instance, generation int64, text string) {
	if generation > r.delivered {
		r.delivered = generation
		require.NoError(s, os.WriteFile(r.path+".new", []byte(text), 0o600))
		require.NoError(s, os.Rename(r.path+".new", r.path))
	}
}

func (s *sharp) reload(r *instance) {
	s.sign(r)
	require.NoError(s, r.ring.Reload())
	s.sign(r)
}

// watch schedules tokens around each future change of state, and forged ones
// when a key has expired.
func (s *sharp) watch() {
	for _, k := range s.set.Keys() {
		d := k.Dates()
		for _, at := range []time.Time{d.SignFrom, d.SignUntil, d.SignUntil.Add(sharpPolicy().Grace)} {
			for _, r := range s.replicas {
				if when := r.when(at); when.After(s.now) && when.Before(s.now.Add(day)) {
					s.at(when.Add(-time.Millisecond), func() { s.sign(r) })
					s.at(when, func() { s.sign(r) })
				}
			}
		}
		generation := s.written
		s.at(d.VerifyUntil.Add(halfSkew), func() {
			if generation == s.written && s.now.Before(s.stop) {
				s.forge(k)
			}
		})
	}
}

// pick is some element.
func pick[T any](s *sharp, all []T) T { return all[s.rng.IntN(len(all))] }

// operate is a cron job, on any of the machines: in time, early, or almost too
// late.
func (s *sharp) operate() {
	op := pick(s, s.ops)
	require.NoError(s, s.take(rotation.IfDue(), op))
	if !s.now.Before(s.stop) {
		return
	}
	handover, first := s.handover(), time.Time{}
	switch s.rng.IntN(8) {
	case 0, 1: // a while after something is due
		first = rotation.NextDue(s.set, op.read()).Add(s.upTo(20 * time.Minute))
	case 2, 3, 4: // an operator rotates, as soon as it may be
		op = pick(s, s.ops)
		safe := s.safe()
		if early := op.when(safe.Add(-time.Second)); early.After(s.now) {
			s.at(early, func() {
				if !s.inGrace(op.read()) { // else it is a recovery, which waits until it is safe
					require.ErrorIs(s, s.take(rotation.Rotate(""), op), rotation.ErrRefused)
				}
			})
		}
		s.at(op.when(safe), func() { require.NoError(s, s.take(rotation.Rotate(""), op)) })
		first = slices.MaxFunc([]time.Time{safe, s.now}, time.Time.Compare).Add(time.Hour)
	case 5: // the cron job comes when the next key is about to end, and nothing is there to follow it
		first = handover.Add(6*time.Hour - time.Minute - s.upTo(lead))
	case 6: // or has ended, and goes on in its grace
		first = handover.Add(6*time.Hour + s.upTo(2*time.Hour-lead-3*time.Minute))
	case 7: // somebody plays with the keys
		first = s.now.Add(time.Hour + s.upTo(time.Hour))
		s.at(s.now.Add(s.upTo(time.Hour)), s.play)
	}
	s.at(first, s.operate)
}

// play withdraws a standby, or lets another one go first.
func (s *sharp) play() {
	op := pick(s, s.ops)
	for _, k := range s.set.Keys() {
		if k.State(op.read()) != keyset.Pending || s.rng.IntN(2) == 0 {
			continue
		}
		add := rotation.Add(k.Algorithm(), rotation.AddOptions{})
		step := pick(s, []rotation.Step{rotation.Retire(k.ID()), rotation.Promote(k.ID()), add})
		if err := s.take(step, op); err != nil {
			require.ErrorIs(s, err, rotation.ErrRefused)
			s.count["refused steps"]++
		}
		return
	}
}

// inGrace reports whether the last key of some use has ended, and the next one
// has not begun.
func (s *sharp) inGrace(now time.Time) bool {
	active := make(map[keyset.Use]bool)
	for _, k := range s.set.Keys() {
		active[k.Use()] = active[k.Use()] || k.State(now) == keyset.Active
	}
	return !active[keyset.Signature] || !active[keyset.Encryption]
}

// handover is when the next key of one use or the other begins to sign.
func (s *sharp) handover() (at time.Time) {
	for _, k := range s.set.Keys() {
		if from := k.Dates().SignFrom; from.After(s.now) && signs(k) && (at.IsZero() || from.Before(at)) {
			at = from
		}
	}
	return at
}

// safe is the first instant at which both uses may be rotated.
func (s *sharp) safe() (safe time.Time) {
	for _, use := range []keyset.Use{keyset.Signature, keyset.Encryption} {
		var next *keyset.Key
		for _, k := range s.set.Keys() {
			from := k.Dates().SignFrom
			waits := k.Use() == use && signs(k) && from.After(s.now.Add(-halfSkew))
			if waits && (next == nil || from.Before(next.Dates().SignFrom)) {
				next = k
			}
		}
		if next == nil {
			continue
		}
		for _, at := range []time.Time{next.Dates().PublishAt, next.Dates().Created} {
			if at = at.Add(leadOf(sharpPolicy(), next.Algorithm())); at.After(safe) {
				safe = at
			}
		}
	}
	return safe
}

// A virtual token is what verifiers need of one.
type virtual struct {
	kid, seal string
	exp       time.Time
	signature []byte // of some
}

const virtualInput = "header.payload"

// sign makes a token, and shows it to everybody immediately, some time later,
// and right before it expires.
func (s *sharp) sign(r *instance) {
	if !s.now.Before(s.stop) {
		return
	}
	now := r.read()
	signer, err := r.ring.Current(keys.Signature, now)
	require.NoError(s, err, "%s", after(s.now))
	sealer, err := r.ring.Current(keys.Encryption, now)
	require.NoError(s, err, "%s", after(s.now))
	s.signers[signer.ID()], s.sealers[sealer.ID()] = true, true
	exp := now.Add(sharpPolicy().TokenLife)
	for _, last := range []time.Time{(*keyset.Key)(signer).TokensUntil(), (*keyset.Key)(sealer).TokensUntil()} {
		if exp.After(last) {
			exp = last
		}
	}
	require.Greater(s, exp.Sub(now), time.Minute, "a token that hardly lives, at %s", after(s.now))
	token := virtual{signer.ID(), sealer.ID(), exp.Truncate(time.Second), nil}
	if r.tokens++; r.tokens%200 == 0 {
		token.signature, err = (*keyset.Key)(signer).Sign(virtualInput)
		require.NoError(s, err)
	}
	s.count["tokens"]++
	for _, j := range s.parties {
		last := j.clock().when(token.exp.Add(sharpPolicy().Leeway)).Add(-2 * time.Millisecond)
		for _, at := range []time.Time{s.now, s.now.Add(time.Duration(s.rng.Int64N(int64(last.Sub(s.now))))), last} {
			s.at(at, func() { s.show(j, token) })
		}
	}
}

// everySoOften lets each replica make tokens until the end.
func (s *sharp) everySoOften(r *instance) {
	if s.now.Before(s.stop) {
		s.sign(r)
		s.at(s.now.Add(s.upTo(20*time.Minute)), func() { s.everySoOften(r) })
	}
}

// A thousand rotations at the worst moments: no verifier refuses a valid token,
// and none accepts a forged one.
func TestSimulationSoakSharpRotations(t *testing.T) {
	t.Parallel()
	total, rotations := make(map[string]int), 0
	for n := range uint64(scale(least(10, 1))) {
		synctest.Test(t, func(t *testing.T) {
			s := newSharp(t, *seedFlag+n)
			s.stop = s.now.Add(time.Duration(least(11, 2)) * day)
			s.watch()
			s.at(s.now, s.operate)
			for _, r := range s.replicas {
				s.everySoOften(r)
			}
			s.run()
			s.tally(total)
			rotations += len(s.signers) + len(s.sealers) - 2
		})
	}
	total["rotations"] = rotations
	accountFor(t, "sharp simulation of rotation: no valid token refused, no expired key trusted", total)
	require.GreaterOrEqual(t, rotations, scale(least(1000, 15)))
}

// accountFor adds what was counted to what make test prints.
func accountFor(t *testing.T, title string, total map[string]int, more ...string) {
	var out strings.Builder
	fmt.Fprintf(&out, "%s (seeds from %d)", title, *seedFlag)
	for _, what := range slices.Sorted(maps.Keys(total)) {
		fmt.Fprintf(&out, "\n  %10d %s", total[what], what)
	}
	for _, line := range more {
		out.WriteString("\n  " + line)
	}
	account(t, out.String())
}
