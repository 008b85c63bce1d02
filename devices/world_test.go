package devices_test

import (
	"context"
	"encoding/base64"
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/devices"
	"github.com/cloakroom-go/cloakroom/opaque"
	"github.com/cloakroom-go/cloakroom/revocation"
	"github.com/cloakroom-go/cloakroom/session"
)

// A world is a Registry, what it needs, and what a middleware does with it.
type world struct {
	*devices.Registry
	t           *testing.T
	config      devices.Config
	index       *devices.Memory
	store       *opaque.MemoryStore
	revocations *revocation.List
	faults      *faults

	mu    sync.Mutex // guards what follows
	shift time.Duration
	made  int
}

// newWorld returns a world that change may change before its Registry is made.
func newWorld(t *testing.T, change func(*devices.Config)) *world {
	w := &world{t: t, faults: &faults{}}
	w.index = devices.NewMemory(w.now)
	store, err := opaque.NewMemoryStore(opaque.MemoryConfig{Now: w.now})
	require.NoError(t, err)
	w.store = store
	t.Cleanup(func() { require.NoError(t, store.Close()) })
	w.revocations = revocation.NewVolatile(revocation.Config{Now: w.now, Lifetime: 24 * time.Hour})
	t.Cleanup(func() { require.NoError(t, w.revocations.Close()) })
	w.config = devices.Config{
		Index: faultyIndex{w.index, w.faults}, Store: faultyStore{store, w.faults},
		Revocations: faultyRevocations{w.revocations, w.faults}, Secrets: [][]byte{secret(1)},
		Lifetime: 12 * time.Hour, Now: w.now,
	}
	if change != nil {
		change(&w.config)
	}
	w.Registry = w.open(w.config)
	return w
}

func (w *world) open(c devices.Config) *devices.Registry {
	r, err := devices.New(c)
	require.NoError(w.t, err)
	w.t.Cleanup(func() { require.NoError(w.t, r.Close()) })
	return r
}

func secret(n byte) []byte { return append(make([]byte, 31), n) }

func (w *world) now() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return time.Now().Add(w.shift)
}

func (w *world) pass(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.shift += d
}

// name returns another text of n bytes of base64url with each call.
func (w *world) name(n int) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.made++
	return base64.RawURLEncoding.EncodeToString(fmt.Appendf(nil, "%0*d", n*3/4, w.made))
}

// record returns a new session of a subject, which nothing knows yet.
func (w *world) record(subject string) *session.Record {
	now := w.now().Truncate(time.Second)
	return &session.Record{
		ID: w.name(22), Version: 1, Generation: 1, Lineage: w.name(22), Subject: subject, CreatedAt: now,
		AuthenticatedAt: w.now().Truncate(time.Millisecond), SeenAt: now, IdleDeadline: now.Add(30 * time.Minute),
		Deadline: now.Add(12 * time.Hour),
	}
}

// next returns rec after a renewal.
func (w *world) next(rec *session.Record) *session.Record {
	next := *rec
	next.Version++
	next.Generation++
	next.Lineage = w.name(22)
	return &next
}

func itemOf(rec *session.Record) opaque.Item {
	return opaque.Item{Version: rec.Version, SeenAt: rec.SeenAt, IdleDeadline: rec.IdleDeadline, Deadline: rec.Deadline}
}

// login does what a middleware does for a login, in the store or, if that is to
// be in a token, without it. It returns the key: "" of a token.
func (w *world) login(ctx context.Context, rec *session.Record, inToken bool) (key string, err error) {
	if !inToken {
		key = w.name(43)
		if err := w.config.Store.(faultyStore).Create(ctx, key, itemOf(rec)); err != nil {
			_ = w.config.Store.Delete(ctx, key)
			return "", err
		}
	}
	return key, w.entered(ctx, rec, key, w.Enter(ctx, &http.Request{}, rec, key, nil, ""))
}

// entered forgets a credential if it could not be entered.
func (w *world) entered(ctx context.Context, rec *session.Record, key string, err error) error {
	if err != nil {
		_ = w.config.Store.Delete(ctx, key)
		_ = w.Forget(ctx, rec, key)
	}
	return err
}

// renew does what a middleware does for a renewal of a session in the store.
func (w *world) renew(ctx context.Context, rec *session.Record, key string) (*session.Record, string, error) {
	next, nextKey := w.next(rec), w.name(43)
	store := w.config.Store.(faultyStore)
	if err := store.Create(ctx, nextKey, itemOf(next)); err != nil {
		_ = store.Delete(ctx, nextKey)
		return rec, key, err
	}
	err := w.entered(ctx, next, nextKey, w.Enter(ctx, &http.Request{}, next, nextKey, rec, key))
	if err != nil {
		return rec, key, err
	}
	marker := itemOf(next)
	switch ok, err := store.Swap(ctx, key, rec.Version, marker); {
	case err == nil && ok:
		return next, nextKey, nil
	default: // whether the old item lives is not known, and both are listed under one ID
		return next, nextKey, err
	}
}

func (w *world) mustLogin(subject string) (*session.Record, string) {
	w.t.Helper()
	rec := w.record(subject)
	key, err := w.login(w.t.Context(), rec, false)
	require.NoError(w.t, err)
	return rec, key
}

// listed returns the sessions of a subject by ID.
func (w *world) listed(subject string) map[string]devices.Session {
	w.t.Helper()
	list, err := w.List(w.t.Context(), subject)
	require.NoError(w.t, err)
	all := make(map[string]devices.Session)
	for _, s := range list {
		all[s.ID] = s
	}
	require.Len(w.t, all, len(list), "an ID is listed twice")
	return all
}

// entries returns what the index has of a subject.
func (w *world) entries(subject string) []devices.Entry {
	w.t.Helper()
	all, err := w.index.List(w.t.Context(), hashOf(subject))
	require.NoError(w.t, err)
	return all
}

// opens reports whether a key in the store still opens a session, as far as
// somebody sees who looks into the store.
func (w *world) opens(key string) bool {
	it, ok, err := w.store.Get(w.t.Context(), key)
	require.NoError(w.t, err)
	return ok && w.now().Before(it.OverAt())
}

// faults makes one of the calls fail that follow.
type faults struct {
	mu    sync.Mutex // guards what follows
	at    int        // which one, from 1; 0 is none
	late  bool       // it has its effect, and only the answer is lost
	calls int
}

// set makes call number at fail, from now on.
func (f *faults) set(at int, late bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.at, f.late, f.calls = at, late, 0
}

// came reports whether the call that fails has been made.
func (f *faults) came() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.calls >= f.at
}

// do makes a call.
func (f *faults) do(ctx context.Context, call func() error) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("%w: %w", err, session.Unavailable)
	}
	f.mu.Lock()
	f.calls++
	fails, late := f.calls == f.at, f.late
	f.mu.Unlock()
	if fails && !late {
		return errFault
	}
	if err := call(); err != nil || !fails {
		return err
	}
	return errFault
}

var errFault = fmt.Errorf("a fault of the test: %w", session.Unavailable)

type faultyIndex struct {
	devices.Index
	f *faults
}

func (x faultyIndex) Enter(ctx context.Context, of string, e devices.Entry, replaces string, limit int) error {
	return x.f.do(ctx, func() error { return x.Index.Enter(ctx, of, e, replaces, limit) })
}

func (x faultyIndex) List(ctx context.Context, of string) (all []devices.Entry, err error) {
	err = x.f.do(ctx, func() (err error) { all, err = x.Index.List(ctx, of); return err })
	return all, err
}

func (x faultyIndex) Extend(ctx context.Context, of, id string, seenAt, until time.Time) (ok bool, err error) {
	err = x.f.do(ctx, func() (err error) { ok, err = x.Index.Extend(ctx, of, id, seenAt, until); return err })
	return ok && err == nil, err
}

func (x faultyIndex) Mark(ctx context.Context, of, id string, until time.Time) (all []devices.Entry, err error) {
	err = x.f.do(ctx, func() (err error) { all, err = x.Index.Mark(ctx, of, id, until); return err })
	if err != nil {
		all = nil
	}
	return all, err
}

func (x faultyIndex) Leave(ctx context.Context, of, id string, keys ...string) error {
	return x.f.do(ctx, func() error { return x.Index.Leave(ctx, of, id, keys...) })
}

type faultyStore struct {
	*opaque.MemoryStore
	f *faults
}

func (s faultyStore) Create(ctx context.Context, key string, it opaque.Item) error {
	return s.f.do(ctx, func() error { return s.MemoryStore.Create(ctx, key, it) })
}

func (s faultyStore) Swap(ctx context.Context, key string, version uint64, it opaque.Item) (ok bool, err error) {
	err = s.f.do(ctx, func() (err error) { ok, err = s.MemoryStore.Swap(ctx, key, version, it); return err })
	return ok && err == nil, err
}

func (s faultyStore) Headers(ctx context.Context, keys []string) (all []opaque.Item, err error) {
	err = s.f.do(ctx, func() (err error) { all, err = s.MemoryStore.Headers(ctx, keys); return err })
	return all, err
}

func (s faultyStore) Delete(ctx context.Context, key string) error {
	return s.f.do(ctx, func() error { return s.MemoryStore.Delete(ctx, key) })
}

type faultyRevocations struct {
	*revocation.List
	f *faults
}

func (l faultyRevocations) EndSession(ctx context.Context, rec *session.Record) error {
	return l.f.do(ctx, func() error { return l.List.EndSession(ctx, rec) })
}
