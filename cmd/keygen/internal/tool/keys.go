package tool

import (
	"encoding/json"
	"slices"
	"strings"

	"github.com/cloakroom-go/cloakroom/internal/keyset"
	"github.com/cloakroom-go/cloakroom/internal/secret"
)

// KeyID returns the ID of the key that an argument names.
func (t *Tool) KeyID(arg string) (string, error) {
	set, err := t.Read()
	if err != nil {
		return "", err
	}
	k, err := Pick(set, arg)
	if err != nil {
		return "", err
	}
	return k.ID(), nil
}

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
func FindIn(all []*keyset.Key, id string) (found *keyset.Key, err error) {
	if id == "" {
		return nil, Refuse(ExitUsage, "the key ID is empty; see keygen list")
	}
	if secret.IsContent(id) {
		return nil, Refuse(ExitUsage, "the argument is the ID of a key, and not what a file with keys holds; see keygen list")
	}
	for _, k := range all {
		if k.ID() == id {
			return k, nil
		}
	}
	for _, k := range all {
		if !strings.HasPrefix(k.ID(), id) {
			continue
		}
		if found != nil {
			return nil, Refuse(ExitUsage, "several keys begin with %q; write more of it", id)
		}
		found = k
	}
	if found == nil {
		return nil, Refuse(ExitNotFound, "no key %q; see keygen list", id)
	}
	return found, nil
}

// PrivateJWKs returns the private JWKs of a key file by key ID.
func PrivateJWKs(file keyset.File) (map[string]json.RawMessage, error) {
	text, err := file.InsecurePrivateSet()
	if err != nil {
		return nil, err
	}
	var set struct{ Keys []json.RawMessage }
	if err := json.Unmarshal(text, &set); err != nil {
		return nil, err
	}
	secrets := make(map[string]json.RawMessage)
	for _, k := range set.Keys {
		var named struct{ Kid string }
		if err := json.Unmarshal(k, &named); err != nil {
			return nil, err
		}
		secrets[named.Kid] = k
	}
	return secrets, nil
}
