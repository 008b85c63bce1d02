package keyset

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/cloakroom-go/cloakroom/internal/fault"
	"github.com/cloakroom-go/cloakroom/internal/jose"
)

// This file writes and reads the text of a key file: a JWK Set (RFC 7517,
// Section 5) with members of ours besides.

// Encode writes the set, private keys included. The last member is a checksum
// of everything before it.
func (s *Set) Encode() ([]byte, error) {
	file := struct {
		Generation int64            `json:"generation"`
		Policy     map[string]int64 `json:"policy,omitempty"`
		Keys       []map[string]any `json:"keys"`
		Pruned     []map[string]any `json:"pruned,omitempty"`
	}{Generation: s.generation, Policy: s.rules.file()}
	var err error
	file.Keys, err = s.jwks(func(k *Key) any {
		if k.private == nil || k.External() {
			return k.public
		}
		return k.private
	})
	if err != nil {
		return nil, err
	}
	for i, k := range s.keys {
		maps.Copy(file.Keys[i], k.note())
	}
	for _, k := range s.pruned {
		file.Pruned = append(file.Pruned, k.note())
	}
	text, err := json.MarshalIndent(file, "", "  ")
	if err != nil {
		return nil, err
	}
	text = append(bytes.TrimSuffix(text, []byte("\n}")), ",\n"...)
	return append(text, checksum(text)...), nil
}

// note returns all members but the key itself.
func (k *Key) note() map[string]any {
	m := k.purpose()
	for _, t := range k.dates.all() {
		if !t.IsZero() {
			m[t.name] = t.Unix() // seconds since 1970, as all dates
		}
	}
	if k.revoked != nil {
		m["revoked"] = map[string]any{"at": k.revoked.at.Unix(), "reason": k.revoked.reason}
	}
	if k.gone && !k.alg.Symmetric() {
		m["erased"] = true // without, the private half may be in a KMS
	}
	return m
}

// Digest stands for what the file says, however it is laid out.
func (s *Set) Digest() ([sha256.Size]byte, error) {
	text, err := s.Encode()
	return sha256.Sum256(text), err
}

// checksumName begins the line that ends a key file.
const checksumName = `  "checksum": "`

// checksum returns the end of a key file that begins with text. It detects
// accidents and edits. It does not stop an attacker, who can compute it too.
func checksum(text []byte) string {
	sum := sha256.Sum256(text)
	return checksumName + base64.RawURLEncoding.EncodeToString(sum[:]) + "\"\n}\n"
}

// checkSum refuses a file whose checksum is wrong. A file without one is
// accepted: somebody took it out on purpose. White space at the end does not
// count, and neither does how lines end: editors, shells and copies change
// both.
func checkSum(data []byte) error {
	data = append(trimEnd(bytes.ReplaceAll(data, []byte("\r\n"), []byte("\n"))), '\n')
	i := bytes.LastIndex(data, []byte(checksumName))
	if i < 0 || string(data[i:]) != checksum(data[:i]) {
		return errors.New("the checksum is not that of the file; if you have edited it on purpose, " +
			"remove the member checksum and raise generation")
	}
	return nil
}

// trimEnd takes off the white space of JSON at the end of a file.
func trimEnd(data []byte) []byte { return bytes.TrimRight(data, " \t\r\n") }

// parseSet reads what Encode wrote. It refuses members that it does not know:
// they may matter, and a key file does not come from strangers.
func parseSet(data []byte) (*Set, error) {
	if len(bytes.TrimSpace(data)) == 0 {
		return nil, errors.New("the file is empty")
	}
	s, found, summed := new(Set), false, false
	err := jose.Object(data, func(name string, value []byte) (err error) {
		switch name {
		case "generation":
			if s.generation, err = jose.Int(value); err == nil && s.generation < 1 {
				err = errors.New("keys: generation is not positive")
			}
		case "policy":
			err = s.rules.parse(value)
		case "keys":
			found = true
			err = jose.Array(value, s.parseKey)
		case "pruned":
			err = jose.Array(value, s.parsePruned)
		case "checksum":
			summed = true
		default:
			err = errors.New(nameOf(name) + " is not known to this version")
		}
		return err
	})
	if err == nil && (!found || s.generation == 0) {
		err = errors.New("keys or generation is missing")
	}
	if err == nil && summed {
		err = checkSum(data)
	}
	if err != nil {
		return nil, err
	}
	return s, nil
}

const alphanumeric = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"

// nameOf names a member of a key file, unless the name may be a secret that
// somebody pasted in the wrong place.
func nameOf(name string) string {
	if len(name) > 24 || strings.Trim(name, alphanumeric+"_") != "" {
		return "member with a strange name"
	}
	return "member " + strconv.Quote(name)
}

// foreign says what data is that parseSet has refused, if it was never a key
// file; "" if it may have been one.
func foreign(data []byte) string {
	if bytes.HasPrefix(bytes.TrimSpace(data), []byte("-----BEGIN ")) {
		return "a PEM file"
	}
	var names []string
	err := jose.Object(data, func(name string, _ []byte) error {
		names = append(names, name)
		return nil
	})
	switch {
	case err != nil, slices.Contains(names, "generation"):
		return ""
	case slices.Contains(names, "keys"):
		return "a JWK Set for others"
	case slices.Contains(names, "kty"):
		return "a single JWK"
	}
	return ""
}

func (s *Set) parseKey(value []byte) error {
	k, err := parseEntry(value, (*entry).key)
	if err == nil {
		err = s.Add(k)
	}
	if err != nil {
		return fmt.Errorf("key number %d: %w", len(s.keys)+1, fault.Inner(err))
	}
	return nil
}

func (s *Set) parsePruned(value []byte) error {
	k, err := parseEntry(value, (*entry).pruned)
	if err == nil && s.Any(k.id) != nil {
		err = errors.New("keys: two keys have one ID")
	}
	if err != nil {
		return fmt.Errorf("pruned key number %d: %w", len(s.pruned)+1, fault.Inner(err))
	}
	s.pruned = append(s.pruned, k)
	return nil
}

// An entry is the part of a key file about one key.
type entry struct {
	Key      // without the key itself
	use      string
	material material
}

func parseEntry(value []byte, build func(*entry) (*Key, error)) (*Key, error) {
	e := entry{material: material{}}
	if err := jose.Object(value, e.member); err != nil {
		return nil, err
	}
	switch {
	case e.id == "":
		return nil, errors.New("keys: no kid")
	case e.Use() == "":
		return nil, errors.New("keys: alg is not known")
	case e.use != string(e.Use()):
		return nil, fmt.Errorf("keys: use is not %q", e.Use())
	}
	k, err := build(&e)
	if err != nil {
		return nil, err
	}
	k.gone = e.gone
	return k.with(e.dates, e.revoked)
}

func (e *entry) member(name string, value []byte) (err error) {
	switch name {
	case "kid":
		if e.id, err = jose.String(value); err == nil {
			err = jose.CheckKid(e.id)
		}
	case "alg":
		var alg string
		alg, err = jose.String(value)
		e.alg = Algorithm(alg)
	case "use":
		e.use, err = jose.String(value)
	case "revoked":
		e.revoked, err = parseRevocation(value)
	case "erased":
		e.gone, err = jose.Bool(value)
	default:
		err = e.other(name, value)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", nameOf(name), err)
	}
	return nil
}

// other reads a date, or a member of the key itself.
func (e *entry) other(name string, value []byte) (err error) {
	for _, t := range e.dates.all() {
		if t.name == name {
			*t.Time, err = parseSecond(value)
			return err
		}
	}
	known, err := e.material.set(name, value)
	if !known {
		return errors.New("not known to this version")
	}
	return err
}

func parseSecond(value []byte) (time.Time, error) {
	n, err := jose.Int(value)
	t := time.Unix(n, 0).UTC()
	if err == nil && !writable(t) {
		err = errors.New("keys: date outside the years 1970 to 9999")
	}
	return t, err
}

func parseRevocation(value []byte) (*revocation, error) {
	r := new(revocation)
	err := jose.Object(value, func(name string, value []byte) (err error) {
		switch name {
		case "at":
			r.at, err = parseSecond(value)
		case "reason":
			r.reason, err = jose.String(value)
		default:
			err = errors.New("keys: unknown member")
		}
		return err
	})
	if err == nil && r.at.IsZero() {
		err = errors.New("keys: no date")
	}
	return r, err
}

// key builds the key.
func (e *entry) key() (*Key, error) {
	k, err := e.material.key(e.alg, e.id)
	if err != nil {
		return nil, err
	}
	if e.gone && k.private != nil {
		return nil, errors.New("keys: erased, and has a private half")
	}
	if k.public != nil {
		if want, err := thumbprint(k.public); err != nil || want != k.id {
			return nil, errors.New("keys: kid is not the RFC 7638 thumbprint of the key")
		}
	}
	return k, nil
}

// pruned builds what is left of a key that was pruned.
func (e *entry) pruned() (*Key, error) {
	if len(e.material) > 0 {
		return nil, errors.New("keys: a pruned key has no key in it")
	}
	return &Key{id: e.id, alg: e.alg}, nil
}
