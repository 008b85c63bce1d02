package keys_test

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/internal/keyset"
	"github.com/cloakroom-go/cloakroom/keys"
)

// openRing opens a ring of a file with the policy of the example, which has a
// grace of one hour. The ring does not follow the file.
func openRing(t testing.TB, list ...*keyset.Key) *keys.Ring {
	t.Helper()
	return openSet(t, newSet(t, list...))
}

func openSet(t testing.TB, s *keyset.Set) *keys.Ring {
	t.Helper()
	return unfollowed(t, withPolicy(t, s))
}

// withPolicy writes a file with the policy of the example.
func withPolicy(t testing.TB, s *keyset.Set) keyset.File {
	t.Helper()
	require.NoError(t, s.SetPolicy(example()))
	return place(t, filepath.Join(t.TempDir(), "keys.json"), s, 1)
}

// place writes a key file of any generation. Unlike File.Create it syncs
// nothing to disk, so that it is fast.
func place(t testing.TB, path string, s *keyset.Set, generation int) keyset.File {
	t.Helper()
	made, err := s.Encode()
	require.NoError(t, err)
	member := func(n any) string { return fmt.Sprintf(`"generation": %d`, n) }
	text := strings.Replace(unsummed(t, made), member(s.Generation()), member(generation), 1)
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	return keyset.File{Path: path}
}

// A key that has ended, and has no successor, signs or encrypts until the grace
// is over, and not a nanosecond longer.
func TestGrace(t *testing.T) {
	until := func(end time.Time) keyset.Dates {
		return keyset.Dates{SignFrom: at(1), SignUntil: end, VerifyUntil: at(9)}
	}
	for _, algs := range [][2]keyset.Algorithm{
		{keyset.ES256, keyset.EdDSA}, {keyset.HS256, keyset.ES256}, {keyset.Direct, keyset.A256KW},
	} {
		key := func(i int, d keyset.Dates) *keyset.Key { return generate(t, algs[i], d) }
		a := key(0, until(at(3)))
		shortly := key(0, keyset.Dates{SignFrom: at(1), SignUntil: at(3), VerifyUntil: at(3).Add(time.Minute)})
		later, b := key(1, until(at(3).Add(time.Second))), key(1, keyset.Dates{SignFrom: at(3)})
		late := key(1, keyset.Dates{SignFrom: at(3).Add(30 * time.Minute)})
		withdrawn := key(1, keyset.Dates{SignFrom: at(3), SignUntil: at(3), VerifyUntil: at(9)})
		public := key(1, keyset.Dates{SignFrom: at(3)})
		tests := []struct {
			name string
			keys []*keyset.Key
			now  time.Time
			want *keyset.Key
		}{
			{"before its end", []*keyset.Key{a}, at(3).Add(-1), a},
			{"at its end", []*keyset.Key{a}, at(3), a},
			{"at the end of the grace", []*keyset.Key{a}, at(4).Add(-1), a},
			{"after the grace", []*keyset.Key{a}, at(4), nil},
			{"long after", []*keyset.Key{a}, at(8), nil},
			{"no longer than it verifies", []*keyset.Key{shortly}, at(3).Add(time.Minute - 1), shortly},
			{"not longer than it verifies", []*keyset.Key{shortly}, at(3).Add(time.Minute), nil},
			{"with a successor", []*keyset.Key{a, b}, at(3), b},
			{"with a successor that is to come", []*keyset.Key{a, late}, at(3).Add(30*time.Minute - 1), a},
			{"with a successor that came late", []*keyset.Key{a, late}, at(3).Add(30 * time.Minute), late},
			{"withdrawn", []*keyset.Key{withdrawn}, at(3), nil},
			{"beside one that was withdrawn", []*keyset.Key{a, withdrawn}, at(4).Add(-1), a},
			{"the last of two", []*keyset.Key{a, later}, at(3).Add(time.Minute), later},
			{"the last of two is over", []*keyset.Key{a, shortly}, at(3).Add(time.Minute), a},
			{"until the grace of the last", []*keyset.Key{a, later}, at(4).Add(time.Second - 1), later},
			{"after both", []*keyset.Key{a, later}, at(4).Add(time.Second), nil},
		}
		for _, tt := range tests {
			for range 2 {
				slices.Reverse(tt.keys)
				got := newest(t, openRing(t, tt.keys...), algs[0].Use(), tt.now)
				require.Equal(t, idOf(tt.want), got, "%s %s", algs[0], tt.name)
			}
		}
		require.Empty(t, newest(t, newRing(t, a), algs[0].Use(), at(3)), "without a policy there is no grace")

		revoked := newSet(t, a, later)
		require.NoError(t, revoked.Revoke(later.ID(), at(2), ""))
		require.Equal(t, a.ID(), newest(t, openSet(t, revoked), algs[0].Use(), at(3)), "the last but one")
		require.NoError(t, revoked.Revoke(a.ID(), at(2), ""))
		require.Empty(t, newest(t, openSet(t, revoked), algs[0].Use(), at(3)), "never a revoked one")
		successor := newSet(t, a, b)
		require.NoError(t, successor.Revoke(b.ID(), at(2), ""))
		require.Equal(t, a.ID(), newest(t, openSet(t, successor), algs[0].Use(), at(3)), "its successor was revoked")
		if !algs[1].Symmetric() {
			lacking := newSet(t, a, public)
			require.NoError(t, lacking.SetDates(public.ID(), keyset.Dates{SignFrom: at(3), SignUntil: at(4)}, at(3)))
			require.NoError(t, lacking.Erase(public.ID(), at(4)))
			require.Equal(t, a.ID(), newest(t, openSet(t, lacking), algs[0].Use(), at(3)), "its successor is not here")
		}
	}
}

// newest is the ID of the key that makes new tokens, "" for none.
func newest(t testing.TB, r *keys.Ring, use keyset.Use, now time.Time) string {
	t.Helper()
	k, err := r.Current(keys.Use(use), now)
	if k != nil {
		require.NoError(t, err)
		require.EqualValues(t, use, k.Use())
	} else if _, sealed := (*keyset.Set)(r.Set()).UsedSince(keyset.Encryption, now); use == keyset.Signature || sealed {
		require.ErrorIs(t, err, keyset.ErrNoActiveKey)
	}
	return idOf(k)
}

// Two keys that ended at one instant: all instances choose the same.
func TestGraceTie(t *testing.T) {
	a, b := generate(t, keyset.EdDSA, life(0)), generate(t, keyset.EdDSA, life(0))
	want := min(a.ID(), b.ID())
	require.Equal(t, want, newest(t, openRing(t, a, b), keyset.Signature, at(3)))
	require.Equal(t, want, newest(t, openRing(t, b, a), keyset.Signature, at(3)))
}

// An HMAC key signs without being published: verifiers have the secret already.
func TestHMACIsNeverListed(t *testing.T) {
	k := generate(t, keyset.HS256, life(0))
	r := openRing(t, k)
	for _, now := range []time.Time{at(1), at(3).Add(-1), at(3), at(4).Add(-1)} {
		require.Equal(t, k.ID(), newest(t, r, keyset.Signature, now))
		keys.SetClock(r, func() time.Time { return now })
		require.JSONEq(t, `{"keys":[]}`, get(r.Handler(), nil).Body.String())
	}
}

// Whatever the dates are, at every instant the key that should sign does, and
// verifiers find it in the JWK Set.
func TestSignerIsListed(t *testing.T) {
	random := rand.New(rand.NewPCG(7, 8))
	algs := []keyset.Algorithm{keyset.ES256, keyset.EdDSA, keyset.HS256, keyset.Direct, keyset.ECDHESA256KW}
	pool := slices.Repeat(algs, 4)
	path := filepath.Join(t.TempDir(), "keys.json")
	signed, overran := 0, 0
	for range 150 {
		s := randomSet(t, random, pool)
		r := unfollowed(t, place(t, path, s, 1))
		for range 40 {
			now := t0.Add(time.Duration(random.IntN(14*60)) * time.Minute)
			if random.IntN(4) > 0 { // just where something changes
				d := s.Keys()[random.IntN(len(s.Keys()))].Dates()
				now = datesOf(&d)[random.IntN(5)].Add(time.Duration(random.IntN(3) - 1))
				now = now.Add(time.Duration(random.IntN(2)) * s.Policy().Grace)
			}
			keys.SetClock(r, func() time.Time { return now })
			want := expected(s, keyset.Signature, now)
			require.Equal(t, idOf(want), newest(t, r, keyset.Signature, now))
			if k, err := r.Current(keys.Encryption, now); expected(s, keyset.Encryption, now) != nil {
				require.NoError(t, err)
				require.Equal(t, expected(s, keyset.Encryption, now).ID(), k.ID())
			}
			if want == nil {
				continue
			}
			signed++
			if want.State(now) == keyset.Retiring {
				overran++
			}
			_, err := r.Key(t.Context(), want.ID(), now)
			require.NoError(t, err, "what signs verifies")
			listed := strings.Contains(get(r.Handler(), nil).Body.String(), want.ID())
			require.Equal(t, want.Algorithm() != keyset.HS256, listed)
		}
	}
	require.Greater(t, signed, 500)
	require.Greater(t, overran, 100)
}

// randomSet returns some keys with random dates. Some of them are erased,
// revoked or pruned.
func randomSet(t *testing.T, random *rand.Rand, pool []keyset.Algorithm) *keyset.Set {
	t.Helper()
	s := newSet(t)
	p := keyset.Policy{Grace: time.Duration(4+random.IntN(90)) * time.Minute}
	require.NoError(t, s.SetPolicy(p))
	for _, alg := range pool {
		if random.IntN(2) == 0 {
			continue
		}
		d := randomDates(random)
		k := generate(t, alg, d)
		require.NoError(t, s.Add(k))
		switch random.IntN(8) {
		case 0:
			_ = s.Erase(k.ID(), d.SignUntil)
		case 1:
			_ = s.Revoke(k.ID(), t0, "")
		case 2:
			_ = s.Prune(k.ID(), d.VerifyUntil)
		}
	}
	if len(s.Keys()) == 0 {
		require.NoError(t, s.Add(generate(t, keyset.EdDSA)))
	}
	return s
}

func randomDates(random *rand.Rand) (d keyset.Dates) {
	now := t0
	for _, date := range datesOf(&d) {
		now = now.Add(time.Duration(random.IntN(4)) * 40 * time.Minute)
		*date = now
	}
	if random.IntN(6) == 0 {
		d.VerifyUntil = time.Time{}
	}
	if random.IntN(10) == 0 {
		d.SignUntil, d.VerifyUntil = time.Time{}, time.Time{}
	}
	return d
}

// expected states the rule of Current in another way: it sorts the keys that
// may sign, the active ones before those in their grace, and takes the first.
func expected(s *keyset.Set, use keyset.Use, now time.Time) *keyset.Key {
	var active, over []*keyset.Key
	for _, k := range s.Keys() {
		d := k.Dates()
		_, _, revoked := k.Revoked()
		ends := !d.SignUntil.IsZero()
		expired := !d.VerifyUntil.IsZero() && !now.Before(d.VerifyUntil)
		if k.Use() != use || revoked || !k.HasPrivate() || now.Before(d.SignFrom) || expired {
			continue
		}
		if !ends || now.Before(d.SignUntil) {
			active = append(active, k)
		} else if d.SignFrom.Before(d.SignUntil) && now.Sub(d.SignUntil) < s.Policy().Grace {
			over = append(over, k)
		}
	}
	byID := func(x, y *keyset.Key) int { return cmp.Compare(x.ID(), y.ID()) }
	slices.SortFunc(active, func(x, y *keyset.Key) int {
		return cmp.Or(y.Dates().SignFrom.Compare(x.Dates().SignFrom), byID(x, y))
	})
	slices.SortFunc(over, func(x, y *keyset.Key) int {
		return cmp.Or(y.Dates().SignUntil.Compare(x.Dates().SignUntil), byID(x, y))
	})
	if all := append(active, over...); len(all) > 0 {
		return all[0]
	}
	return nil
}
