package keys_test

import (
	"context"
	"io/fs"
	"os"
	"regexp"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/internal/keyset"
	"github.com/cloakroom-go/cloakroom/keys"
)

func TestReload(t *testing.T) {
	a, b := generate(t, keyset.ES256), generate(t, keyset.Direct)
	path := create(t, a)
	r := unfollowed(t, keyset.File{Path: path})
	require.Len(t, r.Set().Keys(), 1)
	require.NoError(t, keyset.File{Path: path}.Update(t.Context(), func(s *keyset.Set) error { return s.Add(b) }))
	require.Len(t, r.Set().Keys(), 1)
	require.NoError(t, r.Reload())
	require.Len(t, r.Set().Keys(), 2)
}

// Whatever is wrong with the new file, all the old keys stay.
func TestReloadIsWholeOrNothing(t *testing.T) {
	sig := generate(t, keyset.ES256)
	enc := generate(t, keyset.Direct)
	path := create(t, sig, enc)
	good, err := os.ReadFile(path)
	require.NoError(t, err)
	secret := regexp.MustCompile(`"k": "([A-Za-z0-9_-]+)"`).FindSubmatch(good)
	require.NotNil(t, secret)
	exchanged := strings.ReplaceAll(unsummed(t, good), string(secret[1]), b64(random(32)))
	later := strings.Replace(exchanged, `"generation": 1`, `"generation": 2`, 1)
	tests := []struct {
		name, text string
		want       string
	}{
		{"truncated", string(good[:len(good)-20]), "not strict JSON"},
		{"empty", "", "empty"},
		{"one bad key", strings.Replace(unsummed(t, good), `"dir"`, `"xyz"`, 1), "alg is not known"},
		{"edited", strings.Replace(string(good), `"generation": 1`, `"generation": 2`, 1), "checksum"},
		{"exchanged secret", later, "was exchanged"},
		{"exchanged secret in place", exchanged, "has generation 1, which is in force with other content"},
		{"as before", string(good), ""},
	}
	r := unfollowed(t, keyset.File{Path: path})
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			require.NoError(t, os.WriteFile(path, []byte(tt.text), 0o600))
			err := r.Reload()
			if tt.want == "" {
				require.NoError(t, err)
			} else {
				require.ErrorContains(t, err, tt.want)
			}
			require.Len(t, r.Set().Keys(), 2)
			k, err := r.Current(keys.Signature, t0)
			require.NoError(t, err)
			require.Equal(t, sig.ID(), k.ID())
		})
	}
	require.NoError(t, os.Remove(path))
	require.ErrorIs(t, r.Reload(), os.ErrNotExist)
	require.Len(t, r.Set().Keys(), 2)
}

// Only what reads the file again counts, and a look that finds it unchanged
// doesn't.
func TestReloadsAreCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := create(t, generate(t, keyset.ES256))
		r, err := keys.OpenRing(keys.RingConfig{File: keys.File{Path: path}, ReloadInterval: time.Minute})
		require.NoError(t, err)
		defer r.Close()
		counted := func(reloads, failed uint64) {
			t.Helper()
			time.Sleep(time.Minute)
			synctest.Wait()
			h := r.Health(time.Now())
			require.Equal(t, []uint64{reloads, failed}, []uint64{h.Reloads, h.FailedReloads})
		}
		counted(0, 0)
		require.NoError(t, r.Reload())
		counted(1, 0)
		add := func(s *keyset.Set) error { return s.Add(generate(t, keyset.Direct)) }
		require.NoError(t, keyset.File{Path: path}.Update(t.Context(), add))
		counted(2, 0)
		good, err := os.ReadFile(path)
		require.NoError(t, err)
		require.NoError(t, os.Remove(path))
		counted(2, 1)
		counted(2, 2)
		require.NoError(t, os.WriteFile(path, good, 0o600))
		counted(3, 2)
	})
}

// A restored backup would bring revoked keys back to life.
func TestReloadRefusesAnEarlierGeneration(t *testing.T) {
	path := create(t, generate(t, keyset.ES256))
	old, err := os.ReadFile(path)
	require.NoError(t, err)
	r := unfollowed(t, keyset.File{Path: revoke(t, path)})
	require.NoError(t, os.WriteFile(path, old, 0o600))
	require.ErrorContains(t, r.Reload(), "has generation 1, and 2 is in force")
	_, err = r.Current(keys.Signature, t0)
	require.ErrorIs(t, err, keyset.ErrNoActiveKey)
}

// A backup that was restored and then changed has the generation of the file in
// force, with other content. How the file is laid out makes no difference.
func TestReloadRefusesOtherContentOfOneGeneration(t *testing.T) {
	a, b := generate(t, keyset.ES256), generate(t, keyset.ES256)
	f := keyset.File{Path: create(t, a)}
	add := func(k *keyset.Key) func(*keyset.Set) error { return func(s *keyset.Set) error { return s.Add(k) } }
	require.NoError(t, f.Update(t.Context(), add(b)))
	r := unfollowed(t, f)
	good, err := os.ReadFile(f.Path)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(f.Path, []byte(strings.ReplaceAll(unsummed(t, good), "\n", "\r\n")), 0o600))
	require.NoError(t, r.Reload())

	require.NoError(t, os.Rename(f.Path+".bak", f.Path))
	require.NoError(t, f.Update(t.Context(), add(generate(t, keyset.EdDSA))))
	err = r.Reload()
	require.ErrorIs(t, err, keyset.ErrInvalidFile)
	require.ErrorContains(t, err, "has generation 2, which is in force with other content")
	_, err = r.Key(t.Context(), b.ID(), t0)
	require.NoError(t, err)
	again := unfollowed(t, f)
	require.Len(t, again.Set().Keys(), 2)
}

// A ring remembers what it knows of its file while Replace has put other keys
// in force.
func TestReplaceForgetsNothing(t *testing.T) {
	for _, alg := range []keyset.Algorithm{keyset.Direct, keyset.A256KW} {
		t.Run(string(alg), func(t *testing.T) { replaceForgetsNothing(t, alg) })
	}
}

func replaceForgetsNothing(t *testing.T, alg keyset.Algorithm) {
	path := create(t, generate(t, keyset.ES256), generate(t, alg))
	old, err := os.ReadFile(path)
	require.NoError(t, err)
	f := keyset.File{Path: path}
	require.NoError(t, f.Update(t.Context(), func(s *keyset.Set) error { return s.Revoke(s.Keys()[0].ID(), t0, "") }))
	r := unfollowed(t, f)
	now, err := r.Current(keys.Encryption, t0)
	require.NoError(t, err)
	keys.SetUses(r, now.ID(), 5)
	require.NoError(t, replace(r, generate(t, keyset.ES256)))
	good, err := os.ReadFile(path)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(path, old, 0o600))
	require.ErrorContains(t, r.Reload(), "has generation 1, and 2 is in force")
	edited := strings.Replace(unsummed(t, old), `"generation": 1`, `"generation": 3`, 1)
	require.NoError(t, os.WriteFile(path, []byte(edited), 0o600))
	require.ErrorContains(t, r.Reload(), "is older than the revocation of key")
	require.NoError(t, os.WriteFile(path, good, 0o600))
	require.NoError(t, r.Reload())
	require.EqualValues(t, 5, r.Health(t0).Sealed)
}

func TestReloadKeepsTheCount(t *testing.T) {
	k := generate(t, keyset.Direct)
	path := create(t, k)
	r := unfollowed(t, keyset.File{Path: path})
	before, err := r.Current(keys.Encryption, t0)
	require.NoError(t, err)
	keys.SetUses(r, before.ID(), keyset.MaxSeals-1)
	require.NoError(t, r.Reload())
	after, err := r.Current(keys.Encryption, t0)
	require.NoError(t, err)
	_, err = (*keyset.Key)(after).Seal([]byte("x"), "")
	require.NoError(t, err)
	_, err = (*keyset.Key)(after).Seal([]byte("x"), "")
	require.ErrorIs(t, err, keyset.ErrExhausted)
	_, err = (*keyset.Key)(before).Seal([]byte("x"), "")
	require.ErrorIs(t, err, keyset.ErrExhausted, "who still has the old key counts too")
}

// A restored backup is refused while the newer file is in force; a new ring
// accepts it.
func TestReloadRefusesTheKeptFile(t *testing.T) {
	a, b := generate(t, keyset.EdDSA), generate(t, keyset.EdDSA)
	f := keyset.File{Path: create(t, a)}
	require.NoError(t, f.Update(t.Context(), func(s *keyset.Set) error { return s.Add(b) }))
	r := unfollowed(t, f)
	require.NoError(t, r.Reload(), "the same generation")
	require.NoError(t, os.Rename(f.Path+".bak", f.Path))
	err := r.Reload()
	require.ErrorIs(t, err, keyset.ErrInvalidFile)
	require.ErrorContains(t, err, "has generation 1, and 2 is in force; restart if you want to go back")
	require.Len(t, r.Set().Keys(), 2)
	h := r.Health(t0)
	require.EqualValues(t, 2, h.Generation)
	require.Len(t, h.Problems, 1)
	require.Contains(t, h.Problems[0], keyset.ErrInvalidFile.Error())
	again := unfollowed(t, f)
	require.Len(t, again.Set().Keys(), 1)
}

// The count of tokens survives whatever else changes in the file.
func TestReloadKeepsTheCountOfChangedKeys(t *testing.T) {
	k := generate(t, keyset.Direct, keyset.Dates{SignUntil: at(9)})
	f := keyset.File{Path: create(t, k)}
	r := unfollowed(t, f)
	for i := range 4 {
		sealer, err := r.Current(keys.Encryption, at(0))
		require.NoError(t, err)
		require.EqualValues(t, i, (*keyset.Key)(sealer).Uses())
		_, err = (*keyset.Key)(sealer).Seal([]byte("x"), "")
		require.NoError(t, err)
		require.NoError(t, f.Update(t.Context(), func(s *keyset.Set) error {
			return s.SetDates(k.ID(), keyset.Dates{SignUntil: at(10 + i)}, at(0))
		}))
		require.NoError(t, r.Reload())
	}
	require.NoError(t, r.Replace(r.Set().Keys()...))
	require.EqualValues(t, 4, (*keyset.Key)(r.Set().Keys()[0]).Uses())
}

// A token comes from another instance, which was faster to read the new file.
func TestUnknownKeyReloads(t *testing.T) {
	for _, f := range []keyset.File{{}, {Key: random(32)}} {
		f = rich(t, f)
		r := unfollowed(t, f)
		k := generate(t, keyset.EdDSA)
		_, err := r.Key(t.Context(), k.ID(), t0)
		require.ErrorIs(t, err, keyset.ErrUnknownKey)
		require.NoError(t, f.Update(t.Context(), func(s *keyset.Set) error { return s.Add(k) }))
		got, err := r.Key(t.Context(), k.ID(), t0)
		require.NoError(t, err)
		require.Equal(t, k.ID(), got.ID())
		require.EqualValues(t, 2, r.Health(t0).Generation)
	}
}

// publisher adds keys to a file, one by one, and asks a ring for the newest.
type publisher struct {
	f keyset.File
	r *keys.Ring
}

func newPublisher(t testing.TB) *publisher {
	f := keyset.File{Path: create(t, generate(t, keyset.HS256))}
	r := unfollowed(t, f)
	return &publisher{f, r}
}

func (p *publisher) add(t testing.TB) (id string) {
	t.Helper()
	k := generate(t, keyset.HS256)
	require.NoError(t, p.f.Update(t.Context(), func(s *keyset.Set) error { return s.Add(k) }))
	return k.ID()
}

func (p *publisher) finds(t testing.TB, id string, now time.Time) bool {
	t.Helper()
	k, err := p.r.Key(t.Context(), id, now)
	if err != nil {
		require.ErrorIs(t, err, keyset.ErrUnknownKey)
		return false
	}
	require.Equal(t, id, k.ID())
	return true
}

// Two looks at once, and one in 30 seconds: everybody can invent key IDs.
func TestUnknownKeyIsBounded(t *testing.T) {
	after := func(d time.Duration) time.Time { return t0.Add(d) }
	tests := []struct {
		at    time.Duration
		finds bool
	}{
		{0, true}, {0, true}, {0, false}, {10 * time.Second, false}, {20 * time.Second, false},
		{30*time.Second - 1, false}, {30 * time.Second, true}, {30 * time.Second, false},
		{20 * time.Second, false}, // a caller that comes a little late adds no time
		{60*time.Second - 1, false}, {60 * time.Second, true}, {90*time.Second - 1, false},
		{10 * time.Minute, true}, {10 * time.Minute, true}, {10 * time.Minute, false}, // no more than two are saved up
		{time.Minute, false}, {time.Minute + 30*time.Second, true}, // the clock was set back
	}
	p := newPublisher(t)
	for i, tt := range tests {
		require.Equal(t, tt.finds, p.finds(t, p.add(t), after(tt.at)), "row %d", i)
	}
}

// spoilUnseen makes the file unreadable, but keeps its size and time: only a
// ring that reads an unchanged file notices.
func (p *publisher) spoilUnseen(t testing.TB) (before fs.FileInfo) {
	t.Helper()
	before = stat(t, p.f.Path)
	require.NoError(t, os.WriteFile(p.f.Path, []byte(strings.Repeat("x", int(before.Size()))), 0o600))
	require.NoError(t, os.Chtimes(p.f.Path, before.ModTime(), before.ModTime()))
	return before
}

// Invented IDs use up the looks, but make nobody read a file that has not
// changed.
func TestUnknownKeyReadsNoUnchangedFile(t *testing.T) {
	p := newPublisher(t)
	before := p.r.Set().Keys()[0]
	info := p.spoilUnseen(t)
	for i := range 50 {
		require.False(t, p.finds(t, strings.Repeat("x", i), t0.Add(time.Duration(i)*time.Minute)))
	}
	require.Same(t, before, p.r.Set().Keys()[0])
	require.Empty(t, p.r.Health(t0).Problems, "nobody has read it")
	later := info.ModTime().Add(time.Nanosecond * 1000)
	require.NoError(t, os.Chtimes(p.f.Path, later, later))
	require.False(t, p.finds(t, "x", t0.Add(time.Hour)))
	require.Len(t, p.r.Health(t0).Problems, 1)
}

// Keys that are known, in whatever state, are no reason to look.
func TestKnownKeyDoesNotReload(t *testing.T) {
	expired, live := generate(t, keyset.EdDSA, full()), generate(t, keyset.EdDSA)
	staged := generate(t, keyset.EdDSA, keyset.Dates{PublishAt: at(100), SignFrom: at(100)})
	p := &publisher{f: keyset.File{Path: create(t, expired, staged, live)}}
	p.r = unfollowed(t, p.f)
	p.add(t)
	for id, want := range map[string]error{
		expired.ID(): keyset.ErrKeyExpired, staged.ID(): keyset.ErrUnknownKey, live.ID(): nil,
	} {
		_, err := p.r.Key(t.Context(), id, at(9))
		require.ErrorIs(t, err, want)
	}
	require.Len(t, p.r.Set().Keys(), 3)
}

func TestUnknownKeyConcurrently(t *testing.T) {
	p := newPublisher(t)
	id := p.add(t)
	var wg sync.WaitGroup
	start := make(chan struct{})
	for range 100 {
		wg.Go(func() {
			<-start
			if _, err := p.r.Key(t.Context(), id, t0); err != nil {
				t.Error(err)
			}
		})
	}
	close(start)
	wg.Wait()
	require.True(t, p.finds(t, p.add(t), t0), "they had one look among them")
	require.False(t, p.finds(t, p.add(t), t0))
}

// A file that can't be read leaves the ring as it is, and Health says so until
// it is readable again.
func TestUnknownKeyAndBrokenFile(t *testing.T) {
	now := t0
	for name, spoil := range map[string]func(path string) error{
		"broken":  func(path string) error { return os.WriteFile(path, []byte("{"), 0o600) },
		"missing": os.Remove,
		"unsafe":  func(path string) error { return os.Chmod(path, 0o644) },
	} {
		t.Run(name, func(t *testing.T) {
			p := newPublisher(t)
			keys.SetClock(p.r, func() time.Time { return now })
			require.NoError(t, p.r.Reload())
			good, err := os.ReadFile(p.f.Path)
			require.NoError(t, err)
			now = now.Add(time.Hour)
			require.NoError(t, spoil(p.f.Path))
			require.False(t, p.finds(t, "x", now))
			require.Len(t, p.r.Set().Keys(), 1)
			h := p.r.Health(now)
			require.Len(t, h.Problems, 1)
			require.Contains(t, h.Problems[0], "keys: the key file could not be read again; generation 1 stays in force: keys: ")
			require.Equal(t, now.Add(-time.Hour), h.SeenAt)
			require.NotEmpty(t, h.Signer, "nobody watches: it signs on")
			require.NotEmpty(t, newest(t, p.r, keyset.Signature, now.Add(1000*time.Hour)))

			require.NoError(t, os.WriteFile(p.f.Path, good, 0o600))
			require.NoError(t, os.Chmod(p.f.Path, 0o600))
			require.True(t, p.finds(t, p.add(t), now))
			h = p.r.Health(now)
			require.Empty(t, h.Problems)
			require.Equal(t, now, h.SeenAt)
			require.EqualValues(t, 2, h.Generation)
		})
	}
}

// Keys that Replace has taken out don't come back because somebody names one.
func TestUnknownKeyAfterReplace(t *testing.T) {
	p := newPublisher(t)
	old, other := p.r.Set().Keys()[0].ID(), generate(t, keyset.EdDSA)
	require.NoError(t, replace(p.r, other))
	for i := range 10 {
		require.False(t, p.finds(t, old, t0.Add(time.Duration(i)*time.Hour)))
	}
	require.Equal(t, []string{other.ID()}, ids(p.r.Set().Keys()))
	require.NoError(t, p.r.Reload())
	require.True(t, p.finds(t, old, t0))
}

// A look for an unknown key refuses a backup, as Reload does.
func TestUnknownKeyRefusesAnEarlierGeneration(t *testing.T) {
	p := newPublisher(t)
	p.add(t)
	require.NoError(t, p.r.Reload())
	require.NoError(t, os.Rename(p.f.Path+".bak", p.f.Path))
	require.False(t, p.finds(t, "x", t0))
	require.Len(t, p.r.Set().Keys(), 2)
	require.Contains(t, p.r.Health(t0).Problems[0], "has generation 1, and 2 is in force")
}

// If the file system hangs, each request waits no longer than its context.
func TestUnknownKeyWaitsNoLongerThanItsContext(t *testing.T) {
	p := newPublisher(t)
	release := keys.HoldReload(p.r)
	id := p.add(t)
	for range 10 { // they share one look
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_, err := p.r.Key(ctx, id, t0)
		require.ErrorIs(t, err, keyset.ErrUnknownKey)
	}
	release()
	require.True(t, p.finds(t, id, t0), "the look that was under way")
}

// Replace leaves no policy that says how often to look at the file. While the
// file can't be read, the ring must not look without a pause.
func TestFollowAfterReplace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, failed := newPublisher(t), 0
		r, err := keys.OpenRing(keys.RingConfig{File: keys.File(p.f), OnProblem: func(err error) {
			require.ErrorIs(t, err, os.ErrNotExist)
			if failed++; failed > 10 {
				time.Sleep(time.Hour) // lets the test end
			}
		}})
		require.NoError(t, err)
		defer r.Close()
		require.NoError(t, os.Remove(p.f.Path))
		require.NoError(t, replace(r, generate(t, keyset.HS256)))
		sleep(5 * time.Minute)
		require.Equal(t, 10, failed, "each 30 seconds")
	})
}

func TestCloseWaitsForALook(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, release, closed := newPublisher(t), make(chan struct{}), false
		r, err := keys.OpenRing(keys.RingConfig{File: keys.File(p.f), OnProblem: func(error) { <-release }})
		require.NoError(t, err)
		require.NoError(t, os.Remove(p.f.Path))
		sleep(time.Minute)
		go func() {
			_ = r.Close()
			closed = true
		}()
		synctest.Wait()
		require.False(t, closed, "it calls OnProblem still")
		close(release)
		synctest.Wait()
		require.True(t, closed)
	})
}
