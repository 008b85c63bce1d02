package keyset

import (
	"cmp"
	"crypto"
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/golang-jwt/jwt/v5"
	"github.com/lestrrat-go/jwx/v3/jwk"
)

// Sizes of new keys, and the bounds for keys from elsewhere.
const (
	rsaBits      = 3072 // 128 bits of security
	minRSABits   = 2048 // RFC 7518, Section 3.3
	maxRSABits   = 8192 // a larger one costs each verification milliseconds
	minRSAE      = 65537
	maxRSAE      = 1<<31 - 1 // package crypto/rsa verifies nothing with a larger one
	symmetricLen = 32        // bytes; of AES-256 exactly, of HMAC-SHA-256 at least (RFC 7518, Section 3.2)
	maxHMACLen   = 1024      // bytes
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
		k, err := build(alg, "", private, nil)
		if err != nil {
			return nil, err
		}
		if k.id[0] != '-' {
			return k.with(d, nil)
		}
	}
}

func generate(alg Algorithm) (any, error) {
	switch alg.kind().kty {
	case "EC":
		return ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case "OKP":
		_, private, err := ed25519.GenerateKey(rand.Reader)
		return private, err
	case "RSA":
		return rsa.GenerateKey(rand.Reader, rsaBits)
	case "oct":
		secret := make([]byte, symmetricLen)
		_, err := rand.Read(secret)
		return secret, err
	}
	return nil, errUnknownAlgorithm
}

var errUnknownAlgorithm = errors.New("keys: unknown algorithm: use ES256, EdDSA, PS256, RS256 or HS256 to sign, " +
	"dir, A256KW or ECDH-ES+A256KW to encrypt")

// randomID returns 128 random bits, without a dash at the beginning. A
// thumbprint of a secret would be a hash of it that everybody sees.
func randomID() string {
	for {
		var raw [16]byte
		rand.Read(raw[:])
		if id := base64.RawURLEncoding.EncodeToString(raw[:]); id[0] != '-' {
			return id
		}
	}
}

// build checks private, or public if private is nil, and makes a key of it. An
// empty id stands for the thumbprint, or for a random ID if the key is a
// secret.
func build(alg Algorithm, id string, private any, public crypto.PublicKey) (*Key, error) {
	if alg.Symmetric() {
		if err := checkSecret(alg, private); err != nil {
			return nil, err
		}
		id = cmp.Or(id, randomID())
	} else {
		if private != nil {
			public = publicHalf(private)
		}
		if err := errors.Join(checkPublic(alg, public), checkPrivate(private)); err != nil {
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
		k.method, k.check = k.alg.kind().method, k.public
		switch k.alg {
		case HS256:
			k.check = k.private
		case PS256: // the library's own value accepts salts of any size when it verifies
			k.method = &jwt.SigningMethodRSAPSS{
				SigningMethodRSA: jwt.SigningMethodPS256.SigningMethodRSA,
				Options:          &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash},
			}
		}
		return nil
	}
	if k.alg == Direct {
		var block cipher.Block
		if block, err = aes.NewCipher(k.private.([]byte)); err == nil {
			k.aead, err = cipher.NewGCM(block)
		}
		k.scratch = &sync.Pool{New: func() any { return new([]byte) }}
	}
	k.headers = map[string][]byte{"": k.encodeHeader(""), "JWT": k.encodeHeader("JWT")}
	return err
}

// thumbprint is the key ID of RFC 7638, with SHA-256.
func thumbprint(public crypto.PublicKey) (string, error) {
	k, err := jwk.Import(public)
	var sum []byte
	if err == nil {
		sum, err = k.Thumbprint(crypto.SHA256)
	}
	if err != nil {
		return "", fmt.Errorf("keys: thumbprint: %w", err)
	}
	return base64.RawURLEncoding.EncodeToString(sum), nil
}
