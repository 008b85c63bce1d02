package jwkscheck

import (
	"crypto"
	"fmt"
	"slices"
	"time"

	"github.com/cloakroom-go/cloakroom/cmd/keygen/internal/tool"
	"github.com/cloakroom-go/cloakroom/internal/keyset"
)

// A servedKey is a key that was served, or should have been.
type servedKey struct {
	ID        string `json:"kid"`
	Algorithm string `json:"alg,omitempty"`
	State     string `json:"state,omitempty"`    // by the key file: of a key that it lacks, "unknown"
	Served    int    `json:"served"`             // in how many answers
	Expected  *bool  `json:"expected,omitempty"` // the key file publishes it now
}

// served lists the keys that were served.
func (c *jwksCheck) served() []servedKey {
	list := []servedKey{}
	for _, a := range c.good {
		for _, kid := range a.Kids {
			i := indexOf(list, kid)
			if i < 0 {
				i, list = len(list), append(list, servedKey{ID: kid, Algorithm: string(a.keys[kid].Algorithm())})
			}
			list[i].Served++
		}
	}
	return list
}

func indexOf(list []servedKey, kid string) int {
	return slices.IndexFunc(list, func(s servedKey) bool { return s.ID == kid })
}

// compare judges the keys of list, which were served, by the key file, and adds
// the keys that were not served and should be. A change of the key file reaches
// every verifier within reach.
func (c *jwksCheck) compare(list []servedKey, reach time.Duration) []servedKey {
	known := make(map[string]*keyset.Key)
	for _, k := range append(c.set.Keys(), c.set.Pruned()...) {
		known[k.ID()] = k
	}
	for i := range list {
		c.judgeServed(&list[i], known[list[i].ID], reach)
	}
	for _, k := range c.set.Keys() {
		if !k.Published(c.Now) {
			continue
		}
		i := indexOf(list, k.ID())
		if i < 0 {
			i = len(list)
			list = append(list, servedKey{k.ID(), string(k.Algorithm()), k.State(c.Now).String(), 0, new(true)})
		}
		if missing := len(c.good) - list[i].Served; missing > 0 {
			c.judgeMissing(k, fmt.Sprintf("missing in %d of %d", missing, len(c.good)), k.Dates().PublishAt.Add(reach))
		}
	}
	return list
}

// judgeServed judges a key that was served. k is that key in the key file, or
// nil if the key file never had it.
func (c *jwksCheck) judgeServed(s *servedKey, k *keyset.Key, reach time.Duration) {
	in := fmt.Sprintf("in %d of %d", s.Served, len(c.good))
	if k == nil {
		s.State, s.Expected = "unknown", new(bool)
		c.Add(tool.Problem, "keys", "key %s is served (%s), and is not in the key file: "+
			"whoever has its private half can make tokens that verifiers accept", s.ID, in)
		return
	}
	s.State, s.Expected = k.State(c.Now).String(), new(k.Published(c.Now))
	at, reason, revoked := k.Revoked()
	switch {
	case revoked:
		c.Add(tool.Problem, "keys", "key %s was revoked at %s (%q), and is served still (%s): its tokens are accepted; "+
			"it should be gone everywhere by %s", s.ID, tool.Date(at), reason, in, tool.Date(at.Add(reach)))
	case !*s.Expected:
		c.Add(tool.Warning, "keys", "key %s is %s, and is served all the same (%s): "+
			"an instance has not read the key file, or its clock is wrong", s.ID, s.State, in)
	default:
		c.judgeSame(k)
	}
}

// judgeSame looks for another key under the ID of k. An attacker who makes a
// server serve his own key can forge tokens.
func (c *jwksCheck) judgeSame(k *keyset.Key) {
	public := k.Public().(interface{ Equal(crypto.PublicKey) bool })
	for _, a := range c.good {
		other := a.keys[k.ID()]
		if other != nil && (other.Algorithm() != k.Algorithm() || !public.Equal(other.Public())) {
			c.Add(tool.Problem, "keys", "key %s is served as another key than that of the key file, under the same ID (%s): "+
				"verifiers refuse its tokens, and accept somebody else's", k.ID(), other.Algorithm())
			return
		}
	}
}

// judgeMissing judges a key that is missing in some answers. Until due, the key
// file may not have reached every instance.
func (c *jwksCheck) judgeMissing(k *keyset.Key, in string, due time.Time) {
	switch state := k.State(c.Now); {
	case state == keyset.Active:
		c.Add(tool.Problem, "keys", "key %s signs, and is not served (%s): verifiers refuse its tokens", k.ID(), in)
	case state == keyset.Retiring:
		c.Add(tool.Problem, "keys", "key %s is retiring, and is not served (%s): "+
			"verifiers refuse tokens of it that have not expired", k.ID(), in)
	case c.Now.Before(due):
		c.Add(tool.Warning, "keys", "key %s is pending, and is not served yet (%s): "+
			"the key file reaches everybody by %s", k.ID(), in, tool.Date(due))
	default:
		c.Add(tool.Problem, "keys", "key %s is pending, and is not served (%s), though it was to be since %s: "+
			"verifiers will refuse its tokens when it signs, from %s on",
			k.ID(), in, tool.Date(k.Dates().PublishAt), tool.Date(k.Dates().SignFrom))
	}
}
