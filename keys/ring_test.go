package keys_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lestrrat-go/jwx/v3/jwk"
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
	require.JSONEq(t, `{"keys":[]}`, get(r.Handler(), nil).Body.String())
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
			require.Equal(t, tt.want, got)
			if tt.want == nil {
				require.ErrorIs(t, err, keys.ErrNoActiveKey)
			}
		}
	}
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
		require.Equal(t, tt.want, got)
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
	r, err := keys.OpenRing(revoke(t, create(t, sig, enc)))
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
	r.Now = func() time.Time { return at(2) }
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
	edited := strings.ReplaceAll(string(text), `"kty"`, `"revoked":{"at":4102444800,"reason":"key_compromise"},"kty"`)
	edited = strings.Replace(edited, `"generation": 1`, `"generation": 2`, 1)
	require.NoError(t, os.WriteFile(path, []byte(edited), 0o600))
	return path
}

func TestReload(t *testing.T) {
	a, b := generate(t, keys.ES256), generate(t, keys.Direct)
	path := create(t, a)
	r, err := keys.OpenRing(path)
	require.NoError(t, err)
	require.Len(t, r.Keys(), 1)
	require.NoError(t, keys.Update(t.Context(), path, func(s *keys.Set) error { return s.Add(b) }))
	require.Len(t, r.Keys(), 1)
	require.NoError(t, r.Reload())
	require.Len(t, r.Keys(), 2)
}

func TestOpenRingFails(t *testing.T) {
	_, err := keys.OpenRing("")
	require.ErrorContains(t, err, "no path")
	r, err := keys.OpenRing(filepath.Join(t.TempDir(), "missing"))
	require.ErrorIs(t, err, os.ErrNotExist)
	require.Nil(t, r)
	k := generate(t, keys.Direct)
	_, err = keys.NewRing(k, k)
	require.ErrorContains(t, err, "two keys have the ID")
}

// Whatever is wrong with the new file, all the old keys stay.
func TestReloadIsWholeOrNothing(t *testing.T) {
	sig := generate(t, keys.ES256)
	enc := generate(t, keys.Direct)
	path := create(t, sig, enc)
	good, err := os.ReadFile(path)
	require.NoError(t, err)
	exchanged := strings.ReplaceAll(string(good), member(t, private(t, enc), "k"), b64(random(32)))
	tests := []struct {
		name, text string
		want       string
	}{
		{"truncated", string(good[:len(good)-20]), "not strict JSON"},
		{"empty", "", "empty"},
		{"one bad key", strings.Replace(string(good), `"dir"`, `"xyz"`, 1), "alg is not known"},
		{"exchanged secret", exchanged, "was exchanged"},
		{"as before", string(good), ""},
	}
	r, err := keys.OpenRing(path)
	require.NoError(t, err)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			require.NoError(t, os.WriteFile(path, []byte(tt.text), 0o600))
			err := r.Reload()
			if tt.want == "" {
				require.NoError(t, err)
			} else {
				require.ErrorContains(t, err, tt.want)
			}
			require.Len(t, r.Keys(), 2)
			k, err := r.Signer(t0)
			require.NoError(t, err)
			require.Equal(t, sig.ID(), k.ID())
		})
	}
	require.NoError(t, os.Remove(path))
	require.ErrorIs(t, r.Reload(), os.ErrNotExist)
	require.Len(t, r.Keys(), 2)
}

// A restored backup would bring revoked keys back to life.
func TestReloadRefusesAnEarlierGeneration(t *testing.T) {
	path := create(t, generate(t, keys.ES256))
	old, err := os.ReadFile(path)
	require.NoError(t, err)
	r, err := keys.OpenRing(revoke(t, path))
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(path, old, 0o600))
	require.ErrorContains(t, r.Reload(), "has generation 1, and 2 is in force")
	_, err = r.Signer(t0)
	require.ErrorIs(t, err, keys.ErrNoActiveKey)
}

func TestReloadKeepsTheCount(t *testing.T) {
	k := generate(t, keys.Direct)
	path := create(t, k)
	r, err := keys.OpenRing(path)
	require.NoError(t, err)
	before, err := r.Sealer(t0)
	require.NoError(t, err)
	keys.SetUses(before, keys.MaxSeals-1)
	require.NoError(t, r.Reload())
	after, err := r.Sealer(t0)
	require.NoError(t, err)
	_, err = after.Seal([]byte("x"), "")
	require.NoError(t, err)
	_, err = after.Seal([]byte("x"), "")
	require.ErrorIs(t, err, keys.ErrExhausted)
	_, err = before.Seal([]byte("x"), "")
	require.ErrorIs(t, err, keys.ErrExhausted, "who still has the old key counts too")
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
	r, err := keys.OpenRing(path)
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

func TestWatch(t *testing.T) {
	path := create(t, generate(t, keys.EdDSA))
	r, err := keys.OpenRing(path)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	reports, ended := make(chan error, 100), make(chan error)
	go func() { ended <- r.Watch(ctx, time.Millisecond, func(err error) { reports <- err }) }()

	require.NoError(t, keys.Update(t.Context(), path, func(s *keys.Set) error { return s.Add(generate(t, keys.EdDSA)) }))
	require.Eventually(t, func() bool { return len(r.Keys()) == 2 }, 10*time.Second, time.Millisecond)

	good, err := os.ReadFile(path)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(path, []byte("{"), 0o600))
	require.ErrorIs(t, <-reports, keys.ErrInvalidFile)
	require.ErrorIs(t, <-reports, keys.ErrInvalidFile, "again and again")
	require.Len(t, r.Keys(), 2)

	require.NoError(t, os.WriteFile(path, []byte(strings.Replace(string(good), `"generation": 2`, `"generation": 3`, 1)), 0o600))
	require.NoError(t, keys.Update(t.Context(), path, func(s *keys.Set) error { return s.Add(generate(t, keys.EdDSA)) }))
	require.Eventually(t, func() bool { return len(r.Keys()) == 3 }, 10*time.Second, time.Millisecond)
	cancel()
	require.ErrorIs(t, <-ended, context.Canceled)
	require.ErrorContains(t, r.Watch(t.Context(), 0, nil), "positive interval")
}

// Long before a key may encrypt no more, somebody is told, once.
func TestWatchWarnsOfExhaustion(t *testing.T) {
	path := create(t, generate(t, keys.Direct), generate(t, keys.ES256))
	r, err := keys.OpenRing(path)
	require.NoError(t, err)
	k, err := r.Sealer(t0)
	require.NoError(t, err)
	keys.SetUses(k, keys.MaxSeals/2-1)
	_, err = k.Seal([]byte("x"), "")
	require.NoError(t, err, "it still encrypts")
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		var reports []error
		err := r.Watch(ctx, time.Minute, func(err error) { reports = append(reports, err) })
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.Len(t, reports, 1)
		require.ErrorIs(t, reports[0], keys.ErrExhausted)
		require.ErrorContains(t, reports[0], k.ID())
	})
}

func get(h http.Handler, edit func(*http.Request)) *httptest.ResponseRecorder {
	req := httptest.NewRequest(http.MethodGet, "/jwks.json", nil)
	if edit != nil {
		edit(req)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, req)
	return w
}

func TestHandler(t *testing.T) {
	r := newRing(t, generate(t, keys.ES256), generate(t, keys.EdDSA), one(t, keys.RS256), generate(t, keys.HS256), generate(t, keys.Direct), generate(t, keys.ECDHESA256KW))
	w := get(r.Handler(), nil)
	require.Equal(t, 200, w.Code)
	require.Equal(t, "application/jwk-set+json", w.Header().Get("Content-Type"))
	require.Equal(t, "public, max-age=600", w.Header().Get("Cache-Control"))
	require.Equal(t, "nosniff", w.Header().Get("X-Content-Type-Options"))
	etag := w.Header().Get("ETag")
	require.Regexp(t, `^"[A-Za-z0-9_-]{22}"$`, etag, "strong")

	var set struct{ Keys []map[string]any }
	require.NoError(t, json.Unmarshal(w.Body.Bytes(), &set))
	require.Len(t, set.Keys, 3, "no symmetric key, none that encrypts")
	for i, want := range [][]string{{"kty", "crv", "x", "y"}, {"kty", "crv", "x"}, {"kty", "n", "e"}} {
		var names []string
		for name := range set.Keys[i] {
			names = append(names, name)
		}
		require.ElementsMatch(t, append(want, "kid", "alg", "use"), names)
		require.Equal(t, "sig", set.Keys[i]["use"])
	}
	_, err := jwk.Parse(w.Body.Bytes())
	require.NoError(t, err)

	body := w.Body.String()
	w = get(r.Handler(), func(r *http.Request) { r.Header.Set("If-None-Match", etag) })
	require.Equal(t, 304, w.Code)
	require.Empty(t, w.Body.String())
	require.Equal(t, etag, w.Header().Get("ETag"))
	w = get(r.Handler(), func(r *http.Request) { r.Header.Set("If-None-Match", `"other"`) })
	require.Equal(t, 200, w.Code)
	w = get(r.Handler(), func(r *http.Request) { r.Method = http.MethodHead })
	require.Equal(t, 200, w.Code)
	require.Empty(t, w.Body.String())
	for _, method := range []string{"POST", "PUT", "DELETE", "OPTIONS", "PATCH"} {
		w = get(r.Handler(), func(r *http.Request) { r.Method = method })
		require.Equal(t, 405, w.Code)
		require.Equal(t, "GET, HEAD", w.Header().Get("Allow"))
	}
	require.Equal(t, body, get(r.Handler(), nil).Body.String())
}

// The published set follows the clock, without a reload.
func TestHandlerFollowsTheDates(t *testing.T) {
	a, b := generate(t, keys.ES256, life(0)), generate(t, keys.ES256, life(3))
	r := newRing(t, a, b)
	now := at(-1)
	r.Now = func() time.Time { return now }
	tests := []struct {
		now  time.Time
		want []string
	}{
		{at(-1), nil}, {at(0), []string{a.ID()}}, {at(2), []string{a.ID()}}, {at(3), []string{a.ID(), b.ID()}}, {at(5).Add(-1), []string{a.ID(), b.ID()}}, {at(5), []string{b.ID()}}, {at(8).Add(-1), []string{b.ID()}}, {at(8), nil},
		{at(1), []string{a.ID()}}, // the clock was set back
	}
	etags := map[string]string{}
	for _, tt := range tests {
		now = tt.now
		w := get(r.Handler(), nil)
		var set struct{ Keys []struct{ Kid string } }
		require.NoError(t, json.Unmarshal(w.Body.Bytes(), &set))
		var got []string
		for _, k := range set.Keys {
			got = append(got, k.Kid)
		}
		require.Equal(t, tt.want, got, "%v", tt.now)
		etags[w.Header().Get("ETag")] = w.Body.String()
	}
	require.Len(t, etags, 4, "one tag for each content")
}

// What the ring publishes, a verifier reads, and jwx too.
func TestPublicSetRoundTrip(t *testing.T) {
	for _, alg := range []keys.Algorithm{keys.ES256, keys.EdDSA, keys.PS256, keys.RS256} {
		k := one(t, alg)
		signature, err := k.Sign("a.b")
		require.NoError(t, err)
		list, err := keys.ParsePublicSet(get(newRing(t, k).Handler(), nil).Body.Bytes())
		require.NoError(t, err)
		require.Len(t, list, 1)
		require.Equal(t, k.ID(), list[0].ID())
		require.Equal(t, alg, list[0].Algorithm())
		require.False(t, list[0].HasPrivate())
		require.NoError(t, list[0].Verify("a.b", signature))
		_, err = list[0].Sign("a.b")
		require.ErrorIs(t, err, keys.ErrWrongKey)
	}
	set, err := newSet(t, generate(t, keys.ES256, life(0))).PublicSet(at(-1))
	require.NoError(t, err)
	require.JSONEq(t, `{"keys":[]}`, string(set))
}

func TestParsePublicSet(t *testing.T) {
	ec, ed := generate(t, keys.ES256), generate(t, keys.EdDSA)
	entry := func(k *keys.Key, change func(m map[string]any)) string {
		body := get(newRing(t, k).Handler(), nil).Body.Bytes()
		var m map[string]any
		require.NoError(t, json.Unmarshal([]byte(keyText(t, string(body))), &m))
		if change != nil {
			change(m)
		}
		text, err := json.Marshal(m)
		require.NoError(t, err)
		return string(text)
	}
	put := func(k *keys.Key, name string, value any) string {
		return entry(k, func(m map[string]any) { m[name] = value })
	}
	drop := func(k *keys.Key, name string) string { return entry(k, func(m map[string]any) { delete(m, name) }) }
	good := entry(ec, nil)
	rsaKey := one(t, keys.RS256)
	tests := []struct {
		name, in string
		usable   bool   // beside the good key
		refused  string // the whole set
	}{
		{"EdDSA", entry(ed, nil), true, ""},
		{"RSA", entry(rsaKey, nil), true, ""},
		{"no alg", drop(ed, "alg"), true, ""},
		{"no use", drop(ed, "use"), true, ""},
		{"kid of their own", put(ed, "kid", "2026-11"), true, ""},
		{"more members", put(ed, "x5c", []string{"AAAA"}), true, ""},
		{"key_ops verify", put(ed, "key_ops", []string{"verify"}), true, ""},
		{"RSA without alg", drop(rsaKey, "alg"), false, ""},
		{"no kid", drop(ed, "kid"), false, ""},
		{"kid with a slash", put(ed, "kid", "a/b"), false, ""},
		{"kid number", put(ed, "kid", 1), false, ""},
		{"use enc", put(ed, "use", "enc"), false, ""},
		{"key_ops encrypt", put(ed, "key_ops", []string{"encrypt"}), false, ""},
		{"key_ops text", put(ed, "key_ops", "verify"), false, ""},
		{"unknown alg", put(ed, "alg", "ES256K"), false, ""},
		{"alg of another kty", put(ed, "alg", "ES256"), false, ""},
		{"alg that encrypts", put(ed, "alg", "ECDH-ES+A256KW"), false, ""},
		{"alg none", put(ed, "alg", "none"), false, ""},
		{"HS256 with a public key", put(ed, "alg", "HS256"), false, ""},
		{"unknown kty", `{"kty":"AKP","kid":"a","alg":"ML-DSA-44","pub":"AAAA"}`, false, ""},
		{"unknown curve", put(generate(t, keys.ES256), "crv", "P-521"), false, ""},
		{"off the curve", entry(generate(t, keys.ES256), func(m map[string]any) { m["y"] = m["x"] }), false, ""},
		{"padded", put(ed, "x", member(t, private(t, ed), "x")+"="), false, ""},
		{"RSA 1024", put(rsaKey, "n", b64(modulus(1024).Bytes())), false, ""},
		{"RSA exponent 1", put(rsaKey, "e", "AQ"), false, ""},
		{"empty object", `{}`, false, ""},
		{"private", put(ed, "d", "AAAA"), false, "private or symmetric"},
		{"private RSA prime", put(rsaKey, "p", "AAAA"), false, "private or symmetric"},
		{"private AKP", `{"kty":"AKP","kid":"a","priv":"AAAA"}`, false, "private or symmetric"},
		{"symmetric", `{"kty":"oct","kid":"a","k":"AAAA"}`, false, "private or symmetric"},
		{"symmetric without k", `{"kty":"oct","kid":"a"}`, false, "private or symmetric"},
		{"same kid", entry(ed, func(m map[string]any) { m["kid"] = ec.ID() }), false, "kid of another"},
		{"same kid in a key to skip", `{"kty":"AKP","kid":"` + ec.ID() + `"}`, false, "kid of another"},
		{"duplicate member", `{"kty":"EC","kty":"EC"}`, false, "strict JSON"},
		{"not an object", `"x"`, false, "key number 2"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			list, err := keys.ParsePublicSet([]byte(`{"x":1,"keys":[` + good + `,` + tt.in + `]}`))
			if tt.refused != "" {
				require.ErrorContains(t, err, tt.refused)
				require.Nil(t, list)
				return
			}
			require.NoError(t, err)
			want := 1
			if tt.usable {
				want = 2
			}
			require.Len(t, list, want)
			require.Equal(t, ec.ID(), list[0].ID())
		})
	}
	for in, want := range map[string]string{
		``: "strict JSON", `[]`: "JSON object", `{}`: "no keys member", `{"keys":{}}`: "JSON array", `{"keys":[]}`: "no key of the set", `{"keys":[{}]}`: "no key of the set", `{"keys":null}`: "JSON array",
		`{"keys":[]}{"keys":[]}`: "strict JSON", `{"keys":[],"keys":[]}`: "strict JSON", `{"keys":[` + strings.Repeat(`{},`, 100) + `{}]}`: "more than 100",
	} {
		_, err := keys.ParsePublicSet([]byte(in))
		require.ErrorContains(t, err, want, in)
	}
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
