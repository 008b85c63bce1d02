package keyset_test

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/lestrrat-go/jwx/v3/jwa"
	"github.com/lestrrat-go/jwx/v3/jwk"
	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/internal/keyset"
	"github.com/cloakroom-go/cloakroom/keys"
)

// full has every date: created at hour 0, published at 1, signing from 2 to 3,
// verifying until 4.
func full() keyset.Dates {
	return keyset.Dates{Created: at(0), PublishAt: at(1), SignFrom: at(2), SignUntil: at(3), VerifyUntil: at(4)}
}

// datesOf points at the dates, in their order.
func datesOf(d *keyset.Dates) [5]*time.Time {
	return [...]*time.Time{&d.Created, &d.PublishAt, &d.SignFrom, &d.SignUntil, &d.VerifyUntil}
}

var dateNames = [...]string{"created", "publish_at", "sign_from", "sign_until", "verify_until"}

// textOf is what a file with these keys would say.
func textOf(t testing.TB, s *keyset.Set) string {
	t.Helper()
	text, err := s.Encode()
	require.NoError(t, err)
	return string(text)
}

// reread takes a set through the text of a file.
func reread(t testing.TB, s *keyset.Set) *keyset.Set {
	t.Helper()
	text := strings.Replace(unsummed(t, []byte(textOf(t, s))), `"generation": 0`, `"generation": 1`, 1)
	back, err := keyset.ParseSet([]byte(text))
	require.NoError(t, err)
	return back
}

// Of each date: one that has passed can't be changed, not even when it passes
// just now.
func TestSetDates(t *testing.T) {
	for i, name := range dateNames {
		for _, before := range []time.Duration{time.Hour, time.Second, 1, 0, -1, -time.Second, -time.Hour} {
			for _, by := range []time.Duration{-time.Second, time.Second} {
				k := generate(t, keyset.EdDSA, full())
				s, changed := newSet(t, k), full()
				*datesOf(&changed)[i] = datesOf(&changed)[i].Add(by)
				now := datesOf(new(full()))[i].Add(-before)
				err := s.SetDates(k.ID(), changed, now)
				if passed := i == 0 || before <= 0; passed {
					require.EqualError(t, err, "keys: key "+k.ID()+": "+name+" has passed, and can't be changed")
					require.Same(t, k, s.Key(k.ID()))
					continue
				}
				require.NoError(t, err, "%s, %s before", name, before)
				require.Equal(t, changed, s.Key(k.ID()).Dates())
				require.Equal(t, full(), k.Dates(), "keys are immutable")
			}
		}
	}
}

// A date that is missing lies in the past if it begins something, and is to
// come if it ends something.
func TestSetDatesZero(t *testing.T) {
	tests := []struct {
		name     string
		was, is  keyset.Dates
		now      time.Time
		want     string
		noChange bool
	}{
		{"set publish_at", keyset.Dates{}, keyset.Dates{PublishAt: at(5), SignFrom: at(6)}, at(0), "publish_at has passed", false},
		{"set sign_from", keyset.Dates{}, keyset.Dates{SignFrom: at(5)}, at(0), "sign_from has passed", false},
		{"set created", keyset.Dates{}, keyset.Dates{Created: at(5)}, at(0), "created has passed", false},
		{"set an end", keyset.Dates{}, keyset.Dates{SignUntil: at(1), VerifyUntil: at(2)}, at(0), "", false},
		{"set an end of verifying", keyset.Dates{SignUntil: at(1)}, keyset.Dates{SignUntil: at(1), VerifyUntil: at(2)}, at(1), "", false},
		{"take the ends away", full(), keyset.Dates{Created: at(0), PublishAt: at(1), SignFrom: at(2)}, at(2), "", false},
		{"take sign_until away, too late", full(), keyset.Dates{Created: at(0), PublishAt: at(1), SignFrom: at(2)}, at(3), "sign_until has passed", false},
		{"take verify_until away", full(), keyset.Dates{Created: at(0), PublishAt: at(1), SignFrom: at(2), SignUntil: at(3)}, at(3), "", false},
		{"take verify_until away, too late", full(), keyset.Dates{Created: at(0), PublishAt: at(1), SignFrom: at(2), SignUntil: at(3)}, at(4), "verify_until has passed", false},
		{"take sign_until alone away", full(), keyset.Dates{Created: at(0), PublishAt: at(1), SignFrom: at(2), VerifyUntil: at(4)}, at(2), "verify_until without sign_until", false},
		{"out of order", full(), keyset.Dates{Created: at(0), PublishAt: at(1), SignFrom: at(2), SignUntil: at(1), VerifyUntil: at(4)}, at(2), "sign_until is before sign_from", false},
		{"beyond what a file holds", keyset.Dates{}, keyset.Dates{SignUntil: time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)}, at(0), "after 9999", false},
		{"the same", full(), full(), at(9), "", true},
		{"the same, none", keyset.Dates{}, keyset.Dates{}, at(9), "", true},
		{"the same, fractions of a second later", full(), func(d keyset.Dates) keyset.Dates { d.SignFrom = d.SignFrom.Add(time.Second - 1); return d }(full()), at(9), "", true},
		{"the same, elsewhere", full(), func(d keyset.Dates) keyset.Dates {
			d.SignFrom = d.SignFrom.In(time.FixedZone("", 3600))
			return d
		}(full()), at(9), "", true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			k := generate(t, keyset.EdDSA, tt.was)
			s := newSet(t, k)
			err := s.SetDates(k.ID(), tt.is, tt.now)
			if tt.want != "" {
				require.ErrorContains(t, err, tt.want)
				require.Same(t, k, s.Key(k.ID()))
				return
			}
			require.NoError(t, err)
			require.Equal(t, tt.noChange, s.Key(k.ID()) == k, "no new key for no change")
			if !tt.noChange {
				require.Equal(t, tt.is, s.Key(k.ID()).Dates())
			}
		})
	}
}

// Methods that change a key say so when there is none, and when it was pruned.
func TestSetUnknownKeys(t *testing.T) {
	k := generate(t, keyset.EdDSA, full())
	s := newSet(t, k)
	require.NoError(t, s.Prune(k.ID(), at(4)))
	for _, id := range []string{"", "x", k.ID()} {
		require.ErrorIs(t, s.SetDates(id, full(), at(0)), keyset.ErrUnknownKey)
		require.ErrorIs(t, s.Revoke(id, at(0), "x"), keyset.ErrUnknownKey)
		require.ErrorIs(t, s.Erase(id, at(9)), keyset.ErrUnknownKey)
		require.ErrorIs(t, s.Prune(id, at(9)), keyset.ErrUnknownKey)
	}
	require.Len(t, s.Pruned(), 1)
}

// What is left of a revoked key can't do anything, and the file holds nothing
// secret of it.
func TestRevoke(t *testing.T) {
	for _, alg := range all {
		for hours := range 6 {
			k := one(t, alg)
			s, id := newSet(t, k), k.ID()
			require.NoError(t, s.SetDates(id, keyset.Dates{SignUntil: at(3), VerifyUntil: at(4)}, at(0)))
			entry := fileJWK(t, s.Key(id))
			secret := "d"
			if alg.Symmetric() {
				secret = "k"
			}
			require.Contains(t, textOf(t, s), member(t, entry, secret))

			require.NoError(t, s.Revoke(id, at(hours).Add(time.Second-1), "key_compromise"))
			require.NotContains(t, textOf(t, s), member(t, entry, secret))
			require.NotRegexp(t, `"(d|p|q|dp|dq|qi|k)":`, textOf(t, s))
			list := s.Keys()
			if alg.Symmetric() {
				require.Empty(t, list, "nothing of it could be kept")
				list = s.Pruned()
			}
			require.Len(t, list, 1)
			left := list[0]
			when, reason, revoked := left.Revoked()
			require.True(t, revoked)
			require.Equal(t, "key_compromise", reason)
			require.Equal(t, at(hours), when, "whole seconds")
			require.Equal(t, keyset.Revoked, left.State(at(hours-1)), "also before")
			require.False(t, left.HasPrivate())
			require.Equal(t, keyset.Dates{SignUntil: at(3), VerifyUntil: at(4)}, left.Dates())
		}
	}
}

func TestRevokeRefuses(t *testing.T) {
	k := generate(t, keyset.EdDSA)
	s := newSet(t, k)
	for _, reason := range []string{strings.Repeat("x", 201), "\x00", "a\x1bb", "\xff", "\u202e"} {
		require.ErrorContains(t, s.Revoke(k.ID(), t0, reason), "the reason must be text of at most 200 bytes", "%q", reason)
	}
	for _, when := range []time.Time{{}, time.Unix(0, 0), time.Unix(-1, 0), time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)} {
		require.ErrorContains(t, s.Revoke(k.ID(), when, ""), "before 1970 or after 9999", "no file could hold it")
	}
	require.Same(t, k, s.Key(k.ID()))
	require.NoError(t, s.Revoke(k.ID(), t0, strings.Repeat("ä", 100)))
	require.ErrorContains(t, s.Revoke(k.ID(), t0.Add(-time.Hour), "other"), "was revoked already")
	require.ErrorContains(t, s.SetDates(k.ID(), keyset.Dates{SignUntil: at(1)}, t0),
		"was revoked; its dates mean nothing any more")
	when, reason, _ := s.Key(k.ID()).Revoked()
	require.Equal(t, t0, when, "the first time stays")
	require.Equal(t, strings.Repeat("ä", 100), reason)
}

// historian does random things to a set, and remembers which keys were revoked.
type historian struct {
	*rand.Rand
	s       *keyset.Set
	pool    []*keyset.Key // with their private halves, as a backup would have them
	revoked map[string]bool
}

func (h *historian) act(t *testing.T) {
	k, now := h.pool[h.IntN(len(h.pool))], at(h.IntN(8))
	switch h.IntN(8) {
	case 0, 1:
		_ = h.s.Add(k)
	case 2:
		_ = h.s.SetDates(k.ID(), []keyset.Dates{{}, life(h.IntN(4)), {SignUntil: now}}[h.IntN(3)], now)
	case 3:
		if h.s.Revoke(k.ID(), now, "x") == nil {
			h.revoked[k.ID()] = true
		}
	case 4:
		_ = h.s.Erase(k.ID(), now)
	case 5:
		_ = h.s.Prune(k.ID(), now)
	case 6:
		h.s = h.s.Clone()
	case 7:
		h.s = reread(t, h.s)
	}
}

// No method, and no sequence of them, brings a revoked key back.
func TestRevocationIsForEver(t *testing.T) {
	var pool []*keyset.Key
	for i := range 12 {
		pool = append(pool, generate(t, []keyset.Algorithm{keyset.EdDSA, keyset.Direct, keyset.HS256}[i%3], life(i%4)))
	}
	revocations := 0
	for seed := range uint64(60) {
		h := &historian{rand.New(rand.NewPCG(seed, 5)), newSet(t, pool[:6]...), pool, make(map[string]bool)}
		for range 80 {
			h.act(t)
			h.check(t)
		}
		revocations += len(h.revoked)
	}
	require.Greater(t, revocations, 100, "the test tests something")
}

func (h *historian) check(t *testing.T) {
	t.Helper()
	for id := range h.revoked {
		all := append(h.s.Keys(), h.s.Pruned()...)
		i := slices.IndexFunc(all, func(k *keyset.Key) bool { return k.ID() == id })
		require.GreaterOrEqual(t, i, 0, "a revoked key was forgotten")
		require.Equal(t, keyset.Revoked, all[i].State(at(h.IntN(8))))
		require.False(t, all[i].HasPrivate())
	}
}

// File, ring, file: nothing is lost on the way.
func TestSetRoundTrip(t *testing.T) {
	erased, revoked := generate(t, keyset.ES256, full()), generate(t, keyset.ECDHESA256KW, full())
	secret, gone := generate(t, keyset.A256KW), generate(t, keyset.EdDSA, full())
	s := newSet(t, generate(t, keyset.HS256), erased, revoked, secret, gone, one(t, keyset.PS256),
		generate(t, keyset.Direct, life(3)))
	require.NoError(t, s.SetPolicy(example()))
	require.NoError(t, s.Erase(erased.ID(), at(3)))
	require.NoError(t, s.Revoke(revoked.ID(), at(1), `why "not" <&> `+"\u00fc\n"))
	require.NoError(t, s.Revoke(secret.ID(), at(2), ""))
	require.NoError(t, s.Prune(gone.ID(), at(9)))
	f := keyset.File{Path: filepath.Join(t.TempDir(), "keys.json")}
	require.NoError(t, f.Create(t.Context(), s))
	require.EqualValues(t, 1, s.Generation())

	back, err := f.Read()
	require.NoError(t, err)
	text, err := os.ReadFile(f.Path)
	require.NoError(t, err)
	require.Equal(t, string(text), textOf(t, back))
	private, err := f.InsecurePrivateSet()
	require.NoError(t, err)
	requirePrivateSet(t, s, private)
	r, err := keys.OpenRing(keys.RingConfig{File: keys.File(f)})
	require.NoError(t, err)
	defer r.Close()
	require.Equal(t, keys.Policy(back.Policy()), r.Set().Policy())
	require.EqualValues(t, 1, r.Health(at(0)).Generation)
	again := (*keyset.Set)(r.Set())
	require.Equal(t, ids(s.Keys()), ids(again.Keys()))
	for i, k := range again.Keys() {
		was := s.Keys()[i]
		require.Equal(t, []any{was.ID(), was.Algorithm(), was.Dates(), was.HasPrivate(), was.Erased(), was.Public()},
			[]any{k.ID(), k.Algorithm(), k.Dates(), k.HasPrivate(), k.Erased(), k.Public()})
		when, reason, is := k.Revoked()
		wasWhen, wasReason, wasRevoked := was.Revoked()
		require.Equal(t, []any{wasWhen, wasReason, wasRevoked}, []any{when, reason, is})
	}
	require.Equal(t, []string{secret.ID(), gone.ID()}, ids(back.Pruned()))
	require.Equal(t, ids(back.Pruned()), ids(again.Pruned()))
}

func TestClone(t *testing.T) {
	k, other := generate(t, keyset.EdDSA, full()), generate(t, keyset.Direct, full())
	s := newSet(t, k, other)
	before := textOf(t, s)
	c := s.Clone()
	require.Equal(t, before, textOf(t, c))
	require.NoError(t, c.Erase(k.ID(), at(3)))
	require.NoError(t, c.Prune(other.ID(), at(4)))
	require.NoError(t, c.Add(generate(t, keyset.EdDSA)))
	require.NoError(t, c.SetPolicy(example()))
	require.Equal(t, before, textOf(t, s))
	list := s.Keys()
	list[0] = nil
	require.Equal(t, before, textOf(t, s), "a copy")
	changed := textOf(t, c)
	c.Pruned()[0] = nil
	require.Equal(t, changed, textOf(t, c))
}

// requirePrivateSet checks that text is a JWK Set of the private keys of s, as
// other programs write it.
func requirePrivateSet(t *testing.T, s *keyset.Set, text []byte) {
	t.Helper()
	parsed, err := jwk.Parse(text)
	require.NoError(t, err)
	var want []string
	for _, k := range s.Keys() {
		if k.HasPrivate() && !k.External() {
			want = append(want, k.ID())
		}
	}
	require.Equal(t, len(want), parsed.Len())
	for i, id := range want {
		k, _ := parsed.Key(i)
		got, _ := k.KeyID()
		require.Equal(t, id, got)
		private, err := jwk.IsPrivateKey(k)
		require.True(t, k.KeyType() == jwa.OctetSeq() || private, "%v", err)
		for _, name := range k.Keys() {
			require.Contains(t, []string{"kid", "alg", "use", "kty", "crv", "x", "y", "n", "e", "d", "p", "q", "dp", "dq", "qi",
				"k"}, name, "nothing of ours")
		}
	}
}
