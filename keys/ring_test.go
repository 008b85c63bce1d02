package keys_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/internal/keyset"
	"github.com/cloakroom-go/cloakroom/keys"
)

func TestZeroRing(t *testing.T) {
	r := new(keys.Ring)
	_, err := r.Current(keys.Signature, t0)
	require.ErrorIs(t, err, keyset.ErrNoActiveKey)
	k, err := r.Current(keys.Encryption, t0)
	require.NoError(t, err)
	require.Nil(t, k)
	_, ever := (*keyset.Set)(r.Set()).UsedSince(keyset.Encryption, t0)
	require.False(t, ever)
	_, err = r.Key(t.Context(), "k", t0)
	require.ErrorIs(t, err, keyset.ErrUnknownKey)
	require.Empty(t, r.Set().Keys())
	require.ErrorContains(t, r.Reload(), "no key file")
	w := get(r.Handler(), nil)
	require.Equal(t, http.StatusServiceUnavailable, w.Code, "an empty set would say that nothing is to be trusted")
	require.Equal(t, "no-store", w.Header().Get("Cache-Control"))
	f := keyset.File{Path: create(t, generate(t, keyset.ES256))}
	require.NoError(t, f.Update(t.Context(), func(s *keyset.Set) error {
		id := s.Keys()[0].ID()
		return errors.Join(s.Revoke(id, t0, ""), s.Prune(id, t0))
	}))
	pruned := unfollowed(t, f)
	require.JSONEq(t, `{"keys":[]}`, get(pruned.Handler(), nil).Body.String(), "nothing is to be trusted")
	w = get(newRing(t, generate(t, keyset.HS256)).Handler(), nil)
	require.JSONEq(t, `{"keys":[]}`, w.Body.String())
	require.Equal(t, "no-store", w.Header().Get("Cache-Control"))
}

func TestRingKey(t *testing.T) {
	k := generate(t, keyset.ES256, life(0))
	enc := generate(t, keyset.Direct, life(0))
	r := newRing(t, k, enc)
	tests := []struct {
		now  time.Time
		want error
	}{
		{at(-1), keyset.ErrUnknownKey}, {at(0).Add(-1), keyset.ErrUnknownKey}, {at(0), nil}, {at(1), nil}, {at(2), nil}, {at(3), nil}, {at(5).Add(-1), nil}, {at(5), keyset.ErrKeyExpired}, {at(9), keyset.ErrKeyExpired},
	}
	for _, tt := range tests {
		for _, id := range []string{k.ID(), enc.ID()} {
			got, err := r.Key(t.Context(), id, tt.now)
			require.ErrorIs(t, err, tt.want)
			require.Equal(t, tt.want == nil, got != nil)
		}
	}
	for _, id := range []string{"", "x", k.ID()[1:], strings.ToLower(k.ID()), strings.Repeat("k", 1<<20)} {
		_, err := r.Key(t.Context(), id, at(2))
		require.ErrorIs(t, err, keyset.ErrUnknownKey)
		require.EqualError(t, err, keyset.ErrUnknownKey.Error(), "no text from the token")
	}
}

func TestRingSigner(t *testing.T) {
	a, b := generate(t, keyset.ES256, life(0)), generate(t, keyset.EdDSA, life(1))
	enc := generate(t, keyset.Direct)
	tests := []struct {
		now  time.Time
		want *keyset.Key
	}{
		{at(0), nil}, {at(1), a}, {at(2).Add(-1), a}, {at(2), b}, {at(3), b}, {at(4).Add(-1), b}, {at(4), nil}, {at(100), nil},
	}
	for _, order := range [][]*keyset.Key{{a, b, enc}, {enc, b, a}} {
		r := newRing(t, order...)
		for _, tt := range tests {
			got, err := r.Current(keys.Signature, tt.now)
			require.Equal(t, idOf(tt.want), idOf(got))
			if tt.want == nil {
				require.ErrorIs(t, err, keyset.ErrNoActiveKey)
			}
		}
	}
}

// Two keys that become active at one instant: all instances choose the same.
func TestRingSignerTie(t *testing.T) {
	a, b := generate(t, keyset.ES256, life(0)), generate(t, keyset.ES256, life(0))
	if a.ID() > b.ID() {
		a, b = b, a
	}
	for _, order := range [][]*keyset.Key{{a, b}, {b, a}} {
		got, err := newRing(t, order...).Current(keys.Signature, at(1))
		require.NoError(t, err)
		require.Equal(t, a.ID(), got.ID())
	}
}

func TestRingSealer(t *testing.T) {
	sig := generate(t, keyset.ES256)
	a, b := generate(t, keyset.Direct, life(0)), generate(t, keyset.A256KW, life(2))
	r := newRing(t, sig, b, a)
	tests := []struct {
		now   time.Time
		want  *keyset.Key
		since time.Time
		ever  bool
	}{
		{at(0), nil, time.Time{}, false}, // published, not used: nothing is encrypted yet
		{at(1), a, at(1), true}, {at(2), a, at(1), true}, {at(3), b, at(1), true}, {at(4), b, at(1), true},
		{at(5), nil, at(1), true}, {at(50), nil, at(1), true}, // ran out: an error, not plain text
	}
	for _, tt := range tests {
		got, err := r.Current(keys.Encryption, tt.now)
		require.Equal(t, idOf(tt.want), idOf(got))
		require.Equal(t, tt.want == nil && tt.ever, errors.Is(err, keyset.ErrNoActiveKey), "%v", err)
		since, ever := (*keyset.Set)(r.Set()).UsedSince(keyset.Encryption, tt.now)
		require.Equal(t, tt.ever, ever)
		require.Equal(t, tt.since, since)
	}
	since, ever := (*keyset.Set)(newRing(t, sig, generate(t, keyset.Direct)).Set()).UsedSince(keyset.Encryption, t0)
	require.True(t, ever)
	require.Zero(t, since, "a key without dates has always been in use")
}

func TestRevokedKeys(t *testing.T) {
	sig, enc := generate(t, keyset.ES256, life(0)), generate(t, keyset.Direct, life(0))
	r := unfollowed(t, keyset.File{Path: revoke(t, create(t, sig, enc))})
	for _, id := range []string{sig.ID(), enc.ID()} {
		_, err := r.Key(t.Context(), id, at(2))
		require.ErrorIs(t, err, keyset.ErrKeyRevoked)
	}
	_, err := r.Current(keys.Signature, at(2))
	require.ErrorIs(t, err, keyset.ErrNoActiveKey)
	_, err = r.Current(keys.Encryption, at(2))
	require.ErrorIs(t, err, keyset.ErrNoActiveKey)
	_, ever := (*keyset.Set)(r.Set()).UsedSince(keyset.Encryption, at(2))
	require.True(t, ever, "a revoked key was in use")
	keys.SetClock(r, func() time.Time { return at(2) })
	require.JSONEq(t, `{"keys":[]}`, get(r.Handler(), nil).Body.String())
	when, reason, revoked := r.Set().Keys()[0].Revoked()
	require.True(t, revoked)
	require.Equal(t, "key_compromise", reason)
	require.Equal(t, time.Unix(4102444800, 0).UTC(), when, "in the future, and revoked all the same")
}

// revoke edits all keys of a file, and raises its generation.
func revoke(t testing.TB, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	edited := strings.ReplaceAll(unsummed(t, text), `"kty"`, `"revoked":{"at":4102444800,"reason":"key_compromise"},"kty"`)
	edited = strings.Replace(edited, `"generation": 1`, `"generation": 2`, 1)
	require.NoError(t, os.WriteFile(path, []byte(edited), 0o600))
	return path
}

// A key that the JWK Set of its own ring does not list never signs, because
// nobody could verify it.
func TestSignerMustBeListed(t *testing.T) {
	for alg, signs := range map[keyset.Algorithm]bool{keyset.ES256: false, keyset.EdDSA: false, keyset.HS256: true} {
		r := newRing(t, generate(t, alg))
		_, err := r.Current(keys.Signature, t0)
		require.NoError(t, err)
		keys.Unlist(r)
		_, err = r.Current(keys.Signature, t0)
		if signs {
			require.NoError(t, err, "it has no public half to list")
			continue
		}
		require.ErrorIs(t, err, keyset.ErrNoActiveKey)
		require.ErrorContains(t, err, "the JWK Set does not list key")
	}
}

func TestReplace(t *testing.T) {
	a, b := generate(t, keyset.ES256), generate(t, keyset.ES256)
	r := newRing(t, a)
	require.Error(t, replace(r, b, b))
	require.Equal(t, a.ID(), r.Set().Keys()[0].ID())
	require.NoError(t, replace(r, b))
	require.Equal(t, b.ID(), r.Set().Keys()[0].ID())
}

func TestRingIsSafeForConcurrentUse(t *testing.T) {
	a, b := generate(t, keyset.EdDSA), generate(t, keyset.Direct)
	path := create(t, a, b)
	r := unfollowed(t, keyset.File{Path: path})
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 50 {
				signer, err1 := r.Current(keys.Signature, t0)
				sealer, err2 := r.Current(keys.Encryption, t0)
				if err1 != nil || err2 != nil || signer.ID() != a.ID() || sealer.ID() != b.ID() {
					t.Error(err1, err2)
				}
				if w := get(r.Handler(), nil); w.Code != 200 {
					t.Error(w.Code)
				}
				if err := r.Reload(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
}

// Tokens of a key end early enough that no verifier, whatever its clock,
// refuses them before they expire.
func TestTokensUntil(t *testing.T) {
	k, open := generate(t, keyset.EdDSA, life(0)), generate(t, keyset.Direct)
	require.Equal(t, at(5), k.TokensUntil(), "outside of a ring")
	require.Equal(t, at(5), (*keyset.Key)(newRing(t, k).Set().Keys()[0]).TokensUntil(), "without a policy")
	s := newSet(t, k, open)
	r := openSet(t, s)
	require.Equal(t, at(5).Add(-2*time.Minute), (*keyset.Key)(r.Set().Keys()[0]).TokensUntil(),
		"leeway and clock skew before")
	require.Zero(t, (*keyset.Key)(r.Set().Keys()[1]).TokensUntil(), "a key without an end")
	require.Equal(t, at(5), k.TokensUntil(), "keys are immutable")
	signer, err := r.Current(keys.Signature, at(2))
	require.NoError(t, err)
	require.Equal(t, at(5).Add(-2*time.Minute), (*keyset.Key)(signer).TokensUntil())

	path := filepath.Join(t.TempDir(), "keys.json")
	for i, skew := range []time.Duration{0, 5 * time.Second, time.Minute} {
		require.NoError(t, s.SetPolicy(keyset.Policy{Leeway: 90 * time.Second, ClockSkew: skew}))
		r := unfollowed(t, place(t, path, s, 1+i))
		if skew == 0 {
			skew = time.Minute // the default
		}
		require.Equal(t, at(5).Add(-90*time.Second-skew), (*keyset.Key)(r.Set().Keys()[0]).TokensUntil())
		require.NoError(t, r.Replace(r.Set().Keys()...))
		require.Equal(t, at(5), (*keyset.Key)(r.Set().Keys()[0]).TokensUntil(), "their policy has gone")
	}
}

// A key that was pruned can do nothing, but its error differs from that of an
// unknown key, whatever the clock says.
func TestPrunedKeysInARing(t *testing.T) {
	gone, bad := generate(t, keyset.ES256, full()), generate(t, keyset.EdDSA, full())
	secret, live := generate(t, keyset.Direct, full()), generate(t, keyset.EdDSA)
	f := keyset.File{Path: create(t, gone, bad, secret, live)}
	r := unfollowed(t, f)
	_, err := r.Key(t.Context(), gone.ID(), at(2))
	require.NoError(t, err)
	require.NoError(t, f.Update(t.Context(), func(s *keyset.Set) error {
		return errors.Join(s.Prune(gone.ID(), at(4)),
			s.Revoke(bad.ID(), at(2), ""), s.Prune(bad.ID(), at(2)), s.Revoke(secret.ID(), at(2), ""))
	}))
	require.NoError(t, r.Reload())
	again := unfollowed(t, f)
	for _, r := range []*keys.Ring{r, again} {
		for hour := -1; hour < 9; hour++ {
			for id, want := range map[string]error{
				gone.ID(): keyset.ErrKeyExpired, bad.ID(): keyset.ErrKeyRevoked,
				secret.ID(): keyset.ErrKeyRevoked, live.ID(): nil,
			} {
				_, err := r.Key(t.Context(), id, at(hour))
				require.ErrorIs(t, err, want)
			}
			require.Equal(t, live.ID(), newest(t, r, keyset.Signature, at(hour)))
			keys.SetClock(r, func() time.Time { return at(hour) })
			require.Equal(t, 1, strings.Count(get(r.Handler(), nil).Body.String(), `"kid"`))
		}
		require.Equal(t, []string{live.ID()}, ids(r.Set().Keys()))
		since, ever := (*keyset.Set)(r.Set()).UsedSince(keyset.Encryption, at(2))
		require.True(t, ever, "it encrypted")
		require.Equal(t, at(2), since)
		_, err = r.Current(keys.Encryption, at(2))
		require.ErrorIs(t, err, keyset.ErrNoActiveKey)
	}
}

// Once a key has encrypted, tokens must be encrypted. A key that never encrypts
// does not count for that: it was withdrawn, or belongs to another system.
func TestSealedSinceSkipsKeysThatNeverSeal(t *testing.T) {
	never := generate(t, keyset.Direct, keyset.Dates{SignFrom: at(1), SignUntil: at(1), VerifyUntil: at(9)})
	r := openRing(t, generate(t, keyset.EdDSA), never)
	for hour := range 12 {
		k, err := r.Current(keys.Encryption, at(hour))
		require.NoError(t, err)
		require.Nil(t, k)
		_, ever := (*keyset.Set)(r.Set()).UsedSince(keyset.Encryption, at(hour))
		require.False(t, ever)
		require.Empty(t, r.Health(at(hour)).Problems)
	}
	_, err := r.Key(t.Context(), never.ID(), at(2))
	require.NoError(t, err, "it decrypts")
	both := newRing(t, never, generate(t, keyset.Direct, life(2)))
	since, ever := (*keyset.Set)(both.Set()).UsedSince(keyset.Encryption, at(3))
	require.True(t, ever)
	require.Equal(t, at(3), since)
}

func BenchmarkRing(b *testing.B) {
	var list []*keyset.Key
	for h := range 4 {
		list = append(list, generate(b, keyset.ES256, life(h)), generate(b, keyset.Direct, life(h)))
	}
	r := newRing(b, list...)
	id := list[4].ID()
	b.Run("Signer", func(b *testing.B) {
		for b.Loop() {
			_, _ = r.Current(keys.Signature, at(3))
		}
	})
	b.Run("Key", func(b *testing.B) {
		for b.Loop() {
			_, _ = r.Key(context.Background(), id, at(3))
		}
	})
	b.Run("SealedSince", func(b *testing.B) {
		for b.Loop() {
			_, _ = (*keyset.Set)(r.Set()).UsedSince(keyset.Encryption, at(3))
		}
	})
}

// Set shows the keys in force. Changing its clone changes nothing in the ring.
func TestRingSet(t *testing.T) {
	f := rich(t, keyset.File{})
	r := unfollowed(t, f)
	s, k := (*keyset.Set)(r.Set()).Clone(), (*keyset.Key)(r.Set().Keys()[0])
	require.Equal(t, ids((*keyset.Set)(r.Set()).Keys()), ids(s.Keys()))
	require.Equal(t, ids((*keyset.Set)(r.Set()).Pruned()), ids(s.Pruned()))
	require.Len(t, s.Pruned(), 1)
	require.Equal(t, r.Set().Policy(), keys.Policy(s.Policy()))
	require.EqualValues(t, 1, s.Generation())

	longer := full()
	longer.VerifyUntil = at(8)
	require.NoError(t, s.SetDates(k.ID(), longer, at(2)))
	require.Equal(t, at(8), s.Key(k.ID()).TokensUntil(), "of the new dates")
	require.NoError(t, s.Revoke(k.ID(), at(2), ""))
	require.NoError(t, s.Prune(k.ID(), at(2)))
	(*keyset.Set)(r.Set()).Pruned()[0] = nil
	require.Same(t, k, (*keyset.Key)(r.Set().Keys()[0]))
	require.NotNil(t, (*keyset.Set)(r.Set()).Pruned()[0])
	require.Empty(t, new(keys.Ring).Set().Keys())
}

// The ID of a key does not depend on its algorithm, and a key has only one
// algorithm (RFC 8725, Section 3.1).
func TestReplaceKeepsTheAlgorithm(t *testing.T) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	signs, err := keyset.Import(keyset.ES256, private, keyset.Dates{})
	require.NoError(t, err)
	encrypts, err := keyset.Import(keyset.ECDHESA256KW, private, keyset.Dates{})
	require.NoError(t, err)
	require.Equal(t, signs.ID(), encrypts.ID())
	require.ErrorContains(t, replace(newRing(t, signs), encrypts), "was exchanged for another")
}
