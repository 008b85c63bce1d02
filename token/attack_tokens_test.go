package token_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/keys"
)

// An attack is one way to forge a token, against a ring of the given
// algorithms.
type attack struct {
	row      string // of middleware/attack_table_test.go
	what     string
	sig, enc keys.Algorithm
	forge    func(f *forge) []string
}

func tokenAttacks() []attack {
	return []attack{
		{"A1", "alg none", keys.ES256, keys.Direct, algNone},
		{"A2", "public key as HMAC secret", keys.ES256, keys.Direct, publicKeyAsSecret},
		{"A2", "public key as HMAC secret, RSA", keys.RS256, keys.Direct, publicKeyAsSecret},
		{"A2", "public key as HMAC secret, Ed25519", keys.EdDSA, keys.Direct, publicKeyAsSecret},
		{"A3", "public key recovered from signatures", keys.ES256, keys.Direct, recoveredKey},
		{"A4", "key embedded in the header", keys.ES256, keys.Direct, embeddedKey},
		{"A5", "URL of a key in the header", keys.ES256, keys.Direct, keyURL},
		{"A6", "kid as path, SQL, command", keys.ES256, keys.Direct, kidInjection},
		{"A6", "kid as path, SQL, command, HMAC", keys.HS256, keys.Direct, kidInjection},
		{"A7", "kid of another type", keys.ES256, keys.Direct, kidTypes},
		{"A8", "blank key, null signature", keys.ES256, keys.Direct, blankKey},
		{"A8", "blank key, null signature, HMAC", keys.HS256, keys.Direct, blankKey},
		{"A9", "weak secret", keys.HS256, keys.Direct, weakSecret},
		{"A10", "psychic signature", keys.ES256, keys.Direct, psychic},
		{"A11", "ECDSA signature in DER", keys.ES256, keys.Direct, derSignature},
		{"A11", "Ed25519 signature with s+L", keys.EdDSA, keys.Direct, edPlusOrder},
		{"A12", "RSA PKCS#1 padding", keys.RS256, keys.Direct, pkcs1Padding},
		{"A12", "RSA PSS salt", keys.PS256, keys.Direct, pssSalt},
		{"A13", "base64 malleability", keys.ES256, keys.Direct, respelled},
		{"A13", "base64 malleability, wrapped key", keys.HS256, keys.A256KW, respelled},
		{"A14", "segment games", keys.ES256, keys.Direct, segments},
		{"A15", "JSON serialization", keys.ES256, keys.Direct, jsonSerialization},
		{"A16", "sign/encrypt confusion", keys.ES256, keys.Direct, confusion},
		{"A16", "sign/encrypt confusion, shared secret", keys.HS256, keys.Direct, confusion},
		{"A16", "sign/encrypt confusion, public encryption key", keys.ES256, keys.ECDHESA256KW, confusion},
		{"A17", "billion hashes", keys.ES256, keys.Direct, billionHashes},
		{"A18", "compressed content", keys.ES256, keys.Direct, compressed},
		{"A19", "segments of every size", keys.ES256, keys.Direct, sizes},
		{"A19", "segments of every size, wrapped key", keys.ES256, keys.A256KW, sizes},
		{"A19", "segments of every size, ephemeral key", keys.ES256, keys.ECDHESA256KW, sizes},
		{"A20", "invalid ephemeral key", keys.ES256, keys.ECDHESA256KW, ephemeralKeys},
		{"A21", "CBC padding", keys.ES256, keys.Direct, cbc},
		{"A22", "RSA1_5", keys.PS256, keys.Direct, bleichenbacher},
		{"A23", "alg or enc exchanged", keys.ES256, keys.Direct, exchangedEnc},
		{"A23", "alg or enc exchanged, wrapped key", keys.ES256, keys.A256KW, exchangedEnc},
		{"A24", "crit and b64", keys.ES256, keys.Direct, critical},
		{"A25", "repeated names", keys.ES256, keys.Direct, repeatedNames},
		{"A26", "invalid Unicode", keys.ES256, keys.Direct, invalidUnicode},
		{"A27", "numbers, nesting", keys.ES256, keys.Direct, numbers},
		{"A28", "payload is no object", keys.ES256, keys.Direct, payloads},
		{"A29", "typ of another kind", keys.ES256, keys.Direct, otherKinds},
		{"A30", "another issuer's or audience's", keys.ES256, keys.Direct, relayed},
		{"A30", "another issuer's with the same kid", keys.HS256, keys.Direct, relayed},
		{"A31", "outside its time", keys.ES256, keys.Direct, outOfTime},
		{"A57", "misspelled alg", keys.ES256, keys.Direct, misspelled},
		{"A57", "misspelled alg, HMAC", keys.HS256, keys.Direct, misspelled},
	}
}

// rings are the pairs of algorithms that some attack is for.
func rings() (pairs [][2]keys.Algorithm) {
	for _, a := range tokenAttacks() {
		if pair := [2]keys.Algorithm{a.sig, a.enc}; !slices.Contains(pairs, pair) {
			pairs = append(pairs, pair)
		}
	}
	return pairs
}

// TestAttackTokens sends each forged token to each setting. Before and after
// all of them a genuine one opens, so that none is refused for another reason.
func TestAttackTokens(t *testing.T) {
	var hits atomic.Int64
	trap := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { hits.Add(1) }))
	defer trap.Close()
	for _, pair := range rings() {
		for _, s := range newSettings(t, pair[0], pair[1], trap.URL) {
			t.Run(fmt.Sprint(pair[0], " ", pair[1], "/", s.name), func(t *testing.T) {
				s.mustOpen(t)
				for _, a := range tokenAttacks() {
					if a.sig != pair[0] || a.enc != pair[1] {
						continue
					}
					t.Run(a.row+" "+a.what, func(t *testing.T) {
						credentials := a.forge(s.forge)
						require.NotEmpty(t, credentials, "the row attacks with nothing")
						s.must0(t, credentials)
					})
				}
				s.mustOpen(t)
			})
		}
	}
	require.Zero(t, hits.Load(), "a header's URL was asked")
}

// mustOpen is the control: tokens of the forge that nothing is wrong with open.
func (s *setting) mustOpen(t *testing.T) {
	t.Helper()
	// A session of its own, so that nothing of it is remembered for the forged
	// ones.
	claims := s.claims.with("sid", quoted(b64(random(16))))
	for _, credential := range []string{s.withClaims(claims.String()),
		s.withClaims(claims.with("unknown", "1e400").String())} {
		require.NoError(t, s.open(credential))
		got := s.send(credential)
		require.Equal(t, http.StatusOK, got.Status)
		require.Contains(t, got.Body, `subject "mallory"`)
		require.NotEqual(t, s.refusal, got)
	}
	require.Nil(t, s.refusal.Panic)
	require.Empty(t, s.refusal.Header["Set-Cookie"])
}

func algNone(f *forge) (all []string) {
	for _, alg := range []string{`"none"`, `"None"`, `"NONE"`, `"nOnE"`, `"none "`, `" none"`, `"none\u0000"`, `["none"]`,
		`{"none":1}`, `null`, `""`, `0`, `false`} {
		header := f.header.with("alg", alg).String()
		input := f.input(header, f.claims.String())
		all = append(all, f.seal(input+"."), f.seal(input), f.seal(input+".AA"), f.withHeader(header))
		bare := f.input(`{"alg":`+alg+`}`, f.claims.String())
		all = append(all, f.seal(bare+"."), f.seal(bare+"."+b64(f.signature(bare))))
	}
	return append(all, f.withHeader(f.header.without("alg").String()))
}

func kidInjection(f *forge) (all []string) {
	kids := []string{
		"../../dev/null", "../../../../../../dev/null", "/dev/null", "/proc/sys/kernel/randomize_va_space",
		`C:\Windows\win.ini`, "file:///dev/null",
		"x' UNION SELECT '1';--", `" OR "1"="1`, "x'; DROP TABLE keys;--", "|sleep 10", "$(sleep 10)", "`sleep 10`",
		"; sleep 10",
		"*)(uid=*))(|(uid=*", "${jndi:ldap://x}", "{{7*7}}", "%00", f.sigKID + "\x00", f.sigKID + " ", " " + f.sigKID,
		f.sigKID + "/../" + f.sigKID,
		f.sigKID + "\n", strings.ToLower(f.sigKID), f.sigKID + "=", strings.Repeat("A", 128), strings.Repeat("A", 129),
		strings.Repeat("A", 1<<20), f.encKID,
	}
	for _, kid := range kids {
		if kid == f.sigKID {
			continue
		}
		header := f.header.with("kid", quoted(kid)).String()
		all = append(all, f.withHeader(header))
		if kid != f.encKID {
			all = append(all, f.direct(f.outer.with("kid", quoted(kid)).String(), f.jws(f.header.String(), f.claims.String())))
		}
		for _, secret := range []string{"", "1", "2", "0"} { // what those files and tables hold
			all = append(all, f.mac([]byte(secret), f.header.with("alg", `"HS256"`).with("kid", quoted(kid)).String(),
				f.claims.String()))
		}
	}
	return all
}

func kidTypes(f *forge) (all []string) {
	own := quoted(f.sigKID)
	for _, kid := range []string{`0`, `1`, `null`, `true`, `""`, `[]`, `{}`, `[` + own + `]`, `{"kid":` + own + `}`,
		`[` + own + `,"x"]`} {
		all = append(all, f.withHeader(f.header.with("kid", kid).String()))
	}
	for _, kid := range []string{`"x"`, `null`, own, `0`} {
		all = append(all, f.withHeader(f.header.first("kid", kid).String()), f.withHeader(f.header.last("kid", kid).String()))
	}
	inner := f.jws(f.header.String(), f.claims.String())
	for _, outer := range []object{f.outer.without("kid"), f.outer.with("kid", "null"), f.outer.with("kid", "1"),
		f.outer.last("kid", quoted(f.encKID)), f.outer.with("kid", own)} {
		all = append(all, f.direct(outer.String(), inner))
	}
	return append(all, f.withHeader(f.header.without("kid").String()))
}

func blankKey(f *forge) (all []string) {
	input := f.input(f.header.String(), f.claims.String())
	for _, signature := range []string{"", "A", "AA", "AAA", "AAAA", "AA==", "e30", "bnVsbA", b64(make([]byte, 32)),
		b64(make([]byte, 64))} {
		all = append(all, f.seal(input+"."+signature))
	}
	header := f.header.with("alg", `"HS256"`)
	for _, secret := range [][]byte{nil, {0}, []byte("null"), []byte("undefined"), []byte("0"), make([]byte, 32),
		make([]byte, 64), []byte(f.sigKID)} {
		all = append(all, f.mac(secret, header.String(), f.claims.String()),
			f.mac(secret, header.without("kid").String(), f.claims.String()))
	}
	return all
}

func weakSecret(f *forge) (all []string) {
	for _, secret := range weakSecrets() {
		all = append(all, f.mac([]byte(secret), f.header.String(), f.claims.String()))
	}
	return all
}

// weakSecrets are what tutorials use and word lists hold.
func weakSecrets() []string {
	return []string{
		"secret", "Secret", "password", "changeme", "123456", "qwerty", "admin", "key", "jwt", "token", "hmackey",
		"supersecret", "your-256-bit-secret",
		"your-384-bit-secret", "your-512-bit-secret", "your_jwt_secret", "my-secret-key",
		"my-32-character-ultra-secure-and-ultra-long-secret",
		"secretsecretsecretsecretsecretse", "AllYourBase", "replace_me", "abcdefghijklmnopqrstuvwxyz123456",
		"00000000000000000000000000000000",
		"gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr9C", "ceci n'est pas un secret, c'est une phrase",
		"a-string-secret-at-least-256-bits-long", "correct horse battery staple again",
	}
}

// respelled gives a genuine token other spellings: outside, and inside of the
// encryption.
func respelled(f *forge) (all []string) {
	inner := f.jws(f.header.String(), f.claims.String())
	for !strings.ContainsAny(inner, "-_") {
		inner = f.jws(f.header.String(), f.claims.with("jti", quoted(b64(random(12)))).String())
	}
	all = spellings(f.seal(inner))
	for _, spelling := range spellings(inner) {
		all = append(all, f.seal(spelling))
	}
	return all
}

func spellings(token string) (all []string) {
	for _, white := range []string{" ", "\n", "\r", "\r\n", "\t", "\x00", "\u00a0", "\u200b", "\ufeff", "%20", "\""} {
		all = append(all, white+token, token+white, token[:9]+white+token[9:],
			token[:len(token)-3]+white+token[len(token)-3:], white+token+white)
		for _, dot := range dots(token) {
			all = append(all, token[:dot]+white+token[dot:], token[:dot+1]+white+token[dot+1:])
		}
	}
	segments := strings.Split(token, ".")
	for i, s := range segments {
		change := func(to string) {
			all = append(all, strings.Join(slices.Replace(slices.Clone(segments), i, i+1, to), "."))
		}
		for _, pad := range []string{"=", "==", "%3D", "A", "AA", "AAA", "AAAA"} {
			change(s + pad)
		}
		if s == "" {
			continue
		}
		change(strings.Replace(s, s[:1], "\uff11", 1)) // a digit to Unicode, and no ASCII
		for _, bit := range []int{1, 2, 4, 8} {
			const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
			last := strings.IndexByte(alphabet, s[len(s)-1])
			if len(s)%4 == 2 && bit < 16 || len(s)%4 == 3 && bit < 4 {
				change(s[:len(s)-1] + alphabet[last^bit:][:1])
			}
		}
		for _, other := range []string{strings.NewReplacer("-", "+", "_", "/").Replace(s),
			strings.NewReplacer("-", "%2D", "_", "%5F").Replace(s)} {
			if other != s {
				change(other)
			}
		}
	}
	return all
}

func dots(token string) (at []int) {
	for i := range len(token) {
		if token[i] == '.' {
			at = append(at, i)
		}
	}
	return at
}

func segments(f *forge) []string {
	inner := f.jws(f.header.String(), f.claims.String())
	parts := strings.Split(inner, ".")
	h, p, s := parts[0], parts[1], parts[2]
	games := []string{
		"", ".", "..", "...", "....", ".....", h, h + "." + p, h + "." + p + ".", "." + p + "." + s, h + ".." + s, h + "..",
		"." + p + ".", ".." + s,
		inner + ".", "." + inner, inner + "." + s, inner + ".." + s, h + "." + inner, h + "." + p + ".." + s,
		inner + "." + inner, h + "." + p + "." + s + "." + h + "." + p,
		strings.Repeat(".", 100), strings.Repeat(".", 1<<20), strings.Repeat("A", 1<<20), strings.Repeat("A.", 1<<19),
		inner + "." + strings.Repeat("A", 1<<20),
	}
	for _, outer := range []string{f.direct(f.outer.String(), inner)} {
		o := strings.Split(outer, ".")
		for i := range o {
			games = append(games, strings.Join(slices.Delete(slices.Clone(o), i, i+1), "."),
				strings.Join(slices.Insert(slices.Clone(o), i, "AAAA"), "."))
			if o[i] != "" {
				games = append(games, strings.Join(slices.Replace(slices.Clone(o), i, i+1, ""), "."))
			}
		}
		games = append(games, outer+".", "."+outer, outer+"."+outer)
	}
	all := slices.Clone(games)
	for _, game := range games {
		if f.sealed && len(game) < 10_000 {
			all = append(all, f.seal(game))
		}
	}
	return all
}

func jsonSerialization(f *forge) []string {
	inner := f.jws(f.header.String(), f.claims.String())
	p := strings.Split(inner, ".")
	signature := `"protected":"` + p[0] + `","signature":"` + p[2] + `"`
	e := strings.Split(f.direct(f.outer.String(), inner), ".")
	all := []string{
		`{"payload":"` + p[1] + `",` + signature + `}`, `{"payload":"` + p[1] + `","signatures":[{` + signature + `}]}`,
		`{"payload":"` + p[1] + `","signatures":[{` + signature + `},{` + signature + `}]}`,
		`{"a":"` + inner + `"}`, `{"a":"` + p[0] + `.x.y"}`, `{"a":".` + p[1] + `.` + p[2] + `"}`, `"` + inner + `"`,
		`[` + inner + `]`, `[` + quoted(inner) + `]`,
		`{"payload":"` + p[1] + `","x":"..",` + signature + `}`,
		`{"protected":"` + e[0] + `","iv":"` + e[2] + `","ciphertext":"` + e[3] + `","tag":"` + e[4] + `"}`,
		`{"protected":"` + e[0] + `","recipients":[{}],"iv":"` + e[2] + `","ciphertext":"` + e[3] + `","tag":"` + e[4] +
			`","x":"...."}`,
	}
	if f.sealed {
		for _, text := range all {
			all = append(all, f.seal(text))
		}
	}
	return all
}
