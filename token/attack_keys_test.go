package token_test

//lint:file-ignore SA1019 recovers a key by curve arithmetic

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/lestrrat-go/jwx/v3/jwk"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/internal/keyset"
	"github.com/cloakroom-go/cloakroom/keys"
	"github.com/cloakroom-go/cloakroom/session"
	"github.com/cloakroom-go/cloakroom/token"
)

// public is the public half of the signature key.
func (f *forge) public() crypto.PublicKey { return f.private.(crypto.Signer).Public() }

func publicKeyAsSecret(f *forge) (all []string) {
	for _, secret := range publicEncodings(f.t, f.public()) {
		for _, header := range []object{f.header.with("alg", `"HS256"`), f.header,
			f.header.with("alg", `"HS256"`).without("kid"), f.header.with("alg", `"HS256"`).with("kid", `"`+f.encKID+`"`)} {
			all = append(all, f.mac(secret, header.String(), f.claims.String()))
		}
	}
	return all
}

// publicEncodings are the ways to write a public key as bytes.
func publicEncodings(t testing.TB, public crypto.PublicKey) [][]byte {
	der, err := x509.MarshalPKIXPublicKey(public)
	require.NoError(t, err)
	text := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
	imported, err := jwk.Import(public)
	require.NoError(t, err)
	object, err := json.Marshal(imported)
	require.NoError(t, err)
	set := append(append([]byte(`{"keys":[`), object...), `]}`...)
	all := [][]byte{der, text, text[:len(text)-1], append(text, '\n'), object, append(object, '\n'), set,
		[]byte(base64.StdEncoding.EncodeToString(der)), []byte(b64(der))}
	switch p := public.(type) {
	case *ecdsa.PublicKey:
		point, err := p.Bytes()
		require.NoError(t, err)
		compressed := append([]byte{2 + point[64]&1}, point[1:33]...)
		all = append(all, point, point[1:], compressed, point[1:33], point[33:])
	case *rsa.PublicKey:
		all = append(all, x509.MarshalPKCS1PublicKey(p), p.N.Bytes(),
			pem.EncodeToMemory(&pem.Block{Type: "RSA PUBLIC KEY", Bytes: x509.MarshalPKCS1PublicKey(p)}))
	case ed25519.PublicKey:
		all = append(all, p)
	}
	return all
}

// recoveredKey computes the public key from two tokens, and uses it as in A2.
func recoveredKey(f *forge) (all []string) {
	candidates := func() (points []string) {
		input := f.input(f.header.String(), f.claims.String())
		for _, p := range recover256(f.signature(input), input) {
			points = append(points, string(p))
		}
		return points
	}
	first := candidates()
	for _, p := range candidates() {
		if !slices.Contains(first, p) {
			continue
		}
		public, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), []byte(p))
		require.NoError(f.t, err)
		require.True(f.t, public.Equal(f.public()), "the two tokens give the key away")
		for _, secret := range publicEncodings(f.t, public) {
			all = append(all, f.mac(secret, f.header.with("alg", `"HS256"`).String(), f.claims.String()))
		}
	}
	return all
}

// recover256 returns the points that can have made an ES256 signature: SEC 1,
// Section 4.1.6, without the case of r + n, which has a chance of 2^-128.
func recover256(signature []byte, input string) (points [][]byte) {
	curve := elliptic.P256()
	n := curve.Params().N
	r, s := new(big.Int).SetBytes(signature[:32]), new(big.Int).SetBytes(signature[32:])
	sum := sha256.Sum256([]byte(input))
	inverse := new(big.Int).ModInverse(r, n)
	mod := func(x *big.Int) []byte { return x.Mul(x, inverse).Mod(x, n).Bytes() }
	gx, gy := curve.ScalarBaseMult(mod(new(big.Int).Neg(new(big.Int).SetBytes(sum[:]))))
	for _, sign := range []byte{2, 3} {
		rx, ry := elliptic.UnmarshalCompressed(curve, append([]byte{sign}, signature[:32]...))
		if rx == nil {
			continue
		}
		x, y := curve.ScalarMult(rx, ry, mod(new(big.Int).Set(s)))
		x, y = curve.Add(x, y, gx, gy)
		points = append(points, elliptic.Marshal(curve, x, y))
	}
	return points
}

// evil is a key that the attacker has made.
func evil(t testing.TB) (key *ecdsa.PrivateKey, kid, public string) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	imported, err := jwk.Import(&key.PublicKey)
	require.NoError(t, err)
	sum, err := imported.Thumbprint(crypto.SHA256)
	require.NoError(t, err)
	text, err := json.Marshal(imported)
	require.NoError(t, err)
	return key, b64(sum), string(text)
}

// forged signs with another key than the header's kid says.
func (f *forge) forged(key *ecdsa.PrivateKey, header string) string {
	input := f.input(header, f.claims.String())
	return f.seal(input + "." + b64(signWith(f.t, key, keys.ES256, input)))
}

func embeddedKey(f *forge) (all []string) {
	key, kid, public := evil(f.t)
	certificate, err := x509.CreateCertificate(rand.Reader,
		&x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "app.example"}}, &x509.Certificate{},
		&key.PublicKey, key)
	require.NoError(f.t, err)
	chain := `["` + base64.StdEncoding.EncodeToString(certificate) + `"]`
	sum := sha1.Sum(certificate)
	print256 := sha256.Sum256(certificate)
	for _, header := range []object{f.header, f.header.with("kid", quoted(kid)), f.header.without("kid")} {
		for _, with := range []object{
			header, header.last("jwk", public), header.first("jwk", public), header.last("x5c", chain),
			header.last("x5t", quoted(b64(sum[:]))),
			header.last("x5t#S256", quoted(b64(print256[:]))), header.last("jwks", `{"keys":[`+public+`]}`),
			header.last("jwk", public).last("x5c", chain),
		} {
			all = append(all, f.forged(key, with.String()))
		}
	}
	// Genuine otherwise: a header that holds a key is refused in itself.
	return append(all, f.withHeader(f.header.last("jwk", public).String()),
		f.withHeader(f.header.last("x5c", chain).String()),
		f.direct(f.outer.last("jwk", public).String(), f.jws(f.header.String(), f.claims.String())))
}

func keyURL(f *forge) (all []string) {
	key, kid, _ := evil(f.t)
	for _, url := range []string{f.trap, f.trap + "/jwks.json", attackIssuer + "@" + f.trap[len("http://"):],
		"file:///dev/null"} {
		for _, name := range []string{"jku", "x5u", "url", "iss", "src"} {
			for _, header := range []object{f.header, f.header.with("kid", quoted(kid)), f.header.with("kid", quoted(url)),
				f.header.without("kid")} {
				all = append(all, f.forged(key, header.last(name, quoted(url)).String()))
			}
			all = append(all, f.withHeader(f.header.last(name, quoted(url)).String()),
				f.direct(f.outer.last(name, quoted(url)).String(), f.jws(f.header.String(), f.claims.String())))
		}
	}
	return all
}

func psychic(f *forge) (all []string) {
	params := elliptic.P256().Params()
	one := big.NewInt(1)
	edge := []*big.Int{
		new(big.Int), one, new(big.Int).Sub(params.N, one), params.N, new(big.Int).Add(params.N, one), params.P, params.B,
		params.Gx, params.Gy,
		new(big.Int).Sub(new(big.Int).Lsh(one, 256), one),
	}
	input := f.input(f.header.String(), f.claims.String())
	for _, r := range edge {
		for _, s := range edge {
			signature := append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...)
			all = append(all, f.seal(input+"."+b64(signature)))
		}
	}
	good := f.signature(input) // with r, s plus or minus n, and exchanged
	half := func(i int) *big.Int { return new(big.Int).SetBytes(good[32*i : 32*i+32]) }
	all = append(all, f.seal(input+"."+b64(slices.Concat(good[32:], good[:32]))),
		f.seal(input+"."+b64(slices.Concat(make([]byte, 32), good[32:]))),
		f.seal(input+"."+b64(slices.Concat(good[:32], make([]byte, 32)))))
	r := new(big.Int).Sub(params.N, half(0)).FillBytes(make([]byte, 32))
	return append(all, f.seal(input+"."+b64(slices.Concat(r, good[32:]))))
}

func derSignature(f *forge) (all []string) {
	input := f.input(f.header.String(), f.claims.String())
	good := f.signature(input)
	der, err := asn1.Marshal(struct{ R, S *big.Int }{new(big.Int).SetBytes(good[:32]), new(big.Int).SetBytes(good[32:])})
	require.NoError(f.t, err)
	wide := slices.Concat(make([]byte, 16), good[:32], make([]byte, 16), good[32:]) // as P-384 has it
	for _, signature := range [][]byte{der, append(der, 0), wide, append(good, 0), append([]byte{0}, good...), good[:63],
		good[1:], slices.Concat([]byte{0}, good[:32], []byte{0}, good[32:]), slices.Concat(good, good)} {
		all = append(all, f.seal(input+"."+b64(signature)))
	}
	return all
}

// edPlusOrder adds the group's order to s, which RFC 8032, Section 5.1.7
// forbids.
func edPlusOrder(f *forge) (all []string) {
	order, _ := new(big.Int).SetString("7237005577332262213973186563042994240857116359379907606001950938285454250989", 10)
	input := f.input(f.header.String(), f.claims.String())
	good := f.signature(input)
	little := slices.Clone(good[32:])
	slices.Reverse(little)
	s := new(big.Int).SetBytes(little)
	for range 8 {
		s.Add(s, order)
		if s.BitLen() > 256 {
			break
		}
		b := s.FillBytes(make([]byte, 32))
		slices.Reverse(b)
		all = append(all, f.seal(input+"."+b64(slices.Concat(good[:32], b))))
	}
	identity := append([]byte{1}, make([]byte, 63)...) // R = identity, s = 0: good for a key of small order
	return append(all, f.seal(input+"."+b64(identity)), f.seal(input+"."+b64(make([]byte, 64))),
		f.seal(input+"."+b64(good[:63])), f.seal(input+"."+b64(append(good, 0))))
}

// pkcs1Padding signs, with the right key, encodings that a careless verifier
// takes for the right one (Bleichenbacher 2006).
func pkcs1Padding(f *forge) (all []string) {
	key := f.private.(*rsa.PrivateKey)
	input := f.input(f.header.String(), f.claims.String())
	sum := sha256.Sum256([]byte(input))
	info := append([]byte{0x30, 0x31, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01, 0x05,
		0x00, 0x04, 0x20}, sum[:]...)
	noNull := append([]byte{0x30, 0x2f, 0x30, 0x0b, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01,
		0x04, 0x20}, sum[:]...)
	encode := func(kind, fill byte, padding int, content []byte) []byte {
		em := append([]byte{0, kind}, slices.Repeat([]byte{fill}, padding)...)
		em = append(append(em, 0), content...)
		return append(em, random(max(0, key.Size()-len(em)))...)[:key.Size()]
	}
	full := key.Size() - 3 - len(info)
	encodings := [][]byte{
		encode(1, 0xff, 8, info), encode(1, 0xff, full-1, info), encode(1, 0xfe, full, info), encode(2, 0xff, full, info),
		encode(0, 0, full, info),
		encode(1, 0xff, key.Size()-3-len(noNull), noNull), encode(1, 0xff, key.Size()-3-len(sum), sum[:]),
		encode(1, 0xff, 0, info),
	}
	for _, em := range encodings {
		signature := new(big.Int).Exp(new(big.Int).SetBytes(em), key.D, key.N).FillBytes(make([]byte, key.Size()))
		all = append(all, f.seal(input+"."+b64(signature)))
	}
	sha1Sum, sha512Sum := sha1.Sum([]byte(input)), sha512.Sum512([]byte(input))
	for hash, digest := range map[crypto.Hash][]byte{crypto.SHA1: sha1Sum[:], crypto.SHA512: sha512Sum[:], 0: sum[:]} {
		signature, err := rsa.SignPKCS1v15(rand.Reader, key, hash, digest)
		require.NoError(f.t, err)
		all = append(all, f.seal(input+"."+b64(signature)))
	}
	pss, err := rsa.SignPSS(rand.Reader, key, crypto.SHA256, sum[:], nil)
	require.NoError(f.t, err)
	good := f.signature(input)
	plus := new(big.Int).Add(new(big.Int).SetBytes(good), key.N).Bytes()
	for _, signature := range [][]byte{pss, good[1:], append([]byte{0}, good...), make([]byte, key.Size()), key.N.Bytes(),
		append(make([]byte, key.Size()-1), 1), plus} {
		all = append(all, f.seal(input+"."+b64(signature)))
	}
	for _, alg := range []string{"PS256", "RS512", "RS1", "ES256"} { // one key, one algorithm
		all = append(all, f.withHeader(f.header.with("alg", quoted(alg)).String()))
	}
	return all
}

func pssSalt(f *forge) (all []string) {
	key := f.private.(*rsa.PrivateKey)
	input := f.input(f.header.String(), f.claims.String())
	sum, sum512 := sha256.Sum256([]byte(input)), sha512.Sum512([]byte(input))
	for _, salt := range []int{1, 20, 31, 33, 48, 64, rsa.PSSSaltLengthAuto} {
		signature, err := rsa.SignPSS(rand.Reader, key, crypto.SHA256, sum[:], &rsa.PSSOptions{SaltLength: salt})
		require.NoError(f.t, err)
		all = append(all, f.seal(input+"."+b64(signature)))
	}
	other, err := rsa.SignPSS(rand.Reader, key, crypto.SHA512, sum512[:], &rsa.PSSOptions{SaltLength: 32})
	require.NoError(f.t, err)
	pkcs1, err := rsa.SignPKCS1v15(rand.Reader, key, crypto.SHA256, sum[:])
	require.NoError(f.t, err)
	rs256 := f.header.with("alg", `"RS256"`).String()
	forRS256 := f.input(rs256, f.claims.String())
	return append(all, f.seal(input+"."+b64(other)), f.seal(input+"."+b64(pkcs1)),
		f.seal(forRS256+"."+b64(signWith(f.t, key, keys.RS256, forRS256))),
		f.withHeader(f.header.with("alg", `"PS512"`).String()))
}

// A key file that others can read is refused, and who has public keys alone
// can't sign.
func TestAttackKeyDowngrade(t *testing.T) {
	m := newMaterial(t, time.Now(), keys.ES256, keys.Direct)
	for _, mode := range []os.FileMode{0o644, 0o640, 0o604, 0o666, 0o660, 0o620, 0o602} {
		require.NoError(t, os.Chmod(m.both, mode))
		_, err := keys.OpenRing(keys.RingConfig{File: keys.File{Path: m.both}})
		assert.ErrorIs(t, err, keyset.ErrUnsafeFile, "%o", mode)
	}
	require.NoError(t, os.Chmod(m.both, 0o600))
	set, err := keys.File{Path: m.both}.Read()
	require.NoError(t, err)
	text, err := (*keyset.Set)(set).PublicSet(time.Now())
	require.NoError(t, err)
	for _, private := range []string{`"d"`, `"k"`, m.encKID, "oct"} {
		assert.NotContains(t, string(text), private)
	}
	public, err := keys.ParsePublicSet(text)
	require.NoError(t, err)
	ring, err := keys.NewRing(public...)
	require.NoError(t, err)
	for _, key := range ring.Set().Keys() {
		assert.False(t, (*keyset.Key)(key).HasPrivate())
		_, err := (*keyset.Key)(key).Sign("x")
		assert.Error(t, err)
		_, err = (*keyset.Key)(key).Seal([]byte("x"), "JWT")
		assert.Error(t, err)
	}
	_, err = ring.Current(keys.Signature, time.Now())
	assert.ErrorIs(t, err, keys.ErrNoActiveKey)
	issuer, err := token.NewIssuer(token.IssuerConfig{Ring: ring, Issuer: attackIssuer})
	if err == nil {
		b := newBench(t)
		_, err = issuer.Issue(t.Context(), b.of(record(nil)), attackService)
		assert.ErrorIs(t, err, session.Unavailable)
	}
}

// A key file that holds a secret which a person has chosen, or which repeats
// itself, is refused: as it is, repeated, padded, in hexadecimal and in base64.
func TestAttackWeakSecrets(t *testing.T) {
	now := start
	load := func(secret []byte) error {
		entry, _ := keyEntry(t, secret, keys.HS256, "", now)
		_, err := keys.File{Path: writeKeys(t, entry)}.Read()
		return err
	}
	require.NoError(t, load(random(32)))
	for _, secret := range weakSecrets() {
		repeated := []byte(strings.Repeat(secret, 1+64/len(secret)))
		padded := append([]byte(secret), make([]byte, max(0, 32-len(secret)))...)
		for _, form := range [][]byte{[]byte(secret), repeated, repeated[:32], padded, []byte(fmt.Sprintf("%x", repeated)),
			[]byte(b64(repeated))} {
			assert.ErrorIs(t, load(form), keyset.ErrInvalidFile, "%q", form)
		}
	}
	for _, secret := range [][]byte{random(1), random(16), random(31), make([]byte, 32),
		[]byte(strings.Repeat("\xff", 32)), []byte(strings.Repeat("\x00\xff", 32)),
		[]byte(strings.Repeat("\xde\xad\xbe\xef", 8)), random(2000)} {
		assert.ErrorIs(t, load(secret), keyset.ErrInvalidFile, "%x", secret)
	}
}
