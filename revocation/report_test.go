package revocation_test

import (
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/revocation"
	"github.com/cloakroom-go/cloakroom/session"
)

// An outage is one report, however long it lasts; the next one is another.
func TestReportOncePerOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := filepath.Join(t.TempDir(), "journal")
		require.NoError(t, os.Mkdir(dir, 0o700))
		reports := make(chan error, 10)
		var l *revocation.List
		l, err := revocation.Open(revocation.Config{
			Path:     filepath.Join(dir, "revocations"),
			Lifetime: lifetime,
			Now:      newClock().Now,
			OnProblem: func(err error) {
				l.EndSession(t.Context(), until("reported", 0, start.Add(lifetime))) // may be called from here
				reports <- err
			},
		})
		require.NoError(t, err)
		outage := func(first, second string) {
			require.NoError(t, os.RemoveAll(dir))
			ok, err := l.EndBelow(t.Context(), until(first, 1, start.Add(lifetime)))
			require.True(t, ok)
			require.ErrorIs(t, err, session.Unavailable)
			time.Sleep(time.Minute)
			require.ErrorIs(t, l.EndSession(t.Context(), until(second, 0, start.Add(lifetime))), session.Unavailable)
			synctest.Wait()
			require.Len(t, reports, 1, "neither for each retry nor for each entry")
			require.ErrorContains(t, <-reports, "revocation: the journal can't be written")
		}
		recovery := func() {
			require.NoError(t, os.Mkdir(dir, 0o700))
			time.Sleep(time.Minute)
			synctest.Wait()
		}
		require.NoError(t, l.EndSession(t.Context(), until("before", 0, start.Add(lifetime))))
		outage("a", "b")
		recovery()
		require.NoError(t, l.EndSession(t.Context(), until("between", 0, start.Add(lifetime))))
		require.Empty(t, reports, "a recovery is no failure")
		outage("c", "d")
		recovery()
		require.NoError(t, l.Close())
		require.Empty(t, reports)
	})
}

// Close waits for a report that is slow.
func TestCloseWaitsForReports(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := filepath.Join(t.TempDir(), "journal")
		require.NoError(t, os.Mkdir(dir, 0o700))
		reported := 0
		l, err := revocation.Open(revocation.Config{
			Path:      filepath.Join(dir, "revocations"),
			Lifetime:  lifetime,
			OnProblem: func(error) { time.Sleep(time.Minute); reported++ },
		})
		require.NoError(t, err)
		require.NoError(t, os.RemoveAll(dir))
		require.Error(t, l.EndSession(t.Context(), until("a", 0, start.Add(lifetime))))
		require.Error(t, l.Close())
		require.Equal(t, 1, reported, "Close has waited for it")
	})
}
