package revocation_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/revocation"
	"github.com/cloakroom-go/cloakroom/session"
)

const (
	healed = 200 // entries of the log
	kept   = 100 // those that a loss leaves
)

// numbered returns the record of a session.
func numbered(i int) *session.Record {
	rec := loginAt(time.Now())
	rec.ID = fmt.Sprintf("session %d", i)
	rec.Subject = fmt.Sprintf("subject %d", i)
	return rec
}

// A healing is three instances whose log has entries, each of which one of them
// has made.
type healing struct {
	t     *testing.T
	log   *memoryLog
	lists []*revocation.List
}

func startHealing(t *testing.T) *healing {
	h := &healing{t: t, log: newMemoryLog()}
	h.log.page = 7
	for range 3 {
		h.lists = append(h.lists, shared(t, h.log))
	}
	synctest.Wait()
	for i := range healed {
		require.NoError(t, h.lists[i%len(h.lists)].EndSession(t.Context(), numbered(i)))
	}
	time.Sleep(time.Second)
	h.log.set(func() { h.log.taken = nil })
	return h
}

// whole expects that the log has everything again, after at most so many
// entries that were appended, and none of what it had kept.
func (h *healing) whole(most, kept int) {
	h.t.Helper()
	h.log.set(func() { h.log.onRead = nil })
	time.Sleep(5 * time.Second)
	h.hasAll()
	h.log.mu.Lock()
	defer h.log.mu.Unlock()
	require.LessOrEqual(h.t, len(h.log.taken), most)
	old := map[string]bool{}
	for _, e := range h.log.entries[:kept] {
		old[e.Key[:17]] = true
	}
	for _, e := range h.log.taken {
		require.False(h.t, old[e.Key[:17]], "appended, though the log has it")
	}
}

// hasAll expects an instance that starts to know everything.
func (h *healing) hasAll() {
	h.t.Helper()
	l := shared(h.t, h.log)
	time.Sleep(time.Second)
	for i := range healed {
		require.ErrorIs(h.t, l.Check(numbered(i)), session.Ended, "%d", i)
	}
	require.NoError(h.t, l.Close())
}

func (h *healing) close() {
	for _, l := range h.lists {
		require.NoError(h.t, l.Close())
	}
}

// After a loss each instance appends what the log lacks, and no more.
func TestLossIsMadeGood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := startHealing(t)
		h.log.lose(kept)
		h.whole(len(h.lists)*(healed-kept), kept)
		for _, l := range h.lists {
			require.EqualValues(t, 1, l.Stats().Losses)
		}
		h.close()
	})
}

// A read that fails on the way goes on where it was.
func TestLossAndFailedReads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := startHealing(t)
		fails := 0
		h.log.set(func() {
			h.log.onRead = func(n int) error {
				h.log.mu.Lock()
				defer h.log.mu.Unlock()
				if n == 21 && fails < 6 {
					fails++
					return errors.New("down")
				}
				return nil
			}
		})
		h.log.lose(kept)
		time.Sleep(5 * time.Second)
		h.log.set(func() { require.Equal(t, 6, fails) })
		h.whole(len(h.lists)*(healed-kept), kept)
		h.close()
	})
}

// The log loses more while the instances read what the first loss has left.
func TestSecondLossMeanwhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := startHealing(t)
		lost := false
		h.log.set(func() {
			h.log.onRead = func(n int) error {
				h.log.mu.Lock()
				again := n == 70 && !lost
				lost = lost || again
				h.log.mu.Unlock()
				if again {
					h.log.lose(kept / 2)
				}
				return nil
			}
		})
		h.log.lose(kept)
		time.Sleep(5 * time.Second)
		h.log.set(func() { require.True(t, lost) })
		h.whole(2*len(h.lists)*(healed-kept/2), kept/2)
		h.close()
	})
}

// What ends while the instances read is in the log, too.
func TestEndsWhileALossIsMadeGood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := startHealing(t)
		ends := 0
		h.log.set(func() {
			h.log.onRead = func(n int) error {
				h.log.mu.Lock()
				i := ends
				ends++
				h.log.mu.Unlock()
				if n > 0 && i < 30 {
					require.NoError(t, h.lists[i%len(h.lists)].EndSession(t.Context(), numbered(healed+i)))
				}
				return nil
			}
		})
		h.log.lose(kept)
		time.Sleep(5 * time.Second)
		h.whole(len(h.lists)*(healed-kept+30), kept)
		l := shared(t, h.log)
		time.Sleep(time.Second)
		known := 0
		for i := range 30 {
			if l.Check(numbered(healed+i)) != nil {
				known++
			}
		}
		require.Greater(t, known, 20, "those that began when a page had been read")
		require.NoError(t, l.Close())
		h.close()
	})
}

// An instance that shuts down before it has read everything appends all that it
// has not read: nothing else may know it.
func TestCloseBeforeALossIsMadeGood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := startHealing(t)
		h.log.set(func() {
			h.log.onRead = func(n int) error {
				if n == 70 {
					return errors.New("down")
				}
				return nil
			}
		})
		h.log.lose(kept)
		time.Sleep(2 * time.Second)
		h.log.set(func() { require.Empty(t, h.log.taken) })
		h.close()
		h.log.set(func() {
			require.NotEmpty(t, h.log.taken)
			h.log.onRead = nil
		})
		h.hasAll()
		h.log.mu.Lock()
		require.LessOrEqual(t, len(h.log.taken), len(h.lists)*(healed-70))
		h.log.mu.Unlock()
	})
}

// A loss may leave an entry that does not live as long as the list knows.
func TestLossOfALongerLife(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := newMemoryLog()
		l := shared(t, log)
		synctest.Wait()
		for range 2 {
			require.NoError(t, l.EndSubject(t.Context(), "alice"))
			require.NoError(t, l.EndSession(t.Context(), numbered(1)))
			time.Sleep(10 * time.Minute)
		}
		require.Len(t, log.entries, 4)
		last := log.entries[3]
		require.Equal(t, log.entries[1].Value>>33, last.Value>>33)
		log.lose(3)
		time.Sleep(5 * time.Second)
		log.mu.Lock()
		require.Len(t, log.entries, 4)
		require.Equal(t, last.Key[:17], log.entries[3].Key[:17])
		require.Equal(t, last.Until, log.entries[3].Until)
		log.mu.Unlock()
		require.NoError(t, l.Close())
	})
}

// A loss may leave the end of a session in which nobody had logged in, which
// lists may forget, and drop that of the same session with a subject.
func TestLossOfASubject(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := newMemoryLog()
		l := shared(t, log)
		synctest.Wait()
		rec := numbered(1)
		nobody := *rec
		nobody.Subject, nobody.AuthenticatedAt = "", time.Time{}
		require.NoError(t, l.EndSession(t.Context(), &nobody))
		require.NoError(t, l.EndSession(t.Context(), rec))
		log.lose(1)
		time.Sleep(5 * time.Second)
		log.set(func() {
			require.Len(t, log.entries, 2)
			require.Equal(t, "a", log.entries[0].Key[:1])
			require.Equal(t, "s", log.entries[1].Key[:1])
		})
		require.NoError(t, l.Close())
	})
}

// More is lost than may wait for an append, and still only that is appended.
func TestLargeLoss(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := newMemoryLog()
		l := shared(t, log)
		const all, lost = 90_000, 70_000
		entries := make([]revocation.Entry, all)
		for i := range entries {
			key := binary.BigEndian.AppendUint64([]byte("s12345678"), uint64(i))
			entries[i] = revocation.Entry{Key: string(key), Value: 1 << 33, Until: time.Now().Add(time.Hour)}
		}
		require.NoError(t, log.Append(t.Context(), entries))
		synctest.Wait()
		require.Equal(t, all, l.Stats().Sessions)
		log.set(func() { log.taken = nil })
		log.lose(all - lost)
		time.Sleep(5 * time.Second)
		log.mu.Lock()
		require.Len(t, log.taken, lost)
		require.Len(t, log.entries, all)
		log.mu.Unlock()
		require.NoError(t, l.Close())
	})
}
