package rotation_test

import (
	"os"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/internal/keyset"
	steps "github.com/cloakroom-go/cloakroom/internal/rotation"
	"github.com/cloakroom-go/cloakroom/keys"
	"github.com/cloakroom-go/cloakroom/keys/rotation"
)

// A machine is a process with a Rotator, inside of a synctest bubble.
type machine struct {
	rotator *rotation.Rotator
	ring    *keys.Ring
	mu      sync.Mutex // guards what follows
	changes [][]string
	errs    []error
}

func start(t testing.TB, f keyset.File, ring *keys.Ring) *machine { return startWith(t, f, ring, 0) }

func startWith(t testing.TB, f keyset.File, ring *keys.Ring, lockTimeout time.Duration) *machine {
	m := &machine{ring: ring}
	cfg := rotation.RotatorConfig{File: keys.File(f), Ring: ring, LockTimeout: lockTimeout}
	cfg.OnRotated = func(c []string) {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.changes = append(m.changes, c)
	}
	cfg.OnProblem = func(err error) {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.errs = append(m.errs, err)
	}
	var err error
	m.rotator, err = rotation.NewRotator(cfg)
	require.NoError(t, err)
	return m
}

// news returns what the machine has told since the last time.
func (m *machine) news() (changes [][]string, errs []error) {
	synctest.Wait()
	m.mu.Lock()
	defer m.mu.Unlock()
	changes, errs = m.changes, m.errs
	m.changes, m.errs = nil, nil
	return changes, errs
}

func (m *machine) stop(t testing.TB) {
	t.Helper()
	require.NoError(t, m.rotator.Close())
	require.NoError(t, m.rotator.Close(), "again")
}

// quiet says that nothing was told.
func (m *machine) quiet(t testing.TB) {
	t.Helper()
	changes, errs := m.news()
	require.Empty(t, changes)
	require.Empty(t, errs)
}

// bubble runs a test with a new key file, made when the bubble's clock begins.
func bubble(t *testing.T, test func(t *testing.T, f keyset.File)) {
	synctest.Test(t, func(t *testing.T) {
		p := with(func(p *keyset.Policy) { p.RotationPeriod = day }) // the file is read every ten minutes
		set, err := steps.New(p, time.Now(), keyset.ES256, keyset.Direct)
		require.NoError(t, err)
		test(t, place(t, set))
	})
}

func generation(t testing.TB, f keyset.File) int64 {
	t.Helper()
	set, err := f.Read()
	require.NoError(t, err)
	return set.Generation()
}

// The keys change in the second in which they are due, and the process that
// changed them uses the new ones immediately.
func TestRotator(t *testing.T) {
	bubble(t, func(t *testing.T, f keyset.File) {
		ring := openRing(t, f)
		m := start(t, f, ring)
		time.Sleep(day - time.Minute - 1)
		m.quiet(t)
		require.EqualValues(t, 1, generation(t, f))
		time.Sleep(time.Nanosecond)
		changes, errs := m.news()
		require.Empty(t, errs)
		require.Len(t, changes, 1)
		require.Len(t, changes[0], 10, "two new keys")
		require.Len(t, ring.Set().Keys(), 6)
		require.EqualValues(t, 2, ring.Health(time.Now()).Generation)
		time.Sleep(time.Hour - 1)
		m.quiet(t)
		time.Sleep(time.Nanosecond)
		changes, _ = m.news()
		require.Contains(t, changes[0][0], ": erased")
		time.Sleep(17 * time.Minute)
		changes, _ = m.news()
		require.Len(t, changes[0], 2, "two are pruned")
		time.Sleep(9*day + time.Hour)
		changes, errs = m.news()
		require.Empty(t, errs)
		require.Len(t, changes, 3*9, "and so on")
		require.Empty(t, steps.Inspect((*keyset.Set)(ring.Set()), time.Now()))
		m.stop(t)
		time.Sleep(10 * day)
		m.quiet(t)
	})
}

// Of many processes with one file, one writes.
func TestRotatorRace(t *testing.T) {
	bubble(t, func(t *testing.T, f keyset.File) {
		var all []*machine
		for range 5 {
			ring := openRing(t, f)
			all = append(all, start(t, f, ring))
		}
		time.Sleep(day)
		wrote := 0
		for _, m := range all {
			changes, errs := m.news()
			require.Empty(t, errs)
			wrote += len(changes)
		}
		require.Equal(t, 1, wrote)
		require.EqualValues(t, 2, generation(t, f))
		for _, m := range all {
			require.NoError(t, m.ring.Reload())
			m.stop(t)
		}
	})
}

// What others do to the file counts when it is looked at next.
func TestRotatorFollowsTheFile(t *testing.T) {
	bubble(t, func(t *testing.T, f keyset.File) {
		m := start(t, f, nil)
		time.Sleep(time.Minute)
		set, err := f.Read()
		require.NoError(t, err)
		shorter := with(func(p *keyset.Policy) { p.RotationPeriod = 2 * time.Hour })
		_, _, err = steps.SetPolicy(func(p *keyset.Policy) { *p = shorter }).Apply(t.Context(), f, time.Now())
		require.NoError(t, err)
		time.Sleep(2 * time.Hour) // the first key ends a minute before
		changes, errs := m.news()
		require.Empty(t, errs)
		require.Len(t, changes, 1)
		for _, k := range set.Keys() {
			require.NotContains(t, changes[0][0], k.ID())
		}
		m.stop(t)
	})
}

// What can't be done is told, and tried again the next time.
func TestRotatorSurvives(t *testing.T) {
	for _, row := range []struct {
		name         string
		spoil, mend  func(t *testing.T, f keyset.File)
		want         error
		often, again time.Duration // how often it is told, and how long until it is noticed that all is well again
	}{
		{
			"a broken file",
			func(t *testing.T, f keyset.File) { require.NoError(t, os.WriteFile(f.Path, []byte("{"), 0o600)) },
			func(t *testing.T, f keyset.File) { require.NoError(t, os.Rename(f.Path+".good", f.Path)) },
			keyset.ErrInvalidFile, 10 * time.Minute, 10 * time.Minute,
		},
		{
			"no file",
			func(t *testing.T, f keyset.File) { require.NoError(t, os.Remove(f.Path)) },
			func(t *testing.T, f keyset.File) { require.NoError(t, os.Rename(f.Path+".good", f.Path)) },
			os.ErrNotExist, 10 * time.Minute, 10 * time.Minute,
		},
		{
			"a file that others can read",
			func(t *testing.T, f keyset.File) { require.NoError(t, os.Chmod(f.Path, 0o644)) },
			func(t *testing.T, f keyset.File) { require.NoError(t, os.Chmod(f.Path, 0o600)) },
			keyset.ErrUnsafeFile, 10 * time.Minute, 10 * time.Minute,
		},
	} {
		t.Run(row.name, func(t *testing.T) {
			bubble(t, func(t *testing.T, f keyset.File) {
				require.NoError(t, os.WriteFile(f.Path+".good", []byte(content(t, f.Path)), 0o600))
				m := start(t, f, nil)
				row.spoil(t, f)
				time.Sleep(row.often)
				for range 3 {
					_, errs := m.news()
					require.Len(t, errs, 1, "each attempt")
					require.ErrorIs(t, errs[0], row.want)
					time.Sleep(row.often)
				}
				row.mend(t, f)
				_, _ = m.news()
				time.Sleep(row.again)
				m.quiet(t)
				time.Sleep(day)
				changes, errs := m.news()
				require.Empty(t, errs)
				require.NotEmpty(t, changes)
				m.stop(t)
			})
		})
	}
}

// Somebody else holds the lock when the keys are due, for long.
func TestRotatorLocked(t *testing.T) {
	for name, timeout := range map[string]time.Duration{"default": 0, "a minute": time.Minute} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, f keyset.File) {
				release, held := make(chan bool), make(chan error, 1)
				go func() { held <- f.Update(t.Context(), func(*keyset.Set) error { <-release; return nil }) }()
				synctest.Wait()
				m := startWith(t, f, nil, timeout)
				time.Sleep(day - time.Minute)
				m.quiet(t)
				if timeout == 0 {
					timeout = 10 * time.Second
				}
				time.Sleep(timeout - time.Millisecond)
				m.quiet(t)
				time.Sleep(20 * time.Millisecond)
				_, errs := m.news()
				require.Len(t, errs, 1)
				require.ErrorIs(t, errs[0], keyset.ErrLocked)
				close(release)
				require.NoError(t, <-held)
				time.Sleep(10 * time.Minute)
				changes, errs := m.news()
				require.Empty(t, errs)
				require.Len(t, changes, 1)
				m.stop(t)
			})
		})
	}
}

// The lock can't be taken, as in a directory that can't be written.
func TestRotatorWithoutALock(t *testing.T) {
	bubble(t, func(t *testing.T, f keyset.File) {
		require.NoError(t, os.Remove(f.Path+".lock"))
		require.NoError(t, os.Mkdir(f.Path+".lock", 0o700))
		m := start(t, f, nil)
		time.Sleep(day - time.Minute - 1)
		m.quiet(t) // reading needs no lock
		time.Sleep(25 * time.Minute)
		changes, errs := m.news()
		require.Empty(t, changes)
		require.Len(t, errs, 3, "at once, and every ten minutes")
		require.NoError(t, os.Remove(f.Path+".lock"))
		time.Sleep(10 * time.Minute)
		changes, errs = m.news()
		require.Empty(t, errs)
		require.Len(t, changes, 1)
		m.stop(t)
	})
}

// A directory that can't be written. Root can write it whatever its mode.
func TestRotatorReadOnlyDirectory(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Skip("nothing is read-only to root; TestRotatorWithoutALock is much the same")
	}
	bubble(t, func(t *testing.T, f keyset.File) {
		dir := f.Path[:len(f.Path)-len("/keys.json")]
		require.NoError(t, os.Chmod(dir, 0o500))
		defer func() { require.NoError(t, os.Chmod(dir, 0o700)) }()
		m := start(t, f, nil)
		time.Sleep(day)
		changes, errs := m.news()
		require.Empty(t, changes)
		require.ErrorIs(t, errs[0], os.ErrPermission)
		require.NoError(t, os.Chmod(dir, 0o700))
		time.Sleep(10 * time.Minute)
		changes, _ = m.news()
		require.Len(t, changes, 1)
		m.stop(t)
	})
}

// A process that was suspended for long recovers immediately, and cleans up a
// second later.
func TestRotatorAfterALongTime(t *testing.T) {
	bubble(t, func(t *testing.T, f keyset.File) {
		time.Sleep(365 * day)
		m := start(t, f, nil)
		changes, errs := m.news()
		require.Empty(t, errs)
		require.Len(t, changes, 1)
		require.Len(t, changes[0], 4*5, "two keys of each use")
		time.Sleep(time.Second)
		changes, _ = m.news()
		require.Len(t, changes[0], 4, "the old ones are pruned")
		m.stop(t)
	})
}

// A Ring without a file can't reload: the Rotator reports it, and rotates
// nothing, because the Ring would go on with the old keys.
func TestRotatorWithAnotherRing(t *testing.T) {
	bubble(t, func(t *testing.T, f keyset.File) {
		ring, err := keys.NewRing()
		require.NoError(t, err)
		time.Sleep(day)
		m := start(t, f, ring)
		changes, errs := m.news()
		require.Empty(t, changes)
		require.Len(t, errs, 1)
		require.ErrorContains(t, errs[0], "the ring has no key file to reload")
		require.EqualValues(t, 1, generation(t, f))
		m.stop(t)
	})
}

// A backup was restored, and the Ring refuses it. Rotating it would raise its
// generation until the Ring takes it for a newer file.
func TestRotatorLeavesARestoredBackupAlone(t *testing.T) {
	f := place(t, open(t, keyset.ES256))
	now := zero().Add(month)
	_, _, err := steps.IfDue().Apply(t.Context(), f, now)
	require.NoError(t, err)
	ring := openRing(t, f)
	require.NoError(t, os.Rename(f.Path+".bak", f.Path))
	for range 2 {
		now = now.Add(month)
		_, err = look(t, rotation.RotatorConfig{File: keys.File(f), Ring: ring, Now: func() time.Time { return now }})
		require.ErrorIs(t, err, keyset.ErrInvalidFile)
		require.ErrorContains(t, err, "has generation 1, and 2 is in force")
	}
	require.EqualValues(t, 1, generation(t, f))
	require.Len(t, ring.Set().Keys(), 3)
}

// look starts a Rotator, and closes it after its first look.
func look(t testing.TB, cfg rotation.RotatorConfig) (next time.Time, err error) {
	t.Helper()
	cfg.OnProblem = func(e error) { err = e }
	r, failed := rotation.NewRotator(cfg)
	require.NoError(t, failed)
	require.NoError(t, r.Close())
	return r.Next(), err
}

// Hooks and the ring are optional. NewRotator does what is due before it
// returns.
func TestNewRotator(t *testing.T) {
	f := place(t, open(t, keyset.ES256))
	now := zero()
	cfg := rotation.RotatorConfig{File: keys.File(f), Now: func() time.Time { return now }}
	next, err := look(t, cfg)
	require.NoError(t, err)
	require.Equal(t, zero().Add(month-time.Minute), next)
	now = next.Add(-time.Second)
	again, err := look(t, cfg)
	require.NoError(t, err)
	require.Equal(t, next, again)
	require.EqualValues(t, 1, generation(t, f))
	now = next
	again, err = look(t, cfg)
	require.NoError(t, err)
	require.Equal(t, next.Add(time.Hour), again, "a private half is to be erased")
	require.EqualValues(t, 2, generation(t, f))

	require.NoError(t, os.WriteFile(f.Path, []byte("{"), 0o600))
	r, err := rotation.NewRotator(cfg)
	require.NoError(t, err)
	require.NoError(t, r.Close())
	for want, cfg := range map[string]rotation.RotatorConfig{
		"rotation: RotatorConfig.File is required: the key file to keep in rotation": {},
		"rotation: RotatorConfig.Every and LockTimeout must not be negative":         {File: keys.File(f), Every: -1},
	} {
		_, err := rotation.NewRotator(cfg)
		require.EqualError(t, err, want)
	}
	_, err = rotation.NewRotator(rotation.RotatorConfig{File: keys.File(f), LockTimeout: -1})
	require.ErrorContains(t, err, "LockTimeout must not be negative")
}

// That the keys can be rotated again is told once, after what was reported.
func TestRotatorRecovers(t *testing.T) {
	bubble(t, func(t *testing.T, f keyset.File) {
		good, err := os.ReadFile(f.Path)
		require.NoError(t, err)
		var told []string
		r, err := rotation.NewRotator(rotation.RotatorConfig{
			File:        keys.File(f),
			OnProblem:   func(error) { told = append(told, "failed") },
			OnRecovered: func() { told = append(told, "recovered") },
		})
		require.NoError(t, err)
		for _, content := range [][]byte{[]byte("{"), good, good} {
			time.Sleep(15 * time.Minute)
			synctest.Wait()
			require.NoError(t, os.WriteFile(f.Path, content, 0o600))
		}
		time.Sleep(15 * time.Minute)
		require.NoError(t, r.Close())
		require.Equal(t, []string{"failed", "recovered"}, slices.Compact(told))
	})
}
