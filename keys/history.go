package keys

import (
	"crypto/sha256"
	"fmt"
	"slices"
	"sync/atomic"

	"github.com/cloakroom-go/cloakroom/internal/keyset"
)

// A ring keeps its history for as long as it lives, also while Replace has put
// other keys in force. The ring's mu guards it.
type history struct {
	generation int64                     // the highest that was in force
	digest     [sha256.Size]byte         // of the file with that generation
	revoked    map[string]bool           // by key ID
	seals      map[string]*atomic.Uint64 // counts of tokens, by key ID
}

// accepts refuses a file that is older than the one in force, or that makes a
// revoked key good again.
func (h *history) accepts(s *keyset.Set, digest [sha256.Size]byte) error {
	switch n := s.Generation(); {
	case n < h.generation:
		return fmt.Errorf("has generation %d, and %d is in force; restart if you want to go back", n, h.generation)
	case n == h.generation && digest != h.digest:
		return fmt.Errorf("has generation %d, which is in force with other content: a backup was restored and then changed, "+
			"or two write without a common lock; restore the later file, or restart if this is the right one", n)
	}
	for _, k := range slices.Concat(s.Keys(), s.Pruned()) {
		if h.revoked[k.ID()] && !k.IsRevoked() {
			return fmt.Errorf("is older than the revocation of key %s; restore a later one, "+
				"or restart if you want to go back", k.ID())
		}
	}
	return nil
}

// remember notes that a file was put in force.
func (h *history) remember(s *keyset.Set, digest [sha256.Size]byte) {
	h.generation, h.digest = s.Generation(), digest
	if h.revoked == nil {
		h.revoked = make(map[string]bool)
	}
	for _, k := range slices.Concat(s.Keys(), s.Pruned()) {
		h.revoked[k.ID()] = h.revoked[k.ID()] || k.IsRevoked()
	}
}

// count returns the count of the tokens that a key has encrypted: a reload must
// not reset it.
func (h *history) count(k *keyset.Key) *atomic.Uint64 {
	if k.Use() != keyset.Encryption {
		return nil
	}
	if h.seals == nil {
		h.seals = make(map[string]*atomic.Uint64)
	}
	if h.seals[k.ID()] == nil {
		h.seals[k.ID()] = new(atomic.Uint64)
	}
	return h.seals[k.ID()]
}
