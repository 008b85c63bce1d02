package keyset

import (
	"context"
	"time"

	"github.com/cloakroom-go/cloakroom/internal/jose"
)

// SetUses makes k believe that it has sealed n tokens.
func SetUses(k *Key, n uint64) { k.seals.Store(n) }

// IsROCA is for the fingerprint's own test.
var IsROCA = isROCA

// CheckRSA is for keys that the generator of this Go version refuses to make.
var CheckRSA = checkRSA

// Matches compares a token's header with the key.
func (k *Key) Matches(h *jose.Header) error { return k.matches(h) }

// What only tests compare with.
var (
	StateAt     = stateAt
	ErrWrongKey = errWrongKey
)

// ParseSet reads the text of a key file.
func ParseSet(text []byte) (*Set, error) { return parseSet(text) }

// WithDates returns k with other dates, whatever has passed.
func WithDates(k *Key, d Dates) *Key {
	k, err := k.with(d, nil)
	if err != nil {
		panic(err)
	}
	return k
}

// BreakPolicy gives s a policy that a reader refuses.
func BreakPolicy(s *Set) { s.rules.Grace = time.Second }

// CheckModuli reads a public set and returns the keys whose moduli are good.
func CheckModuli(ctx context.Context, data []byte, known map[string]error) ([]*Key, error) {
	set, err := ReadPublicSet(data)
	if err == nil {
		err = set.CheckModuli(ctx, known)
	}
	if err != nil {
		return nil, err
	}
	return set.Keys, nil
}
