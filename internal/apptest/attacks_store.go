package apptest

import (
	"context"
	"encoding/base64"
	"maps"
	"math"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/middleware"
	"github.com/cloakroom-go/cloakroom/opaque"
	"github.com/cloakroom-go/cloakroom/session"
)

// A dumpedStore is a store outside of the process, which an attacker can read
// and write: items that are put in its answers take the place of what is kept.
type dumpedStore struct {
	opaque.Store

	mu      sync.Mutex // guards the rest
	kept    map[string]opaque.Item
	answers map[string]opaque.Item
}

func newDumpedStore(s opaque.Store) *dumpedStore {
	return &dumpedStore{Store: s, kept: make(map[string]opaque.Item), answers: make(map[string]opaque.Item)}
}

func (s *dumpedStore) Get(ctx context.Context, key string) (opaque.Item, bool, error) {
	s.mu.Lock()
	item, planted := s.answers[key]
	s.mu.Unlock()
	if planted {
		return item, true, nil
	}
	return s.Store.Get(ctx, key)
}

func (s *dumpedStore) Create(ctx context.Context, key string, item opaque.Item) error {
	s.note(key, item)
	return s.Store.Create(ctx, key, item)
}

func (s *dumpedStore) Swap(ctx context.Context, key string, version uint64, item opaque.Item) (bool, error) {
	s.note(key, item)
	return s.Store.Swap(ctx, key, version, item)
}

func (s *dumpedStore) note(key string, item opaque.Item) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.kept[key] = item
}

// item returns the only one that has come since the keys in before.
func (s *dumpedStore) item(t *testing.T, before map[string]opaque.Item) (key string, item opaque.Item) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for k, it := range s.kept {
		if _, old := before[k]; !old {
			require.Empty(t, key)
			key, item = k, it
		}
	}
	require.NotEmpty(t, key)
	return key, item
}

func (s *dumpedStore) dump() map[string]opaque.Item {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.kept)
}

// answer has the store answer with item from now on.
func (s *dumpedStore) answer(key string, item opaque.Item) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answers[key] = item
}

func (s *dumpedStore) restore() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.answers)
}

// A robbed is an application whose store is in the attacker's hands.
type robbed struct {
	t       *testing.T
	w       *World
	store   *dumpedStore
	m       *middleware.Middleware
	carrier *opaque.Carrier
}

func newRobbed(t *testing.T, w *World) *robbed {
	r := &robbed{t: t, w: w, store: newDumpedStore(w.tally)}
	w.Store = r.store
	_, r.carrier = r.w.Carriers(t)
	r.m = r.w.Middleware(t, "opaque")
	return r
}

// begin makes a session and returns its credential, and what the store has of
// it.
func (r *robbed) begin(subject string) (credential, key string, item opaque.Item) {
	before := r.store.dump()
	credential = Begin(r.t, r.m, subject)
	key, item = r.store.item(r.t, before)
	return credential, key, item
}

// refused reports whether the credential opens nothing when the store answers
// with item.
func (r *robbed) refused(credential, key string, item opaque.Item) bool {
	r.store.answer(key, item)
	defer r.store.restore()
	rec, next, err := r.carrier.Open(r.t.Context(), credential)
	return err != nil && rec == nil && next == "" && session.ReasonOf(err) != session.Unavailable
}

// changed are the ways to damage data: each bit, each byte, each length.
func changed(data []byte) (all [][]byte) {
	for i := range data {
		for bit := range 8 {
			b := slices.Clone(data)
			b[i] ^= 1 << bit
			all = append(all, b)
		}
		for _, value := range []byte{0, 0xff, 'p', 's', 'm', 'e', data[i] + 1} {
			if b := slices.Clone(data); b[i] != value {
				b[i] = value
				all = append(all, b)
			}
		}
		all = append(all, data[:i:i], slices.Delete(slices.Clone(data), i, i+1), slices.Insert(slices.Clone(data), i, 0))
	}
	for n := 1; n <= 32; n++ {
		all = append(all, append(slices.Clone(data), make([]byte, n)...), append(slices.Clone(data), Random(n)...))
	}
	return append(all, nil, []byte{}, append(slices.Clone(data), data...))
}

func storedRecord(t *testing.T, w *World) {
	r := newRobbed(t, w)
	credential, key, item := r.begin("alice")
	require.False(t, r.refused(credential, key, item), "the item as it is opens")
	for i, data := range changed(item.Data) {
		damaged := item
		damaged.Data = data
		require.True(t, r.refused(credential, key, damaged), "change %d", i)
	}
	for bit := range 64 {
		other := item
		other.Version ^= 1 << bit
		require.True(t, r.refused(credential, key, other), "version %d", other.Version)
	}
	require.Equal(t, "alice", SubjectOf(r.m, credential))
}

// What a process keeps in its own memory is not sealed; a store that isn't
// can't say that it is.
func plainRecord(t *testing.T, w *World) {
	r := newRobbed(t, w)
	credential, key, item := r.begin("alice")
	memory, err := opaque.NewMemoryStore(opaque.MemoryConfig{Now: w.Now})
	require.NoError(t, err)
	defer memory.Close()
	dumped := newDumpedStore(memory)
	local, err := opaque.NewCarrier(opaque.CarrierConfig{Store: pretender{dumped}, Now: w.Now})
	require.NoError(t, err)
	rec := &session.Record{
		ID: "x", Version: item.Version, Generation: 1, Subject: "admin",
		CreatedAt: w.Now(), AuthenticatedAt: w.Now(), SeenAt: w.Now(),
		IdleDeadline: item.IdleDeadline, Deadline: item.Deadline,
	}
	_, err = local.Issue(t.Context(), rec, "")
	require.NoError(t, err)
	_, forged := dumped.item(t, nil)
	require.Contains(t, string(forged.Data), "admin", "as an attacker would write it")
	require.True(t, r.refused(credential, key, forged))
}

// Somebody who writes to the store, knows our code and has a session of their
// own makes one for another subject, and changes their own. They lack only the
// secret.
func inventedRecord(t *testing.T, w *World) {
	for name, secret := range map[string][]byte{
		"zeros": make([]byte, 32), "a longer one": append(Secrets()[0], 1), "the right one": Secrets()[0],
	} {
		want := session.Forged
		if name == "the right one" {
			want = 0
		}
		r := newRobbed(t, w)
		own, _, _ := r.begin("mallory")
		rec, _, err := r.carrier.Open(t.Context(), own)
		require.NoError(t, err)
		admin := *rec
		admin.Subject = "admin"
		theirs, err := opaque.NewCarrier(opaque.CarrierConfig{Store: r.store, Secrets: [][]byte{secret}, Now: w.Now})
		require.NoError(t, err)

		invented, err := theirs.Issue(t.Context(), &admin, "")
		require.NoError(t, err)
		_, _, err = r.carrier.Open(t.Context(), invented)
		require.Equal(t, want, session.ReasonOf(err), name)

		s, control := session.Begin(&admin, session.Options{
			Policy: session.Policy{}.WithDefaults(), Now: w.Now, Saver: unsaved{},
		})
		require.NoError(t, session.Key[any]("n").Set(s, 1))
		changes := control.State().Pending
		_, _, err = theirs.Save(t.Context(), own, &admin, &changes)
		require.NoError(t, err)
		_, _, err = r.carrier.Open(t.Context(), own)
		require.Equal(t, want, session.ReasonOf(err), name)
	}
}

// unsaved leaves changes pending.
type unsaved struct{}

func (unsaved) Save(context.Context) error { return nil }

func (unsaved) Ended() <-chan struct{} { return nil }

// A pretender says that it is in the process.
type pretender struct{ opaque.Store }

func (pretender) InProcess() bool { return true }

// A marker leads to the successor's credential: it must lead nowhere else.
func storedMarker(t *testing.T, w *World) {
	for _, grace := range []time.Duration{0, time.Minute} {
		r := newRobbed(t, w)
		credential, key, item := r.begin("alice")
		rec, _, err := r.carrier.Open(t.Context(), credential)
		require.NoError(t, err)
		next := *rec
		next.Generation++
		successor, err := r.carrier.Issue(t.Context(), &next, "")
		require.NoError(t, err)
		_, err = r.carrier.Retire(t.Context(), credential, rec, successor, grace)
		require.NoError(t, err)
		marker := r.store.dump()[key]
		require.NotEqual(t, item.Version, marker.Version)
		require.Equal(t, grace == 0, r.refused(credential, key, marker))
		require.NotContains(t, string(marker.Data), successor)
		for i, data := range changed(marker.Data) {
			damaged := marker
			damaged.Data = data
			require.True(t, r.refused(credential, key, damaged), "change %d", i)
		}
		for bit := range 64 {
			other := marker
			other.Version ^= 1 << bit
			require.True(t, r.refused(credential, key, other))
		}
		// The record from before, under the marker's version, and the reverse.
		item.Version, marker.Version = marker.Version, item.Version
		require.True(t, r.refused(credential, key, item))
		require.True(t, r.refused(credential, key, marker))
	}
}

// Items of two users are exchanged, as by a crossed reply, and a value is taken
// from an older version of the same session.
func storedItemsExchanged(t *testing.T, w *World) {
	r := newRobbed(t, w)
	alice, aliceKey, aliceItem := r.begin("alice")
	bob, bobKey, bobItem := r.begin("bob")
	require.True(t, r.refused(alice, aliceKey, bobItem))
	require.True(t, r.refused(bob, bobKey, aliceItem))
	for version := range uint64(8) {
		aliceItem.Version, bobItem.Version = version, version
		require.True(t, r.refused(alice, aliceKey, bobItem))
		require.True(t, r.refused(bob, bobKey, aliceItem))
	}
	var versions []opaque.Item
	for i := range 4 {
		Visit(r.m, alice, func(s *session.Session) { assert.NoError(t, session.Key[any]("n").Set(s, i)) })
		versions = append(versions, r.store.dump()[aliceKey])
	}
	for i, older := range versions {
		for j, newer := range versions {
			mixed := newer
			mixed.Data = older.Data
			require.Equal(t, i != j, r.refused(alice, aliceKey, mixed), "data of %d as version of %d", i, j)
		}
	}
}

// The deadlines beside the seal can't keep a session alive past the sealed one,
// nor change anything else.
func storedDeadlines(t *testing.T, w *World) {
	r := newRobbed(t, w)
	credential, key, item := r.begin("alice")
	sealed := item.Deadline
	far := []time.Time{
		{}, time.Unix(0, 0), time.Unix(1, 0), r.w.Now().Add(1000 * time.Hour),
		time.Unix(253402300800, 0), time.Unix(math.MaxInt64>>2, 0), time.Unix(math.MinInt64>>2, 0),
	}
	for shift := range 62 {
		far = append(far, time.Unix(item.Deadline.Unix()^1<<shift, 0))
	}
	fields := map[string]func(it *opaque.Item, at time.Time){
		"SeenAt":       func(it *opaque.Item, at time.Time) { it.SeenAt = at },
		"IdleDeadline": func(it *opaque.Item, at time.Time) { it.IdleDeadline = at },
		"Deadline":     func(it *opaque.Item, at time.Time) { it.Deadline = at },
		"all":          func(it *opaque.Item, at time.Time) { it.SeenAt, it.IdleDeadline, it.Deadline = at, at, at },
	}
	try := func(check func(name string, at time.Time)) {
		for name, set := range fields {
			for _, at := range far {
				changed := item
				set(&changed, at)
				r.store.answer(key, changed)
				check(name, at)
				r.store.restore()
			}
		}
	}
	try(func(name string, at time.Time) {
		rec, _, err := r.carrier.Open(t.Context(), credential)
		if err != nil {
			return
		}
		assert.True(t, rec.Deadline.Equal(sealed), "%s %v", name, at)
		assert.False(t, rec.IdleDeadline.After(sealed), "%s %v", name, at)
		assert.Equal(t, "alice", rec.Subject)
	})
	r.w.Advance(sealed.Sub(r.w.Now()))
	try(func(name string, at time.Time) {
		assert.Empty(t, SubjectOf(r.m, credential), "%s %v: alive past its sealed deadline", name, at)
	})
}

// Whoever has a copy of the store has no cookie, and no value.
func storeDump(t *testing.T, w *World) {
	r := newRobbed(t, w)
	var credentials []string
	for range 20 {
		credential := Begin(t, r.m, "")
		_, credential = Visit(r.m, credential, func(s *session.Session) {
			assert.NoError(t, s.Login("alice@example.com"))
			assert.NoError(t, session.Key[any]("colour").Set(s, "aubergine"))
		})
		credentials = append(credentials, credential)
	}
	dump := r.store.dump()
	require.Greater(t, len(dump), 20)
	for key, item := range dump {
		text := string(item.Data)
		for _, secret := range append(credentials, "alice", "colour", "aubergine") {
			assert.NotContains(t, text, secret)
			assert.NotContains(t, key, strings.TrimPrefix(secret, "cr1_"))
		}
		encode := base64.RawURLEncoding.EncodeToString
		for _, credential := range []string{
			key, "cr1_" + key, text, encode(item.Data), "cr1_" + encode(item.Data[:32]),
		} {
			assert.Empty(t, SubjectOf(r.m, credential))
		}
	}
}
