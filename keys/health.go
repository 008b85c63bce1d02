package keys

import (
	"fmt"
	"time"

	"github.com/cloakroom-go/cloakroom/internal/keyset"
)

// Health is the state of a Ring.
type Health struct {
	Generation int64     `json:"generation"`       // how often the key file in force was written; 0 without one
	SeenAt     time.Time `json:"seen_at,omitzero"` // when the file was last found unchanged; zero without one
	Signer     string    `json:"signer"`           // ID of the key that signs now; "" for none
	Sealer     string    `json:"sealer"`           // ID of the key that encrypts now; "" for none

	// Sealed counts the tokens that this process has encrypted with Sealer. A
	// Direct key is good for 2^31 tokens of all instances together.
	Sealed uint64 `json:"sealed"`

	// NextAt is when the next key that is waiting begins to sign or to encrypt;
	// zero if none waits. Next is its ID.
	NextAt time.Time `json:"next_at,omitzero"`
	Next   string    `json:"next,omitempty"` // see NextAt

	// Reloads counts how often this process read the key file again, after its
	// start, because it had changed or Reload was called. FailedReloads counts how
	// often that failed. A file that stays bad fails at each look.
	Reloads       uint64 `json:"reloads"`
	FailedReloads uint64 `json:"failed_reloads"` // see Reloads

	// Problems are texts for the operator: what is wrong, and what to do. It is
	// empty if all is well.
	Problems []string `json:"problems"`
}

// Health reports the state of the ring at the time now, for a health check or
// metrics.
func (r *Ring) Health(now time.Time) Health {
	s, _ := r.usable(now)
	h := Health{Generation: s.set.Generation(), Problems: []string{}} // as JSON [], not null
	h.Next, h.NextAt = next(s.set, now)
	last := r.look.Load()
	if last != nil {
		h.Reloads, h.FailedReloads = last.reloads, last.failedReloads
	}
	if last != nil && s.info != nil {
		h.SeenAt = last.at
		if last.failed != nil {
			h.Problems = append(h.Problems, fmt.Sprintf("keys: the key file could not be read again; "+
				"generation %d stays in force: %v", h.Generation, last.failed))
		}
	}
	for _, err := range r.problems(now) {
		h.Problems = append(h.Problems, err.Error())
	}
	if k, _ := r.Current(Signature, now); k != nil {
		h.Signer = k.ID()
	}
	if k, _ := r.Current(Encryption, now); k != nil {
		h.Sealer, h.Sealed = k.ID(), k.inner().Uses()
	}
	return h
}

// next returns the ID of the waiting key that makes tokens first, and when that
// is.
func next(s *keyset.Set, now time.Time) (id string, at time.Time) {
	for _, use := range keyset.Uses() {
		for _, k := range keyset.Waiting(s.Keys(), use, now) {
			if from := k.Dates().SignFrom; at.IsZero() || from.Before(at) {
				id, at = k.ID(), from
			}
		}
	}
	return id, at
}

// problems returns what is wrong with the keys in force.
func (r *Ring) problems(now time.Time) (all []error) {
	s, err := r.usable(now)
	if err != nil {
		all = append(all, err)
	}
	if r.isMount.Load() && s.info != nil {
		all = append(all, fmt.Errorf("keys: the key file %s is mounted as a single file, so that this process keeps "+
			"the one that was there at its start, whatever replaces it outside; mount the directory that it is in",
			r.cfg.File.Path))
	}
	for _, use := range keyset.Uses() {
		if err := s.set.Problem(use, now); err != nil {
			all = append(all, err)
		}
	}
	for _, k := range s.set.Keys() {
		if k.Algorithm() == keyset.Direct && k.Uses() >= keyset.MaxSeals/2 {
			all = append(all, fmt.Errorf("%w: key %s has encrypted more than half of that", keyset.ErrExhausted, k.ID()))
		}
	}
	return all
}
