package keys_test

import (
	"context"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/keys"
)

func at(hours int) time.Time { return t0.Add(time.Duration(hours) * time.Hour) }

// life is published at hour h, signs from h+1 to h+3 and verifies until h+5.
func life(h int) keys.Dates {
	return keys.Dates{Created: at(h), PublishAt: at(h), SignFrom: at(h + 1), SignUntil: at(h + 3), VerifyUntil: at(h + 5)}
}

func newRing(t testing.TB, list ...*keys.Key) *keys.Ring {
	t.Helper()
	r, err := keys.NewRing(list...)
	require.NoError(t, err)
	return r
}

func TestZeroRing(t *testing.T) {
	r := new(keys.Ring)
	_, err := r.Signer(t0)
	require.ErrorIs(t, err, keys.ErrNoActiveKey)
	k, err := r.Sealer(t0)
	require.NoError(t, err)
	require.Nil(t, k)
	_, ever := r.SealedSince(t0)
	require.False(t, ever)
	_, err = r.Key(t.Context(), "k", t0)
	require.ErrorIs(t, err, keys.ErrUnknownKey)
	require.Empty(t, r.Keys())
	require.ErrorContains(t, r.Reload(), "no key file")
	w := get(r.Handler(), nil)
	require.Equal(t, http.StatusServiceUnavailable, w.Code, "an empty set would say that nothing is to be trusted")
	require.Equal(t, "no-store", w.Header().Get("Cache-Control"))
	f := keys.File{Path: create(t, generate(t, keys.ES256))}
	require.NoError(t, f.Update(t.Context(), func(s *keys.Set) error {
		id := s.Keys()[0].ID()
		return errors.Join(s.Revoke(id, t0, ""), s.Prune(id, t0))
	}))
	pruned, err := keys.OpenRing(f)
	require.NoError(t, err)
	require.JSONEq(t, `{"keys":[]}`, get(pruned.Handler(), nil).Body.String(), "nothing is to be trusted")
	w = get(newRing(t, generate(t, keys.HS256)).Handler(), nil)
	require.JSONEq(t, `{"keys":[]}`, w.Body.String())
	require.Equal(t, "no-store", w.Header().Get("Cache-Control"))
}

func TestRingKey(t *testing.T) {
	k := generate(t, keys.ES256, life(0))
	enc := generate(t, keys.Direct, life(0))
	r := newRing(t, k, enc)
	tests := []struct {
		now  time.Time
		want error
	}{
		{at(-1), keys.ErrUnknownKey}, {at(0).Add(-1), keys.ErrUnknownKey}, {at(0), nil}, {at(1), nil}, {at(2), nil}, {at(3), nil}, {at(5).Add(-1), nil}, {at(5), keys.ErrKeyExpired}, {at(9), keys.ErrKeyExpired},
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
		require.ErrorIs(t, err, keys.ErrUnknownKey)
		require.EqualError(t, err, keys.ErrUnknownKey.Error(), "no text from the token")
	}
}

func TestRingSigner(t *testing.T) {
	a, b := generate(t, keys.ES256, life(0)), generate(t, keys.EdDSA, life(1))
	enc := generate(t, keys.Direct)
	tests := []struct {
		now  time.Time
		want *keys.Key
	}{
		{at(0), nil}, {at(1), a}, {at(2).Add(-1), a}, {at(2), b}, {at(3), b}, {at(4).Add(-1), b}, {at(4), nil}, {at(100), nil},
	}
	for _, order := range [][]*keys.Key{{a, b, enc}, {enc, b, a}} {
		r := newRing(t, order...)
		for _, tt := range tests {
			got, err := r.Signer(tt.now)
			require.Equal(t, idOf(tt.want), idOf(got))
			if tt.want == nil {
				require.ErrorIs(t, err, keys.ErrNoActiveKey)
			}
		}
	}
}

// idOf is for comparing: the keys of a ring are copies.
func idOf(k *keys.Key) string {
	if k == nil {
		return ""
	}
	return k.ID()
}

// Two keys that become active at one instant: all instances choose the same.
func TestRingSignerTie(t *testing.T) {
	a, b := generate(t, keys.ES256, life(0)), generate(t, keys.ES256, life(0))
	if a.ID() > b.ID() {
		a, b = b, a
	}
	for _, order := range [][]*keys.Key{{a, b}, {b, a}} {
		got, err := newRing(t, order...).Signer(at(1))
		require.NoError(t, err)
		require.Equal(t, a.ID(), got.ID())
	}
}

func TestRingSealer(t *testing.T) {
	sig := generate(t, keys.ES256)
	a, b := generate(t, keys.Direct, life(0)), generate(t, keys.A256KW, life(2))
	r := newRing(t, sig, b, a)
	tests := []struct {
		now   time.Time
		want  *keys.Key
		since time.Time
		ever  bool
	}{
		{at(0), nil, time.Time{}, false}, // published, not used: nothing is encrypted yet
		{at(1), a, at(1), true}, {at(2), a, at(1), true}, {at(3), b, at(1), true}, {at(4), b, at(1), true},
		{at(5), nil, at(1), true}, {at(50), nil, at(1), true}, // ran out: an error, not plain text
	}
	for _, tt := range tests {
		got, err := r.Sealer(tt.now)
		require.Equal(t, idOf(tt.want), idOf(got))
		require.Equal(t, tt.want == nil && tt.ever, errors.Is(err, keys.ErrNoActiveKey), "%v", err)
		since, ever := r.SealedSince(tt.now)
		require.Equal(t, tt.ever, ever)
		require.Equal(t, tt.since, since)
	}
	since, ever := newRing(t, sig, generate(t, keys.Direct)).SealedSince(t0)
	require.True(t, ever)
	require.Zero(t, since, "a key without dates has always been in use")
}

func TestRevokedKeys(t *testing.T) {
	sig, enc := generate(t, keys.ES256, life(0)), generate(t, keys.Direct, life(0))
	r, err := keys.OpenRing(keys.File{Path: revoke(t, create(t, sig, enc))})
	require.NoError(t, err)
	for _, id := range []string{sig.ID(), enc.ID()} {
		_, err = r.Key(t.Context(), id, at(2))
		require.ErrorIs(t, err, keys.ErrKeyRevoked)
	}
	_, err = r.Signer(at(2))
	require.ErrorIs(t, err, keys.ErrNoActiveKey)
	_, err = r.Sealer(at(2))
	require.ErrorIs(t, err, keys.ErrNoActiveKey)
	_, ever := r.SealedSince(at(2))
	require.True(t, ever, "a revoked key was in use")
	keys.SetClock(r, func() time.Time { return at(2) })
	require.JSONEq(t, `{"keys":[]}`, get(r.Handler(), nil).Body.String())
	when, reason, revoked := r.Keys()[0].Revoked()
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

// Nobody could verify what a key signs that the JWK Set of the same ring does not list.
func TestSignerMustBeListed(t *testing.T) {
	for alg, signs := range map[keys.Algorithm]bool{keys.ES256: false, keys.EdDSA: false, keys.HS256: true} {
		r := newRing(t, generate(t, alg))
		_, err := r.Signer(t0)
		require.NoError(t, err)
		keys.Unlist(r)
		_, err = r.Signer(t0)
		if signs {
			require.NoError(t, err, "it has no public half to list")
			continue
		}
		require.ErrorIs(t, err, keys.ErrNoActiveKey)
		require.ErrorContains(t, err, "the JWK Set does not list key")
	}
}

func TestReplace(t *testing.T) {
	a, b := generate(t, keys.ES256), generate(t, keys.ES256)
	r := newRing(t, a)
	require.Error(t, r.Replace(b, b))
	require.Equal(t, a.ID(), r.Keys()[0].ID())
	require.NoError(t, r.Replace(b))
	require.Equal(t, b.ID(), r.Keys()[0].ID())
}

func TestRingIsSafeForConcurrentUse(t *testing.T) {
	a, b := generate(t, keys.EdDSA), generate(t, keys.Direct)
	path := create(t, a, b)
	r, err := keys.OpenRing(keys.File{Path: path})
	require.NoError(t, err)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 50 {
				signer, err1 := r.Signer(t0)
				sealer, err2 := r.Sealer(t0)
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

// Tokens of a key end early enough that no verifier, whatever its clock, refuses them before they expire.
func TestTokensUntil(t *testing.T) {
	k, open := generate(t, keys.EdDSA, life(0)), generate(t, keys.Direct)
	require.Equal(t, at(5), k.TokensUntil(), "outside of a ring")
	require.Equal(t, at(5), newRing(t, k).Keys()[0].TokensUntil(), "without a policy")
	s := newSet(t, k, open)
	r := openSet(t, s)
	require.Equal(t, at(5).Add(-2*time.Minute), r.Keys()[0].TokensUntil(), "leeway and clock skew before")
	require.Zero(t, r.Keys()[1].TokensUntil(), "a key without an end")
	require.Equal(t, at(5), k.TokensUntil(), "keys are immutable")
	signer, err := r.Signer(at(2))
	require.NoError(t, err)
	require.Equal(t, at(5).Add(-2*time.Minute), signer.TokensUntil())

	path := filepath.Join(t.TempDir(), "keys.json")
	for i, skew := range []time.Duration{0, 5 * time.Second, time.Minute} {
		require.NoError(t, s.SetPolicy(keys.Policy{Leeway: 90 * time.Second, ClockSkew: skew}))
		r, err := keys.OpenRing(place(t, path, s, 1+i))
		require.NoError(t, err)
		if skew == 0 {
			skew = time.Minute // the default
		}
		require.Equal(t, at(5).Add(-90*time.Second-skew), r.Keys()[0].TokensUntil())
		require.NoError(t, r.Replace(r.Keys()...))
		require.Equal(t, at(5), r.Keys()[0].TokensUntil(), "their policy has gone")
	}
}

// What was pruned can do nothing, but is told from what never was, wherever the clock stands.
func TestPrunedKeysInARing(t *testing.T) {
	gone, bad, secret, live := generate(t, keys.ES256, full()), generate(t, keys.EdDSA, full()), generate(t, keys.Direct, full()), generate(t, keys.EdDSA)
	f := keys.File{Path: create(t, gone, bad, secret, live)}
	r, err := keys.OpenRing(f)
	require.NoError(t, err)
	_, err = r.Key(t.Context(), gone.ID(), at(2))
	require.NoError(t, err)
	require.NoError(t, f.Update(t.Context(), func(s *keys.Set) error {
		return errors.Join(s.Prune(gone.ID(), at(4)), s.Revoke(bad.ID(), at(2), ""), s.Prune(bad.ID(), at(2)), s.Revoke(secret.ID(), at(2), ""))
	}))
	require.NoError(t, r.Reload())
	again, err := keys.OpenRing(f)
	require.NoError(t, err)
	for _, r := range []*keys.Ring{r, again} {
		for hour := -1; hour < 9; hour++ {
			for id, want := range map[string]error{gone.ID(): keys.ErrKeyExpired, bad.ID(): keys.ErrKeyRevoked, secret.ID(): keys.ErrKeyRevoked, live.ID(): nil} {
				_, err := r.Key(t.Context(), id, at(hour))
				require.ErrorIs(t, err, want)
			}
			require.Equal(t, live.ID(), newest(t, r, keys.Signature, at(hour)))
			keys.SetClock(r, func() time.Time { return at(hour) })
			require.Equal(t, 1, strings.Count(get(r.Handler(), nil).Body.String(), `"kid"`))
		}
		require.Equal(t, []string{live.ID()}, ids(r.Keys()))
		since, ever := r.SealedSince(at(2))
		require.True(t, ever, "it encrypted")
		require.Equal(t, at(2), since)
		_, err = r.Sealer(at(2))
		require.ErrorIs(t, err, keys.ErrNoActiveKey)
	}
}

// Keys that never encrypt don't begin the time in which all tokens are encrypted.
func TestSealedSinceSkipsKeysThatNeverSeal(t *testing.T) {
	never := generate(t, keys.Direct, keys.Dates{SignFrom: at(1), SignUntil: at(1), VerifyUntil: at(9)}) // withdrawn, or of another system
	r := openRing(t, generate(t, keys.EdDSA), never)
	for hour := range 12 {
		k, err := r.Sealer(at(hour))
		require.NoError(t, err)
		require.Nil(t, k)
		_, ever := r.SealedSince(at(hour))
		require.False(t, ever)
		require.Empty(t, r.Health(at(hour)).Problems)
	}
	_, err := r.Key(t.Context(), never.ID(), at(2))
	require.NoError(t, err, "it decrypts")
	since, ever := newRing(t, never, generate(t, keys.Direct, life(2))).SealedSince(at(3))
	require.True(t, ever)
	require.Equal(t, at(3), since)
}

func BenchmarkRing(b *testing.B) {
	var list []*keys.Key
	for h := range 4 {
		list = append(list, generate(b, keys.ES256, life(h)), generate(b, keys.Direct, life(h)))
	}
	r := newRing(b, list...)
	id := list[4].ID()
	b.Run("Signer", func(b *testing.B) {
		for b.Loop() {
			_, _ = r.Signer(at(3))
		}
	})
	b.Run("Key", func(b *testing.B) {
		for b.Loop() {
			_, _ = r.Key(context.Background(), id, at(3))
		}
	})
	b.Run("SealedSince", func(b *testing.B) {
		for b.Loop() {
			_, _ = r.SealedSince(at(3))
		}
	})
}
