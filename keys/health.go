package keys

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"
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
	h := Health{Generation: s.generation}
	if w := r.watch.Load(); w != nil && s.info != nil {
		h.SeenAt = w.at
		if w.failed != nil {
			h.Problems = append(h.Problems, fmt.Errorf("keys: the key file could not be read again; generation %d stays in force: %w", s.generation, w.failed))
		}
	}
	h.Problems = append(h.Problems, r.problems(now)...)
	if k, _ := r.Signer(now); k != nil {
		h.Signer = k.id
	}
	if k, _ := r.Sealer(now); k != nil {
		h.Sealer, h.Sealed = k.id, k.Uses()
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
		all = append(all, fmt.Errorf("keys: the key file %s is mounted as a single file, so that this process keeps the one that was there at its start, whatever replaces it outside; mount the directory that it is in", r.file.Path))
	}
	for _, use := range [...]Use{Signature, Encryption} {
		if err := s.problem(use, now); err != nil {
			all = append(all, err)
		}
	}
	for _, k := range s.keys {
		if k.alg == Direct && k.Uses() >= maxSeals/2 {
			all = append(all, fmt.Errorf("%w: key %s has encrypted more than half of that", ErrExhausted, k.id))
		}
	}
	return all
}

// problem returns what is wrong with the key that makes new tokens.
func (s *snapshot) problem(use Use, now time.Time) error {
	k, overrun := s.signs(use, now)
	switch {
	case overrun:
		end := k.dates.SignUntil
		return fmt.Errorf("keys: key %s (%s) should have been replaced at %s, and goes on in its grace until %s; run: keygen rotate", k.id, use, end.Format(time.RFC3339), end.Add(s.policy.Grace).Format(time.RFC3339))
	case k == nil && (use == Signature || s.ever(use, now)):
		return s.noneActive(use, now)
	case k != nil && s.runsOut(k, now):
		return fmt.Errorf("keys: key %s (%s) signs until %s, and no other is published to follow it; run: keygen rotate --if-due", k.id, use, k.dates.SignUntil.Format(time.RFC3339))
	}
	return nil
}

// runsOut reports whether a key that makes new tokens ends so soon that its
// successor should have been published already.
func (s *snapshot) runsOut(k *Key, now time.Time) bool {
	end := k.dates.SignUntil
	if end.IsZero() || s.policy.RotationPeriod == 0 || now.Before(end.Add(-max(2*s.policy.Lead(k.alg), s.policy.RotationPeriod/10))) {
		return false
	}
	return !slices.ContainsFunc(s.keys, func(next *Key) bool {
		return next.Use() == k.Use() && next.id != k.id && next.State(now).trusted() && next.dates.signs() && !next.dates.SignFrom.After(end) && (next.dates.SignUntil.IsZero() || next.dates.SignUntil.After(end))
	})
}

// ever reports whether a key of this use has begun to be used.
func (s *snapshot) ever(use Use, now time.Time) bool {
	for _, k := range s.byID {
		if k.Use() == use && k.began(now) {
			return true
		}
	}
	return false
}
