package keys

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/cloakroom-go/cloakroom/internal/keyset"
)

// Health is the state of a Ring. As JSON it has the problems as texts.
type Health struct {
	Generation int64     // of the key file in force; 0 without one
	SeenAt     time.Time // when the key file was last found to be the one in force; zero without one
	Signer     string    // ID of the key that signs now; "" for none
	Sealer     string    // ID of the key that encrypts now; "" for none
	Sealed     uint64    // tokens that this process has encrypted with Sealer; a Direct key is good for 2^31, all instances together
	Problems   []error   // what an operator must see to, with what to do; none if all is well
}

// MarshalJSON implements json.Marshaler: an error in a problem would be {}.
func (h Health) MarshalJSON() ([]byte, error) {
	out := struct {
		Generation int64     `json:"generation"`
		SeenAt     time.Time `json:"seen_at,omitzero"`
		Signer     string    `json:"signer"`
		Sealer     string    `json:"sealer"`
		Sealed     uint64    `json:"sealed"`
		Problems   []string  `json:"problems"`
	}{h.Generation, h.SeenAt.Round(0).UTC(), h.Signer, h.Sealer, h.Sealed, []string{}}
	for _, err := range h.Problems {
		out.Problems = append(out.Problems, err.Error())
	}
	return json.Marshal(out)
}

// Health reports the state of the ring at the time now: for a health check or metrics.
func (r *Ring) Health(now time.Time) Health {
	s, _ := r.usable(now)
	h := Health{Generation: s.set.Generation()}
	if w := r.seen.Load(); w != nil && s.info != nil {
		h.SeenAt = w.at
		if w.failed != nil {
			h.Problems = append(h.Problems, fmt.Errorf("keys: the key file could not be read again; generation %d stays in force: %w", s.set.Generation(), w.failed))
		}
	}
	h.Problems = append(h.Problems, r.problems(now)...)
	if k, _ := r.Signer(now); k != nil {
		h.Signer = k.ID()
	}
	if k, _ := r.Sealer(now); k != nil {
		h.Sealer, h.Sealed = k.ID(), k.inner().Uses()
	}
	return h
}

// problems are those of the keys in force.
func (r *Ring) problems(now time.Time) (all []error) {
	s, err := r.usable(now)
	if err != nil {
		all = append(all, err)
	}
	if r.single.Load() && s.info != nil {
		all = append(all, fmt.Errorf("keys: the key file %s is mounted as a single file, so that this process keeps the one that was there at its start, whatever replaces it outside; mount the directory that it is in", r.cfg.File.Path))
	}
	for _, use := range keyset.Uses() {
		if err := s.set.Problem(use, now); err != nil {
			all = append(all, err)
		}
	}
	for _, k := range s.set.Keys() {
		if k.Algorithm() == keyset.Direct && k.Uses() >= keyset.MaxSeals/2 {
			all = append(all, fmt.Errorf("%w: key %s has encrypted more than half of that", ErrExhausted, k.ID()))
		}
	}
	return all
}
