package keys

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/cloakroom-go/cloakroom/internal/jose"
)

// maxKeys is how many keys a set may have.
const maxKeys = 100

// Set is the content of a key file: keys in the order in which they were
// added, and the generation, which each change of the file raises.
type Set struct {
	keys       []*Key
	generation int64
}

// NewSet returns a set of keys with different IDs.
func NewSet(keys ...*Key) (*Set, error) {
	s := new(Set)
	for _, k := range keys {
		if err := s.Add(k); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// Keys returns the keys in the order of the file.
func (s *Set) Keys() []*Key { return slices.Clone(s.keys) }

// Key returns the key with this ID, or nil.
func (s *Set) Key(id string) *Key { return find(s.keys, id) }

// Generation is how often the file was written. A Ring refuses to go back.
func (s *Set) Generation() int64 { return s.generation }

// Add appends a key. Key IDs are unique, and a set has at most 100 keys.
func (s *Set) Add(k *Key) error {
	switch {
	case k == nil || k.alg.Use() == "":
		return errors.New("keys: not a key")
	case s.Key(k.id) != nil:
		return fmt.Errorf("keys: two keys have the ID %s", k.id)
	case len(s.keys) >= maxKeys:
		return fmt.Errorf("keys: more than %d keys", maxKeys)
	}
	s.keys = append(s.keys, k)
	return nil
}

func find(keys []*Key, id string) *Key {
	for _, k := range keys {
		if k.id == id {
			return k
		}
	}
	return nil
}

// encode writes the set as a JWK Set (RFC 7517, Section 5) with members of ours
// besides. It holds the private keys.
func (s *Set) encode() ([]byte, error) {
	file := struct {
		Generation int64     `json:"generation"`
		Keys       []fileKey `json:"keys"`
	}{s.generation, []fileKey{}}
	for _, k := range s.keys {
		f, err := k.file()
		if err != nil {
			return nil, err
		}
		file.Keys = append(file.Keys, f)
	}
	text, err := json.MarshalIndent(file, "", "  ")
	return append(text, '\n'), err
}

// parseSet reads what encode wrote. It is strict: what it does not know may
// matter, and a key file is nothing that strangers write.
func parseSet(data []byte) (*Set, error) {
	if len(bytes.TrimSpace(data)) == 0 {
		return nil, errors.New("the file is empty")
	}
	s, found := new(Set), false
	err := jose.Object(data, func(name string, value []byte) (err error) {
		switch name {
		case "generation":
			if s.generation, err = jose.Int(value); err == nil && s.generation < 1 {
				err = errors.New("keys: generation is not positive")
			}
		case "keys":
			found = true
			err = jose.Array(value, s.parseKey)
		default:
			err = errors.New("member " + strconv.Quote(name) + " is not known to this version")
		}
		return err
	})
	if err == nil && (!found || s.generation == 0) {
		err = errors.New("keys or generation is missing")
	}
	if err != nil {
		return nil, err
	}
	return s, nil
}

// foreign says what data is that parseSet has refused, if it was never a key
// file; "" if it may have been one.
func foreign(data []byte) string {
	if bytes.HasPrefix(bytes.TrimSpace(data), []byte("-----BEGIN ")) {
		return "a PEM file"
	}
	var has struct{ keys, kty, generation bool }
	err := jose.Object(data, func(name string, _ []byte) error {
		has.keys = has.keys || name == "keys"
		has.kty = has.kty || name == "kty"
		has.generation = has.generation || name == "generation"
		return nil
	})
	switch {
	case err != nil, has.generation:
		return ""
	case has.keys:
		return "a JWK Set for others"
	case has.kty:
		return "a single JWK"
	}
	return ""
}

func (s *Set) parseKey(value []byte) error {
	var f fileKey
	err := jose.Object(value, f.member)
	if err == nil {
		var k *Key
		if k, err = f.key(); err == nil {
			err = s.Add(k)
		}
	}
	if err != nil {
		return fmt.Errorf("key number %d: %w", len(s.keys)+1, err)
	}
	return nil
}
