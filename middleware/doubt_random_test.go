package middleware_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/middleware"
	"github.com/cloakroom-go/cloakroom/session"
)

// A visitor renews, saves, and has a session that outgrows its cookie and
// shrinks again, on two instances, while answers of the store and responses get
// lost. The session is never lost, what was answered with 200 is kept, and the
// credential from before a renewal opens nothing.
func TestRandomLossesSoak(t *testing.T) {
	steps := 400
	if os.Getenv("CLOAKROOM_SOAK") == "1" {
		steps *= 20
	}
	for n := 0; n < steps; n += 40 {
		randomLosses(t, 40)
	}
}

// randomLosses does so many steps with one session.
func randomLosses(t *testing.T, steps int) {
	seed := rand.Uint64()
	r := rand.New(rand.NewPCG(seed, 0))
	w := newWorld(t)
	store := &losing{Store: w.memory}
	w.Store = store
	mode := []string{"auto", "auto", "opaque", "stateless"}[r.IntN(4)]
	instances := []*middleware.Middleware{w.Middleware(t, mode), w.Middleware(t, mode)}
	if r.IntN(3) == 0 {
		instances[1] = w.Middleware(t, modes[r.IntN(3)])
	}
	holds := begin(t, instances[0], "alice")
	may, history := []int{0}, []string{mode}
	var dead []string
	for n := 1; n <= steps; n++ {
		m, op := instances[r.IntN(2)], r.IntN(4)
		faulty, dropped := r.IntN(2) == 0, false
		if store.calls = 0; faulty {
			store.at, store.loss = 1+r.IntN(6), loss(r.IntN(int(everyLoss)))
		}
		before := holds
		status, next := visit(m, before, func(s *session.Session) {
			_ = visits.Set(s, n)
			switch op {
			case 0:
				_ = s.Renew()
			case 1:
				_ = pad.Set(s, strings.Repeat("x", 5000))
			case 2:
				_ = pad.Delete(s)
			}
		})
		if store.at > 0 && store.calls < store.at {
			faulty = false
		}
		// Of a session in tokens only a move is noted where other instances look.
		if !faulty && op != 0 && r.IntN(3) == 0 {
			dropped = form(before) == "opaque" || form(next) == "opaque"
		}
		store.at = 0
		history = append(history, fmt.Sprintf("%d: op %d, fault %v (%v), dropped %v: %d, %.5s, %.5s",
			n, op, faulty, store.loss, dropped, status, before, next))
		if !dropped {
			holds = next
		}
		if may = append(may, n); status == 200 && !dropped {
			may = []int{n}
		}
		if r.IntN(2) == 0 {
			store.arrive()
		}
		got := look(instances[r.IntN(2)], holds)
		what := strings.Join(append(history[max(0, len(history)-6):], fmt.Sprint("seed ", seed)), "\n")
		require.Equal(t, 200, got.status, what)
		require.Equal(t, "alice", got.subject, what)
		require.True(t, slices.Contains(may, got.visits), "%d of %v\n%s", got.visits, may, what)
		// While writes are late, what was answered with 503 may still come.
		if holds = got.next; len(store.delayed) == 0 {
			may = []int{got.visits}
		}
		if op == 0 && got.visits == n && got.next != before {
			dead = append(dead, before)
		}
		for _, credential := range dead {
			require.Empty(t, look(m, credential).subject, what)
		}
	}
}
