// Package keys holds the keys that sign and encrypt tokens: their life from
// publication to retirement, the key file, and the public key set that other
// services verify with.
//
// Use [OpenRing] where users log in. Use [NewRemote], or [ParsePublicSet] for a
// static file, in a service that only has to know who is calling. The command
// keygen or package rotation makes the key file. [Generate], [Import] and
// [NewRing] are for tests, and for keys that don't come from a key file.
//
// A key has one algorithm and one use for ever (RFC 8725, Section 3.1): a
// signature key never decrypts, and an encryption key never verifies. So the
// header of a token can't choose how it is checked: a header that names another
// algorithm than the key has is refused. Nothing returns a private key.
//
// The state of a key is computed from its dates and the time, and never stored.
// So instances that read the same file agree without talking to each other. A
// [Ring] serves signing, verification and the JWKS endpoint from one immutable
// snapshot; a reload replaces it as a whole, or leaves the old one in force.
//
// These are refused when a key is loaded:
//
//   - RSA keys below 2048 bits, with an exponent that is even or outside 65537
//     to 2^31-1, or with the ROCA weakness;
//   - points off the curve, base points, and Ed25519 points that have a small
//     order or are not canonical;
//   - private keys that don't belong to their public key;
//   - HMAC keys shorter than 32 bytes, and AES keys that don't have 32 bytes;
//   - secrets and private keys that a person typed, that were padded, or that
//     follow a pattern;
//   - a key ID that is not the RFC 7638 thumbprint of an asymmetric key;
//   - unknown members, and files that others can read.
package keys

import (
	"errors"
	"fmt"
	"time"

	"github.com/cloakroom-go/cloakroom/internal/keyset"
)

// Algorithm is the alg of a key (RFC 7518, RFC 8037). When a key encrypts, the
// enc is always A256GCM.
type Algorithm string

const (
	ES256 Algorithm = "ES256" // ECDSA on P-256; the default for signatures
	EdDSA Algorithm = "EdDSA" // Ed25519
	PS256 Algorithm = "PS256" // RSASSA-PSS
	RS256 Algorithm = "RS256" // RSASSA-PKCS1-v1_5, for verifiers that know nothing else
	HS256 Algorithm = "HS256" // HMAC: whoever verifies can also sign

	Direct       Algorithm = "dir"            // AES-256-GCM with the key itself; the default for encryption
	A256KW       Algorithm = "A256KW"         // a fresh AES key for each token, wrapped with this one
	ECDHESA256KW Algorithm = "ECDH-ES+A256KW" // as A256KW, wrapped for a P-256 public key
)

// Use is the purpose of a key: to sign or to encrypt (RFC 7517, Section 4.2).
type Use string

const (
	Signature  Use = "sig" // signs and verifies
	Encryption Use = "enc" // encrypts and decrypts
)

// State is where a key is in its life.
type State string

const (
	Staged   State = "staged"   // not published yet: does nothing
	Pending  State = "pending"  // published, verifies and decrypts, since the clocks of other instances may be ahead
	Active   State = "active"   // signs and encrypts too
	Retiring State = "retiring" // verifies and decrypts
	Expired  State = "expired"  // does nothing any more
	Revoked  State = "revoked"  // does nothing any more, whatever its dates say
)

// Dates are the instants at which a key changes its state, in whole seconds.
// The zero time means no limit: with zero Dates a key is active for ever.
type Dates struct {
	Created     time.Time // for information only
	PublishAt   time.Time // the key is staged before it, and pending from it on
	SignFrom    time.Time // the key is active from it on
	SignUntil   time.Time // the key is retiring from it on
	VerifyUntil time.Time // the key has expired from it on; set it only together with SignUntil
}

// A Policy says how fast a change of the keys reaches everybody, and how long
// tokens live. From that follows when a key may sign, and for how long it must
// verify. The key file holds the policy, so the application and keygen use the
// same one. In every field 0 means the default. Durations are whole seconds.
type Policy struct {
	TokenLife       time.Duration // the longest that a token lives (exp - iat); default 24 hours
	Leeway          time.Duration // how long after exp verifiers still accept a token; default 1 minute
	ClockSkew       time.Duration // the largest difference between two clocks; default 1 minute
	DistributionLag time.Duration // how long a new key file takes to reach every instance; default 2 minutes
	ReloadInterval  time.Duration // how often instances check for a new file; default 30 seconds
	CacheLife       time.Duration // how long verifiers keep a JWK Set; default 1 hour, at least 10 minutes
	Grace           time.Duration // how long a key goes on signing if its successor is missing; default 1 hour
	RotationPeriod  time.Duration // how long a key signs; default 30 days
	PeakRate        int           // tokens encrypted in a second, by all instances together; default 500
}

// Key is one key with its algorithm, its dates and what it can do. It is
// immutable and safe for concurrent use. Printing it shows only its ID and
// algorithm.
type Key keyset.Key

func (k *Key) inner() *keyset.Key { return (*keyset.Key)(k) }

// ID is the key's kid: for an asymmetric key its RFC 7638 thumbprint, else
// random.
func (k *Key) ID() string { return k.inner().ID() }

// Algorithm is the only algorithm that the key is for.
func (k *Key) Algorithm() Algorithm { return Algorithm(k.inner().Algorithm()) }

// Use says whether the key signs or encrypts.
func (k *Key) Use() Use { return Use(k.inner().Use()) }

// Dates returns the instants at which the key changes its state.
func (k *Key) Dates() Dates { return Dates(k.inner().Dates()) }

// Revoked says whether the key was revoked, when, and why in words for people.
// A revoked key is revoked at any time, also before that instant.
func (k *Key) Revoked() (at time.Time, reason string, revoked bool) { return k.inner().Revoked() }

// State is the key's state at the time now.
func (k *Key) State(now time.Time) State { return State(k.inner().State(now).String()) }

// Format implements fmt.Formatter, so that no verb prints the private key.
func (k Key) Format(f fmt.State, verb rune) { keyset.Key(k).Format(f, verb) }

// Generate makes a new key: RSA with 3072 bits, symmetric keys with 32 bytes.
// Its ID does not begin with a dash, so that no command takes it for an option.
func Generate(alg Algorithm, d Dates) (*Key, error) {
	k, err := keyset.Generate(keyset.Algorithm(alg), keyset.Dates(d))
	return (*Key)(k), err
}

// Import makes a Key from a key of another system, such as a PEM file, a secret
// store or a KMS:
//
//   - an *ecdsa.PrivateKey on P-256, an ed25519.PrivateKey, an *rsa.PrivateKey;
//   - a []byte for HS256, dir and A256KW: a secret of random bytes, not text;
//   - an *ecdsa.PublicKey, an ed25519.PublicKey or an *rsa.PublicKey: a
//     signature key that only verifies;
//   - any other [crypto.Signer]: a signature key whose private half stays in a
//     KMS or an HSM.
//
// What is refused in a key file is refused here too: see the package comment.
// So are RSA keys whose modulus is a prime, a power of one, or the product of
// two primes that are close together; the check takes up to 150 milliseconds.
// The key is copied, except for a signer. Its ID is the RFC 7638 thumbprint,
// which may begin with a dash; that of a secret is random, as with [Generate].
//
// A signer is called for each token that is made, by many goroutines at once
// and without a context: it needs a time limit of its own. It gets the SHA-256
// digest of the message; with PS256 *rsa.PSSOptions too. With EdDSA, or if it
// is a [crypto.MessageSigner], it gets the message itself. Its answer is
// verified before it is used. A key file never holds a signer, only the public
// half.
func Import(alg Algorithm, key any, d Dates) (*Key, error) {
	k, err := keyset.Import(keyset.Algorithm(alg), key, keyset.Dates(d))
	return (*Key)(k), err
}

// ParsePublicSet reads the JWK Set of somebody else's public signature keys.
// Give the keys to NewRing to verify with them.
//
// Keys that can't be used here are left out (RFC 7517, Section 5):
//
//   - with an unknown kty, alg or crv, or with a use or key_ops other than
//     verifying;
//   - without a kid, or with one that is longer than 128 characters or has
//     others than A-Z, a-z, 0-9, - and _;
//   - with numbers that are malformed or weak, such as a point of small order
//     or a prime RSA modulus: see the package comment and [Import].
//
// If alg is missing or empty, the curve says what it is. An RSA key without alg
// is left out, because several fit. Ed25519 (RFC 9864) is read as EdDSA.
//
// The whole set is refused if it is not strict JSON, has an element that is not
// an object, a private or symmetric key, the same kid twice, or more than 100
// keys. If it is in order but none of its keys can be used, or it is
// {"keys":[]}, the error wraps [ErrUnknownKey] and says why the first key is
// left out.
//
// A new RSA modulus takes 3 milliseconds for 2048 bits and 150 for 8192.
func ParsePublicSet(data []byte) ([]*Key, error) {
	all, err := keyset.ParsePublicSet(data)
	return outer(all), err
}

func outer(all []*keyset.Key) (keys []*Key) {
	for _, k := range all {
		keys = append(keys, (*Key)(k))
	}
	return keys
}

// Set is the content of a key file: keys in the order in which they were added,
// what is remembered of those that were pruned, and the policy that they
// follow. It is immutable: package rotation changes key files.
type Set keyset.Set

func (s *Set) inner() *keyset.Set { return (*keyset.Set)(s) }

// Keys returns the keys in the order of the file, whatever their state.
func (s *Set) Keys() []*Key { return outer(s.inner().Keys()) }

// Policy returns the policy of the set, with the defaults in place of zeros;
// the zero Policy if the keys come from no file.
func (s *Set) Policy() Policy { return Policy(s.inner().Policy()) }

// Ring returns a ring of these keys that goes by their policy. It does not
// follow a file.
func (s *Set) Ring() (*Ring, error) {
	r := new(Ring)
	return r, r.install(s.inner(), nil)
}

// Why there is no key, or why a token is refused. Clients get the same answer
// for all of them except ErrUnavailable, which means that nobody could decide.
var (
	ErrUnknownKey  = keyset.ErrUnknownKey  // no key has this ID
	ErrKeyExpired  = keyset.ErrKeyExpired  // the key no longer verifies
	ErrKeyRevoked  = keyset.ErrKeyRevoked  // the key must not be trusted
	ErrNoActiveKey = keyset.ErrNoActiveKey // no key signs, or encrypts
	ErrUnavailable = errors.New("keys: key set unavailable")
)

// ErrLocked means that another process is changing the key file.
var ErrLocked = keyset.ErrLocked
