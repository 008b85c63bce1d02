package benchmarks_test

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/alexedwards/scs/v2/memstore"
	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/internal/apptest"
	"github.com/cloakroom-go/cloakroom/opaque"
)

// A crowd is many sessions in memory.
type crowd interface {
	// fill makes sessions by requests of new visitors.
	fill(tb testing.TB, sessions int)

	// prepare is called before the first look-up.
	prepare(tb testing.TB)

	// lookUp looks up one of the sessions.
	lookUp(i int) error

	// expire ends half of the sessions. The result reports whether they have been
	// removed.
	expire(tb testing.TB) (gone func() bool)

	stop()
}

// newCrowd returns an empty crowd of a peer, whose removal of expired sessions
// takes a few times patience to begin, if it can't be told when to begin.
func newCrowd(tb testing.TB, peer string, patience time.Duration) crowd {
	tb.Helper()
	if peer == "ours" {
		return newOurCrowd(tb)
	}
	return &scsCrowd{MemStore: memstore.NewWithCleanupInterval(0), patience: patience}
}

// BenchmarkVolume reports what many sessions in memory cost: the bytes of each,
// how much longer a garbage collection takes, and how long the slowest look-ups
// take, first while nothing expires, and then while half of the sessions do.
func BenchmarkVolume(b *testing.B) {
	for _, sessions := range []int{1000, 100_000, 1_000_000} {
		for _, peer := range []string{"ours", "scs"} {
			b.Run(fmt.Sprintf("sessions=%d/peer=%s", sessions, peer), func(b *testing.B) {
				for b.Loop() {
					for unit, value := range volume(b, peer, sessions, time.Second) {
						b.ReportMetric(value, unit)
					}
				}
				b.ReportMetric(0, "ns/op") // what is measured takes only a part of the time
			})
		}
	}
}

// The long form has 10 million sessions of ours.
func TestVolumeSoak(t *testing.T) {
	if os.Getenv("CLOAKROOM_SOAK") != "" {
		t.Logf("10 million sessions: %v", volume(t, "ours", 10_000_000, time.Second))
		return
	}
	for _, peer := range []string{"ours", "scs"} {
		require.Len(t, volume(t, peer, 100, 10*time.Millisecond), 5)
	}
}

func volume(tb testing.TB, peer string, sessions int, patience time.Duration) map[string]float64 {
	tb.Helper()
	before, without := apptest.Heap(), apptest.Collection()
	c := newCrowd(tb, peer, patience)
	defer c.stop()
	c.fill(tb, sessions)
	size := apptest.Heap() - before
	with := apptest.Collection()
	c.prepare(tb)
	end := time.Now().Add(patience)
	idle := busy()
	quiet, _ := lookUps(tb, c, func() bool { return time.Now().After(end) })
	idle()
	expiring, slowest := lookUps(tb, c, c.expire(tb))
	runtime.KeepAlive(c)
	µs := func(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }
	return map[string]float64{
		"B/session":         float64(size) / float64(sessions),
		"gc-ms":             max(0, µs(with-without)/1000),
		"quiet-p99.999-µs":  µs(quiet),
		"expire-p99.999-µs": µs(expiring),
		"expire-max-µs":     µs(slowest),
	}
}

// lookUps looks up sessions until over says so, and at least 100,000 times. It
// returns the time that one of 100,000 exceeds, and the longest.
func lookUps(tb testing.TB, c crowd, over func() bool) (p99999, longest time.Duration) {
	const (
		noticed = 2 * time.Microsecond // quicker ones are only counted
		least   = 100_000
	)
	slow := make([]time.Duration, 0, 1<<20)
	n := 0
	for ; n < least || n%64 != 0 || !over(); n++ {
		start := time.Now()
		if err := c.lookUp(n); err != nil {
			tb.Fatal(err)
		}
		if d := time.Since(start); d > noticed {
			slow = append(slow, d)
		}
		runtime.Gosched() // as a server does between requests
	}
	slices.Sort(slow)
	if len(slow) <= n/least {
		return noticed, noticed
	}
	return slow[len(slow)-1-n/least], slow[len(slow)-1]
}

// busy keeps a processor busy, as the removal of sessions does, until it is
// stopped. So the look-ups during that removal are compared with others that
// share the machine with as much work.
func busy() (stop func()) {
	var done atomic.Bool
	var group sync.WaitGroup
	group.Go(func() {
		for !done.Load() {
			for start := time.Now(); time.Since(start) < 40*time.Microsecond; {
			}
			runtime.Gosched()
		}
	})
	return func() {
		done.Store(true)
		group.Wait()
	}
}

// sample is how many sessions there are for each one that is looked up.
const sample = 100

// ourCrowd has a clock that can be moved ahead.
type ourCrowd struct {
	*opaque.MemoryStore
	app     *app
	keys    []string
	created int
	removed atomic.Int64
	ahead   atomic.Int64
}

func newOurCrowd(tb testing.TB) crowd {
	tb.Helper()
	c := &ourCrowd{}
	store, err := opaque.NewMemoryStore(opaque.MemoryConfig{
		MaxSessions: roomy, MaxBytes: roomy * 100, Now: c.now, Linger: -1,
		OnExpire: func(string, opaque.Item) { c.removed.Add(1) },
	})
	require.NoError(tb, err)
	c.MemoryStore = store
	c.app = oursIn(tb, "ours", c, c.now)
	return c
}

func (c *ourCrowd) now() time.Time { return time.Now().Add(time.Duration(c.ahead.Load())) }

// Create implements opaque.Store, and remembers some of the keys.
func (c *ourCrowd) Create(ctx context.Context, key string, item opaque.Item) error {
	if c.created++; c.created%sample == 0 {
		c.keys = append(c.keys, key)
	}
	return c.MemoryStore.Create(ctx, key, item)
}

// fill makes the second half of the sessions later than the first.
func (c *ourCrowd) fill(tb testing.TB, sessions int) {
	c.keys = make([]string, 0, sessions/sample)
	visit(tb, c.app, sessions/2)
	c.ahead.Store(int64(idleTimeout * 3 / 4))
	visit(tb, c.app, sessions-sessions/2)
}

func (c *ourCrowd) prepare(testing.TB) {}

func (c *ourCrowd) lookUp(i int) error {
	_, _, err := c.Get(context.Background(), c.keys[i%len(c.keys)])
	return err
}

func (c *ourCrowd) expire(tb testing.TB) (gone func() bool) {
	half := int64(c.created / 2)
	c.ahead.Store(int64(idleTimeout * 5 / 4))
	visit(tb, c.app, 1) // the store notices that the clock was moved
	return func() bool { return c.removed.Load() >= half }
}

func (c *ourCrowd) stop() { _ = c.Close() }

// scsCrowd has two stores, because the clock of scs can't be moved: one that
// never removes anything, and later one in which half of the sessions expire
// before its first sweep.
type scsCrowd struct {
	*memstore.MemStore
	patience time.Duration
	tokens   []string
	count    int
	gone     time.Time // the instant at which the sweep is over
}

func (c *scsCrowd) fill(tb testing.TB, sessions int) {
	c.count = sessions
	visit(tb, scsIn("scs", c.MemStore, idleTimeout), sessions)
}

func (c *scsCrowd) prepare(tb testing.TB) {
	all, err := c.All()
	require.NoError(tb, err)
	require.Len(tb, all, c.count)
	sweep := 4 * c.patience // a minute by default
	c.MemStore = memstore.NewWithCleanupInterval(sweep)
	c.gone = time.Now().Add(sweep + c.patience)
	i := 0
	for token, data := range all {
		expiry := time.Now().Add(time.Hour)
		if i++; i%2 == 0 {
			expiry = c.gone.Add(-2 * c.patience)
		}
		require.NoError(tb, c.Commit(token, data, expiry))
		if i%sample == 0 {
			c.tokens = append(c.tokens, token)
		}
	}
	clear(all)
	runtime.GC()
}

func (c *scsCrowd) lookUp(i int) error {
	_, _, err := c.Find(c.tokens[i%len(c.tokens)])
	return err
}

// expire waits until the sweep must be over.
func (c *scsCrowd) expire(testing.TB) (gone func() bool) {
	return func() bool { return time.Now().After(c.gone) }
}

func (c *scsCrowd) stop() { c.StopCleanup() }

// visit sends requests of new visitors, who log in.
func visit(tb testing.TB, a *app, visitors int) {
	tb.Helper()
	visitor := newBrowser()
	for range visitors {
		visitor.forget()
		if body := visitor.do(a.on[create]); body != "welcome" {
			tb.Fatalf("%s: unexpected answer %q", a.peer, body)
		}
	}
}
