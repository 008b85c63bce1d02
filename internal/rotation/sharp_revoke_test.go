package rotation_test

import (
	"fmt"
	"maps"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/internal/exposure"
	"github.com/cloakroom-go/cloakroom/internal/keyset"
	"github.com/cloakroom-go/cloakroom/internal/rotation"
	"github.com/cloakroom-go/cloakroom/internal/span"
	"github.com/cloakroom-go/cloakroom/keys"
)

// exposure is what the report says of a kind of verifier, for a key of a use.
func (s *sharp) exposure(j *judge, use keyset.Use, fresh bool) exposure.Effect {
	name := j.name
	if name == unlucky {
		name = "any other that caches the JWK Set"
	}
	alg := map[keyset.Use]keyset.Algorithm{keyset.Signature: keyset.EdDSA, keyset.Encryption: keyset.Direct}[use]
	for _, e := range exposure.Report(keyset.Rules{Policy: sharpPolicy()}, alg, s.now.Add(-sharpPolicy().Lead(alg)),
		s.now) {
		switch {
		case e.Name != name:
		case fresh:
			return e.Fresh
		default:
			return e.Standby
		}
	}
	s.Fatalf("the report says nothing of %q", name)
	return exposure.Effect{}
}

func (s *sharp) span(text string) time.Duration {
	d, err := span.Parse(text)
	require.NoError(s, err)
	return d
}

// excused reports whether a verifier may refuse a token: one of a key that was
// revoked, or of one that nobody could know, for as long as the report says. It
// notes what happens until then.
func (s *sharp) excused(j *judge, token virtual, trusted bool) bool {
	for _, kid := range [...]string{token.kid, token.seal} {
		if at, ok := s.revoked[kid]; ok {
			if trusted && kid == token.kid {
				s.note("trusts a revoked key", j, at)
			}
			return true
		}
	}
	for use, at := range s.fresh {
		if s.now.Before(at.Add(s.refuses(j, use))) {
			if !trusted {
				s.note("refuses new tokens", j, at)
			}
			return true
		}
	}
	return false
}

// refuses is how long the report lets a verifier refuse tokens of a fresh key.
func (s *sharp) refuses(j *judge, use keyset.Use) time.Duration {
	if use == keyset.Encryption && j.replica == nil {
		return 0 // others don't have the key
	}
	return s.span(s.exposure(j, use, true).Refuses)
}

func (s *sharp) note(what string, j *judge, since time.Time) {
	what = j.name + " " + what
	s.worst[what] = max(s.worst[what], s.now.Sub(since))
}

// revoke revokes what signs or encrypts, as soon as a standby is known
// everywhere: the report takes that for granted.
func (s *sharp) revoke(n int) {
	if !s.now.Before(s.stop) {
		return
	}
	op, use := pick(s, s.ops), []keyset.Use{keyset.Signature, keyset.Signature, keyset.Encryption}[n/2%3]
	require.NoError(s, s.take(rotation.IfDue(), op))
	if !s.ready(use) {
		s.at(s.now.Add(20*time.Minute), func() { s.revoke(n) })
		return
	}
	id, fresh := s.inForce(use, op), n%2 == 1
	require.NoError(s, s.take(rotation.Revoke(rotation.RevokeOptions{Fresh: fresh}, id), op))
	s.count["revocations"]++
	s.revoked[id] = s.now
	if fresh {
		s.fresh[use] = s.now
	}
	for _, j := range s.parties {
		s.expectEnd(j, id, use, fresh)
	}
	s.busy(s.now.Add(sharpPolicy().Spread() + 15*time.Minute))
	s.at(s.now.Add(90*time.Minute), func() { s.revoke(n + 1) })
}

// inForce is the ID of the key that makes tokens by the clock of an operator.
func (s *sharp) inForce(use keyset.Use, op clock) string {
	ring, err := (*keys.Set)(s.set).Ring()
	require.NoError(s, err)
	h := ring.Health(op.read())
	return map[keyset.Use]string{keyset.Signature: h.Signer, keyset.Encryption: h.Sealer}[use]
}

// ready reports whether the standby is known everywhere by every clock.
func (s *sharp) ready(use keyset.Use) bool {
	for _, k := range s.set.Keys() {
		if d := k.Dates(); k.Use() == use && k.State(s.now) == keyset.Pending && signs(k) {
			since := d.PublishAt
			if d.Created.After(since) {
				since = d.Created
			}
			return s.now.Sub(since) > leadOf(sharpPolicy(), k.Algorithm())+halfSkew
		}
	}
	return false
}

// expectEnd holds what a verifier trusts against the report, at the instant at
// which it says that the trust ends.
func (s *sharp) expectEnd(j *judge, id string, use keyset.Use, fresh bool) {
	if use == keyset.Encryption && j.replica == nil {
		return // others don't have the key
	}
	trusts := s.exposure(j, use, fresh).Trusts
	if trusts == "without end" {
		return
	}
	s.at(s.now.Add(s.span(trusts)), func() {
		s.count["forgeries"]++
		require.Nil(s, j.peek(id), "%s trusts a revoked key after %s (fresh %v)", j.name, trusts, fresh)
	})
}

// busy lets tokens be made and shown all the time.
func (s *sharp) busy(until time.Time) {
	for at := s.now; at.Before(until); at = at.Add(5 * time.Second) {
		s.at(at, func() { s.sign(pick(s, s.replicas)) })
	}
}

// Keys are revoked when it hurts most, the one half with their standby in their
// place and the other half with a key that nobody knows: nobody trusts a
// revoked key, or refuses new tokens, for longer than the report says.
func TestSimulationSoakSharpRevocations(t *testing.T) {
	t.Parallel()
	total, worst := make(map[string]int), make(map[string]time.Duration)
	for n := range uint64(scale(least(10, 1))) {
		synctest.Test(t, func(t *testing.T) {
			s := newSharp(t, 100+*seedFlag+n)
			s.stop = s.now.Add(time.Duration(least(48, 8)) * time.Hour)
			s.at(s.now.Add(2*time.Hour), func() { s.revoke(int(n)) })
			for _, r := range s.replicas {
				s.everySoOften(r)
			}
			s.run()
			s.tally(total)
			for what, d := range s.worst {
				worst[what] = max(worst[what], d)
			}
		})
	}
	require.NotZero(t, total["revocations"])
	var longest []string
	for _, what := range slices.Sorted(maps.Keys(worst)) {
		longest = append(longest, fmt.Sprintf("%s for %s at most", what, worst[what].Round(time.Millisecond)))
	}
	accountFor(t, "sharp simulation of revocation: all bounds of the exposure report kept", total, longest...)
}
