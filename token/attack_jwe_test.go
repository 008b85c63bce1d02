package token_test

import (
	"bytes"
	"compress/flate"
	"crypto/ecdsa"
	"crypto/rsa"
	"slices"
	"strings"

	"github.com/lestrrat-go/jwx/v3/jwa"
	"github.com/lestrrat-go/jwx/v3/jwe"
	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/keys"
)

// confusion offers encrypted tokens where a signed one is due, and the reverse.
func confusion(f *forge) (all []string) {
	header, claims := f.header.String(), f.claims.String()
	inner := f.jws(header, claims)
	unsigned := f.input(`{"alg":"none","kid":`+quoted(f.sigKID)+`,"typ":`+f.header.get("typ")+`}`, claims) + "."
	secret, shared := f.private.([]byte)
	for _, plaintext := range []string{claims, unsigned, unsigned + "AA", f.input(header, claims) + ".AAAA", "",
		inner + " ", f.jwe(inner)} {
		all = append(all, f.jwe(plaintext)) // by somebody who has the encryption key alone
	}
	if key, ok := f.secret.([]byte); ok { // what encrypts doesn't sign
		own := f.header.with("alg", `"HS256"`).with("kid", quoted(f.encKID)).String()
		all = append(all, f.mac(key, own, claims), f.mac(key, f.header.with("alg", `"HS256"`).String(), claims),
			f.mac(key, f.header.with("alg", `"dir"`).with("kid", quoted(f.encKID)).String(), claims))
	}
	if shared { // what signs doesn't encrypt
		all = append(all, directWith(f.t, secret, f.outer.with("kid", quoted(f.sigKID)).String(), inner),
			directWith(f.t, secret, f.outer.String(), inner))
	} else if key, ok := f.public().(*ecdsa.PublicKey); ok { // nor does its public half
		for _, kid := range []string{f.sigKID, f.encKID} {
			all = append(all, f.jwx(jwa.ECDH_ES_A256KW(), jwa.A256GCM(), key, kid, inner),
				f.jwx(jwa.ECDH_ES(), jwa.A256GCM(), key, kid, claims))
		}
	}
	for _, cty := range []string{`"jwt"`, `"JWE"`, `"text/plain"`, `"application/json"`, `""`, `null`, `["JWT"]`} {
		all = append(all, f.direct(f.outer.with("cty", cty).String(), inner))
	}
	all = append(all, f.direct(f.outer.without("cty").String(), inner),
		f.direct(f.outer.last("typ", `"cloakroom+jwt"`).String(), inner),
		f.direct(f.outer.last("typ", `"JWT"`).String(), inner))
	// A token that holds an encrypted one, a token of a token, and the inner one
	// of an encrypted pair.
	all = append(all, f.jws(header, quoted(f.jwe(inner))), f.jws(f.header.last("cty", `"JWT"`).String(), claims),
		f.seal(f.jws(header, quoted(inner))), f.jwe(f.jwe(inner)))
	if f.sealed {
		all = append(all, inner)
	} else {
		all = append(all, f.jwe(inner))
	}
	return all
}

// billionHashes must be refused for its header; nothing is derived from p2c.
func billionHashes(f *forge) (all []string) {
	rest := "." + b64(random(40)) + "." + b64(random(12)) + "." + b64(random(40)) + "." + b64(random(16))
	for _, alg := range []string{"PBES2-HS256+A128KW", "PBES2-HS384+A192KW", "PBES2-HS512+A256KW", "dir", "A256KW"} {
		for _, count := range []string{"1", "600000", "2000000000", "9007199254740991", "1e18", "-1"} {
			header := f.outer.with("alg", quoted(alg)).last("p2s", quoted(b64(random(16)))).last("p2c", count)
			all = append(all, b64([]byte(header.String()))+rest, b64([]byte(header.without("kid").String()))+rest)
		}
	}
	return append(all, f.jwx(jwa.PBES2_HS256_A128KW(), jwa.A256GCM(), []byte("password"), f.encKID,
		f.jws(f.header.String(), f.claims.String())))
}

// compressed would be good, were it inflated. Its last ones inflate to
// megabytes.
func compressed(f *forge) (all []string) {
	inner := f.jws(f.header.String(), f.claims.String())
	for _, text := range []string{inner, strings.Repeat("\x00", 1<<20), strings.Repeat("\x00", 9<<20),
		strings.Repeat("A", 250<<10)} {
		deflated := deflate(f, text)
		for _, zip := range []string{`"DEF"`, `"def"`, `"GZIP"`, `""`, `null`, `["DEF"]`} {
			all = append(all, f.direct(f.outer.last("zip", zip).String(), deflated))
		}
		all = append(all, f.direct(f.outer.String(), deflated),
			f.seal(f.input(f.header.last("zip", `"DEF"`).String(), deflated)+".AAAA"))
	}
	return append(all, f.direct(f.outer.last("zip", `"DEF"`).String(), inner),
		f.jwx(jwa.DIRECT(), jwa.A256GCM(), f.secret, f.encKID, inner, jwe.WithCompress(jwa.Deflate())))
}

func deflate(f *forge, text string) string {
	var b bytes.Buffer
	w, err := flate.NewWriter(&b, flate.BestCompression)
	require.NoError(f.t, err)
	_, err = w.Write([]byte(text))
	require.NoError(f.t, err)
	require.NoError(f.t, w.Close())
	return b.String()
}

// sizes gives every segment of a genuine token other lengths.
func sizes(f *forge) (all []string) {
	genuine := strings.Split(f.jwe(f.jws(f.header.String(), f.claims.String())), ".")
	for i, longest := range []int{1: 41, 2: 33, 3: 17, 4: 33} {
		for n := 0; i > 0 && n <= longest; n++ {
			segment := b64(random(n))
			if segment != genuine[i] { // an empty encrypted key is as it should be
				all = append(all, strings.Join(slices.Replace(slices.Clone(genuine), i, i+1, segment), "."))
			}
		}
	}
	for _, n := range []int{1, 15, 31, 41, 48, 64, 4000} { // cut, or extended
		cut := func(i int) string {
			s := genuine[i]
			if n < len(s) {
				return strings.Join(slices.Replace(slices.Clone(genuine), i, i+1, s[:n]), ".")
			}
			return strings.Join(slices.Replace(slices.Clone(genuine), i, i+1, s+strings.Repeat("A", n)), ".")
		}
		for i := range genuine {
			all = append(all, cut(i))
		}
	}
	return all
}

func ephemeralKeys(f *forge) (all []string) {
	genuine := strings.Split(f.jwe(f.jws(f.header.String(), f.claims.String())), ".")
	point, err := f.secret.(*ecdsa.PrivateKey).PublicKey.Bytes()
	require.NoError(f.t, err)
	x, y := b64(point[1:33]), b64(point[33:])
	zero, ones := b64(make([]byte, 32)), b64(bytes.Repeat([]byte{0xff}, 32))
	prime := b64(unb64(f.t, "_____wAAAAEAAAAAAAAAAAAAAAD_______________8"))
	ec := func(crv, x, y string) object {
		return object{"kty", `"EC"`, "crv", quoted(crv), "x", quoted(x), "y", quoted(y)}
	}
	own := ec("P-256", x, y)
	keys := []string{
		ec("P-256", x, zero).String(), ec("P-256", zero, zero).String(), ec("P-256", zero, y).String(),
		ec("P-256", ones, ones).String(), ec("P-256", prime, y).String(),
		ec("P-256", y, x).String(), ec("P-256", b64(point[2:33]), y).String(), ec("P-256", x, "").String(),
		ec("P-256", b64(append(point[1:33:33], 0)), y).String(),
		ec("P-384", x, y).String(), ec("P-384", b64(random(48)), b64(random(48))).String(),
		ec("P-521", b64(random(66)), b64(random(66))).String(), ec("secp256k1", x, y).String(),
		ec("X25519", x, y).String(), ec("p-256", x, y).String(), `{"kty":"OKP","crv":"X25519","x":"` + x + `"}`,
		`{"kty":"OKP","crv":"X25519","x":"` + zero + `"}`, `{"kty":"oct","k":"` + x + `"}`,
		`{"kty":"RSA","n":"` + x + `","e":"AQAB"}`, own.without("y").String(), own.without("kty").String(),
		own.without("crv").String(), own.last("d", quoted(x)).String(),
		own.last("kid", quoted(f.encKID)).String(), own.last("x", quoted(x)).String(), own.with("kty", `"ec"`).String(),
		own.with("x", "1").String(), `null`, `[]`, `"` + x + `"`, `{}`, `[` + own.String() + `]`,
	}
	outer := object{"alg", `"ECDH-ES+A256KW"`, "cty", `"JWT"`, "enc", `"A256GCM"`, "kid", quoted(f.encKID)}
	for _, epk := range keys {
		all = append(all, b64([]byte(outer.last("epk", epk).String()))+"."+strings.Join(genuine[1:], "."))
	}
	headers := []object{outer, outer.last("epk", own.String()), outer.last("epk", own.String()).last("epk", own.String()),
		outer.last("epk", own.String()).last("apu", `"AA"`), outer.last("epk", own.String()).last("apv", `"AA"`)}
	for _, header := range headers {
		all = append(all, b64([]byte(header.String()))+"."+strings.Join(genuine[1:], "."))
	}
	return all
}

// cbc are tokens in AES-CBC under the right key, whose size goes with it:
// genuine but for enc, and with the padding, the length and the tag changed.
func cbc(f *forge) (all []string) {
	inner := f.jws(f.header.String(), f.claims.String())
	for _, pad := range []string{"", "1", "22", "333"} {
		token := f.jwx(jwa.DIRECT(), jwa.A128CBC_HS256(), f.secret, f.encKID, inner+pad)
		s := strings.Split(token, ".")
		text := unb64(f.t, s[3])
		all = append(all, token)
		for _, change := range [][]byte{text[:len(text)-16], text[:len(text)-1], append(slices.Clone(text), 0),
			append(slices.Clone(text), text[:16]...), flipped(text, len(text)-1), flipped(text, len(text)-17), flipped(text, 0),
			text[:16], {0}} {
			all = append(all, strings.Join([]string{s[0], s[1], s[2], b64(change), s[4]}, "."))
		}
		for _, iv := range []int{0, 12, 15, 17} {
			all = append(all, strings.Join([]string{s[0], s[1], b64(random(iv)), s[3], s[4]}, "."))
		}
	}
	return all
}

func flipped(b []byte, i int) []byte {
	b = slices.Clone(b)
	b[i] ^= 1
	return b
}

// bleichenbacher encrypts to the public half of the signature key.
func bleichenbacher(f *forge) (all []string) {
	public := &f.private.(*rsa.PrivateKey).PublicKey
	inner := f.jws(f.header.String(), f.claims.String())
	for _, kid := range []string{f.sigKID, f.encKID} {
		for _, alg := range []jwa.KeyEncryptionAlgorithm{jwa.RSA1_5(), jwa.RSA_OAEP(), jwa.RSA_OAEP_256()} {
			token := f.jwx(alg, jwa.A256GCM(), public, kid, inner)
			s := strings.Split(token, ".")
			all = append(all, token)
			for _, key := range [][]byte{random(256), make([]byte, 256), flipped(unb64(f.t, s[1]), 255), random(255), {},
				random(40)} {
				all = append(all, strings.Join([]string{s[0], b64(key), s[2], s[3], s[4]}, "."))
			}
		}
	}
	return all
}

func exchangedEnc(f *forge) (all []string) {
	inner := f.jws(f.header.String(), f.claims.String())
	genuine := f.jwe(inner)
	_, rest, _ := strings.Cut(genuine, ".")
	for _, enc := range []string{"A128CBC-HS256", "A256CBC-HS512", "A128GCM", "A192GCM", "a256gcm", "A256GCM ", "",
		"none", "C20P", "XC20P"} {
		header := f.outer.with("enc", quoted(enc)).String()
		all = append(all, b64([]byte(header))+"."+rest)
		if f.enc == keys.Direct {
			all = append(all, f.direct(header, inner))
		}
	}
	for _, alg := range []string{"dir", "A128KW", "A256KW", "A256GCMKW", "ECDH-ES", "ECDH-ES+A256KW", "RSA-OAEP",
		"RSA1_5", "PBES2-HS256+A128KW", "HS256", "ES256", "DIR", "dir ", "none"} {
		if alg == string(f.enc) {
			continue
		}
		header := f.outer.with("alg", quoted(alg)).String()
		all = append(all, b64([]byte(header))+"."+rest)
		if f.enc == keys.Direct {
			all = append(all, f.direct(header, inner))
		}
	}
	key := f.secret.([]byte) // of the right size for all of these
	for _, alg := range []jwa.KeyEncryptionAlgorithm{jwa.A256GCMKW(), jwa.A256KW(), jwa.DIRECT()} {
		if alg.String() != string(f.enc) {
			all = append(all, f.jwx(alg, jwa.A256GCM(), key, f.encKID, inner))
		}
	}
	for _, header := range []object{f.outer.without("enc"), f.outer.without("alg"), f.outer.with("enc", "null"),
		f.outer.with("enc", `["A256GCM"]`), f.outer.last("enc", `"A256GCM"`), f.outer.last("alg", f.outer.get("alg"))} {
		all = append(all, b64([]byte(header.String()))+"."+rest, f.direct(header.String(), inner))
	}
	return all
}
