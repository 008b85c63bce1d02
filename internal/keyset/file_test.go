package keyset_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"crypto/rsa"

	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/internal/durable"
	"github.com/cloakroom-go/cloakroom/internal/keyset"
	"github.com/cloakroom-go/cloakroom/keys"
)

func newSet(t testing.TB, list ...*keyset.Key) *keyset.Set {
	t.Helper()
	s, err := keyset.NewSet(list...)
	require.NoError(t, err)
	return s
}

// create writes a key file and returns its path.
func create(t testing.TB, list ...*keyset.Key) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "keys.json")
	require.NoError(t, keyset.File{Path: path}.Create(t.Context(), newSet(t, list...)))
	return path
}

func TestFileRoundTrip(t *testing.T) {
	dates := keyset.Dates{Created: t0, PublishAt: t0, SignFrom: t0.Add(time.Hour), SignUntil: t0.Add(2 * time.Hour),
		VerifyUntil: t0.Add(3 * time.Hour)}
	for _, alg := range all {
		t.Run(string(alg), func(t *testing.T) {
			k := generate(t, alg, dates)
			got, err := keyset.File{Path: create(t, k)}.Read()
			require.NoError(t, err)
			require.EqualValues(t, 1, got.Generation())
			require.Len(t, got.Keys(), 1)
			back := got.Key(k.ID())
			require.Equal(t, k.ID(), back.ID())
			require.Equal(t, alg, back.Algorithm())
			require.Equal(t, dates, back.Dates())
			require.Equal(t, k.Public(), back.Public())
			if alg.Use() == keyset.Signature {
				signature, err := k.Sign("a.b")
				require.NoError(t, err)
				require.NoError(t, back.Verify("a.b", signature))
				return
			}
			token, err := back.Seal([]byte("x"), "")
			require.NoError(t, err)
			_, err = k.Open(parseJWE(t, token))
			require.NoError(t, err)
		})
	}
}

func TestCreate(t *testing.T) {
	path := create(t, generate(t, keyset.ES256), generate(t, keyset.Direct))
	info, err := os.Stat(path)
	require.NoError(t, err)
	require.Equal(t, fs.FileMode(0o600), info.Mode())
	before, err := os.ReadFile(path)
	require.NoError(t, err)

	err = keyset.File{Path: path}.Create(t.Context(), newSet(t, generate(t, keyset.ES256)))
	require.ErrorIs(t, err, fs.ErrExist)
	require.ErrorContains(t, err, "was not touched")
	after, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, before, after)

	require.ErrorContains(t, keyset.File{Path: filepath.Join(t.TempDir(), "k")}.Create(t.Context(), newSet(t)),
		"without keys")
	nowhere := keyset.File{Path: filepath.Join(t.TempDir(), "missing", "k")}
	require.ErrorIs(t, nowhere.Create(t.Context(), newSet(t, generate(t, keyset.ES256))), fs.ErrNotExist)
}

func TestUpdate(t *testing.T) {
	first, second := generate(t, keyset.ES256), generate(t, keyset.Direct)
	path := create(t, first)
	add := func(s *keyset.Set) error { return s.Add(second) }
	require.NoError(t, keyset.File{Path: path}.Update(t.Context(), add))
	got, err := keyset.File{Path: path}.Read()
	require.NoError(t, err)
	require.EqualValues(t, 2, got.Generation())
	require.NotNil(t, got.Key(first.ID()))
	require.NotNil(t, got.Key(second.ID()))
	info, err := os.Stat(path)
	require.NoError(t, err)
	require.Equal(t, fs.FileMode(0o600), info.Mode())

	require.ErrorContains(t, keyset.File{Path: path}.Update(t.Context(), add), "two keys have the ID")
	stop := errors.New("stop")
	require.Equal(t, stop, keyset.File{Path: path}.Update(t.Context(), func(*keyset.Set) error { return stop }))
	require.NoError(t, keyset.File{Path: path}.Update(t.Context(), func(*keyset.Set) error { return nil }))
	got, err = keyset.File{Path: path}.Read()
	require.NoError(t, err)
	require.EqualValues(t, 2, got.Generation(), "nothing changed")
}

func TestUpdateHonoursTheLock(t *testing.T) {
	path := create(t, generate(t, keyset.EdDSA))
	unlock, err := durable.Lock(t.Context(), path)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, keyset.File{Path: path}.Update(ctx, func(*keyset.Set) error { return nil }), durable.ErrLocked)
	require.NoError(t, unlock())
}

func TestUpdatesDoNotLoseEachOther(t *testing.T) {
	path := create(t, generate(t, keyset.EdDSA))
	var wg sync.WaitGroup
	for range 10 {
		wg.Go(func() {
			k := generate(t, keyset.EdDSA)
			if err := (keyset.File{Path: path}).Update(context.Background(),
				func(s *keyset.Set) error { return s.Add(k) }); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	got, err := keyset.File{Path: path}.Read()
	require.NoError(t, err)
	require.Len(t, got.Keys(), 11)
	require.EqualValues(t, 11, got.Generation())
}

func TestUpdateRemovesWhatACrashLeft(t *testing.T) {
	path := create(t, generate(t, keyset.EdDSA))
	left := filepath.Join(filepath.Dir(path), ".keys.json.123.tmp")
	require.NoError(t, os.WriteFile(left, []byte("old keys"), 0o600))
	require.NoError(t, keyset.File{Path: path}.Update(t.Context(),
		func(s *keyset.Set) error { return s.Add(generate(t, keyset.EdDSA)) }))
	require.NoFileExists(t, left)
}

func TestSetHasLimits(t *testing.T) {
	k := generate(t, keyset.Direct)
	_, err := keyset.NewSet(k, k)
	require.ErrorContains(t, err, "two keys have the ID")
	_, err = keyset.NewSet(nil)
	require.ErrorContains(t, err, "not a key")
	_, err = keyset.NewSet(new(keyset.Key))
	require.ErrorContains(t, err, "not a key")
	s := newSet(t)
	for range 100 {
		require.NoError(t, s.Add(generate(t, keyset.Direct)))
	}
	require.ErrorContains(t, s.Add(generate(t, keyset.Direct)), "more than 100")
	require.Nil(t, s.Key("x"))
}

// Each row spoils a good file; the message says what is wrong with it and that
// a backup is needed.
func TestReadFileRefusesContent(t *testing.T) {
	ec, rsaKey := generate(t, keyset.ES256), one(t, keyset.RS256)
	ed, oct := generate(t, keyset.EdDSA), generate(t, keyset.Direct)
	text := func(k ...*keyset.Key) string {
		b, err := newSet(t, k...).Encode()
		require.NoError(t, err)
		return strings.Replace(unsummed(t, b), `"generation": 0`, `"generation": 1`, 1)
	}
	good := text(ec, oct)
	// edit changes the members of the only key.
	edit := func(k *keyset.Key, change func(m map[string]any)) string {
		var file struct {
			Generation int              `json:"generation"`
			Keys       []map[string]any `json:"keys"`
		}
		require.NoError(t, json.Unmarshal([]byte(text(k)), &file))
		change(file.Keys[0])
		b, err := json.Marshal(file)
		require.NoError(t, err)
		return string(b)
	}
	put := func(k *keyset.Key, name string, value any) string {
		return edit(k, func(m map[string]any) { m[name] = value })
	}
	drop := func(k *keyset.Key, name string) string { return edit(k, func(m map[string]any) { delete(m, name) }) }
	secret := func(b []byte) string { return put(oct, "k", b64(b)) }
	hmac := func(b []byte) string {
		return edit(oct, func(m map[string]any) { m["k"], m["alg"], m["use"] = b64(b), "HS256", "sig" })
	}
	ascending := make([]byte, 32)
	for i := range ascending {
		ascending[i] = byte(i % 8)
	}
	tests := []struct{ name, in, want string }{
		{"empty", "", "empty"},
		{"spaces", " \n", "empty"},
		{"truncated", good[:len(good)/2], "not strict JSON"},
		{"one byte short", strings.TrimSuffix(strings.TrimSpace(good), "}"), "not strict JSON"},
		{"zeros", strings.Repeat("\x00", 500), "not strict JSON"},
		{"trailing", good + "x", "not strict JSON"},
		{"twice", good + good, "not strict JSON"},
		{"array", "[]", "not a JSON object"},
		{"no keys", `{"generation":1}`, "missing"},
		{"generation zero", strings.Replace(good, `"generation": 1`, `"generation": 0`, 1), "not positive"},
		{"generation as text", strings.Replace(good, `"generation": 1`, `"generation": "1"`, 1), "not an integer"},
		{"unknown set member", `{"generation":1,"keys":[],"mac":"x"}`, `member "mac" is not known`},
		{"keys is an object", `{"generation":1,"keys":{}}`, "not a JSON array"},
		{"key is a string", `{"generation":1,"keys":["x"]}`, "key number 1"},
		{"duplicate kid", text(ec)[:strings.LastIndex(text(ec), "]")] + "," + keyText(t, text(ec)) + "]}", "two keys have the ID"},
		{"unknown member", put(ec, "x5c", []string{}), `member "x5c": not known to this version`},
		{"key_ops", put(ec, "key_ops", []string{"sign"}), `member "key_ops"`},
		{"no kid", drop(ec, "kid"), "no kid"},
		{"kid with a slash", put(ec, "kid", "../x"), `member "kid"`},
		{"kid is not the thumbprint", put(ec, "kid", oct.ID()), "thumbprint"},
		{"no alg", drop(ec, "alg"), "alg is not known"},
		{"alg none", put(ec, "alg", "none"), "alg is not known"},
		{"alg number", put(ec, "alg", 1), `member "alg"`},
		{"alg of another kty", put(ec, "alg", "RS256"), "kty is not that of RS256"},
		{"EC key as HMAC", put(ec, "alg", "HS256"), "kty is not that of HS256"},
		{"no use", drop(ec, "use"), `use is not "sig"`},
		{"use enc", put(ec, "use", "enc"), `use is not "sig"`},
		{"no kty", drop(ec, "kty"), "kty is not that"},
		{"date as text", put(ec, "sign_from", "2026-01-01"), `member "sign_from"`},
		{"negative date", put(ec, "sign_from", -1), `member "sign_from"`},
		{"date in milliseconds", put(ec, "verify_until", int64(1790000000000)), `member "verify_until"`},
		{"fractional date", strings.Replace(put(ec, "created", 77), "77", "77.5", 1), `member "created"`},
		{"dates out of order", edit(ec, func(m map[string]any) { m["sign_from"], m["sign_until"] = 20, 10 }), "sign_until is before sign_from"},
		{"verify_until alone", put(ec, "verify_until", 100), "verify_until without sign_until"},
		{"revoked true", put(ec, "revoked", true), `member "revoked"`},
		{"revoked without a date", put(ec, "revoked", map[string]any{"reason": "x"}), `member "revoked"`},
		{"revoked with more", put(ec, "revoked", map[string]any{"at": 5, "x": 1}), `member "revoked"`},
		{"erased, with a private half", put(ec, "erased", true), "erased, and has a private half"},
		{"erased as text", put(ec, "erased", "yes"), `member "erased"`},
		{"no x", drop(ec, "x"), "missing"},
		{"point off the curve", edit(ec, func(m map[string]any) { m["y"] = m["x"] }), "numbers"},
		{"other curve", put(ec, "crv", "P-384"), "numbers"},
		{"d of another key", put(ec, "d", member(t, fileJWK(t, generate(t, keyset.ES256)), "d")), "don't belong together"},
		{"d zero", put(ec, "d", b64(make([]byte, 32))), "don't belong together"},
		{"d null", put(ec, "d", nil), `member "d"`},
		{"d empty", put(ec, "d", ""), `member "d"`},
		{"padded x", put(ec, "x", member(t, fileJWK(t, ec), "x")+"="), `member "x"`},
		{"Ed25519 d of another key", put(ed, "d", member(t, fileJWK(t, generate(t, keyset.EdDSA)), "d")), "don't belong together"},
		{"Ed25519 short x", put(ed, "x", "AAAA"), "numbers"},
		{"X25519", put(ed, "crv", "X25519"), "not a key for EdDSA"},
		{"RSA d of another key", put(rsaKey, "d", b64(bytes.Repeat([]byte{9}, 384))), "don't belong together"},
		{"RSA even exponent", edit(rsaKey, func(m map[string]any) { public(m); m["e"] = b64([]byte{1, 0, 2}) }), "exponent"},
		{"RSA exponent 3", edit(rsaKey, func(m map[string]any) { public(m); m["e"] = b64([]byte{3}) }), "exponent"},
		{"RSA 1024", edit(rsaKey, func(m map[string]any) { public(m); m["n"] = b64(modulus(1024).Bytes()) }), "weak"},
		{"RSA 16384", edit(rsaKey, func(m map[string]any) { public(m); m["n"] = b64(modulus(16384).Bytes()) }), "8192"},
		{"AES key of 16 bytes", secret(random(16)), "exactly 32"},
		{"AES key of 33 bytes", secret(random(33)), "exactly 32"},
		{"HMAC key of 31 bytes", hmac(random(31)), "32 to 1024"},
		{"HMAC key of 2000 bytes", hmac(random(2000)), "32 to 1024"},
		{"zeros as key", secret(make([]byte, 32)), "use random"},
		{"one byte as key", secret(bytes.Repeat([]byte{0xAB}, 32)), "use random"},
		{"few bytes as key", secret(ascending), "use random"},
		{"password", secret([]byte("correct horse battery staple 123")), "use random bytes"},
		{"password with umlauts", hmac([]byte("Zwölf Boxkämpfer jagen Viktor quer über den Sylter Deich")), "use random bytes"},
		{"hexadecimal key", hmac(fmt.Appendf(nil, "%x", random(32))), "use random bytes"},
		{"your-256-bit-secret", hmac([]byte("your-256-bit-secret")), "32 to 1024"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "keys.json")
			require.NoError(t, os.WriteFile(path, []byte(tt.in), 0o600))
			_, err := keyset.File{Path: path}.Read()
			require.ErrorIs(t, err, keyset.ErrInvalidFile)
			require.ErrorContains(t, err, tt.want)
			require.ErrorContains(t, err, "restore it from a backup")
		})
	}
	path := filepath.Join(t.TempDir(), "keys.json")
	require.NoError(t, os.WriteFile(path, []byte(good), 0o600))
	_, err := keyset.File{Path: path}.Read()
	require.NoError(t, err, "the file that the rows change")
}

// What was never a key file needs no backup.
func TestReadFileRefusesOtherFormats(t *testing.T) {
	k := generate(t, keyset.ES256)
	var file map[string]any
	text, err := newSet(t, k).Encode()
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(text, &file))
	delete(file, "generation")
	delete(file, "checksum")
	exported, err := json.Marshal(file)
	require.NoError(t, err)
	single, err := json.Marshal(file["keys"].([]any)[0])
	require.NoError(t, err)
	for _, row := range []struct{ name, in, want string }{
		{"PEM", "\n-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", "is a PEM file"},
		{"empty JWK Set", `{"keys":[]}`, "is a JWK Set for others"},
		{"exported JWK Set", string(exported), "is a JWK Set for others"},
		{"JWK Set from elsewhere", `{"keys":[{"kty":"EC","kid":"1","x5c":[]}]}`, "is a JWK Set for others"},
		{"single JWK", string(single), "is a single JWK"},
	} {
		t.Run(row.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "keys.json")
			require.NoError(t, os.WriteFile(path, []byte(row.in), 0o600))
			_, err := keyset.File{Path: path}.Read()
			require.ErrorIs(t, err, keyset.ErrInvalidFile)
			require.ErrorContains(t, err, row.want+", not a key file that keygen init made; make one with keygen init, and "+
				"bring the keys in with keygen import")
			require.NotContains(t, err.Error(), "backup")
		})
	}
}

// A retired signature key without its private half stays in the file to verify.
func TestReadFileAcceptsPublicHalf(t *testing.T) {
	k := generate(t, keyset.ES256)
	signature, err := k.Sign("a.b")
	require.NoError(t, err)
	text, err := newSet(t, k).Encode()
	require.NoError(t, err)
	var file map[string]any
	require.NoError(t, json.Unmarshal(text, &file))
	file["generation"] = 1
	delete(file, "checksum")
	public(file["keys"].([]any)[0].(map[string]any))
	text, err = json.Marshal(file)
	require.NoError(t, err)
	path := filepath.Join(t.TempDir(), "keys.json")
	require.NoError(t, os.WriteFile(path, text, 0o600))
	ring, err := keys.OpenRing(keys.RingConfig{File: keys.File{Path: path}})
	require.NoError(t, err)
	defer ring.Close()
	got, err := ring.Key(t.Context(), k.ID(), t0)
	require.NoError(t, err)
	require.False(t, (*keyset.Key)(got).HasPrivate())
	require.NoError(t, (*keyset.Key)(got).Verify("a.b", signature))
	_, err = (*keyset.Key)(got).Sign("a.b")
	require.ErrorIs(t, err, keyset.ErrWrongKey)
	_, err = ring.Current(keys.Signature, t0)
	require.ErrorIs(t, err, keyset.ErrNoActiveKey)
}

func TestErrorsHoldNoKey(t *testing.T) {
	k := generate(t, keyset.Direct)
	secret := member(t, fileJWK(t, k), "k")
	text, err := newSet(t, k).Encode()
	require.NoError(t, err)
	good := strings.Replace(unsummed(t, text), `"generation": 0`, `"generation": 1`, 1)
	for _, change := range [][3]string{{`"enc"`, `"sig"`, "use"}, {`"kid"`, `"kit"`, "kit"}, {secret, secret + "=", `"k"`},
		{secret, secret[:20], "bytes"}, {`"kty"`, `"x"`, `"x"`}, {`"generation": 1`, `"generation": 1,"x":1`, `"x"`}} {
		path := filepath.Join(t.TempDir(), "keys.json")
		require.NoError(t, os.WriteFile(path, []byte(strings.Replace(good, change[0], change[1], 1)), 0o600))
		_, err := keyset.File{Path: path}.Read()
		require.ErrorContains(t, err, change[2])
		require.NotContains(t, err.Error(), secret[:20])
	}
}

func TestIsROCA(t *testing.T) {
	// Built as the broken library did: k*M + (65537^a mod M), M the product of
	// the first primes.
	m := big.NewInt(1)
	for p := int64(2); p <= 167; p++ {
		if big.NewInt(p).ProbablyPrime(10) {
			m.Mul(m, big.NewInt(p))
		}
	}
	weak := func(a int64) *big.Int {
		p := new(big.Int).Exp(big.NewInt(65537), big.NewInt(a), m)
		return p.Add(p, new(big.Int).Mul(m, new(big.Int).Lsh(big.NewInt(a), 800)))
	}
	n := new(big.Int).Mul(weak(1234), weak(98765))
	require.True(t, keyset.IsROCA(n))
	require.Greater(t, n.BitLen(), 2047)
	require.ErrorContains(t, keyset.CheckRSA(&rsa.PublicKey{N: n, E: 65537}), "ROCA")
	k, other := two(t, keyset.RS256)
	for _, k := range []*keyset.Key{k, other} {
		require.False(t, keyset.IsROCA(k.Public().(*rsa.PublicKey).N))
	}
}
