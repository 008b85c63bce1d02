package keyset

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"unicode"
	"unicode/utf8"
)

// This file refuses keys that have the right form and protect nothing: anybody
// can sign for them, or find their private half. Every key passes here, whether
// it is from a key file, an import, a signer or a JWK Set.

// checkPublic refuses public keys that are of another kind than alg, or weak.
// It takes microseconds; checkModulus has what takes longer.
func checkPublic(alg Algorithm, public crypto.PublicKey) error {
	switch p := public.(type) {
	case *ecdsa.PublicKey:
		if alg.kind().kty == "EC" && p.Curve == elliptic.P256() {
			return checkP256(p)
		}
	case ed25519.PublicKey:
		if alg.kind().kty == "OKP" && len(p) == ed25519.PublicKeySize {
			return checkEd25519(p)
		}
	case *rsa.PublicKey:
		if alg.kind().kty == "RSA" {
			return checkRSA(p)
		}
	}
	return notFor(alg)
}

// checkP256 refuses points off the curve, and the two whose private keys are 1
// and -1. P-256 has no points of small order.
func checkP256(p *ecdsa.PublicKey) error {
	point, err := p.ECDH()
	if err != nil {
		return errors.New("keys: the public key is not a point on P-256")
	}
	x := new(big.Int).SetBytes(point.Bytes()[1:33])
	if x.Cmp(p.Params().Gx) == 0 {
		return errors.New("keys: the public key is the base point of P-256, whose private key everybody knows")
	}
	return nil
}

// checkEd25519 refuses what RFC 8032, Section 5.1.3, does not decode, and
// points with which a signature needs no private key: one whose order divides
// 8, for which a constant signature fits one message in eight or all of them,
// and the base point.
func checkEd25519(public ed25519.PublicKey) error {
	c := newEdwards25519()
	text := slices.Clone(public)
	text[31] &= 0x7f // the sign of x
	slices.Reverse(text)
	y := new(big.Int).SetBytes(text)
	switch {
	case y.Cmp(c.p) >= 0:
		return errors.New("keys: the Ed25519 public key is not canonical")
	case big.Jacobi(c.xx(y), c.p) < 0:
		return errors.New("keys: the Ed25519 public key is not a point on the curve")
	case c.double(c.double(c.double(y))).Cmp(big.NewInt(1)) == 0:
		return errors.New("keys: the Ed25519 public key is a point of small order: anybody can sign for it")
	case y.Cmp(c.div(big.NewInt(4), big.NewInt(5))) == 0:
		return errors.New("keys: the Ed25519 public key is the base point, whose private key everybody knows")
	}
	return nil
}

// edwards25519 is the curve -x² + y² = 1 + dx²y² modulo p (RFC 8032, Section
// 5.1). Signs of x don't matter here. It is for public values: its time varies.
type edwards25519 struct{ p, d *big.Int }

func newEdwards25519() (c edwards25519) {
	c.p = new(big.Int).Lsh(big.NewInt(1), 255)
	c.p.Sub(c.p, big.NewInt(19))
	c.d = c.div(big.NewInt(-121665), big.NewInt(121666))
	return c
}

func (c *edwards25519) mul(a, b *big.Int) *big.Int {
	m := new(big.Int).Mul(a, b)
	return m.Mod(m, c.p)
}

func (c *edwards25519) div(a, b *big.Int) *big.Int {
	return c.mul(a, new(big.Int).ModInverse(b, c.p))
}

// xx returns x² of a point with this y. The divisor is never 0, since d is not
// a square and -1 is one.
func (c *edwards25519) xx(y *big.Int) *big.Int {
	yy, one := c.mul(y, y), big.NewInt(1)
	return c.div(new(big.Int).Sub(yy, one), new(big.Int).Add(c.mul(c.d, yy), one))
}

// double returns y of twice a point on the curve with this y. The divisor is
// never 0, as in xx.
func (c *edwards25519) double(y *big.Int) *big.Int {
	xx, yy := c.xx(y), c.mul(y, y)
	return c.div(new(big.Int).Add(yy, xx), new(big.Int).Sub(big.NewInt(1), c.mul(c.d, c.mul(xx, yy))))
}

// checkRSA does the quick part of NIST SP 800-89, Section 5.3.3.
func checkRSA(p *rsa.PublicKey) error {
	switch bits := p.N.BitLen(); {
	case bits < minRSABits:
		return fmt.Errorf("keys: RSA key of %d bits: at least %d are needed", bits, minRSABits)
	case bits > maxRSABits:
		return fmt.Errorf("keys: RSA key of %d bits: at most %d are allowed", bits, maxRSABits)
	case p.N.Sign() < 0:
		return errors.New("keys: RSA modulus is negative")
	case p.N.Bit(0) == 0:
		return errors.New("keys: RSA modulus is even")
	case p.E < minRSAE || p.E%2 == 0 || p.E > maxRSAE:
		return fmt.Errorf("keys: RSA exponent must be odd and at least %d, and at most %d", minRSAE, maxRSAE)
	case isROCA(p.N):
		return errors.New("keys: RSA key has the ROCA weakness (CVE-2017-15361): make a new one")
	}
	return nil
}

const (
	maxTinyFactor = 751 // NIST SP 800-89, Section 5.3.3
	fermatRounds  = 100 // CA/Browser Forum, Baseline Requirements, Section 6.1.1.3
)

// checkModulus refuses RSA moduli that anybody can factor: primes and powers of
// primes, those with a small factor, and products of two primes that are close
// together. It takes 3 milliseconds for 2048 bits and 150 for 8192, so that it
// is done once for each modulus from elsewhere, and never when a key file is
// read again.
func checkModulus(n *big.Int) error {
	if !coprime(n, new(big.Int).MulRange(2, maxTinyFactor)) {
		return fmt.Errorf("keys: RSA modulus has a factor below %d: make a new key", maxTinyFactor+1)
	}
	// For a prime p of which n is a power, 2^n is 2 modulo p (Fermat).
	two := big.NewInt(2)
	rest := new(big.Int).Exp(two, n, n)
	if !coprime(n, rest.Sub(rest, two)) {
		return errors.New("keys: RSA modulus is a prime or a power of one: make a new key")
	}
	if closePrimes(n) {
		return errors.New("keys: RSA modulus is the product of two primes that are close together: make a new key")
	}
	return nil
}

// closePrimes reports whether Fermat's method factors n: it looks for n =
// a²-b².
func closePrimes(n *big.Int) bool {
	one, a := big.NewInt(1), new(big.Int).Sqrt(n)
	bb, b := new(big.Int), new(big.Int)
	for range fermatRounds {
		a.Add(a, one)
		bb.Sub(bb.Mul(a, a), n)
		if b.Sqrt(bb); b.Mul(b, b).Cmp(bb) == 0 {
			return true
		}
	}
	return false
}

// coprime reports whether n has no factor in common with m, which may be zero
// or negative.
func coprime(n, m *big.Int) bool {
	return new(big.Int).GCD(nil, nil, n, m).Cmp(big.NewInt(1)) == 0
}

// isROCA reports whether n has the fingerprint of the keys of a broken chip
// library (Nemec et al., CCS 2017): modulo each small prime, n is a power of
// 65537. A good key is taken for one with a probability of 2^-27 or less.
func isROCA(n *big.Int) bool {
	for _, p := range [...]uint64{
		3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71, 73, 79, 83,
		89, 97, 101, 103, 107, 109, 113, 127, 131, 137, 139, 149, 151, 157, 163, 167,
	} {
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

// checkPrivate refuses private keys that somebody made up: the 32 random bytes
// of an elliptic curve key are held to the rules for secrets.
func checkPrivate(private any) error {
	switch p := private.(type) {
	case *ecdsa.PrivateKey:
		d, err := p.Bytes()
		if err != nil {
			return errors.New("keys: the private key is out of range")
		}
		return checkRandom(d)
	case ed25519.PrivateKey:
		return checkRandom(p.Seed())
	}
	return nil
}

// checkFactors refuses RSA keys whose numbers have the right form and whose
// factors are no secret. Of a private key, it looks at the factors themselves.
func (k *Key) checkFactors() error {
	if p, ok := k.private.(*rsa.PrivateKey); ok {
		for _, factor := range p.Primes {
			if !factor.ProbablyPrime(0) {
				return errors.New("keys: a factor of the RSA modulus is not a prime: make a new key")
			}
		}
	}
	if p, ok := k.public.(*rsa.PublicKey); ok {
		return checkModulus(p.N)
	}
	return nil
}

// checkSecret refuses symmetric keys of the wrong size, and those that are not
// random (RFC 8725, Section 3.5).
func checkSecret(alg Algorithm, private any) error {
	secret, ok := private.([]byte)
	switch {
	case !ok:
		return notFor(alg)
	case alg == HS256 && (len(secret) < symmetricLen || len(secret) > maxHMACLen):
		return fmt.Errorf("keys: HS256 key of %d bytes: 32 to %d are needed", len(secret), maxHMACLen)
	case alg != HS256 && len(secret) != symmetricLen:
		return fmt.Errorf("keys: %s key of %d bytes: exactly 32 are needed", alg, len(secret))
	}
	return checkRandom(secret)
}

// Of random keys, checkRandom refuses less than one in 10^12.
const (
	minDistinct = 16 // different bytes in a key, and different steps from one to the next
	maxRun      = 7  // equal bytes in a row
)

// checkRandom refuses secrets that can't have come from a random source. A
// secret that passes may still be a bad one.
func checkRandom(secret []byte) error {
	if err := checkMadeUp(secret); err != nil {
		return err
	}
	if distinct(steps(secret)) < minDistinct || repeats(secret) {
		return errors.New("keys: the bytes of the key follow a pattern: use random ones")
	}
	return nil
}

// checkMadeUp refuses secrets that a person typed, also if they were filled up
// to the size that is needed.
func checkMadeUp(secret []byte) error {
	run, longest := 1, 1
	for _, step := range steps(secret) {
		if run++; step != 0 {
			run = 1
		}
		longest = max(longest, run)
	}
	switch {
	case isText(secret):
		return errors.New("keys: the key is text, such as a password or a key that is still encoded: use random bytes")
	case distinct(secret) < minDistinct:
		return errors.New("keys: the key repeats a few bytes: use random ones")
	case isText(secret[:len(secret)-run]), isText(bytes.ReplaceAll(secret, []byte{0}, nil)):
		return errors.New("keys: the key is text that was filled up: use random bytes")
	case longest > maxRun:
		return errors.New("keys: the key was filled up with equal bytes: use random ones")
	}
	return nil
}

// repeats reports whether b is one piece of at most half its length, over and
// over.
func repeats(b []byte) bool {
	for period := 1; period <= len(b)/2; period++ {
		if bytes.Equal(b[period:], b[:len(b)-period]) {
			return true
		}
	}
	return false
}

// steps returns the difference of each byte to the one before it.
func steps(b []byte) []byte {
	out := make([]byte, 0, len(b))
	for i := range b[1:] {
		out = append(out, b[i+1]-b[i])
	}
	return out
}

// isText reports whether b is readable. Random keys of 32 bytes are, once in
// 10^13.
func isText(b []byte) bool {
	return utf8.Valid(b) && bytes.IndexFunc(b, func(r rune) bool { return !unicode.IsPrint(r) && !unicode.IsSpace(r) }) < 0
}

func distinct(b []byte) int { return len(slices.Compact(slices.Sorted(slices.Values(b)))) }
