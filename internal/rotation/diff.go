package rotation

import (
	"cmp"
	"fmt"
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
	now, pruned := after.Key(k.ID()), false
	for _, p := range after.Pruned() {
		if p.ID() == k.ID() {
			now, pruned = p, true
		}
	}
	if now == nil {
		return []Change{change(k, "removed", "", "")}
	}
	_, reason, revoked := now.Revoked()
	_, _, was := k.Revoked()
	changes = diffDates(k, k.Dates(), now.Dates())
	switch {
	case revoked && !was:
		changes = append(changes, change(k, "revoked", "", reason))
	case pruned:
		changes = append(changes, change(k, "pruned", "", ""))
	case k.HasPrivate() && !now.HasPrivate():
		changes = append(changes, change(k, "erased", "", "the private half"))
	}
	return changes
}

func diffDates(k *keyset.Key, was, is keyset.Dates) (changes []Change) {
	for _, d := range [...]struct {
		name    string
		was, is time.Time
	}{
		{"created", was.Created, is.Created},
		{"publish_at", was.PublishAt, is.PublishAt},
		{"sign_from", was.SignFrom, is.SignFrom},
		{"sign_until", was.SignUntil, is.SignUntil},
		{"verify_until", was.VerifyUntil, is.VerifyUntil},
	} {
		if !d.was.Equal(d.is) {
			changes = append(changes, change(k, d.name, date(d.was), date(d.is)))
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
