package keyset

import (
	"context"
	"crypto/rsa"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/cloakroom-go/cloakroom/internal/fault"
	"github.com/cloakroom-go/cloakroom/internal/jose"
)

// PublicSet returns the JWK Set (RFC 7517, Section 5) that verifiers need at
// the time now: the public halves of the signature keys that are pending,
// active or retiring. It never holds a symmetric key, nor one that encrypts.
func (s *Set) PublicSet(now time.Time) ([]byte, error) {
	return s.jwkSet(func(k *Key) any {
		if !k.Published(now) {
			return nil
		}
		return k.public
	})
}

// Published reports whether the public set lists the key at the time now.
func (k *Key) Published(now time.Time) bool {
	return k.public != nil && k.Use() == Signature && k.State(now).trusted()
}

// A leftOutError says which key of a public set is left out, and why.
type leftOutError struct {
	number int    // of the key in the set; the first is 1
	kid    string // empty if it has none, or one that can't be a key ID
	reason error
}

// Error returns a part of a sentence, without the name of the package.
func (e *leftOutError) Error() string {
	name := "number " + strconv.Itoa(e.number)
	if e.kid != "" {
		name = jose.ShownKid(e.kid)
	}
	return fmt.Sprintf("key %s of the set is left out: %v", name, fault.Inner(e.reason))
}

// LeftOut returns the key's kid, if it has a good one, and the reason. Who has
// an error of this package finds it with errors.As.
func (e *leftOutError) LeftOut() (kid string, reason error) { return e.kid, e.reason }

// Number returns the number of the key in the set, from 1 on.
func (e *leftOutError) Number() int { return e.number }

// noUsableKey says of a set that it is in order, and of no use.
type noUsableKey struct{ what string }

func (e noUsableKey) Error() string { return e.what }

func (e noUsableKey) Is(target error) bool { return target == ErrUnknownKey }

// ParsePublicSet reads the JWK Set of somebody else's public signature keys.
// Give the keys to NewRing to verify with them.
//
// Keys that are of no use here are left out (RFC 7517, Section 5):
//
//   - with an unknown kty, alg or crv, or with a use or key_ops other than
//     verifying;
//   - without a kid, or with one that is longer than 128 characters or has
//     others than A-Z, a-z, 0-9, - and _;
//   - with numbers that are malformed, weak, or worthless, as a point of small
//     order or a prime RSA modulus is: see the package comment and [Import].
//
// An alg that is missing or empty is taken from the curve, and never for RSA,
// where it is ambiguous. Ed25519 (RFC 9864) is read as EdDSA.
//
// The whole set is refused if it is not strict JSON, has an element that is not
// an object, a private or symmetric key, the same kid twice, or more than 100
// keys. If it is in order and no key of it can be used, as of {"keys":[]}, the
// error is [ErrUnknownKey] and says why the first key is left out, as those of
// [RemoteConfig].Report do.
//
// A new RSA modulus takes 3 milliseconds for 2048 bits and 150 for 8192.
func ParsePublicSet(data []byte) ([]*Key, error) {
	set, err := ReadPublicSet(data)
	if err == nil {
		err = set.CheckModuli(context.Background(), make(map[string]error))
	}
	if err != nil {
		return nil, err
	}
	if len(set.Keys) == 0 {
		return nil, set.Because(noUsableKey{"keys: no key of the set can be used to verify"})
	}
	return set.Keys, nil
}

// A PublicSet is what was read of a JWK Set.
type PublicSet struct {
	Keys    []*Key
	LeftOut []error  // for each key that is left out, see [ParsePublicSet]
	kids    []string // of all keys; "" for those that have none

	foreign bool      // a kid may be as jose.CheckPrintableKid allows it
	rsa     Algorithm // of RSA keys without alg; "" if they are left out
}

// ReadPublicSet does all but what takes long, which is CheckModuli.
func ReadPublicSet(data []byte) (*PublicSet, error) {
	return readSet(data, new(PublicSet))
}

// ReadForeignSet is [ReadPublicSet] for the set of an issuer that need not be
// Cloakroom: a kid may be as jose.CheckPrintableKid allows it, and RSA keys
// without alg are for rsa, if that is not "".
func ReadForeignSet(data []byte, rsa Algorithm) (*PublicSet, error) {
	return readSet(data, &PublicSet{foreign: true, rsa: rsa})
}

// checkKid says why a key with this kid is left out.
func (s *PublicSet) checkKid(kid string) error {
	switch {
	case kid == "":
		return errors.New("it has no kid")
	case s.foreign && jose.CheckPrintableKid(kid) != nil:
		return errors.New("its kid has more than 256 bytes, or characters that can't be printed")
	case !s.foreign && jose.CheckKid(kid) != nil:
		return errors.New("its kid has more than 128 characters, or others than A-Z, a-z, 0-9, - and _")
	}
	return nil
}

func readSet(data []byte, s *PublicSet) (*PublicSet, error) {
	found := false
	err := jose.Object(data, func(name string, value []byte) error {
		if name != "keys" {
			return nil
		}
		found = true
		return jose.Array(value, s.parse)
	})
	if err == nil && !found {
		err = errors.New("not a JWK Set: it has no keys member")
	}
	if err != nil {
		return nil, fmt.Errorf("keys: %w", fault.Inner(err))
	}
	return s, nil
}

// parse reads one key. An error spoils the set.
func (s *PublicSet) parse(value []byte) error {
	number := len(s.kids) + 1
	if number > maxKeys {
		return fmt.Errorf("more than %d keys in the set", maxKeys)
	}
	kid, k, unusable, err := s.parseKey(value)
	switch {
	case err != nil:
		return fmt.Errorf("key number %d: %w", number, fault.Inner(err))
	case kid != "" && slices.Contains(s.kids, kid):
		return fmt.Errorf("key number %d has the kid of another one", number)
	case unusable != nil:
		s.leaveOut(number, kid, unusable)
	default:
		s.Keys = append(s.Keys, k)
	}
	s.kids = append(s.kids, kid)
	return nil
}

func (s *PublicSet) leaveOut(number int, kid string, reason error) {
	if s.checkKid(kid) != nil {
		kid = "" // a stranger's text
	}
	s.LeftOut = append(s.LeftOut, &leftOutError{number, kid, reason})
}

// CheckModuli leaves out RSA keys whose modulus anybody can factor. It
// remembers in known what it has found out of the moduli of this set, and
// forgets others. An error means that ctx ended before it was done.
func (s *PublicSet) CheckModuli(ctx context.Context, known map[string]error) error {
	moduli := make(map[string]*Key)
	for _, k := range s.Keys {
		if modulus := k.modulus(); modulus != "" {
			moduli[modulus] = k
		}
	}
	maps.DeleteFunc(known, func(modulus string, _ error) bool { return moduli[modulus] == nil })
	for modulus, k := range moduli {
		if _, ok := known[modulus]; ok {
			continue
		}
		if ctx.Err() != nil {
			return fmt.Errorf("keys: check the RSA keys: %w", context.Cause(ctx))
		}
		known[modulus] = k.checkFactors()
	}
	s.Keys = slices.DeleteFunc(s.Keys, func(k *Key) bool {
		reason := known[k.modulus()]
		if reason != nil {
			s.leaveOut(slices.Index(s.kids, k.id)+1, k.id, reason)
		}
		return reason != nil
	})
	return nil
}

// modulus returns the modulus of an RSA key, "" for any other key.
func (k *Key) modulus() string {
	if p, ok := k.public.(*rsa.PublicKey); ok {
		return string(p.N.Bytes())
	}
	return ""
}

// Because adds to err why the first key was left out.
func (s *PublicSet) Because(err error) error {
	switch n := len(s.LeftOut); n {
	case 0:
		return err
	case 1:
		return fmt.Errorf("%w: %w", err, s.LeftOut[0])
	default:
		return fmt.Errorf("%w: %w; and %d more", err, s.LeftOut[0], n-1)
	}
}

// A publicKey is a key of somebody else's JWK Set.
type publicKey struct {
	kid, alg string
	material material
}

// parseKey says why a key is left out, if it is; an error spoils the set.
func (s *PublicSet) parseKey(value []byte) (kid string, k *Key, unusable, err error) {
	p := publicKey{material: material{}}
	err = jose.Object(value, func(name string, value []byte) error {
		if slices.Contains(PrivateMembers(), name) {
			return errors.New("private or symmetric key in a public set")
		}
		if err := p.member(name, value); err != nil && unusable == nil {
			unusable = fmt.Errorf("member %s: %w", name, fault.Inner(err))
		}
		return nil
	})
	if err == nil && p.material["kty"] == "oct" {
		err = errors.New("private or symmetric key in a public set")
	}
	if err != nil {
		return "", nil, nil, err
	}
	if p.alg == "" && p.material["kty"] == "RSA" {
		p.alg = string(s.rsa)
	}
	if unusable == nil {
		unusable = s.checkKid(p.kid)
	}
	if unusable == nil {
		unusable = p.check()
	}
	if unusable == nil {
		unusable = p.material.checkRSA() // says what is wrong, better than the library
	}
	if unusable == nil {
		k, unusable = p.material.key(p.algorithm(), p.kid)
	}
	return p.kid, k, unusable, nil
}

// member reads one member. Those that are not known don't matter.
func (p *publicKey) member(name string, value []byte) (err error) {
	switch name {
	case "kid":
		p.kid, err = jose.String(value)
	case "alg":
		p.alg, err = jose.String(value)
	case "use":
		var use string
		if use, err = jose.String(value); err == nil && use != string(Signature) {
			err = errors.New("it is not sig")
		}
	case "key_ops": // RFC 7517, Section 4.3
		var ops []string
		if ops, err = jose.Strings(value); err == nil && !slices.Contains(ops, "verify") {
			err = errors.New("verify is not among them")
		}
	default:
		_, err = p.material.set(name, value)
	}
	return err
}

// check says why a key can't be one of ours, before its numbers are looked at.
func (p *publicKey) check() error {
	alg := p.algorithm()
	switch {
	case alg == "":
		return errors.New("it has no alg, and kty and crv don't tell which")
	case alg.Use() != Signature:
		return errors.New("its alg is none of ES256, EdDSA, PS256 and RS256")
	case p.material["kty"] != alg.kind().kty:
		return fmt.Errorf("its kty is not that of %s", alg)
	}
	return nil
}

// algorithm is the key's alg, or the only one that goes with its curve.
func (p *publicKey) algorithm() Algorithm {
	switch kty, crv := p.material["kty"], p.material["crv"]; {
	case p.alg != "":
		return Algorithm(jose.CanonicalAlg(p.alg))
	case kty == "EC" && crv == "P-256":
		return ES256
	case kty == "OKP" && crv == "Ed25519":
		return EdDSA
	}
	return ""
}
