package jose_test

import (
	"strings"
	"testing"

	"github.com/cloakroom-go/cloakroom/internal/jose"
)

const benchClaims = `{"iss":"https://app.example.com","aud":["https://app.example.com"],"sub":"alice@example.com",` +
	`"sid":"0123456789abcdefghij","ver":12,"gen":3,"jti":"0123456789abcdefghijkl","iat":1790000000,"exp":1790001200,` +
	`"auth_time":1790000000,"dl":1790040000,"data":{"visits":12,"cart":["a","b"]}}`

func BenchmarkParseJWS(b *testing.B) {
	tests := []struct{ name, in string }{
		{"good", jws(`{"alg":"ES256","kid":"0123456789012345678901234567890123456789012","typ":"cloakroom+jwt"}`, benchClaims)},
		{"dots", strings.Repeat(".", 1<<20)},
		{"16 KiB of dots", strings.Repeat(".", 16<<10)},
		{"deep header", jws(strings.Repeat("[", 700), benchClaims)},
		{"long payload", jws(goodJWSHeader, strings.Repeat("x", 12000))},
	}
	for _, tt := range tests {
		b.Run(tt.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				_, _ = jose.ParseJWS(tt.in)
			}
		})
	}
}

func BenchmarkParseJWE(b *testing.B) {
	token := jwe(goodJWEHeader, 0, 12, 500, 16)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := jose.ParseJWE(token); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkObject(b *testing.B) {
	tests := []struct{ name, in string }{
		{"claims", benchClaims},
		{"deep", `{"a":` + strings.Repeat("[", 110_000)},
		{"duplicate at the end", `{` + strings.Repeat(`"a":[1,2,3],`, 1) + strings.Repeat(" ", 8000) + `"a":1}`},
	}
	for _, tt := range tests {
		b.Run(tt.name, func(b *testing.B) {
			b.ReportAllocs()
			data := []byte(tt.in)
			for b.Loop() {
				_ = jose.Object(data, func(string, []byte) error { return nil })
			}
		})
	}
}
