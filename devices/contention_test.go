package devices_test

import (
	"context"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/devices"
	"github.com/cloakroom-go/cloakroom/session"
)

// A slowIndex is as far away as a busy server.
type slowIndex struct{ devices.Index }

func wait() { time.Sleep(time.Millisecond + time.Duration(rand.IntN(1000))*time.Microsecond) }

func (x slowIndex) Enter(ctx context.Context, of string, e devices.Entry, replaces string, limit int) error {
	wait()
	return x.Index.Enter(ctx, of, e, replaces, limit)
}

func (x slowIndex) List(ctx context.Context, of string) ([]devices.Entry, error) {
	wait()
	return x.Index.List(ctx, of)
}

func (x slowIndex) Mark(ctx context.Context, of, id string, until time.Time) ([]devices.Entry, error) {
	wait()
	return x.Index.Mark(ctx, of, id, until)
}

func (x slowIndex) Leave(ctx context.Context, of, id string, keys ...string) error {
	wait()
	return x.Index.Leave(ctx, of, id, keys...)
}

// Many logins at once of one subject get through within the timeout of a
// request, though each has to end another session.
func TestLimitUnderContention(t *testing.T) {
	const logins, limit = 50, 5
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, func(c *devices.Config) {
			c.Limit = func(string) int { return limit }
			c.Index = slowIndex{c.Index}
		})
		begun := time.Now()
		var all sync.WaitGroup
		for range logins {
			all.Go(func() {
				ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
				defer cancel()
				_, err := w.login(ctx, w.record("alice"), false)
				assert.NoError(t, err)
			})
		}
		all.Wait()
		t.Logf("%d logins with a limit of %d: %v, %d calls", logins, limit, time.Since(begun), w.faults.calls)
		require.Len(t, w.listed("alice"), limit)
	})
}

// A session with as many keys as an entry may have waits for one to go, without
// keeping the index busy.
func TestTooManyKeys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil)
		rec, key := w.mustLogin("alice")
		for range devices.MaxKeys - 1 { // renewals that have made an item, and not yet retired the old one
			other := w.name(43)
			require.NoError(t, w.store.Create(t.Context(), other, itemOf(rec)))
			require.NoError(t, w.Enter(t.Context(), nil, rec, other, rec, key))
		}
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		w.faults.set(0, false)
		err := w.Enter(ctx, nil, rec, "one more", rec, key)
		require.ErrorIs(t, err, session.Unavailable)
		require.Less(t, w.faults.calls, 300)

		time.AfterFunc(500*time.Millisecond, func() { _ = w.Forget(context.Background(), rec, key) })
		ctx, cancel = context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		require.NoError(t, w.Enter(ctx, nil, rec, "one more", rec, key))
	})
}

// A list is in the same order each time, though an index returns its entries in
// any order.
func TestListIsInOrder(t *testing.T) {
	w := newWorld(t, nil)
	for range 20 {
		w.mustLogin("alice")
	}
	first, err := w.List(t.Context(), "alice")
	require.NoError(t, err)
	for range 5 {
		again, err := w.List(t.Context(), "alice")
		require.NoError(t, err)
		require.Equal(t, first, again)
	}
}

// A list of many sessions that are over removes them at once, and not one after
// the other.
func TestListRemovesMany(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, func(c *devices.Config) { c.Index = slowIndex{c.Index} })
		for range 80 {
			_, key := w.mustLogin("alice")
			require.NoError(t, w.store.Delete(t.Context(), key))
		}
		begun := time.Now()
		require.Empty(t, w.listed("alice"))
		require.Empty(t, w.entries("alice"))
		require.Less(t, time.Since(begun), 20*time.Millisecond)
	})
}
