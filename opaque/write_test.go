package opaque_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/cloakroom-go/cloakroom/opaque"
	"github.com/cloakroom-go/cloakroom/session"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A fault is what happens to one call of a lossy store.
type fault int

const (
	none    fault = iota
	refused       // it fails, and nothing happens
	lost          // it happens, and the answer gets lost
	late          // it happens just before the next write
	mixedUp       // a read gets the answer of another one
)

var errLost = errors.New("connection reset")

// A lossy store is a remote one whose next writes and reads have these faults.
type lossy struct {
	opaque.Store
	mu      sync.Mutex
	writes  []fault
	reads   []fault
	another string // the key that a read gets the answer for when it is mixed up
	delayed []func()
	longest time.Duration // that a write had, by its context
	wrote   int
}

func (l *lossy) next(faults *[]fault) fault {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(*faults) == 0 {
		return none
	}
	f := (*faults)[0]
	*faults = (*faults)[1:]
	return f
}

// write calls do as the next fault says.
func (l *lossy) write(ctx context.Context, do func() error) error {
	if end, ok := ctx.Deadline(); ok {
		l.longest = max(l.longest, time.Until(end))
	}
	l.wrote++
	f := l.next(&l.writes)
	for _, late := range l.delayed {
		late()
	}
	l.delayed = nil
	switch f {
	case refused:
		return errLost
	case lost:
		_ = do()
		return errLost
	case late:
		l.delayed = append(l.delayed, func() { _ = do() })
		return errLost
	}
	return do()
}

func (l *lossy) Create(ctx context.Context, key string, item opaque.Item) error {
	return l.write(ctx, func() error { return l.Store.Create(ctx, key, item) })
}

func (l *lossy) Swap(ctx context.Context, key string, version uint64, item opaque.Item) (ok bool, err error) {
	err = l.write(ctx, func() (err error) {
		ok, err = l.Store.Swap(context.WithoutCancel(ctx), key, version, item)
		return err
	})
	return ok && err == nil, err
}

func (l *lossy) Get(ctx context.Context, key string) (opaque.Item, bool, error) {
	switch l.next(&l.reads) {
	case none:
		return l.Store.Get(ctx, key)
	case mixedUp:
		return l.Store.Get(ctx, l.another)
	}
	return opaque.Item{}, false, errLost
}

func newLossy(t *testing.T) (*place, *lossy) {
	l := new(lossy)
	p := newPlace(t, true, func(c *opaque.CarrierConfig) { l.Store, c.Store = c.Store, l })
	return p, l
}

// Each row is what happens to the writes and reads of one call of the carrier,
// and whether the call succeeds all the same.
var lostAnswers = []struct {
	name   string
	writes []fault
	reads  []fault
	ok     bool
}{
	{"none", nil, nil, true},
	{"the answer is lost", []fault{lost}, nil, true},
	{"the call is lost", []fault{refused}, nil, true},
	{"the call comes late", []fault{late}, nil, true},
	{"both answers are lost", []fault{refused, lost}, nil, true},
	{"both come late", []fault{late, late}, nil, true},
	{"the store is down", []fault{refused, refused, refused}, nil, false},
	{"the store is down for the look", []fault{lost}, []fault{lost}, false},
}

func TestLostAnswers(t *testing.T) {
	for _, row := range lostAnswers {
		t.Run(row.name, func(t *testing.T) {
			p, l := newLossy(t)
			rec := alice()
			credential, err := p.Issue(t.Context(), rec, "")
			require.NoError(t, err)
			try := func(what string, f func() error) {
				l.writes, l.reads = row.writes, row.reads
				err := f()
				l.writes, l.reads = nil, nil
				if row.ok {
					assert.NoError(t, err, what)
				} else {
					assert.ErrorIs(t, err, session.Unavailable, what)
				}
			}
			try("Issue", func() error { _, err := p.Issue(t.Context(), alice(), ""); return err })
			try("Save", func() error {
				next, _, err := p.Save(t.Context(), credential, rec, set(p, rec, "flag"))
				if err == nil {
					rec = next
				}
				return err
			})
			found, _, err := p.Open(t.Context(), credential)
			require.NoError(t, err)
			assert.LessOrEqual(t, found.Version, uint64(4), "saved once at most")
			assert.Equal(t, row.ok, found.Version == rec.Version && rec.Version == 4)
			rec = found
			successor, err := p.Issue(t.Context(), rec, "")
			require.NoError(t, err)
			try("Retire", func() error {
				_, err := p.Retire(t.Context(), credential, rec, successor, 0)
				return err
			})
			if row.ok {
				_, _, err = p.Open(t.Context(), credential)
				assert.ErrorAs(t, err, new(*session.SupersededError))
			}
			try("End", func() error { return p.End(t.Context(), successor, rec) })
			if row.ok {
				_, _, err = p.Open(t.Context(), successor)
				assert.ErrorIs(t, err, session.NotFound)
			}
		})
	}
}

// A change whose answer got lost, and before or after which others have saved,
// is not made a second time, and is not taken for theirs.
func TestLostAnswerIsNotRepeated(t *testing.T) {
	for what, row := range map[string]struct {
		fault   fault
		version uint64
	}{"ours, then theirs": {lost, 5}, "only theirs": {refused, 4}} {
		t.Run(what, func(t *testing.T) {
			p, l := newLossy(t)
			rec := alice()
			credential, err := p.Issue(t.Context(), rec, "")
			require.NoError(t, err)
			between := &builder{lossy: l}
			c, err := opaque.NewCarrier(opaque.CarrierConfig{Store: between, Secrets: secrets(), Now: p.clock})
			require.NoError(t, err)
			between.then = func() {
				mine, _, err := p.Open(t.Context(), credential)
				require.NoError(t, err)
				_, _, err = p.Save(t.Context(), credential, mine, set(p, mine, "theirs"))
				require.NoError(t, err)
			}
			l.writes = []fault{row.fault}
			_, _, err = c.Save(t.Context(), credential, rec, set(p, rec, "ours"))
			assert.ErrorIs(t, err, session.Unavailable)
			found, _, err := p.Open(t.Context(), credential)
			require.NoError(t, err)
			assert.Equal(t, row.version, found.Version)
		})
	}
}

// A builder lets another request save between a write and the look after it.
type builder struct {
	*lossy
	then func()
}

func (b *builder) Get(ctx context.Context, key string) (opaque.Item, bool, error) {
	if then := b.then; then != nil {
		b.then = nil
		then()
	}
	return b.lossy.Get(ctx, key)
}

// The second look is part of the time that the caller gives.
func TestTimeOfTheSecondLook(t *testing.T) {
	p, l := newLossy(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	_, err := p.Issue(ctx, alice(), "")
	require.NoError(t, err)
	assert.Positive(t, l.longest)
	assert.LessOrEqual(t, l.longest, time.Minute-250*time.Millisecond)
}

// A store in this process says what has happened: it is not asked again.
func TestErrorsInProcessAreFinal(t *testing.T) {
	l := new(lossy)
	p := newPlace(t, false, func(c *opaque.CarrierConfig) { l.Store, c.Store = c.Store, inProcess{l} })
	l.writes = []fault{refused}
	_, err := p.Issue(t.Context(), alice(), "")
	assert.ErrorIs(t, err, session.Unavailable)
	assert.Empty(t, l.writes)
	assert.Zero(t, p.memory.Len())
}

type inProcess struct{ *lossy }

func (inProcess) InProcess() bool { return true }

// A tooLarge store takes no swap.
type tooLarge struct{ *lossy }

func (tooLarge) Swap(context.Context, string, uint64, opaque.Item) (bool, error) {
	return false, session.TooLarge
}

// A store that says that it has done nothing is asked once, and the client
// needs no ticket. One that says so though it has done the write loses the
// session: that is its own fault.
func TestNothingDone(t *testing.T) {
	for _, done := range []bool{false, true} {
		p, l := newLossy(t)
		old, err := p.Issue(t.Context(), alice(), "")
		require.NoError(t, err)
		base, _, err := p.Open(t.Context(), old)
		require.NoError(t, err)
		refusing := &refusing{lossy: l, done: done}
		c, err := opaque.NewCarrier(opaque.CarrierConfig{Store: refusing, Secrets: secrets(), Now: p.clock})
		require.NoError(t, err)
		for what, err := range map[string]error{
			"Issue":  func() error { _, err := c.Issue(t.Context(), alice(), ""); return err }(),
			"Save":   func() error { _, _, err := c.Save(t.Context(), old, base, set(p, base, "x")); return err }(),
			"Retire": retire(t, c, old, base, "cr1_"+rand.Text(), 0),
			"End":    func() error { refusing.calls--; return c.End(t.Context(), old, base) }(), // it looks first
		} {
			assert.ErrorIs(t, err, session.Unavailable, what)
			assert.ErrorIs(t, err, opaque.ErrNotDone, what)
		}
		assert.Equal(t, 4, refusing.calls)
		_, _, err = p.Open(t.Context(), old)
		assert.Equal(t, done, err != nil)
	}
}

// A refusing store does nothing, or only says so.
type refusing struct {
	*lossy
	done  bool
	calls int
}

func (r *refusing) Get(ctx context.Context, key string) (opaque.Item, bool, error) {
	r.calls++
	return r.lossy.Get(ctx, key)
}

func (r *refusing) Create(context.Context, string, opaque.Item) error {
	r.calls++
	return fmt.Errorf("server is full: %w", opaque.ErrNotDone)
}

func (r *refusing) Swap(ctx context.Context, key string, version uint64, item opaque.Item) (bool, error) {
	r.calls++
	if r.done {
		_, _ = r.lossy.Swap(ctx, key, version, item)
	}
	return false, fmt.Errorf("server is full: %w", opaque.ErrNotDone)
}
