package apptest

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"math/rand/v2"
	"runtime"
	"time"

	"github.com/cloakroom-go/cloakroom/devices"
	"github.com/cloakroom-go/cloakroom/opaque"
	"github.com/cloakroom-go/cloakroom/session"
)

// nameInIndex returns the name of a subject in an index.
func nameInIndex(subject string) string {
	sum := sha256.Sum256([]byte("cloakroom subject\x00" + subject))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// noList is a revocation list that refuses nothing.
type noList struct{}

func (noList) Check(*session.Record) error { return nil }

func (noList) EndSession(context.Context, *session.Record) error { return nil }

// pause lets others get ahead by about a call.
func pause() {
	if rand.IntN(2) == 0 {
		time.Sleep(time.Duration(rand.IntN(200)) * time.Microsecond)
	} else {
		runtime.Gosched()
	}
}

// longPause sometimes lets others get ahead by several calls.
func longPause() {
	if rand.IntN(4) == 0 {
		time.Sleep(time.Duration(rand.IntN(6000)) * time.Microsecond)
	}
}

// lateKey is the key of a context with a lateCreate.
type lateKey struct{}

// A lateCreate holds back a Create, if that is wanted.
type lateCreate struct {
	wanted bool
	create func() error
}

// do does a Create that was held back.
func (l *lateCreate) do() error {
	if l.create == nil {
		return nil
	}
	return l.create()
}

// A pausingStore pauses before each call.
type pausingStore struct {
	opaque.Store
	headers devices.Store
}

func (s pausingStore) Headers(ctx context.Context, keys []string) ([]opaque.Item, error) {
	pause()
	return s.headers.Headers(ctx, keys)
}

func (s pausingStore) Create(ctx context.Context, key string, it opaque.Item) error {
	if late, ok := ctx.Value(lateKey{}).(*lateCreate); ok && late.wanted {
		ctx = context.WithoutCancel(ctx)
		late.create = func() error { pause(); return s.Store.Create(ctx, key, it) }
		return nil
	}
	pause()
	return s.Store.Create(ctx, key, it)
}

func (s pausingStore) Swap(ctx context.Context, key string, version uint64, it opaque.Item) (bool, error) {
	pause()
	return s.Store.Swap(ctx, key, version, it)
}

func (s pausingStore) Delete(ctx context.Context, key string) error {
	pause()
	return s.Store.Delete(ctx, key)
}

// A pausingIndex pauses before each call.
type pausingIndex struct{ devices.Index }

func (x pausingIndex) Enter(ctx context.Context, of string, e devices.Entry, replaces string, limit int) error {
	pause()
	return x.Index.Enter(ctx, of, e, replaces, limit)
}

func (x pausingIndex) List(ctx context.Context, of string) ([]devices.Entry, error) {
	pause()
	return x.Index.List(ctx, of)
}

func (x pausingIndex) Mark(ctx context.Context, of, id string, until time.Time) ([]devices.Entry, error) {
	pause()
	return x.Index.Mark(ctx, of, id, until)
}

func (x pausingIndex) Leave(ctx context.Context, of, id string, keys ...string) error {
	pause()
	return x.Index.Leave(ctx, of, id, keys...)
}
