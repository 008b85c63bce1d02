package revocation_test

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/revocation"
)

// Stats count what the list did with its log.
func TestStats(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := newMemoryLog()
		l := shared(t, log)
		synctest.Wait()
		require.Equal(t, revocation.Stats{}, l.Stats())
		require.NoError(t, l.EndSession(t.Context(), loginAt(time.Now())))
		require.NoError(t, l.EndSubject(t.Context(), "bob"))
		require.NoError(t, l.EndAll(t.Context()))
		synctest.Wait()
		s := l.Stats()
		require.Equal(t, revocation.Stats{Staleness: s.Staleness, Sessions: 1, Subjects: 2, Appends: 3}, s)

		time.Sleep(200 * time.Millisecond) // within the wait of one Read
		require.Equal(t, s.Staleness+200*time.Millisecond, l.Stats().Staleness)

		log.set(func() { log.unwrit = errors.New("down") })
		require.Error(t, l.EndSubject(t.Context(), "carol"))
		require.EqualValues(t, 1, l.Stats().FailedAppends)
		time.Sleep(1500 * time.Millisecond) // one more try
		require.EqualValues(t, 2, l.Stats().FailedAppends)
		log.set(func() { log.unwrit = nil })
		time.Sleep(time.Second)
		require.EqualValues(t, 4, l.Stats().Appends)

		log.set(func() { log.entries, log.ahead = nil, -time.Minute })
		time.Sleep(3 * time.Second)
		s = l.Stats()
		require.EqualValues(t, 1, s.Losses)
		require.Equal(t, -time.Minute, s.ClockOffset)
		require.NoError(t, l.Close())
	})
}

// A list without a log has only entries, and the zero list nothing at all.
func TestStatsWithoutALog(t *testing.T) {
	l := revocation.NewVolatile(revocation.Config{})
	require.NoError(t, l.EndSubject(t.Context(), "alice"))
	require.Equal(t, revocation.Stats{Subjects: 1}, l.Stats())
	require.Equal(t, revocation.Stats{}, new(revocation.List).Stats())
}
