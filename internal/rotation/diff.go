package rotation

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/cloakroom-go/cloakroom/internal/keyset"
)

// A Change is one difference between two sets of keys.
type Change struct {
	ID        string           `json:"kid,omitempty"` // "" for the policy
	Use       keyset.Use       `json:"use,omitempty"` // "" for the policy
	Algorithm keyset.Algorithm `json:"alg,omitempty"` // "" for the policy

	// What is "made", "revoked", "erased", "pruned", "removed", or the name of a
	// date or of a member of the policy.
	What string `json:"what"`

	Was string `json:"was,omitempty"` // an instant in RFC 3339, or ""
	Is  string `json:"is,omitempty"`  // likewise, or the reason of a revocation
}

// String returns the change in words.
func (c Change) String() string {
	who := "the policy"
	if c.ID != "" {
		who = fmt.Sprintf("key %s (%s %s)", c.ID, c.Use, c.Algorithm)
	}
	switch {
	case c.Was == "" && c.Is == "":
		return fmt.Sprintf("%s: %s", who, c.What)
	case c.Was == "":
		return fmt.Sprintf("%s: %s %s", who, c.What, c.Is)
	}
	return fmt.Sprintf("%s: %s %s, was %s", who, c.What, cmp.Or(c.Is, "none"), c.Was)
}

// Diff returns the differences in the order of the keys: first those of before,
// then new ones.
func Diff(before, after *keyset.Set) []Change {
	changes := diffPolicy(before.Policy(), after.Policy())
	for _, k := range before.Keys() {
		changes = append(changes, diffKey(k, after)...)
	}
	for _, k := range after.Keys() {
		if before.Key(k.ID()) == nil {
			changes = append(changes, change(k, "made", "", ""))
			changes = append(changes, diffDates(k, keyset.Dates{Created: k.Dates().Created}, k.Dates())...)
		}
	}
	return changes
}

func change(k *keyset.Key, what, was, is string) Change {
	return Change{ID: k.ID(), Use: k.Use(), Algorithm: k.Algorithm(), What: what, Was: was, Is: is}
}

func diffKey(k *keyset.Key, after *keyset.Set) (changes []Change) {
	now := after.Key(k.ID())
	i := slices.IndexFunc(after.Pruned(), func(p *keyset.Key) bool { return p.ID() == k.ID() })
	switch {
	case i >= 0:
		now = after.Pruned()[i]
	case now == nil:
		return []Change{change(k, "removed", "", "")}
	}
	_, reason, revoked := now.Revoked()
	_, _, was := k.Revoked()
	changes = diffDates(k, k.Dates(), now.Dates())
	switch {
	case revoked && !was:
		changes = append(changes, change(k, "revoked", "", reason))
	case i >= 0:
		changes = append(changes, change(k, "pruned", "", ""))
	case k.HasPrivate() && !now.HasPrivate():
		changes = append(changes, change(k, "erased", "", "the private half"))
	}
	return changes
}

func diffDates(k *keyset.Key, was, is keyset.Dates) (changes []Change) {
	before, after := instants(was), instants(is)
	for i, name := range [...]string{"created", "publish_at", "sign_from", "sign_until", "verify_until"} {
		if !before[i].Equal(after[i]) {
			changes = append(changes, change(k, name, date(before[i]), date(after[i])))
		}
	}
	return changes
}

func diffPolicy(was, is keyset.Policy) (changes []Change) {
	before, after := was.Fields(), is.Fields()
	for i := range after {
		if before[i] != after[i] {
			changes = append(changes, Change{What: after[i][0], Was: before[i][1], Is: after[i][1]})
		}
	}
	return changes
}

// date returns t in RFC 3339, or "" if it is zero.
func date(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return stamp(t)
}
