// Package apptest runs a whole application (package middleware with its
// carriers) over a store: what handlers can rely on, what attackers try, and
// what happens when answers of the store get lost.
//
//	func TestApplicationSoak(t *testing.T) {
//		apptest.Run(t, func(t testing.TB, now func() time.Time) opaque.Store {
//			return open(t, mystore.Config{Now: now, …})
//		})
//	}
//
// Package storetest tests the contract of a store. A store that passes it
// should pass here, too; these tests show that the contract is enough.
//
// The package also has the parts of which such tests are made: a [World], a
// [Site] and its [Browser].
package apptest

import (
	"os"
	"testing"
	"time"

	"github.com/cloakroom-go/cloakroom/opaque"
)

// A NewStore makes a store whose clock is now, and registers what must be
// closed with t.Cleanup.
//
// The clock stands still at about the present, and is moved forward by months
// altogether. A server with a clock of its own keeps up with that if the store
// tells it durations, or dates in the future.
type NewStore func(t testing.TB, now func() time.Time) opaque.Store

// Run runs the tables of behaviour, of transitions and of attacks over one
// store that newStore makes. Over a store outside of the process it leaves out
// the modes in which sessions are tokens, and most of the transitions, by
// chance; with CLOAKROOM_SOAK=1 in the environment it runs all of them.
func Run(t *testing.T, newStore NewStore) {
	t.Helper()
	t.Run("application", func(t *testing.T) {
		s := newSuite(t, newStore)
		if inProcess(s.store) || os.Getenv("CLOAKROOM_SOAK") == "1" {
			s.modes, s.everyNth = Modes(), 1
		}
		t.Run("behaviour", s.behaviour)
		t.Run("transitions", s.transitions)
		t.Run("attacks", s.attacks)
		t.Run("doubt", s.doubt)
	})
}

// A suite is the tables over one store. All worlds share it, and the clock:
// what one of them has stored must not expire because of another's.
type suite struct {
	clock *Clock
	store opaque.Store
	modes []string

	everyNth int // of the transitions is played
}

func newSuite(t *testing.T, newStore NewStore) *suite {
	clock := NewClock(time.Now())
	return &suite{clock: clock, store: newStore(t, clock.Now), modes: []string{"opaque"}, everyNth: 6}
}

// world makes one more, whose instances have time: many requests at once on a
// busy machine must not fail.
func (s *suite) world(t testing.TB) *World {
	w := NewWorld(t, s.clock, s.store)
	w.timeout, w.crowd = 20*time.Second, 10
	if inProcess(s.store) {
		w.crowd = 100 // the cost of n updates at once grows with the square of n
	}
	return w
}

// eachMode runs f in each mode, with a world of its own.
func (s *suite) eachMode(t *testing.T, f func(t *testing.T, mode string, w *World)) {
	for _, mode := range s.modes {
		t.Run(mode, func(t *testing.T) { f(t, mode, s.world(t)) })
	}
}
