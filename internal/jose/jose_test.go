package jose_test

import (
	"crypto/ecdh"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/internal/jose"
)

const (
	goodJWSHeader = `{"alg":"ES256","kid":"k1","typ":"cloakroom+jwt"}`
	goodJWEHeader = `{"alg":"dir","enc":"A256GCM","kid":"k1","cty":"JWT"}`
	goodClaims    = `{"sub":"alice"}`
)

func b64(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }

func jws(header, payload string) string {
	return b64(header) + "." + b64(payload) + "." + b64(strings.Repeat("s", 64))
}

// jwe builds a token from segments of the given sizes.
func jwe(header string, key, iv, ciphertext, tag int) string {
	segment := func(n int) string { return b64(strings.Repeat("x", n)) }
	return strings.Join([]string{b64(header), segment(key), segment(iv), segment(ciphertext), segment(tag)}, ".")
}

// epk returns a point on the curve as the members of a JWK.
func epk(t *testing.T) (x, y string) {
	k, err := ecdh.P256().GenerateKey(rand.Reader)
	require.NoError(t, err)
	p := k.PublicKey().Bytes()
	return base64.RawURLEncoding.EncodeToString(p[1:33]), base64.RawURLEncoding.EncodeToString(p[33:])
}

func TestParseJWS(t *testing.T) {
	token := jws(`{"alg":"PS256", "typ":"at+jwt", "kid":"A-_9", "cty":"JWT"}`, goodClaims)
	got, err := jose.ParseJWS(token)
	require.NoError(t, err)
	require.Equal(t, jose.Header{Alg: "PS256", Kid: "A-_9", Typ: "at+jwt", Cty: "JWT"}, got.Header)
	require.Equal(t, goodClaims, string(got.Payload))
	require.Equal(t, strings.Repeat("s", 64), string(got.Signature))
	require.Equal(t, token[:strings.LastIndexByte(token, '.')], got.SigningInput)
}

func TestParseJWE(t *testing.T) {
	got, err := jose.ParseJWE(jwe(goodJWEHeader, 0, 12, 7, 16))
	require.NoError(t, err)
	require.Equal(t, jose.Header{Alg: "dir", Enc: "A256GCM", Kid: "k1", Cty: "JWT"}, got.Header)
	require.Equal(t, b64(goodJWEHeader), got.Protected)
	require.Equal(t, jwe(goodJWEHeader, 0, 12, 7, 16), got.Compact)
	require.Empty(t, got.EncryptedKey)
	require.Len(t, got.IV, 12)
	require.Len(t, got.Ciphertext, 7)
	require.Len(t, got.Tag, 16)
}

func TestParseJWEAlgorithms(t *testing.T) {
	x, y := epk(t)
	key := fmt.Sprintf(`{"kty":"EC","crv":"P-256","x":%q,"y":%q}`, x, y)
	h := func(alg, more string) string { return `{"alg":"` + alg + `","enc":"A256GCM","kid":"k"` + more + `}` }
	tests := []struct {
		name string
		in   string
		ok   bool
	}{
		{"dir", jwe(h("dir", ""), 0, 12, 1, 16), true},
		{"dir with a key", jwe(h("dir", ""), 40, 12, 1, 16), false},
		{"dir with epk", jwe(h("dir", `,"epk":`+key), 0, 12, 1, 16), false},
		{"A256KW", jwe(h("A256KW", ""), 40, 12, 1, 16), true},
		{"A256KW without a key", jwe(h("A256KW", ""), 0, 12, 1, 16), false},
		{"A256KW with epk", jwe(h("A256KW", `,"epk":`+key), 40, 12, 1, 16), false},
		{"ECDH-ES+A256KW", jwe(h("ECDH-ES+A256KW", `,"epk":`+key), 40, 12, 1, 16), true},
		{"ECDH-ES+A256KW without a key", jwe(h("ECDH-ES+A256KW", `,"epk":`+key), 0, 12, 1, 16), false},
		{"ECDH-ES+A256KW without epk", jwe(h("ECDH-ES+A256KW", ""), 40, 12, 1, 16), false},
		{"ECDH-ES", jwe(h("ECDH-ES", `,"epk":`+key), 0, 12, 1, 16), false},
		{"A128KW", jwe(h("A128KW", ""), 24, 12, 1, 16), false},
		{"A256GCMKW", jwe(h("A256GCMKW", ""), 32, 12, 1, 16), false},
		{"RSA1_5", jwe(h("RSA1_5", ""), 256, 12, 1, 16), false},
		{"RSA-OAEP", jwe(h("RSA-OAEP", ""), 256, 12, 1, 16), false},
		{"PBES2", jwe(h("PBES2-HS256+A128KW", `,"p2c":2000000000,"p2s":"AAAA"`), 24, 12, 1, 16), false},
		{"PBES2 members with dir", jwe(h("dir", `,"p2c":2000000000,"p2s":"AAAA"`), 0, 12, 1, 16), false},
		{"signature alg", jwe(h("HS256", ""), 0, 12, 1, 16), false},
		{"CBC of the same key size", jwe(`{"alg":"dir","enc":"A128CBC-HS256","kid":"k"}`, 0, 12, 1, 16), false},
		{"CBC sizes", jwe(`{"alg":"dir","enc":"A128CBC-HS256","kid":"k"}`, 0, 16, 16, 16), false},
		{"A128GCM", jwe(`{"alg":"dir","enc":"A128GCM","kid":"k"}`, 0, 12, 1, 16), false},
		{"no enc", jwe(`{"alg":"dir","kid":"k"}`, 0, 12, 1, 16), false},
		{"zip", jwe(h("dir", `,"zip":"DEF"`), 0, 12, 1, 16), false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := jose.ParseJWE(tt.in)
			require.Equal(t, tt.ok, err == nil, "%v", err)
		})
	}
}

// A20: invalid curve, another curve, another kind of key.
func TestParseJWERefusesEPK(t *testing.T) {
	x, y := epk(t)
	zero := base64.RawURLEncoding.EncodeToString(make([]byte, 32))
	tests := []struct{ name, in string }{
		{"off the curve", fmt.Sprintf(`{"kty":"EC","crv":"P-256","x":%q,"y":%q}`, x, x)},
		{"zero", fmt.Sprintf(`{"kty":"EC","crv":"P-256","x":%q,"y":%q}`, zero, zero)},
		{"other curve", fmt.Sprintf(`{"kty":"EC","crv":"P-384","x":%q,"y":%q}`, x, y)},
		{"OKP", fmt.Sprintf(`{"kty":"OKP","crv":"X25519","x":%q}`, x)},
		{"oct", `{"kty":"oct","k":"AAAA"}`},
		{"private", fmt.Sprintf(`{"kty":"EC","crv":"P-256","x":%q,"y":%q,"d":%q}`, x, y, x)},
		{"short x", fmt.Sprintf(`{"kty":"EC","crv":"P-256","x":%q,"y":%q}`, x[:40], y)},
		{"padded x", fmt.Sprintf(`{"kty":"EC","crv":"P-256","x":%q,"y":%q}`, x+"=", y)},
		{"long x", fmt.Sprintf(`{"kty":"EC","crv":"P-256","x":%q,"y":%q}`, "AAAA"+x, y)},
		{"no y", fmt.Sprintf(`{"kty":"EC","crv":"P-256","x":%q}`, x)},
		{"twice", fmt.Sprintf(`{"kty":"EC","crv":"P-256","x":%q,"x":%q,"y":%q}`, x, x, y)},
		{"null", `null`},
		{"string", `"AAAA"`},
		{"array", `[]`},
		{"number as coordinate", fmt.Sprintf(`{"kty":"EC","crv":"P-256","x":1,"y":%q}`, y)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := jose.ParseJWE(jwe(`{"alg":"ECDH-ES+A256KW","enc":"A256GCM","kid":"k","epk":`+tt.in+`}`, 40, 12, 1, 16))
			require.ErrorContains(t, err, "jose: ")
		})
	}
}

// A19: segments of every size, for each algorithm.
func TestParseJWERefusesSizes(t *testing.T) {
	x, y := epk(t)
	headers := map[string]int{
		goodJWEHeader: 0,
		`{"alg":"A256KW","enc":"A256GCM","kid":"k"}`: 40,
		fmt.Sprintf(`{"alg":"ECDH-ES+A256KW","enc":"A256GCM","kid":"k","epk":{"kty":"EC","crv":"P-256","x":%q,"y":%q}}`, x,
			y): 40,
	}
	for header, keySize := range headers {
		for size := range 42 {
			check := func(segment, token string, want bool) {
				_, err := jose.ParseJWE(token)
				require.Equal(t, want, err == nil, "%s of %d bytes: %v", segment, size, err)
			}
			check("encrypted key", jwe(header, size, 12, 5, 16), size == keySize)
			check("iv", jwe(header, keySize, size, 5, 16), size == 12)
			check("ciphertext", jwe(header, keySize, 12, size, 16), size > 0)
			check("tag", jwe(header, keySize, 12, 5, size), size == 16)
		}
	}
}

// A13, A14, A15: the frame, before any JSON.
func TestParseRefusesFraming(t *testing.T) {
	signed, sealed := jws(goodJWSHeader, goodClaims), jwe(goodJWEHeader, 0, 12, 7, 16)
	header, rest, _ := strings.Cut(signed, ".")
	payload, signature, _ := strings.Cut(rest, ".")
	tests := []struct{ name, in string }{
		{"empty", ""},
		{"one segment", header},
		{"two segments", header + "." + payload},
		{"four segments", signed + ".AAAA"},
		{"six segments", sealed + ".AAAA"},
		{"trailing dot", signed + "."},
		{"leading dot", "." + signed},
		{"dots for JWS", ".."},
		{"dots for JWE", "...."},
		{"empty header", "." + payload + "." + signature},
		{"empty payload", header + ".." + signature},
		{"empty signature", header + "." + payload + "."},
		{"padding", signed + "="},
		{"double padding", signed + "=="},
		{"padded header", header + "=." + payload + "." + signature},
		{"percent padding", signed + "%3D"},
		{"line feed at the end", signed + "\n"},
		{"carriage return at the end", signed + "\r"},
		{"line feed inside the signature", header + "." + payload + "." + signature[:8] + "\n" + signature[8:]},
		{"CRLF inside the payload", header + "." + payload[:4] + "\r\n" + payload[4:] + "." + signature},
		{"line feed in the header", "\n" + signed},
		{"leading space", " " + signed},
		{"trailing space", signed + " "},
		{"tab", header + ".\t" + payload + "." + signature},
		{"NUL", signed + "\x00"},
		{"plus", header + "." + payload + ".+" + signature[1:]},
		{"slash", header + "." + payload + "./" + signature[1:]},
		{"trailing bits", signed[:len(signed)-1] + "x"},
		{"one character short of a byte", header + "." + payload + "." + signature + "AAA"},
		{"full-width digit", header + "." + payload + ".\uff11" + signature[1:]},
		{"full-width dot", header + "\uff0e" + payload + "." + signature},
		{"quotes", `"` + signed + `"`},
		{"scheme", "Bearer " + signed},
		{"JSON JWS", `{"payload":"` + payload + `","signatures":[{"protected":"` + header + `","signature":"` + signature + `"}]}`},
		{"flattened JSON JWS", `{"payload":"` + payload + `","protected":"` + header + `","signature":"` + signature + `"}`},
		{"polyglot", `{"a":"` + header + `.x.y"}`},
		{"JSON JWE", `{"protected":"` + b64(goodJWEHeader) + `","iv":"AAAA","ciphertext":"AAAA","tag":"AAAA"}`},
		{"too long", header + "." + strings.Repeat("A", jose.MaxLength) + "." + signature},
		{"long header", strings.Repeat("A", 1025) + "." + payload + "." + signature},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := jose.ParseJWS(tt.in)
			require.Error(t, err)
			require.ErrorContains(t, err, "jose: ")
			_, err = jose.ParseJWE(tt.in)
			require.Error(t, err)
			require.ErrorContains(t, err, "jose: ")
		})
	}
}

// A16: one form never passes for the other.
func TestParseRefusesTheOtherForm(t *testing.T) {
	_, err := jose.ParseJWS(jwe(goodJWEHeader, 0, 12, 7, 16))
	require.Error(t, err)
	_, err = jose.ParseJWE(jws(goodJWSHeader, goodClaims))
	require.Error(t, err)
	_, err = jose.ParseJWS(jws(goodJWEHeader, goodClaims))
	require.Error(t, err, "the header of a JWE in three segments")
	_, err = jose.ParseJWE(jwe(goodJWSHeader, 0, 12, 7, 16))
	require.Error(t, err, "the header of a JWS in five segments")
}

// A1, A4 to A7, A17, A18, A24 to A26, A57: headers. Each row must be refused
// as the header of a JWS.
func TestParseRefusesHeaders(t *testing.T) {
	with := func(more string) string { return `{"alg":"HS256","kid":"k",` + more + `}` }
	alg := func(value string) string { return `{"alg":` + value + `,"kid":"k"}` }
	kid := func(value string) string { return `{"alg":"HS256","kid":` + value + `}` }
	tests := []struct{ name, in string }{
		{"alg none", alg(`"none"`)}, {"alg None", alg(`"None"`)}, {"alg NONE", alg(`"NONE"`)}, {"alg nOnE", alg(`"nOnE"`)},
		{"alg none and a space", alg(`"none "`)}, {"alg array", alg(`["none"]`)}, {"alg null", alg(`null`)}, {"alg number", alg(`1`)},
		{"alg true", alg(`true`)}, {"alg object", alg(`{}`)}, {"alg empty", alg(`""`)}, {"no alg", `{"kid":"k"}`},
		{"alg lower case", alg(`"hs256"`)}, {"alg with a space", alg(`"HS256 "`)}, {"alg with NUL", alg(`"HS256\u0000"`)},
		{"alg homoglyph", alg(`"НS256"`)}, {"alg full-width", alg(`"ＨＳ256"`)}, {"alg in quotes", alg(`"\"HS256\""`)},
		{"alg HS512", alg(`"HS512"`)}, {"alg ES384", alg(`"ES384"`)}, {"alg ES256K", alg(`"ES256K"`)}, {"alg dir", alg(`"dir"`)}, {"alg ed25519", alg(`"ed25519"`)}, {"alg Ed448", alg(`"Ed448"`)},
		{"jwk", with(`"jwk":{"kty":"oct","k":"AAAA"}`)}, {"jku", with(`"jku":"https://evil.example/jwks"`)},
		{"x5u", with(`"x5u":"https://evil.example/x5u"`)}, {"x5c", with(`"x5c":["AAAA"]`)}, {"x5t", with(`"x5t":"AAAA"`)}, {"x5t#S256", with(`"x5t#S256":"AAAA"`)},
		{"crit unknown", with(`"crit":["x"],"x":1`)}, {"crit empty", with(`"crit":[]`)}, {"crit null", with(`"crit":null`)},
		{"b64 false", with(`"b64":false,"crit":["b64"]`)}, {"b64 true", with(`"b64":true`)}, {"zip", with(`"zip":"DEF"`)}, {"enc", with(`"enc":"A256GCM"`)},
		{"p2c", with(`"p2c":2000000000`)}, {"apu", with(`"apu":"AAAA"`)}, {"epk", with(`"epk":{}`)}, {"url", with(`"url":"https://a.example"`)}, {"nonce", with(`"nonce":"n"`)},
		{"iss", with(`"iss":"x"`)}, {"empty name", with(`"":"x"`)}, {"injected name", with(`"x\":0,\"admin":1`)}, {"case variant", with(`"Alg":"none"`)}, {"proto", with(`"__proto__":{}`)},
		{"duplicate alg", with(`"alg":"none"`)}, {"duplicate kid", with(`"kid":"other"`)}, {"duplicate typ", with(`"typ":"a","typ":"b"`)}, {"escaped duplicate", with(`"\u0061lg":"none"`)},
		{"no kid", `{"alg":"HS256"}`}, {"kid empty", kid(`""`)}, {"kid number", kid(`1`)}, {"kid array", kid(`["k"]`)}, {"kid object", kid(`{"k":1}`)}, {"kid null", kid(`null`)}, {"kid true", kid(`true`)},
		{"kid traversal", kid(`"../../dev/null"`)}, {"kid proc", kid(`"/proc/sys/kernel/randomize_va_space"`)}, {"kid SQL", kid(`"x' UNION SELECT '1';--"`)}, {"kid shell", kid(`"|sleep 10"`)},
		{"kid NUL", kid(`"k\u0000"`)}, {"kid space", kid(`"k "`)}, {"kid dot", kid(`"a.b"`)}, {"kid URL", kid(`"https://a.example/k"`)}, {"kid umlaut", kid(`"ü"`)}, {"kid line feed", kid(`"k\n"`)},
		{"kid of 129", kid(`"` + strings.Repeat("k", 129) + `"`)},
		{"typ empty", with(`"typ":""`)}, {"typ number", with(`"typ":1`)}, {"typ null", with(`"typ":null`)}, {"typ array", with(`"typ":["cloakroom+jwt"]`)}, {"typ space", with(`"typ":"cloakroom+jwt "`)},
		{"typ umlaut", with(`"typ":"jẅt"`)}, {"typ of 128", with(`"typ":"` + strings.Repeat("t", 128) + `"`)}, {"cty null", with(`"cty":null`)}, {"cty line feed", with(`"cty":"JWT\n"`)},
		{"null", `null`}, {"array", `[]`}, {"string", `"x"`}, {"number", `1`}, {"empty object", `{}`}, {"nothing", ` `}, {"two objects", goodJWSHeader + `{}`}, {"trailing garbage", goodJWSHeader + `x`},
		{"trailing NUL", goodJWSHeader + "\x00"}, {"trailing comma", `{"alg":"HS256","kid":"k",}`}, {"unclosed", `{"alg":"HS256","kid":"k"`}, {"comment", `{"alg":"HS256",/**/"kid":"k"}`}, {"single quotes", `{'alg':'HS256','kid':'k'}`},
		{"byte order mark", "\uFEFF" + goodJWSHeader}, {"invalid UTF-8", with("\"typ\":\"\xff\"")}, {"overlong UTF-8", with("\"typ\":\"\xc0\xaf\"")}, {"lone surrogate", with(`"typ":"\ud800"`)}, {"invalid UTF-8 name", with("\"\xff\":1")},
		{"UTF-16", "{\x00\"\x00a\x00l\x00g\x00"}, {"control character", with("\"typ\":\"a\nb\"")}, {"deep", strings.Repeat("[", 700)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := jose.ParseJWS(jws(tt.in, goodClaims))
			require.Error(t, err)
			require.ErrorContains(t, err, "jose: ")
			_, err = jose.ParseJWE(jwe(strings.Replace(tt.in, `"alg":"HS256"`, `"alg":"dir","enc":"A256GCM"`, 1), 0, 12, 7, 16))
			if tt.name != "enc" && tt.name != "alg dir" { // "enc" becomes the second one, "dir" lacks it
				require.Error(t, err)
			}
		})
	}
}

func TestParseJWSAcceptsHeaders(t *testing.T) {
	tests := []struct {
		name, in string
		want     jose.Header
	}{
		{"order", `{"typ":"t","kid":"k","alg":"RS256"}`, jose.Header{Alg: "RS256", Kid: "k", Typ: "t"}},
		{"white space", " {\t\"alg\" :\r\n\"EdDSA\" , \"kid\":\"k\" } ", jose.Header{Alg: "EdDSA", Kid: "k"}},
		{"escapes", `{"\u0061lg":"HS\u003256","kid":"\u006b"}`, jose.Header{Alg: "HS256", Kid: "k"}},
		{"typ as written", `{"alg":"HS256","kid":"k","typ":"application/JWT"}`, jose.Header{Alg: "HS256", Kid: "k", Typ: "application/JWT"}},
		{"kid of 128", `{"alg":"HS256","kid":"` + strings.Repeat("k", 128) + `"}`, jose.Header{Alg: "HS256", Kid: strings.Repeat("k", 128)}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := jose.ParseJWS(jws(tt.in, goodClaims))
			require.NoError(t, err)
			require.Equal(t, tt.want, got.Header)
		})
	}
}

func TestErrorsHoldNoTokenText(t *testing.T) {
	for _, header := range []string{`{"alg":"sekret","kid":"k"}`, `{"alg":"HS256","kid":"sekret!"}`,
		`{"alg":"HS256","sekret":1}`, `{"alg":"HS256","kid":"k","typ":"sekret "}`, `{sekret`} {
		_, err := jose.ParseJWS(jws(header, goodClaims))
		require.Error(t, err)
		require.NotContains(t, err.Error(), "sekret")
	}
}

// A14: the cost of a megabyte of dots does not depend on its length.
func TestParseAllocatesNothingForDots(t *testing.T) {
	for _, size := range []int{jose.MaxLength, 1 << 20} {
		dots := strings.Repeat(".", size)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		const runs = 100
		allocs := testing.AllocsPerRun(runs, func() {
			_, err1 := jose.ParseJWS(dots)
			_, err2 := jose.ParseJWE(dots)
			if err1 == nil || err2 == nil {
				t.Fatal("accepted")
			}
		})
		runtime.ReadMemStats(&after)
		require.LessOrEqual(t, allocs, 20.0)
		require.LessOrEqual(t, (after.TotalAlloc-before.TotalAlloc)/(runs+1), uint64(4<<10))
	}
}

// A6, A27: what is hostile is refused quickly, whatever its size. The bound is
// far above the cost, for slow machines; a cost that grows with the square of
// the length would break it.
func TestParseRefusesQuickly(t *testing.T) {
	deep := strings.Repeat(`{"a":`, 110_000)
	tests := []struct {
		name string
		do   func() error
	}{
		{"kid of a megabyte", func() error {
			_, err := jose.ParseJWS(jws(`{"alg":"HS256","kid":"`+strings.Repeat("k", 1<<20)+`"}`, goodClaims))
			return err
		}},
		{"110,000 levels of arrays", func() error { return jose.Object([]byte(`{"a":`+strings.Repeat("[", 110_000)), nil) }},
		{"110,000 levels, closed", func() error {
			return jose.Object([]byte(deep+"1"+strings.Repeat("}", 110_000)), func(string, []byte) error { return nil })
		}},
		{"200,000 members, the last one twice", func() error {
			var b strings.Builder
			for i := range 200_000 {
				fmt.Fprintf(&b, `"%d":0,`, i)
			}
			return jose.Object([]byte("{"+b.String()+`"199999":0}`), nil)
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			start := time.Now()
			require.Error(t, tt.do())
			require.Less(t, time.Since(start), 20*time.Second)
		})
	}
}
