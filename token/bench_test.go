package token_test

import (
	"context"
	"strings"
	"testing"

	"github.com/cloakroom-go/cloakroom/internal/jose"
	"github.com/cloakroom-go/cloakroom/internal/keyset"
	"github.com/cloakroom-go/cloakroom/keys"
	"github.com/cloakroom-go/cloakroom/token"
)

// BenchmarkOpen measures a token at first sight, beside the signature check
// alone, and at second sight.
func BenchmarkOpen(b *testing.B) {
	rec := record(map[string]string{"visits": "1", "theme": `"dark"`, "cart": `["a","b","c"]`})
	for _, algorithms := range [][]keys.Algorithm{
		{keys.ES256}, {keys.EdDSA}, {keys.PS256}, {keys.RS256}, {keys.HS256},
		{keys.HS256, keys.Direct}, {keys.ES256, keys.Direct}, {keys.ES256, keys.A256KW}, {keys.ES256, keys.ECDHESA256KW},
	} {
		x := newBench(b, algorithms...)
		credential, err := x.Issue(b.Context(), rec, "")
		if err != nil {
			b.Fatal(err)
		}
		name := string(algorithms[0])
		if len(algorithms) == 2 {
			name += "+" + string(algorithms[1])
		} else {
			b.Run("raw/"+name, func(b *testing.B) { benchmarkVerify(b, x.ring.Set().Keys()[0], credential) })
		}
		b.Run("first/"+name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := token.Unremembered(context.Background(), x.Carrier, credential); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run("second/"+name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, _, err := x.Open(context.Background(), credential); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run("issue/"+name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := x.Issue(context.Background(), rec, ""); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkServiceToken measures a service token that is made anew, as for the
// first call of a session, and one that was kept.
func BenchmarkServiceToken(b *testing.B) {
	for _, alg := range []keys.Algorithm{keys.ES256, keys.RS256} {
		x := newBench(b, alg)
		issuer := x.issuer(b)
		rec := record(nil)
		s := x.of(rec)
		for name, anew := range map[string]bool{"kept": false, "anew": true} {
			b.Run(string(alg)+"/"+name, func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					if anew {
						rec.Generation++
					}
					if _, err := issuer.Issue(context.Background(), s, "orders"); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

// BenchmarkVerify measures a service token.
func BenchmarkVerify(b *testing.B) {
	for _, alg := range []keys.Algorithm{keys.ES256, keys.EdDSA, keys.RS256} {
		x := newBench(b, alg)
		bearer, err := x.issuer(b).Issue(b.Context(), x.of(record(nil)), "orders")
		if err != nil {
			b.Fatal(err)
		}
		v := x.verifier(b)
		b.Run(string(alg), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := v.Verify(context.Background(), bearer); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func benchmarkVerify(b *testing.B, key *keys.Key, token string) {
	frame, err := jose.ParseJWS(token)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if err := (*keyset.Key)(key).Verify(frame.SigningInput, frame.Signature); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkHostile measures what a bad credential costs: it must be less than a
// good one does.
func BenchmarkHostile(b *testing.B) {
	x := newBench(b)
	good, err := x.Issue(b.Context(), record(nil), "")
	if err != nil {
		b.Fatal(err)
	}
	for _, tt := range []struct{ name, in string }{
		{"last character changed", good[:len(good)-2] + "AA"},
		{"dots", strings.Repeat(".", 4)},
		{"a megabyte of dots", strings.Repeat(".", 1<<20)},
		{"long", strings.Repeat("A", 4000) + strings.Repeat(".A", 4)},
	} {
		b.Run(tt.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, _, err := x.Open(context.Background(), tt.in); err == nil {
					b.Fatal("opened")
				}
			}
		})
	}
}
