package jose_test

import (
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/cloakroom-go/cloakroom/internal/jose"
)

func encode(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

// FuzzParseJWS holds the gate to its promise: a token that passes has one
// spelling, and its parts put together again are the token.
func FuzzParseJWS(f *testing.F) {
	for _, seed := range []string{
		jws(goodJWSHeader, goodClaims), jws(`{"alg":"HS256","kid":"k"}`, "x"), jws(`{"alg":"none","kid":"k"}`, goodClaims),
		jws(goodJWSHeader, goodClaims) + "\n",
		jws(`{"\u0061lg":"EdDSA","kid":"k","cty":"JWT"}`, "{}"),
		jws(`{"alg":"ES256","kid":"k","crit":["b64"],"b64":false}`, "{}"), "..", "", jwe(goodJWEHeader, 0, 12, 7, 16),
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, token string) {
		got, err := jose.ParseJWS(token)
		if err != nil {
			if got != nil {
				t.Fatal("a result beside an error")
			}
			return
		}
		header, _, _ := strings.Cut(got.SigningInput, ".")
		payload, signature := encode(got.Payload), encode(got.Signature)
		if token != header+"."+payload+"."+signature || token != got.SigningInput+"."+signature {
			t.Fatalf("another spelling of the same token: %q", token)
		}
		checkHeader(t, header, got.Header)
		if got.Header.Enc != "" || got.Header.EPK != nil {
			t.Fatal("a JWS with members of a JWE")
		}
	})
}

func FuzzParseJWE(f *testing.F) {
	point := `{"kty":"EC","crv":"P-256","x":"axfR8uEsQkf4vOblY6RA8ncDfYEt6zOg9KE5RdiYwpY",` +
		`"y":"T-NC4v4af5uO5-tKfA-eFivOM1drMV7Oy7ZAaDe_UfU"}`
	for _, seed := range []string{
		jwe(goodJWEHeader, 0, 12, 7, 16), jwe(goodJWEHeader, 40, 12, 7, 16),
		jwe(`{"alg":"A256KW","enc":"A256GCM","kid":"k"}`, 40, 12, 7, 16),
		jwe(`{"alg":"ECDH-ES+A256KW","enc":"A256GCM","kid":"k","epk":`+point+`}`, 40, 12, 7, 16),
		jwe(`{"alg":"dir","enc":"A256GCM","kid":"k","zip":"DEF"}`, 0, 12, 7, 16), "....", jws(goodJWSHeader, goodClaims),
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, token string) {
		got, err := jose.ParseJWE(token)
		if err != nil {
			if got != nil {
				t.Fatal("a result beside an error")
			}
			return
		}
		again := strings.Join([]string{got.Protected, encode(got.EncryptedKey), encode(got.IV), encode(got.Ciphertext),
			encode(got.Tag)},
			".")
		if again != token || got.Compact != token {
			t.Fatalf("another spelling of the same token: %q", token)
		}
		checkHeader(t, got.Protected, got.Header)
		if got.Header.Enc != "A256GCM" || (got.Header.EPK != nil) != (got.Header.Alg == "ECDH-ES+A256KW") {
			t.Fatalf("header %+v", got.Header)
		}
	})
}

// checkHeader compares what the gate read with what a lenient parser reads.
func checkHeader(t *testing.T, segment string, got jose.Header) {
	t.Helper()
	raw, err := base64.RawURLEncoding.Strict().DecodeString(segment)
	if err != nil || encode(raw) != segment {
		t.Fatalf("header is not canonical: %v", err)
	}
	var want struct{ Alg, Enc, Kid, Typ, Cty string }
	if err := json.Unmarshal(raw, &want); err != nil {
		t.Fatalf("accepted a header that encoding/json does not: %v", err)
	}
	if want.Alg != got.Alg || want.Enc != got.Enc || want.Kid != got.Kid || want.Typ != got.Typ || want.Cty != got.Cty {
		t.Fatalf("read %+v, encoding/json %+v", got, want)
	}
	if jose.CheckKid(got.Kid) != nil {
		t.Fatalf("kid %q", got.Kid)
	}
}

// FuzzObject: what is accepted, encoding/json accepts with the same members,
// and writing the members again gives an object with the same members.
func FuzzObject(f *testing.F) {
	for _, seed := range []string{
		`{}`, `{"a":1}`, `{"a":1,"a":2}`, `{"a":{"b":[1,"x",{"c":null}]},"d":"\ud83d\ude00"}`, ` {"\u0065xp" : [ ] } `,
		`{"a":"\ud800"}`, "{\"a\":\"\xff\"}", `{}{}`, "\uFEFF{}", `{"a\"b":"\\"}`, `[1]`, `null`, `{"a":-0}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		got, err := members(string(data))
		if err != nil {
			return
		}
		if !utf8.Valid(data) {
			t.Fatalf("accepted invalid UTF-8: %q", data)
		}
		var want map[string]json.RawMessage
		if err := json.Unmarshal(data, &want); err != nil {
			t.Fatalf("accepted what encoding/json does not: %v", err)
		}
		if len(want) != len(got) {
			t.Fatalf("%d members, encoding/json has %d", len(got), len(want))
		}
		for _, m := range got {
			if string(want[m.name]) != m.value {
				t.Fatalf("member %q is %q, encoding/json has %q", m.name, m.value, want[m.name])
			}
			checkScalars(t, []byte(m.value))
		}
		again, err := members(rebuild(t, got))
		if err != nil || len(again) != len(got) {
			t.Fatalf("does not survive a round trip: %v", err)
		}
		for i := range got {
			if again[i] != got[i] {
				t.Fatalf("%v became %v", got[i], again[i])
			}
		}
	})
}

func rebuild(t *testing.T, list []pair) string {
	var parts []string
	for _, m := range list {
		name, err := json.Marshal(m.name)
		if err != nil {
			t.Fatal(err)
		}
		parts = append(parts, string(name)+":"+m.value)
	}
	return "{" + strings.Join(parts, ",") + "}"
}

// checkScalars holds the typed reads against encoding/json.
func checkScalars(t *testing.T, value []byte) {
	t.Helper()
	if s, err := jose.String(value); err == nil {
		var want string
		if json.Unmarshal(value, &want) != nil || want != s {
			t.Fatalf("String(%q) = %q, encoding/json has %q", value, s, want)
		}
	}
	if n, err := jose.Int(value); err == nil {
		var want int64
		if json.Unmarshal(value, &want) != nil || want != n {
			t.Fatalf("Int(%q) = %d, encoding/json has %d", value, n, want)
		}
	}
	if list, err := jose.Strings(value); err == nil {
		var want []string
		if json.Unmarshal(value, &want) != nil || len(want) != len(list) {
			t.Fatalf("Strings(%q) = %q, encoding/json has %q", value, list, want)
		}
	}
}
