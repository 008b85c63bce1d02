package keyset_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/hex"
	"fmt"
	"io"
	"math/big"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/internal/keyset"
)

// A hollow key has the right form, and protects nothing.
type hollow struct {
	name string
	alg  keyset.Algorithm
	key  crypto.PublicKey
	jwk  string // with the kid "hollow"
	want string
}

func hollowOKP(name, text, want string) hollow {
	public, err := hex.DecodeString(text)
	if err != nil || len(public) != ed25519.PublicKeySize {
		panic(name)
	}
	jwk := fmt.Sprintf(`{"kty":"OKP","crv":"Ed25519","kid":"hollow","alg":"EdDSA","x":%q}`, b64(public))
	return hollow{name, keyset.EdDSA, ed25519.PublicKey(public), jwk, want}
}

// hollowOKPs are the points of small order in all spellings (Chalkias et al.,
// "Taming the many EdDSAs", 2020), and others that are of no use.
func hollowOKPs() []hollow {
	ff, zero := strings.Repeat("ff", 30), strings.Repeat("00", 31)
	const small, canonical = "a point of small order", "not canonical"
	return []hollow{
		hollowOKP("identity", "01"+zero, small),
		hollowOKP("identity, minus", "01"+strings.Repeat("00", 30)+"80", small),
		hollowOKP("order 2", "ec"+ff+"7f", small),
		hollowOKP("order 2, minus", "ec"+ff+"ff", small),
		hollowOKP("order 4: 32 zero bytes", "00"+zero, small),
		hollowOKP("order 4, minus", "00"+strings.Repeat("00", 30)+"80", small),
		hollowOKP("order 8", "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05", small),
		hollowOKP("order 8, minus", "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85", small),
		hollowOKP("order 8, the other", "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a", small),
		hollowOKP("order 8, the other, minus", "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa", small),
		hollowOKP("order 4 as p", "ed"+ff+"7f", canonical),
		hollowOKP("order 4 as p, minus", "ed"+ff+"ff", canonical),
		hollowOKP("identity as p+1", "ee"+ff+"7f", canonical),
		hollowOKP("identity as p+1, minus", "ee"+ff+"ff", canonical),
		hollowOKP("p+3", "f0"+ff+"7f", canonical),
		hollowOKP("all ones", "ff"+ff+"ff", canonical),
		hollowOKP("no point", "02"+zero, "not a point on the curve"),
		hollowOKP("base point", "58"+strings.Repeat("66", 31), "whose private key everybody knows"),
		hollowOKP("base point, minus", "58"+strings.Repeat("66", 30)+"e6", "whose private key everybody knows"),
	}
}

func hollowRSA(name string, n *big.Int, e int64, want string) hollow {
	exponent := big.NewInt(e).Bytes()
	jwk := fmt.Sprintf(`{"kty":"RSA","kid":"hollow","alg":"RS256","n":%q,"e":%q}`, b64(n.Bytes()), b64(exponent))
	return hollow{name, keyset.RS256, &rsa.PublicKey{N: n, E: int(e)}, jwk, want}
}

// mersenne returns 2^n-1, which is a prime for 1279 and 2203.
func mersenne(n uint) *big.Int {
	m := new(big.Int).Lsh(big.NewInt(1), n)
	return m.Sub(m, big.NewInt(1))
}

// hollowModuli are for good exponents.
func hollowModuli() []hollow {
	p, times := mersenne(1279), func(a, b *big.Int) *big.Int { return new(big.Int).Mul(a, b) }
	near := new(big.Int).Add(p, big.NewInt(1<<20))
	for new(big.Int).GCD(nil, nil, near, new(big.Int).MulRange(2, 751)).Cmp(big.NewInt(1)) != 0 {
		near.Add(near, big.NewInt(2))
	}
	const power, tiny = "a prime or a power of one", "a factor below 752"
	return []hollow{
		hollowRSA("prime", mersenne(2203), 65537, power),
		hollowRSA("square", times(p, p), 65537, power),
		hollowRSA("cube", times(p, times(p, p)), 65537, power),
		hollowRSA("close primes", times(p, near), 65537, "close together"),
		hollowRSA("a third of a prime", times(mersenne(2203), big.NewInt(3)), 65537, tiny),
		hollowRSA("751 times a prime", times(mersenne(2203), big.NewInt(751)), 65537, tiny),
	}
}

// hollowExponents have a modulus of which nobody knows the factors.
func hollowExponents() (all []hollow) {
	n := modulus(2048)
	for _, e := range []int64{1, 2, 3, 17, 65535, 65536, 65538, 1<<31 + 1, 1<<32 + 1} {
		all = append(all, hollowRSA(fmt.Sprint("exponent ", e), n, e,
			"exponent must be odd and at least 65537, and at most 2147483647"))
	}
	return append(all, hollowRSA("even", new(big.Int).Sub(n, big.NewInt(1)), 65537, "modulus is even"))
}

func hollowPoints() []hollow {
	c := elliptic.P256().Params()
	minus := new(big.Int).Sub(c.P, c.Gy)
	text := func(x, y *big.Int) string {
		return fmt.Sprintf(`{"kty":"EC","crv":"P-256","kid":"hollow","alg":"ES256","x":%q,"y":%q}`,
			b64(x.FillBytes(make([]byte, 32))), b64(y.FillBytes(make([]byte, 32))))
	}
	return []hollow{
		{"base point of P-256", keyset.ES256, point(c.Gx, c.Gy), text(c.Gx, c.Gy), "whose private key everybody knows"},
		{"minus base point of P-256", keyset.ES256, point(c.Gx, minus), text(c.Gx, minus), "whose private key everybody knows"},
		{"off the curve", keyset.ES256, point(c.Gx, c.Gx), text(c.Gx, c.Gx), ""},
	}
}

// point makes a key of raw coordinates, which may be off the curve: the
// functions that are not deprecated refuse such a point.
func point(x, y *big.Int) *ecdsa.PublicKey {
	//lint:ignore SA1019 see above
	return &ecdsa.PublicKey{Curve: elliptic.P256(), X: x, Y: y}
}

func hollows() (all []hollow) {
	all = append(hollowOKPs(), hollowPoints()...)
	return append(append(all, hollowModuli()...), hollowExponents()...)
}

// Wherever a public key comes in: an import, a signer, a JWK Set.
func TestHollowPublicKeysAreRefused(t *testing.T) {
	good := generate(t, keyset.ES256)
	entry := keyText(t, string(published(t, good)))
	for _, tt := range hollows() {
		t.Run(tt.name, func(t *testing.T) {
			_, err := keyset.Import(tt.alg, tt.key, keyset.Dates{})
			require.ErrorContains(t, err, tt.want)
			_, err = keyset.Import(tt.alg, &kms{public: tt.key}, keyset.Dates{})
			require.ErrorContains(t, err, tt.want)

			list, err := keyset.ParsePublicSet([]byte(`{"keys":[` + entry + `,` + tt.jwk + `]}`))
			require.NoError(t, err)
			require.Len(t, list, 1)
			require.Equal(t, good.ID(), list[0].ID())
			list, err = keyset.ParsePublicSet([]byte(`{"keys":[` + tt.jwk + `]}`))
			require.ErrorIs(t, err, keyset.ErrUnknownKey)
			require.ErrorContains(t, err, "keys: no key of the set can be used to verify: key hollow of the set is left out: ")
			require.ErrorContains(t, err, tt.want)
			require.Empty(t, list)
			kid, reason := leftOut(t, err)
			require.Equal(t, "hollow", kid)
			require.ErrorContains(t, reason, tt.want)
		})
	}
}

// leftOut asks an error which key was left out, as a program may.
func leftOut(t testing.TB, err error) (kid string, reason error) {
	var e interface {
		error
		LeftOut() (kid string, reason error)
	}
	require.ErrorAs(t, err, &e)
	return e.LeftOut()
}

// A number that does not fit into an int is not cut off.
func TestHugeExponentIsRefused(t *testing.T) {
	e := new(big.Int).Add(new(big.Int).Lsh(big.NewInt(1), 64), big.NewInt(65537))
	_, err := keyset.ParsePublicSet(fmt.Appendf(nil, `{"keys":[{"kty":"RSA","kid":"a","alg":"RS256","n":%q,"e":%q}]}`,
		b64(modulus(2048).Bytes()), b64(e.Bytes())))
	require.ErrorContains(t, err, "key a of the set is left out: RSA exponent must be odd")
	larger := int64(1)<<31 + 1
	if int64(int(larger)) != larger {
		return // no key of this system's has one
	}
	_, err = keyset.Import(keyset.RS256, &rsa.PublicKey{N: modulus(2048), E: int(larger)}, keyset.Dates{})
	require.ErrorContains(t, err, "RSA exponent must be odd")
}

// Who edits a key file by hand gets no such key in either, and a signer that
// has one is attached to no key.
func TestHollowPublicKeysAreRefusedInAKeyFile(t *testing.T) {
	k := generate(t, keyset.EdDSA, life(0)).ID()
	for _, tt := range append(hollowOKPs(), hollowPoints()...) {
		entry := strings.Replace(tt.jwk, `"kid":"hollow"`, `"use":"sig","kid":"`+k+`"`, 1)
		_, err := keyset.ParseSet([]byte(`{"generation":1,"keys":[` + entry + `]}`))
		require.ErrorContains(t, err, tt.want, tt.name)
		require.NotContains(t, err.Error(), "thumbprint", tt.name)
	}
}

// The check of the curve must not refuse keys that are good.
func TestGoodPublicKeysAreAccepted(t *testing.T) {
	for range 200 {
		public, _, err := ed25519.GenerateKey(rand.Reader)
		require.NoError(t, err)
		_, err = keyset.Import(keyset.EdDSA, public, keyset.Dates{})
		require.NoError(t, err)
	}
	for _, k := range []*keyset.Key{one(t, keyset.RS256), one(t, keyset.PS256), generate(t, keyset.ES256)} {
		_, err := keyset.Import(k.Algorithm(), k.Public(), keyset.Dates{})
		require.NoError(t, err)
	}
}

func TestMadeUpSecretsAreRefused(t *testing.T) {
	nul := func(b []byte, n int) []byte { return append(bytes.Clone(b), make([]byte, n)...) }
	count := func(n int, step byte) []byte {
		b := make([]byte, n)
		for i := range b {
			b[i] = byte(i) * step
		}
		return b
	}
	utf16 := func(text string) (b []byte) {
		for _, c := range []byte(text) {
			b = append(b, c, 0)
		}
		return b
	}
	half, most := random(16), random(24)
	tests := []struct {
		name string
		in   []byte
		want string
	}{
		{"NULs", make([]byte, 32), "repeats a few bytes"},
		{"one byte", bytes.Repeat([]byte{0xa7}, 32), "repeats a few bytes"},
		{"two bytes", bytes.Repeat([]byte{0xa7, 0}, 16), "repeats a few bytes"},
		{"password and NULs", nul([]byte("The quick brown fox 7!"), 10), "text that was filled up"},
		{"password and one NUL", nul([]byte("The quick brown fox jumps over "), 1), "text that was filled up"},
		{"NULs and password", append(make([]byte, 10), "The quick brown fox 7!"...), "text that was filled up"},
		{"password in UTF-16", utf16("The quick brown fox jumps over 1"), "text that was filled up"},
		{"password and PKCS 7 padding", append([]byte("The quick brown fox jumps o"), 5, 5, 5, 5, 5), "text that was filled up"},
		{"password and 0xff", append([]byte("The quick brown fox jumps o"), 0xff, 0xff, 0xff, 0xff, 0xff), "text that was filled up"},
		{"24 random bytes and NULs", nul(random(24), 8), "filled up with equal bytes"},
		{"NULs and 24 random bytes", append(make([]byte, 8), random(24)...), "filled up with equal bytes"},
		{"counted", count(32, 1), "follow a pattern"},
		{"counted down", count(32, 0xff), "follow a pattern"},
		{"counted by 17", count(32, 17), "follow a pattern"},
		{"16 bytes twice", bytes.Repeat(half, 2), ""},
		{"24 bytes three times", bytes.Repeat(most, 3), "follow a pattern"},
		{"24 bytes, cut off in the third time", bytes.Repeat(most, 3)[:60], "follow a pattern"},
	}
	for _, tt := range tests {
		for _, alg := range []keyset.Algorithm{keyset.HS256, keyset.Direct, keyset.A256KW} {
			in := tt.in
			if alg != keyset.HS256 && len(in) != 32 {
				continue
			}
			_, err := keyset.Import(alg, in, keyset.Dates{})
			require.ErrorContains(t, err, tt.want, "%s, %s", tt.name, alg)
			_, err = keyset.ParseSet(fmt.Appendf(nil,
				`{"generation":1,"keys":[{"kid":"a","alg":%q,"use":%q,"kty":"oct","k":%q}]}`, alg, alg.Use(), b64(in)))
			require.ErrorContains(t, err, tt.want, "%s, %s", tt.name, alg)
		}
		if len(tt.in) != 32 {
			continue
		}
		_, err := keyset.Import(keyset.EdDSA, ed25519.NewKeyFromSeed(tt.in), keyset.Dates{})
		require.ErrorContains(t, err, tt.want, "%s, as a seed", tt.name)
		if p256, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), tt.in); err == nil {
			_, err = keyset.Import(keyset.ES256, p256, keyset.Dates{})
			require.ErrorContains(t, err, tt.want, "%s, as a number", tt.name)
		}
	}
	for range 2000 {
		_, err := keyset.Import(keyset.HS256, random(32), keyset.Dates{})
		require.NoError(t, err)
	}
}

// The library finds only a first factor that is not a prime.
func TestRSAKeyWithAFactorThatIsNotAPrimeIsRefused(t *testing.T) {
	k, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	one, e := big.NewInt(1), big.NewInt(65537)
	p, composite, d := k.Primes[0], new(big.Int), new(big.Int)
	for _, factor := range []int64{10007, 10009, 10037} {
		composite.Mul(k.Primes[1], big.NewInt(factor))
		phi := new(big.Int).Mul(new(big.Int).Sub(p, one), new(big.Int).Sub(composite, one))
		if d = d.ModInverse(e, phi); d != nil {
			break
		}
	}
	bad := &rsa.PrivateKey{PublicKey: rsa.PublicKey{N: new(big.Int).Mul(p, composite), E: 65537}, D: d,
		Primes: []*big.Int{p, composite}}
	require.NoError(t, bad.Validate(), "what the library says")
	_, err = keyset.Import(keyset.RS256, bad, keyset.Dates{})
	require.ErrorContains(t, err, "a factor of the RSA modulus is not a prime")
}

// What was found out of a modulus is remembered for as long as sets have it.
func TestModuliAreCheckedOnce(t *testing.T) {
	k := one(t, keyset.RS256)
	body := published(t, k, generate(t, keyset.ES256))
	known := map[string]error{"another": nil}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := keyset.CheckModuli(ended, body, known)
	require.ErrorIs(t, err, context.Canceled)
	require.Empty(t, known, "forgotten")
	usable, err := keyset.CheckModuli(t.Context(), body, known)
	require.NoError(t, err)
	require.Len(t, usable, 2)
	require.Len(t, known, 1)
	usable, err = keyset.CheckModuli(ended, body, known)
	require.NoError(t, err, "nothing to do")
	require.Len(t, usable, 2)
	for modulus := range known {
		known[modulus] = io.ErrUnexpectedEOF
	}
	usable, err = keyset.CheckModuli(ended, body, known)
	require.NoError(t, err)
	require.Len(t, usable, 1, "left out without another look")
}

func BenchmarkParsePublicSet(b *testing.B) {
	for _, alg := range []keyset.Algorithm{keyset.ES256, keyset.EdDSA, keyset.RS256} {
		body := published(b, one(b, alg))
		b.Run(string(alg), func(b *testing.B) {
			for b.Loop() {
				if _, err := keyset.ParsePublicSet(body); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
