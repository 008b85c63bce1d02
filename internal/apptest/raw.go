package apptest

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/internal/stored"
	"github.com/cloakroom-go/cloakroom/middleware"
	"github.com/cloakroom-go/cloakroom/session"
)

// A Raw reads and writes the server behind a store directly, as somebody who
// has broken into it.
type Raw interface {
	// Keys returns every key of the server. The key of an item ends with the one
	// that its store was given.
	Keys(t testing.TB) []string

	// Read returns all that the server has under a key, or nil if the item has
	// expired. An item has the form of package stored: a store that keeps it in
	// another form translates.
	Read(t testing.TB, key string) []byte

	// Write puts something in its place.
	Write(t testing.TB, key string, value []byte)
}

// RunRaw tests what somebody can do who reads and writes the server of a store:
// no more than SECURITY.md says. The server may have other items, too, such as
// those that [Run] has left.
func RunRaw(t *testing.T, newStore NewStore, raw Raw) {
	t.Helper()
	t.Run("server", func(t *testing.T) {
		s := newSuite(t, newStore)
		for _, tt := range []struct {
			name string
			run  func(b *burglar)
		}{
			{"a dump shows nothing, and opens nothing", (*burglar).dump},
			{"damaged", (*burglar).damaged},
			{"swapped", (*burglar).swapped},
			{"rolled back", (*burglar).rolledBack},
			{"longer deadlines", (*burglar).longerDeadlines},
		} {
			t.Run(tt.name, func(t *testing.T) {
				w := s.world(t)
				tt.run(&burglar{T: t, w: w, raw: raw, m: w.Middleware(t, "opaque")})
			})
		}
	})
}

// A burglar is in the server of a store.
type burglar struct {
	*testing.T
	w   *World
	raw Raw
	m   *middleware.Middleware
}

// A victim is a session whose item the burglar knows.
type victim struct {
	credential string
	key        string // in the server
	item       []byte // as it was when it began
	opens      string // what the session shows then
	deadline   time.Time
}

func (b *burglar) begin(subject string) victim {
	before := b.w.tally.keys()
	v := victim{credential: Begin(b, b.m, subject), deadline: b.w.Now().Add(12 * time.Hour)}
	for key := range b.w.tally.keys() {
		if !before[key] {
			v.key = b.inServer(key)
		}
	}
	v.item = b.raw.Read(b, v.key)
	v.opens = b.opens(v.credential)
	require.Contains(b, v.opens, subject)
	require.Greater(b, len(v.item), stored.HeaderSize)
	return v
}

// inServer returns the key under which the server has what the store has under
// key.
func (b *burglar) inServer(key string) string {
	all := b.raw.Keys(b)
	i := slices.IndexFunc(all, func(k string) bool { return strings.HasSuffix(k, key) })
	require.GreaterOrEqual(b, i, 0, "the server has no such key")
	return all[i]
}

// opens returns all that a credential opens, "" for nothing.
func (b *burglar) opens(credential string) (shown string) {
	Visit(b.m, credential, func(s *session.Session) {
		if s.IgnoreActivity(); !s.IsNew() {
			of := session.Key[any]("of").Get(s)
			shown = fmt.Sprintf("%q %q %q %v %v", s.ID(), s.Subject(), s.Keys(), of, s.AuthenticatedAt().UTC())
		}
	})
	return shown
}

// refuses expects that v opens nothing while the server has value as its item.
func (b *burglar) refuses(v victim, value []byte, format string, args ...any) {
	b.Helper()
	b.raw.Write(b, v.key, value)
	assert.Empty(b, b.opens(v.credential), fmt.Sprintf(format, args...))
}

// restore puts the item of v back.
func (b *burglar) restore(v victim) {
	b.Helper()
	b.raw.Write(b, v.key, v.item)
	require.Equal(b, v.opens, b.opens(v.credential), "the item as it was")
}

// damaged changes each byte of an item, and cuts it at each length. The header
// in front isn't sealed: what is changed there may do no harm, but it can't
// change what the session says.
func (b *burglar) damaged() {
	v := b.begin("alice")
	for i := range v.item {
		changed := slices.Clone(v.item)
		changed[i] ^= 1 << (i % 8)
		b.raw.Write(b, v.key, changed)
		got := b.opens(v.credential)
		if i < stored.HeaderSize && i >= 8 && got != "" { // an instant; what comes before is the version
			assert.Equal(b, v.opens, got, "byte %d changed", i)
			continue
		}
		assert.Empty(b, got, "byte %d changed", i)
	}
	for n := stored.HeaderSize; n < len(v.item); n++ {
		b.refuses(v, v.item[:n:n], "cut to %d bytes", n)
	}
	for n := 1; n <= 33; n += 8 {
		b.refuses(v, append(slices.Clone(v.item), Random(n)...), "%d bytes more", n)
	}
	b.refuses(v, append(v.item[:stored.HeaderSize:stored.HeaderSize], Random(100)...), "other data")
	b.restore(v)
}

// swapped puts the items of several sessions in each other's places, under
// their own versions and under each other's.
func (b *burglar) swapped() {
	alice, bob := b.begin("alice"), b.begin("robert")
	for range 3 { // versions of one that the other has not
		Visit(b.m, bob.credential, func(s *session.Session) { assert.NoError(b, Visits.Set(s, Visits.Get(s)+1)) })
	}
	bob.item, bob.opens = b.raw.Read(b, bob.key), b.opens(bob.credential)
	for _, pair := range [][2]victim{{alice, bob}, {bob, alice}} {
		b.refuses(pair[0], pair[1].item, "the item of another")
		mixed := slices.Concat(pair[0].item[:stored.HeaderSize], pair[1].item[stored.HeaderSize:])
		b.refuses(pair[0], mixed, "the data of another")
		for version := range uint64(8) {
			binary.BigEndian.PutUint64(mixed, version+1)
			b.refuses(pair[0], mixed, "the data of another as version %d", version+1)
		}
		b.restore(pair[0])
	}
}

// rolledBack puts older copies back. As SECURITY.md says, the session is then
// in that older state. But a mixture of two states opens nothing, what this
// instance has ended stays ended, and the credential from before a login logs
// nobody in.
func (b *burglar) rolledBack() {
	v := b.begin("alice")
	Visit(b.m, v.credential, func(s *session.Session) { assert.NoError(b, Visits.Set(s, 1)) })
	newer := b.raw.Read(b, v.key)
	b.refuses(v, slices.Concat(newer[:8], v.item[8:]), "the older one as the newer version")
	b.refuses(v, slices.Concat(v.item[:8], newer[8:]), "the newer one as the older version")
	b.restore(v)

	status, next := Visit(b.m, v.credential, func(s *session.Session) { assert.NoError(b, s.Destroy()) })
	require.Equal(b, 200, status, next)
	b.refuses(v, v.item, "before the logout")
	b.refuses(v, newer, "before the logout")

	v = b.begin("carol")
	require.NoError(b, b.w.List.EndSubject(b.Context(), "carol"))
	b.refuses(v, v.item, "before all of the subject's sessions ended")

	v = b.begin("")
	_, next = Visit(b.m, v.credential, func(s *session.Session) { assert.NoError(b, s.Login("victoria")) })
	marker := b.raw.Read(b, v.key)
	b.raw.Write(b, v.key, v.item)
	assert.NotContains(b, b.opens(v.credential), "victoria", "before the login")
	b.raw.Write(b, v.key, slices.Concat(v.item[:8], marker[8:]))
	assert.Empty(b, b.opens(v.credential), "the marker as an older version")
	assert.Contains(b, b.opens(next), "victoria")
}

// longerDeadlines sets the deadlines of the header to later instants: the
// session still ends at the sealed one.
func (b *burglar) longerDeadlines() {
	v := b.begin("alice")
	for _, at := range []int64{v.deadline.Add(1000 * time.Hour).Unix(), math.MaxInt32, 253402300799, math.MaxInt64} {
		changed := slices.Clone(v.item)
		binary.BigEndian.PutUint64(changed[16:], uint64(at))
		binary.BigEndian.PutUint64(changed[24:], uint64(at))
		b.raw.Write(b, v.key, changed)
		Visit(b.m, v.credential, func(s *session.Session) {
			s.IgnoreActivity()
			assert.False(b, s.ExpiresAt().After(v.deadline), "%d: %v", at, s.ExpiresAt())
		})
		defer func() { b.refuses(v, changed, "%d: past its lifetime", at) }()
	}
	b.w.Advance(v.deadline.Sub(b.w.Now()))
}

// all returns what the server has, keys included.
func (b *burglar) all() (items map[string][]byte) {
	items = make(map[string][]byte)
	for _, key := range b.raw.Keys(b) {
		items[key] = b.raw.Read(b, key)
	}
	return items
}

// dump looks for all that only clients may know, and tries all that the server
// has as a cookie.
func (b *burglar) dump() {
	h := newHousehold(b)
	h.live()
	items := b.all()
	require.Greater(b, len(items), 10)
	var text [][]byte
	for key, value := range items {
		text = append(text, []byte(key), value)
	}
	everything := bytes.Join(text, []byte("\n"))
	require.Greater(b, len(h.secrets), 80)
	for _, secret := range append(h.secrets, tableWords()...) {
		for form, needle := range FormsOf(secret) {
			assert.False(b, bytes.Contains(everything, needle), "%s of %q", form, secret)
		}
	}
	for key := range b.w.tally.keys() {
		if at := b.inServer(key); b.isOpen(at, items[at]) {
			b.Errorf("what the server has under a key opens a session")
		}
	}
}

// isOpen reports whether something that is made of a key and its value opens a
// session.
func (b *burglar) isOpen(key string, value []byte) bool {
	try := []string{key, "cr1_" + key, "cr1_" + key[len(key)-43:], string(value), B64(value), "crd1_" + B64(value)}
	for i := range min(len(value), 48) {
		try = append(try, "cr1_"+B64(value[i:min(i+32, len(value))]), "cr1_"+string(value[i:min(i+43, len(value))]))
		try = append(try, "crd1_"+B64(value[i:min(i+100, len(value))]))
	}
	return slices.ContainsFunc(try, func(credential string) bool { return b.opens(credential) != "" })
}
