package session_test

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/cloakroom-go/cloakroom/session"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// What a request sees of its changes is used again when they are saved. It must
// be what the steps make of the record, one by one, also if some of them were
// saved meanwhile, or dropped.
func TestResultIsThatOfTheSteps(t *testing.T) {
	for seed := range uint64(2000) {
		random := rand.New(rand.NewPCG(seed, 1))
		m := &moment{start}
		var rec *session.Record
		if random.IntN(3) > 0 {
			rec = kept(t, nil, m, func(s *session.Session) {
				require.NoError(t, count.Set(s, 1))
				require.NoError(t, s.Login("alice"))
			})
		}
		s, control := begin(rec, m)
		for range random.IntN(3) {
			change(t, random, s)
			taken := pending(control)
			change(t, random, s)
			next, err := taken.Apply(control.State().Kept)
			if err != nil {
				require.ErrorIs(t, err, session.NotFound) // nothing has begun
				continue
			}
			if random.IntN(3) == 0 {
				next = control.State().Kept // dropped
			}
			control.Settle(next, taken)
		}
		change(t, random, s)
		checkResult(t, control, seed)
		_ = s.Snapshot() // from now on there is a view to use
		checkResult(t, control, seed)
	}
}

// change does up to four things to a session.
func change(t *testing.T, random *rand.Rand, s *session.Session) {
	for range random.IntN(5) {
		name := session.Key[int]([]string{"a", "b", "count", "d"}[random.IntN(4)])
		var err error
		switch random.IntN(10) {
		case 0, 1:
			err = name.Set(s, random.IntN(1000))
		case 2:
			_, err = name.Update(s, func(n int) int { return n + 1 })
		case 3:
			err = name.Delete(s)
		case 4:
			_, _, err = name.Take(s)
		case 5:
			err = s.Login([]string{"alice", "bob"}[random.IntN(2)])
		case 6:
			err = s.Renew()
		case 7:
			err = s.Remember(random.IntN(2) == 0)
		case 8:
			err = s.Clear()
		case 9:
			_ = s.Keys()
		}
		require.NoError(t, err)
	}
}

func checkResult(t *testing.T, control session.Control, seed uint64) {
	state := control.State()
	base := state.Kept
	if base == nil || state.Pending.TouchOnly() {
		return
	}
	same := *base
	got, err := state.Pending.Apply(base)
	require.NoError(t, err)
	want, err := state.Pending.Apply(&same) // another record, so each step is done again
	require.NoError(t, err)
	got.Lineage, want.Lineage = "", ""
	assert.Equal(t, want, got, "seed %d", seed)
	assert.Equal(t, same, *base, "seed %d: records don't change", seed)
}

// What was handed out doesn't change with what follows.
func TestViewsDontChange(t *testing.T) {
	m := &moment{start}
	s, control := begin(nil, m)
	require.NoError(t, count.Set(s, 1))
	require.NoError(t, count.Set(s, 2))
	taken := pending(control)
	require.NoError(t, count.Set(s, 3))
	seen := s.Snapshot()
	require.NoError(t, count.Set(s, 4))
	assert.Equal(t, []string{"3"}, jsonOf(&seen))
	rec, err := taken.Apply(nil)
	require.NoError(t, err)
	assert.Equal(t, []string{"2"}, jsonOf(rec))
	control.Settle(rec, taken)
	m.Time = m.Add(time.Second)
	require.NoError(t, count.Set(s, 5))
	assert.Equal(t, []string{"2"}, jsonOf(rec))
	rec, err = pending(control).Apply(rec)
	require.NoError(t, err)
	assert.Equal(t, []string{"5"}, jsonOf(rec))
}

func jsonOf(rec *session.Record) (texts []string) {
	for _, text := range rec.Values.All() {
		texts = append(texts, text)
	}
	return texts
}
