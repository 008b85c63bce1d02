package keys

import (
	"context"
	"time"
)

// SetUses makes k believe that it has sealed n tokens.
func SetUses(k *Key, n uint64) { k.seals.Store(n) }

// IsROCA is for the fingerprint's own test.
var IsROCA = isROCA

// CheckRSA is for keys that the generator of this Go version refuses to make.
var CheckRSA = checkRSA

// Encode gives the text of a key file.
func (s *Set) Encode() ([]byte, error) { return s.encode() }

// What only tests compare with.
var (
	StateAt     = stateAt
	ErrWrongKey = errWrongKey
)

const MaxSeals = maxSeals

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
func BreakPolicy(s *Set) { s.policy.Grace = time.Second }

// Unlist makes r believe that its JWK Set has no keys.
func Unlist(r *Ring) { r.load().published.Store(&publication{body: []byte(`{"keys":[]}`)}) }

// Path is where the ring's file is.
func (r *Ring) Path() string { return r.file.Path }

// HoldReload makes reloads of r wait until release is called.
func HoldReload(r *Ring) (release func()) {
	r.mu.Lock()
	return r.mu.Unlock
}

// CheckModuli reads a public set and returns the keys whose moduli are good.
func CheckModuli(ctx context.Context, data []byte, known map[string]error) ([]*Key, error) {
	set, err := parsePublicSet(data)
	if err == nil {
		err = set.checkModuli(ctx, known)
	}
	if err != nil {
		return nil, err
	}
	return set.keys, nil
}

// Settle waits until no fetch of r is under way and all reports were made.
func Settle(r *Remote) { r.wg.Wait() }

// SetClock gives a ring another clock.
func SetClock(r *Ring, now func() time.Time) { r.clock = now }

// HoldLateLook makes r wait for a look that ends when release is called.
func HoldLateLook(r *Ring) (release func()) {
	done := make(chan struct{})
	set := func(running chan struct{}) {
		r.late.mu.Lock()
		defer r.late.mu.Unlock()
		r.late.running = running
	}
	set(done)
	return func() { set(nil); close(done) }
}
