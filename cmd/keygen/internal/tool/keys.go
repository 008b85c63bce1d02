package tool

import (
	"slices"
	"strings"

	"github.com/cloakroom-go/cloakroom/internal/keyset"
	"github.com/cloakroom-go/cloakroom/internal/secret"
)

// minPrefix is how many characters of a key ID are needed by a command that
// changes the key. With fewer, a typing error could revoke another key.
const minPrefix = 6

// Pick finds the key that a command is to change, by its ID or by the first
// characters of it, at least minPrefix.
func Pick(set *keyset.Set, id string) (*keyset.Key, error) {
	whole := func(k *keyset.Key) bool { return k.ID() == id }
	if len(id) < minPrefix && !slices.ContainsFunc(append(set.Keys(), set.Pruned()...), whole) {
		return nil, Refuse(ExitUsage, "%q is too short for the ID of a key that is to change: "+
			"at least its first %d characters are needed; see keygen list", id, minPrefix)
	}
	return Find(set, id)
}

// Find finds the key with this ID, or with an ID that begins so. The error for
// a pruned key says whether it was revoked or has expired.
func Find(set *keyset.Set, id string) (found *keyset.Key, err error) {
	found, err = FindIn(set.Keys(), id)
	if err == nil || ExitCode(err) != ExitNotFound {
		return found, err
	}
	if gone, _ := FindIn(set.Pruned(), id); gone != nil {
		if at, reason, revoked := gone.Revoked(); revoked {
			return nil, Refuse(ExitRefused, "key %s was revoked already, at %s: %s", gone.ID(), Date(at), Cell(reason))
		}
		return nil, Refuse(ExitRefused, "key %s has expired and was pruned; see keygen list --all", gone.ID())
	}
	return nil, err
}

// FindIn finds the key in all with this ID, or with an ID that begins so.
func FindIn(all []*keyset.Key, id string) (*keyset.Key, error) {
	if id == "" {
		return nil, Refuse(ExitUsage, "the key ID is empty; see keygen list")
	}
	if secret.IsContent(id) {
		return nil, Refuse(ExitUsage, "give the ID of a key, not the content of a file with keys; see keygen list")
	}
	var begin []*keyset.Key
	for _, k := range all {
		switch {
		case k.ID() == id: // also if other IDs begin so
			return k, nil
		case strings.HasPrefix(k.ID(), id):
			begin = append(begin, k)
		}
	}
	switch len(begin) {
	case 0:
		return nil, Refuse(ExitNotFound, "no key %q; see keygen list", id)
	case 1:
		return begin[0], nil
	}
	return nil, Refuse(ExitUsage, "several keys begin with %q; write more of it", id)
}
