// Package itemtest has keys and items for the tests of stores.
package itemtest

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"time"

	"github.com/cloakroom-go/cloakroom/opaque"
)

// Key returns a key as a carrier makes them: no two tests share one, so that
// they may share a store.
func Key() string {
	var b [32]byte
	rand.Read(b[:])
	return base64.RawURLEncoding.EncodeToString(b[:])
}

// New returns an item that lives for an hour or two: no test takes nearly that
// long, and a server's clock may be off by a few seconds. Its instants are
// whole seconds, which is all that a store keeps.
func New(version uint64, data string) opaque.Item {
	now := time.Now().Truncate(time.Second)
	return opaque.Item{
		Version:      version,
		SeenAt:       now,
		IdleDeadline: now.Add(time.Hour),
		Deadline:     now.Add(2 * time.Hour),
		Data:         []byte(data),
	}
}

// Errors calls every method of s once, and returns their errors. There should
// be an item of version 1 under key, or none.
func Errors(ctx context.Context, s opaque.Store, key string) map[string]error {
	_, _, get := s.Get(ctx, key)
	_, swap := s.Swap(ctx, key, 1, New(2, "swapped"))
	_, touch := s.Touch(ctx, key, time.Now().Add(time.Minute), time.Now().Add(90*time.Minute))
	return map[string]error{
		"Get": get, "Swap": swap, "Touch": touch,
		"Create": s.Create(ctx, key, New(1, "created")),
		"Delete": s.Delete(ctx, key),
	}
}
