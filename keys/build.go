package keys

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"errors"
	"fmt"
	"math/big"
	"sync"
	"sync/atomic"
	"unicode"
	"unicode/utf8"

	"github.com/lestrrat-go/jwx/v3/jwk"
)

// Sizes of new keys, and the bounds for keys from elsewhere.
const (
	rsaBits      = 3072 // 128 bits of security
	minRSABits   = 2048 // RFC 7518, Section 3.3
	maxRSABits   = 8192 // a larger one costs each verification milliseconds
	minRSAE      = 65537
	symmetricLen = 32   // bytes; of AES-256 exactly, of HMAC-SHA-256 at least (RFC 7518, Section 3.2)
	maxHMACLen   = 1024 // bytes
	minDistinct  = 16   // different bytes in a symmetric key; 32 random ones have fewer once in 10^12
)

// Generate makes a new key: RSA with 3072 bits, symmetric keys with 32 bytes.
// Its ID does not begin with a dash, so that no command takes it for an option.
func Generate(alg Algorithm, d Dates) (*Key, error) {
	if err := d.check(); err != nil {
		return nil, err
	}
	for {
		private, err := generate(alg)
		if err != nil {
			return nil, err
		}
		id := ""
		if alg.Symmetric() {
			id = randomID()
		}
		k, err := build(alg, id, private, nil)
		if err != nil {
			return nil, err
		}
		if k.id[0] != '-' {
			return k.with(d, nil)
		}
	}
}

func generate(alg Algorithm) (any, error) {
	switch alg {
	case ES256, ECDHESA256KW:
		return ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case EdDSA:
		_, private, err := ed25519.GenerateKey(rand.Reader)
		return private, err
	case PS256, RS256:
		return rsa.GenerateKey(rand.Reader, rsaBits)
	case HS256, Direct, A256KW:
		secret := make([]byte, symmetricLen)
		_, err := rand.Read(secret)
		return secret, err
	}
	return nil, errUnknownAlgorithm
}

var errUnknownAlgorithm = errors.New("keys: unknown algorithm: use ES256, EdDSA, PS256, RS256 or HS256 to sign, dir, A256KW or ECDH-ES+A256KW to encrypt")

// randomID returns 128 random bits, without a dash at the beginning. The thumbprint of a secret
// would be a hash of it, for everybody to see.
func randomID() string {
	for {
		var raw [16]byte
		rand.Read(raw[:])
		if id := base64.RawURLEncoding.EncodeToString(raw[:]); id[0] != '-' {
			return id
		}
	}
}

// build makes a key from private material, or from public alone, after checking it. An
// empty id stands for the thumbprint.
func build(alg Algorithm, id string, private any, public crypto.PublicKey) (*Key, error) {
	if alg.Symmetric() {
		if err := checkSecret(alg, private); err != nil {
			return nil, err
		}
	} else {
		if private != nil {
			public = publicHalf(private)
		}
		if err := checkPublic(alg, public); err != nil {
			return nil, err
		}
		if id == "" {
			var err error
			if id, err = thumbprint(public); err != nil {
				return nil, err
			}
		}
	}
	k := &Key{id: id, alg: alg, private: private, public: public, seals: new(atomic.Uint64)}
	return k, k.prepare()
}

// prepare computes what signing and sealing need each time.
func (k *Key) prepare() (err error) {
	if k.Use() == Signature {
		k.method, k.check = signingMethod(k.alg), k.public
		if k.alg == HS256 {
			k.check = k.private
		}
		return nil
	}
	if k.alg == Direct {
		k.aead, err = newAEAD(k.private.([]byte))
		k.scratch = &sync.Pool{New: func() any { return new([]byte) }}
	}
	k.headers = map[string][]byte{"": k.encodeHeader(""), "JWT": k.encodeHeader("JWT")}
	return err
}

// thumbprint is the key ID of RFC 7638, with SHA-256.
func thumbprint(public crypto.PublicKey) (string, error) {
	k, err := jwk.Import(public)
	if err != nil {
		return "", fmt.Errorf("keys: thumbprint: %w", err)
	}
	sum, err := k.Thumbprint(crypto.SHA256)
	if err != nil {
		return "", fmt.Errorf("keys: thumbprint: %w", err)
	}
	return base64.RawURLEncoding.EncodeToString(sum), nil
}

// checkPublic refuses public keys that are of another kind than alg, or weak.
func checkPublic(alg Algorithm, public crypto.PublicKey) error {
	switch p := public.(type) {
	case *ecdsa.PublicKey:
		if alg.kty() != "EC" || p.Curve != elliptic.P256() {
			break
		}
		if _, err := p.ECDH(); err != nil {
			return errors.New("keys: the public key is not a point on P-256")
		}
		return nil
	case ed25519.PublicKey:
		if alg.kty() == "OKP" && len(p) == ed25519.PublicKeySize {
			return nil
		}
	case *rsa.PublicKey:
		if alg.kty() == "RSA" {
			return checkRSA(p)
		}
	}
	return fmt.Errorf("keys: not a key for %s", alg)
}

func checkRSA(p *rsa.PublicKey) error {
	switch bits := p.N.BitLen(); {
	case bits < minRSABits:
		return fmt.Errorf("keys: RSA key of %d bits: at least %d are needed", bits, minRSABits)
	case bits > maxRSABits:
		return fmt.Errorf("keys: RSA key of %d bits: at most %d are allowed", bits, maxRSABits)
	case p.N.Bit(0) == 0:
		return errors.New("keys: RSA modulus is even")
	case p.E < minRSAE || p.E%2 == 0:
		return errors.New("keys: RSA exponent must be odd and at least 65537")
	case isROCA(p.N):
		return errors.New("keys: RSA key has the ROCA weakness (CVE-2017-15361): make a new one")
	}
	return nil
}

// isROCA reports whether n has the fingerprint of the keys of a broken chip
// library (Nemec et al., CCS 2017): modulo each small prime, n is a power of 65537. A good key is
// taken for one with a probability of 2^-27 or less.
func isROCA(n *big.Int) bool {
	for _, p := range [...]uint64{3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71, 73, 79, 83, 89, 97, 101, 103, 107, 109, 113, 127, 131, 137, 139, 149, 151, 157, 163, 167} {
		rest := new(big.Int).Mod(n, new(big.Int).SetUint64(p)).Uint64()
		power, found := uint64(1), false
		for range p {
			found = found || power == rest
			power = power * 65537 % p
		}
		if !found {
			return false
		}
	}
	return true
}

// checkSecret refuses symmetric keys of the wrong size, and those that a
// person typed (RFC 8725, Section 3.5).
func checkSecret(alg Algorithm, private any) error {
	secret, ok := private.([]byte)
	switch {
	case !ok:
		return fmt.Errorf("keys: not a key for %s", alg)
	case alg == HS256 && (len(secret) < symmetricLen || len(secret) > maxHMACLen):
		return fmt.Errorf("keys: HS256 key of %d bytes: 32 to %d are needed", len(secret), maxHMACLen)
	case alg != HS256 && len(secret) != symmetricLen:
		return fmt.Errorf("keys: %s key of %d bytes: exactly 32 are needed", alg, len(secret))
	case isText(secret):
		return errors.New("keys: the key is text, such as a password or a key that is still encoded: use random bytes")
	case distinct(secret) < minDistinct:
		return errors.New("keys: the key repeats a few bytes: use random ones")
	}
	return nil
}

// isText reports whether b is readable. Random keys of 32 bytes are, once in 10^13.
func isText(b []byte) bool {
	return utf8.Valid(b) && bytes.IndexFunc(b, func(r rune) bool { return !unicode.IsPrint(r) && !unicode.IsSpace(r) }) < 0
}

func distinct(b []byte) (n int) {
	var seen [256]bool
	for _, c := range b {
		if !seen[c] {
			seen[c] = true
			n++
		}
	}
	return n
}
