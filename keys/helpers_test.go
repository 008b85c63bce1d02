package keys_test

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/internal/keyset"
	"github.com/cloakroom-go/cloakroom/keys"
)

const (
	day  = 24 * time.Hour
	year = 365 * day
)

// t0 is the time at which most tests begin.
var t0 = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

func at(hours int) time.Time { return t0.Add(time.Duration(hours) * time.Hour) }

// life returns the dates of a key that is published at hour h, signs from h+1
// to h+3 and verifies until h+5.
func life(h int) keyset.Dates {
	return keyset.Dates{
		Created: at(h), PublishAt: at(h), SignFrom: at(h + 1), SignUntil: at(h + 3), VerifyUntil: at(h + 5),
	}
}

// full has every date: created at hour 0, published at 1, signing from 2 to 3,
// verifying until 4.
func full() keyset.Dates {
	return keyset.Dates{Created: at(0), PublishAt: at(1), SignFrom: at(2), SignUntil: at(3), VerifyUntil: at(4)}
}

// datesOf points at the dates, in their order.
func datesOf(d *keyset.Dates) [5]*time.Time {
	return [...]*time.Time{&d.Created, &d.PublishAt, &d.SignFrom, &d.SignUntil, &d.VerifyUntil}
}

// example is a policy whose numbers are easy to follow by hand.
func example() keyset.Policy {
	return keyset.Policy{
		TokenLife: 15 * time.Minute, Leeway: time.Minute, ClockSkew: time.Minute, DistributionLag: 2 * time.Minute,
		ReloadInterval: 30 * time.Second, CacheLife: time.Hour, Grace: time.Hour, RotationPeriod: 30 * day,
	}
}

func generate(t testing.TB, alg keyset.Algorithm, d ...keyset.Dates) *keyset.Key {
	t.Helper()
	var dates keyset.Dates
	if len(d) > 0 {
		dates = d[0]
	}
	k, err := keyset.Generate(alg, dates)
	require.NoError(t, err)
	return k
}

// An RSA key takes a second to make, so tests share one.
var rsaKeys = map[keyset.Algorithm]func() (*keyset.Key, error){
	keyset.PS256: sync.OnceValues(func() (*keyset.Key, error) { return keyset.Generate(keyset.PS256, keyset.Dates{}) }),
	keyset.RS256: sync.OnceValues(func() (*keyset.Key, error) { return keyset.Generate(keyset.RS256, keyset.Dates{}) }),
}

// one returns a key without dates.
func one(t testing.TB, alg keyset.Algorithm) *keyset.Key {
	t.Helper()
	if shared, ok := rsaKeys[alg]; ok {
		k, err := shared()
		require.NoError(t, err)
		return k
	}
	return generate(t, alg)
}

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

// rich writes a file that has everything: keys, a policy, a revoked key and a
// note of one that was pruned.
func rich(t testing.TB, f keyset.File) keyset.File {
	t.Helper()
	f.Path = filepath.Join(t.TempDir(), "keys.json")
	sig, gone := generate(t, keyset.ES256, full()), generate(t, keyset.Direct, full())
	revoked := generate(t, keyset.EdDSA)
	s := newSet(t, sig, revoked, gone, generate(t, keyset.Direct))
	require.NoError(t, s.SetPolicy(example()))
	require.NoError(t, s.Revoke(revoked.ID(), t0, "key_compromise"))
	require.NoError(t, s.Prune(gone.ID(), at(4)))
	require.NoError(t, f.Create(t.Context(), s))
	return f
}

func addOne(t testing.TB) func(*keyset.Set) error {
	k := generate(t, keyset.EdDSA)
	return func(s *keyset.Set) error { return s.Add(k) }
}

func public(list []*keyset.Key) (all []*keys.Key) {
	for _, k := range list {
		all = append(all, (*keys.Key)(k))
	}
	return all
}

func newRing(t testing.TB, list ...*keyset.Key) *keys.Ring {
	t.Helper()
	r, err := keys.NewRing(public(list)...)
	require.NoError(t, err)
	return r
}

// unfollowed opens a ring that does not follow its file.
func unfollowed(t testing.TB, f keyset.File) *keys.Ring {
	t.Helper()
	r, err := keys.OpenRing(keys.RingConfig{File: keys.File(f)})
	require.NoError(t, err)
	require.NoError(t, r.Close())
	return r
}

// replace puts other keys in force.
func replace(r *keys.Ring, list ...*keyset.Key) error { return r.Replace(public(list)...) }

// idOf is for comparing: the keys of a ring are copies.
func idOf(k interface{ ID() string }) string {
	if reflect.ValueOf(k).IsNil() {
		return ""
	}
	return k.ID()
}

func ids[K interface{ ID() string }](list []K) (all []string) {
	for _, k := range list {
		all = append(all, k.ID())
	}
	return all
}

// listing describes each file in the directory of f by its mode, its length and
// a hash of its content.
func listing(t testing.TB, f keyset.File) map[string]string {
	t.Helper()
	entries, err := os.ReadDir(filepath.Dir(f.Path))
	require.NoError(t, err)
	all := make(map[string]string)
	for _, e := range entries {
		text, err := os.ReadFile(filepath.Join(filepath.Dir(f.Path), e.Name()))
		require.NoError(t, err)
		info, err := e.Info()
		require.NoError(t, err)
		all[e.Name()] = fmt.Sprintf("%s %d %x", info.Mode(), len(text), sha256.Sum256(text))
	}
	return all
}

func stat(t testing.TB, path string) fs.FileInfo {
	t.Helper()
	info, err := os.Stat(path)
	require.NoError(t, err)
	return info
}

// keyText cuts the only key out of a key file.
func keyText(t testing.TB, file string) string {
	t.Helper()
	var set struct{ Keys []json.RawMessage }
	require.NoError(t, json.Unmarshal([]byte(file), &set))
	require.Len(t, set.Keys, 1)
	return string(set.Keys[0])
}

// unsummed takes the checksum out of the text of a key file, so that the text
// can be edited.
func unsummed(t testing.TB, file []byte) string {
	t.Helper()
	before, _, found := strings.Cut(string(file), ",\n  \"checksum\": \"")
	require.True(t, found, "no checksum")
	return before + "\n}\n"
}

func b64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

func random(n int) []byte {
	b := make([]byte, n)
	rand.Read(b)
	return b
}

// leftOut returns which key an OnProblem error is about, as a program can ask.
func leftOut(t testing.TB, err error) (kid string, reason error) {
	var e interface {
		error
		LeftOut() (kid string, reason error)
	}
	require.ErrorAs(t, err, &e)
	return e.LeftOut()
}
