package rotation_test

import (
	"errors"
	"slices"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/internal/keyset"
	"github.com/cloakroom-go/cloakroom/keys"
)

// known reports whether everybody knows a key that waits to sign.
func (w *world) known(k *keyset.Key, now time.Time) bool {
	now = now.Truncate(time.Second)
	for _, other := range w.set.Keys() {
		if other.Use() == k.Use() && other.State(now) == keyset.Staged {
			return false // the key before that one may have to sign for long
		}
	}
	lead := leadOf(w.set.Policy(), k.Algorithm())
	if lead > leadOf(w.set.Policy(), keyset.HS256) {
		lead = w.lead(now)
	}
	return k.State(now) == keyset.Pending && !w.listed[k.ID()].Add(lead).After(now)
}

// mayWithdraw reports whether a key waits to sign while another one signs.
func (w *world) mayWithdraw(k *keyset.Key, now time.Time) bool {
	now = now.Truncate(time.Second)
	waits := k.State(now) == keyset.Pending || k.State(now) == keyset.Staged
	return waits && slices.ContainsFunc(w.set.Keys(), func(other *keyset.Key) bool {
		return other.Use() == k.Use() && other.State(now) == keyset.Active
	})
}

// mayRotate reports whether each use has a key that signs, and a next one that
// everybody knows.
func (w *world) mayRotate(use keyset.Use, now time.Time) bool {
	ring, err := (*keys.Set)(w.set).Ring()
	require.NoError(w, err)
	signer, err1 := ring.Current(keys.Signature, now)
	sealer, err2 := ring.Current(keys.Encryption, now)
	if errors.Join(err1, err2) != nil {
		return false
	}
	for _, current := range []*keyset.Key{(*keyset.Key)(signer), (*keyset.Key)(sealer)} {
		if current == nil || use != "" && current.Use() != use {
			continue
		}
		next := w.next(current.Use(), now)
		if current.State(now) != keyset.Active || next == nil || !w.known(next, now) {
			return false
		}
	}
	return sealer != nil || use == keyset.Signature
}

// next returns the first key of a use that waits to sign.
func (w *world) next(use keyset.Use, now time.Time) (next *keyset.Key) {
	for _, k := range w.set.Keys() {
		s := k.State(now)
		waits := k.Use() == use && signs(k) && (s == keyset.Pending || s == keyset.Staged)
		if waits && (next == nil || k.Dates().SignFrom.Before(next.Dates().SignFrom)) {
			next = k
		}
	}
	return next
}
