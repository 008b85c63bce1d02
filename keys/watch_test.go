package keys_test

import (
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/internal/keyset"
	"github.com/cloakroom-go/cloakroom/keys"
)

// A watcher is a ring that follows its file inside a synctest bubble, with the
// problems that it has reported.
type watcher struct {
	*keys.Ring
	mu   sync.Mutex
	told []error
}

// watch opens a ring that looks at its file every so often, or, if that is 0,
// as often as the policy says.
func watch(t testing.TB, f keyset.File, every time.Duration) *watcher {
	return watchBy(t, f, every, nil)
}

func watchBy(t testing.TB, f keyset.File, every time.Duration, clock func() time.Time) *watcher {
	t.Helper()
	w := new(watcher)
	r, err := keys.OpenRing(keys.RingConfig{File: keys.File(f), ReloadInterval: every, OnProblem: w.report, Now: clock})
	require.NoError(t, err)
	w.Ring = r
	synctest.Wait()
	return w
}

func (w *watcher) report(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.told = append(w.told, err)
}

// reports returns what was reported since the last time.
func (w *watcher) reports() []error {
	w.mu.Lock()
	defer w.mu.Unlock()
	told := w.told
	w.told = nil
	return told
}

// stop closes the ring, twice.
func (w *watcher) stop(t testing.TB) {
	t.Helper()
	require.NoError(t, w.Close())
	require.NoError(t, w.Close())
}

// sleep waits on the bubble's clock, and until the ring has done what is due
// then.
func sleep(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func sleepUntil(when time.Time) { sleep(time.Until(when)) }

func TestFollow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPublisher(t)
		w := watch(t, p.f, time.Minute)
		p.add(t)
		sleep(time.Minute - 1)
		require.Len(t, w.Set().Keys(), 1, "no look before its time")
		sleep(1)
		require.Empty(t, w.reports())
		require.Len(t, w.Set().Keys(), 2)

		good, err := os.ReadFile(p.f.Path)
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(p.f.Path, []byte("{"), 0o600))
		for range 3 {
			sleep(time.Minute)
			told := w.reports()
			require.Len(t, told, 1, "each attempt")
			require.ErrorIs(t, told[0], keyset.ErrInvalidFile)
			require.Len(t, w.Set().Keys(), 2)
		}
		require.NoError(t, os.WriteFile(p.f.Path, good, 0o600))
		p.add(t)
		sleep(time.Minute)
		require.Empty(t, w.reports())
		require.Len(t, w.Set().Keys(), 3)
		w.stop(t)
		require.NoError(t, os.Remove(p.f.Path))
		sleep(time.Hour)
		require.Empty(t, w.reports(), "it is closed")
		require.Len(t, w.Set().Keys(), 3, "the keys stay")
	})
	_, err := keys.OpenRing(keys.RingConfig{ReloadInterval: -1})
	require.ErrorContains(t, err, "ReloadInterval must be positive")
}

// OnProblem may be nil, and the interval is that of the policy unless another
// one is given.
func TestFollowByDefault(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPublisher(t)
		r, err := keys.OpenRing(keys.RingConfig{File: keys.File(p.f)})
		require.NoError(t, err)
		look := func(every time.Duration) {
			t.Helper()
			p.add(t)
			n := len(r.Set().Keys())
			sleep(every - 1)
			require.Len(t, r.Set().Keys(), n)
			sleep(1)
			require.Len(t, r.Set().Keys(), n+1)
		}
		look(30 * time.Second)
		require.NoError(t, p.f.Update(t.Context(), func(s *keyset.Set) error {
			p := s.Policy()
			p.ReloadInterval = 5 * time.Minute
			return s.SetPolicy(p)
		}))
		look(30 * time.Second)
		look(5 * time.Minute)
		require.NoError(t, os.Remove(p.f.Path))
		sleep(10 * time.Minute)
		require.Len(t, r.Health(time.Now()).Problems, 1)
		require.NoError(t, r.Close())
	})
	require.NoError(t, new(keys.Ring).Close())
	require.NoError(t, newRing(t).Close())
}

// A file that has not changed is not read: it may be encrypted under a
// passphrase, which takes time.
func TestWatchReadsNoUnchangedFile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPublisher(t)
		w := watch(t, p.f, time.Minute)
		k := w.Set().Keys()[0]
		p.spoilUnseen(t)
		sleep(time.Hour)
		require.Empty(t, w.reports())
		require.Same(t, k, w.Set().Keys()[0])
		require.Equal(t, time.Now().UTC(), w.Health(time.Now()).SeenAt, "a look that finds no change is one")
		w.stop(t)
	})
}

// An instance that no longer hears of revocations stops signing when others may
// have stopped trusting its keys.
func TestWatchEndsSigning(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sig, enc := generate(t, keyset.EdDSA), generate(t, keyset.Direct)
		f := withPolicy(t, newSet(t, sig, enc))
		path, began := f.Path, time.Now()
		minute := func(n int) time.Time { return began.Add(time.Duration(n) * time.Minute) }
		w := watch(t, f, time.Minute)
		r := w.Ring
		sleepUntil(minute(10).Add(30 * time.Second))
		require.Equal(t, minute(10).UTC(), r.Health(time.Now()).SeenAt)
		good, err := os.ReadFile(path)
		require.NoError(t, err)

		for round := range 2 {
			last := time.Now().Truncate(time.Minute)
			ends := last.Add(time.Hour - 2*time.Minute) // grace - distribution_lag
			require.NoError(t, os.Remove(path))
			sleepUntil(last.Add(30 * time.Minute))
			require.Len(t, w.reports(), 30)
			h := r.Health(time.Now())
			require.Len(t, h.Problems, 1)
			require.Contains(t, h.Problems[0], os.ErrNotExist.Error())
			require.Equal(t, last.UTC(), h.SeenAt)
			require.Equal(t, sig.ID(), h.Signer)
			require.Equal(t, enc.ID(), h.Sealer)
			require.Equal(t, sig.ID(), newest(t, r, keyset.Signature, ends.Add(-1)))
			require.Equal(t, enc.ID(), newest(t, r, keyset.Encryption, ends.Add(-1)))

			for _, use := range []keys.Use{keys.Signature, keys.Encryption} {
				k, err := r.Current(use, ends)
				require.ErrorIs(t, err, keys.ErrUnavailable)
				require.ErrorContains(t, err, "the key file could not be read since "+last.UTC().Format(time.RFC3339)+
					", longer than grace - distribution_lag = 58m")
				require.Nil(t, k)
			}
			for _, k := range []*keyset.Key{sig, enc} {
				_, err := r.Key(t.Context(), k.ID(), ends.Add(1000*time.Hour))
				require.NoError(t, err, "what was signed stays good")
			}
			sleepUntil(ends.Add(5*time.Minute + 30*time.Second))
			h = r.Health(time.Now())
			require.Empty(t, h.Signer+h.Sealer)
			require.Len(t, h.Problems, 2)
			require.Contains(t, h.Problems[1], keys.ErrUnavailable.Error())
			unavailable := 0
			told := w.reports()
			for _, err := range told {
				if errors.Is(err, keys.ErrUnavailable) {
					unavailable++
				} else {
					require.ErrorIs(t, err, os.ErrNotExist)
				}
			}
			require.Len(t, told, 34, "each attempt that failed")
			require.Equal(t, 1, unavailable, "once in round %d", round)

			require.NoError(t, os.WriteFile(path, good, 0o600))
			_, err := r.Current(keys.Signature, time.Now())
			require.ErrorIs(t, err, keys.ErrUnavailable, "nobody has looked yet")
			sleep(time.Minute)
			require.Empty(t, w.reports())
			require.Equal(t, sig.ID(), newest(t, r, keyset.Signature, time.Now()))
			require.Empty(t, r.Health(time.Now()).Problems)
		}
		w.stop(t)
	})
}

// Nothing reads the file of a closed ring, so its age is no outage.
func TestNobodyFollows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := generate(t, keyset.EdDSA)
		f := withPolicy(t, newSet(t, k))
		closed := unfollowed(t, f)
		opened := time.Now().UTC()
		signs := func(r *keys.Ring) bool {
			got, err := r.Current(keys.Signature, time.Now())
			return err == nil && got.ID() == k.ID()
		}
		sleep(100 * time.Hour)
		require.True(t, signs(closed))
		require.Equal(t, opened, closed.Health(time.Now()).SeenAt, "it has not looked since")

		w := watch(t, f, time.Minute)
		require.True(t, signs(w.Ring))
		sleep(time.Minute)
		require.Empty(t, w.reports())
		seen := time.Now().UTC()
		require.Equal(t, seen, w.Health(time.Now()).SeenAt)
		good, err := os.ReadFile(f.Path)
		require.NoError(t, err)
		require.NoError(t, os.Remove(f.Path))
		sleep(10 * time.Hour)
		require.False(t, signs(w.Ring))
		w.stop(t)
		require.True(t, signs(w.Ring), "it is closed")
		require.Equal(t, seen, w.Health(time.Now()).SeenAt, "the end is no look")
		require.True(t, signs(closed))

		require.NoError(t, os.WriteFile(f.Path, good, 0o600))
		sleep(time.Hour)
		require.NoError(t, w.Reload())
		require.Equal(t, time.Now().UTC(), w.Health(time.Now()).SeenAt)
		require.True(t, signs(w.Ring))
	})
}

// A ring may look at its file less often than the grace is long. Between two
// looks that is no outage.
func TestWatchLessOftenThanTheGrace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := generate(t, keyset.EdDSA)
		w := watch(t, withPolicy(t, newSet(t, k)), 5*time.Hour)
		r := w.Ring
		for range 100 {
			sleep(19 * time.Minute)
			require.Equal(t, k.ID(), newest(t, r, keyset.Signature, time.Now()))
		}
		require.Empty(t, w.reports())
		w.stop(t)
	})
}

// One look that fails is no outage, even if the next one comes late: perhaps
// the file was just being copied.
func TestWatchSeldomAndFailOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := generate(t, keyset.EdDSA)
		w := watch(t, withPolicy(t, newSet(t, k)), 5*time.Hour)
		r := w.Ring
		good, err := os.ReadFile(r.Path())
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(r.Path(), good[:100], 0o600))
		sleep(6 * time.Hour)
		require.Len(t, w.reports(), 1)
		require.NoError(t, os.WriteFile(r.Path(), good, 0o600))
		for range 10 {
			require.Equal(t, k.ID(), newest(t, r, keyset.Signature, time.Now()))
			sleep(time.Hour)
		}
		require.Empty(t, w.reports())
		w.stop(t)
	})
}

// A look that hangs, for example on a network drive, counts as one that fails.
// Signing then waits a second for a look of its own.
func TestWatchHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := generate(t, keyset.Direct)
		began, hang := time.Now(), make(chan bool)
		r, err := keys.OpenRing(keys.RingConfig{
			File: keys.File(withPolicy(t, newSet(t, k, generate(t, keyset.EdDSA)))), ReloadInterval: time.Minute,
			OnProblem: func(error) { <-hang },
		})
		require.NoError(t, err)
		keys.SetUses(r, r.Set().Keys()[0].ID(), keyset.MaxSeals/2)
		sleep(10 * time.Minute)
		ends := began.Add(time.Minute + 58*time.Minute) // the last look, the grace
		require.Equal(t, k.ID(), newest(t, r, keyset.Encryption, ends.Add(-1)))
		release := keys.HoldLateLook(r)
		asked := time.Now()
		_, err = r.Current(keys.Encryption, ends)
		require.ErrorIs(t, err, keys.ErrUnavailable)
		require.Equal(t, time.Second, time.Since(asked))
		release()
		sleepUntil(ends)
		require.Equal(t, k.ID(), newest(t, r, keyset.Encryption, ends), "the file can be read, though nobody has looked")
		close(hang)
		sleep(2 * time.Minute)
		require.Equal(t, k.ID(), newest(t, r, keyset.Encryption, time.Now()))
		require.NoError(t, r.Close())
	})
}

// Each problem is reported once, and again when it went away and came back.
func TestWatchReportsProblemsOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		hour := func(n int) time.Time { return began.Add(time.Duration(n) * time.Hour) }
		key := func(from int) *keyset.Key {
			return generate(t, keyset.EdDSA,
				keyset.Dates{SignFrom: hour(from), SignUntil: hour(from + 1), VerifyUntil: hour(from + 5)})
		}
		a, b := key(0), key(3)
		w := watch(t, withPolicy(t, newSet(t, a)), 10*time.Minute)
		r := w.Ring
		var got []string
		for range 40 {
			sleep(10 * time.Minute)
			for _, err := range w.reports() {
				got = append(got, time.Since(began).String()+" "+err.Error())
			}
			if time.Now().Equal(hour(3)) {
				add := func(s *keyset.Set) error { return s.Add(b) }
				require.NoError(t, keyset.File{Path: r.Path()}.Update(t.Context(), add))
			}
		}
		overrun := func(k *keyset.Key, at, until string) string {
			return "keys: key " + k.ID() + " (sig) should have been replaced at 2000-01-01T" + at +
				"Z, and goes on in its grace until 2000-01-01T" + until + "Z; run: keygen rotate"
		}
		none := "keys: no active key that signs; run: keygen rotate"
		ends := func(k *keyset.Key, at string) string {
			return "keys: key " + k.ID() + " (sig) signs until 2000-01-01T" + at +
				"Z, and no standby is there to follow it; run: keygen rotate --if-due"
		}
		require.Equal(t, []string{
			"10m0s " + ends(a, "01:00:00"), "1h0m0s " + overrun(a, "01:00:00", "02:00:00"), "2h0m0s " + none,
			"3h10m0s " + ends(b, "04:00:00"), "4h0m0s " + overrun(b, "04:00:00", "05:00:00"), "5h0m0s " + none,
		}, got)
		w.stop(t)
	})
}

// The ring warns long before a key has encrypted as many tokens as it may.
func TestWatchWarnsOfExhaustion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := withPolicy(t, newSet(t, generate(t, keyset.Direct), generate(t, keyset.A256KW), generate(t, keyset.ES256)))
		w := watch(t, f, time.Minute)
		r := w.Ring
		k := r.Set().Keys()[0]
		keys.SetUses(r, r.Set().Keys()[1].ID(), keyset.MaxSeals) // has a fresh key for each token
		for range 2 {
			keys.SetUses(r, k.ID(), keyset.MaxSeals/2-1)
			sleep(time.Hour)
			require.Empty(t, w.reports())
			require.Empty(t, r.Health(time.Now()).Problems)
			_, err := (*keyset.Key)(k).Seal([]byte("x"), "")
			require.NoError(t, err, "it still encrypts")
			sleep(time.Hour)
			told := w.reports()
			require.Len(t, told, 1)
			require.ErrorIs(t, told[0], keyset.ErrExhausted)
			require.ErrorContains(t, told[0], k.ID())
			require.Equal(t, []string{told[0].Error()}, r.Health(time.Now()).Problems)
		}
		w.stop(t)
	})
}

func TestHealth(t *testing.T) {
	sig, enc := generate(t, keyset.ES256, life(0)), generate(t, keyset.A256KW, life(2))
	r := openRing(t, sig, enc)
	keys.SetClock(r, func() time.Time { return at(7) })
	require.NoError(t, r.Reload())
	tests := []struct {
		now            time.Time
		signer, sealer string
		next           string
		nextAt         time.Time
		problems       []string
	}{
		{at(0), "", "", sig.ID(), at(1), []string{"no active key that signs: key " + sig.ID() + " does from " + at(1).UTC().Format(time.RFC3339) + " on; set the clock if it is behind"}},
		{at(1), sig.ID(), "", enc.ID(), at(3), []string{"key " + sig.ID() + " (sig) signs until"}},
		{at(3), sig.ID(), enc.ID(), "", time.Time{}, []string{"key " + sig.ID() + " (sig) should have been replaced", "key " + enc.ID() + " (enc) signs until"}},
		{at(4), "", enc.ID(), "", time.Time{}, []string{"that signs", "key " + enc.ID() + " (enc) signs until"}},
		{at(5), "", enc.ID(), "", time.Time{}, []string{"that signs", "key " + enc.ID() + " (enc) should have been replaced"}},
		{at(6), "", "", "", time.Time{}, []string{"that signs", "no active key that encrypts; run: keygen rotate"}},
	}
	for _, tt := range tests {
		h := r.Health(tt.now)
		want := keys.Health{Generation: 1, SeenAt: at(7), Signer: tt.signer, Sealer: tt.sealer, Next: tt.next,
			Reloads: 1, Problems: h.Problems}
		require.Equal(t, tt.nextAt.UTC(), h.NextAt.UTC())
		h.NextAt = time.Time{}
		require.Equal(t, want, h)
		require.Len(t, h.Problems, len(tt.problems), "%v", tt.now)
		for i, want := range tt.problems {
			require.Contains(t, h.Problems[i], want)
		}
	}
	h := newRing(t, sig).Health(at(1))
	require.Equal(t, keys.Health{Signer: sig.ID(), Problems: []string{}}, h, "without a file")
	h = new(keys.Ring).Health(at(1))
	require.Len(t, h.Problems, 1)
	require.Contains(t, h.Problems[0], keyset.ErrNoActiveKey.Error())
	require.Equal(t, keys.Health{Problems: h.Problems}, h)
	require.NoError(t, replace(r, sig))
	require.Equal(t, keys.Health{Signer: sig.ID(), Reloads: 1, Problems: []string{}}, r.Health(at(1)),
		"not of the file any more")
}

// OpenRing fails if it can't read the file. A later look only reports that.
func TestOpenRingFails(t *testing.T) {
	r, err := keys.OpenRing(keys.RingConfig{})
	require.ErrorContains(t, err, "OpenRing needs File.Path")
	require.Nil(t, r)
	r, err = keys.OpenRing(keys.RingConfig{File: keys.File{Path: filepath.Join(t.TempDir(), "missing")}})
	require.ErrorIs(t, err, os.ErrNotExist)
	require.Nil(t, r)
	k := generate(t, keyset.Direct)
	_, err = keys.NewRing((*keys.Key)(k), (*keys.Key)(k))
	require.ErrorContains(t, err, "two keys have the ID")
}
