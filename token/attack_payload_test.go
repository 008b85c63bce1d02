package token_test

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf16"

	"github.com/cloakroom-go/cloakroom/keys"
)

// bothHeaders changes the header of the signed token and that of the encrypted
// one.
func (f *forge) bothHeaders(change func(object) object) []string {
	return []string{f.withHeader(change(f.header).String()),
		f.direct(change(f.outer).String(), f.jws(f.header.String(), f.claims.String()))}
}

func critical(f *forge) (all []string) {
	for _, members := range []object{
		{"crit", `["x"]`, "x", "1"}, {"crit", `[]`}, {"crit", `null`}, {"crit", `"alg"`}, {"crit", `["alg"]`},
		{"crit", `["kid"]`}, {"crit", `["exp"]`, "exp", "1"}, {"crit", `["x"]`}, {"crit", `[1]`},
		{"crit", `["b64"]`, "b64", "false"}, {"crit", `["b64"]`, "b64", "true"}, {"b64", "false"}, {"b64", "true"},
		{"crit", `["x","x"]`, "x", "1"}, {"crit", `{}`}, {`\u0063rit`, `["x"]`, "x", "1"},
		{"crit", `["http://example.invalid/UNDEFINED"]`, "http://example.invalid/UNDEFINED", "true"},
	} {
		all = append(all, f.bothHeaders(func(o object) object { return append(slices.Clone(o), members...) })...)
	}
	// With b64 false the payload stands in the token as it is (RFC 7797).
	header := f.header.last("b64", "false").last("crit", `["b64"]`).String()
	input := b64([]byte(header)) + "." + f.claims.String()
	return append(all, f.seal(input+"."+b64(f.signature(input))))
}

func repeatedNames(f *forge) (all []string) {
	for name, other := range map[string]string{"alg": `"none"`, "kid": quoted(f.encKID), "typ": `"JWT"`} {
		own := f.header.get(name)
		for _, value := range []string{own, other} {
			all = append(all, f.withHeader(f.header.first(name, value).String()),
				f.withHeader(f.header.last(name, value).String()),
				f.withHeader(f.header.last(fmt.Sprintf(`\u%04x`, name[0])+name[1:], value).String()))
		}
		// Names are compared exactly: another case is another name, which headers
		// don't have.
		all = append(all, f.withHeader(f.header.last(strings.ToUpper(name), own).String()),
			f.withHeader(f.header.without(name).last(strings.ToUpper(name), own).String()),
			f.withHeader(f.header.without(name).last(strings.ToUpper(name[:1])+name[1:], own).String()))
	}
	inner := f.jws(f.header.String(), f.claims.String())
	for _, outer := range []object{f.outer.last("enc", `"A256GCM"`), f.outer.first("enc", `"A128GCM"`),
		f.outer.last(`\u0065nc`, `"A256GCM"`), f.outer.last("ENC", `"A256GCM"`), f.outer.last("alg", `"dir"`)} {
		all = append(all, f.direct(outer.String(), inner))
	}
	far := fmt.Sprint(f.now.Add(1000 * time.Hour).Unix())
	for name, other := range map[string]string{"exp": far, "sub": `"root"`, "iss": `"https://evil.example"`, "aud": `"x"`,
		"sid": `"x"`, "iat": "1", "gen": "9", "auth_time": "1.000"} {
		own := f.claims.get(name)
		for _, value := range []string{own, other} {
			all = append(all, f.withClaims(f.claims.first(name, value).String()),
				f.withClaims(f.claims.last(name, value).String()),
				f.withClaims(f.claims.last(fmt.Sprintf(`\u%04x`, name[0])+name[1:], value).String()),
				f.withClaims(f.claims.first(fmt.Sprintf(`%s\u%04x`, name[:2], name[2])+name[3:], value).String()))
		}
		if name != "sub" && name != "auth_time" { // which go together, and nobody's session has neither
			all = append(all, f.withClaims(f.claims.without(name).last(strings.ToUpper(name), own).String()))
		}
	}
	for _, deep := range []string{`{"a":1,"a":2}`, `{"a":{"b":1,"b":1}}`, `{"a":[{"b":1,"\u0062":1}]}`, `[{"":1,"":2}]`} {
		all = append(all, f.withClaims(f.claims.with("data", deep).String()),
			f.withClaims(f.claims.last("unknown", deep).String()))
	}
	return append(all, f.withClaims(f.claims.last("EXP", "1").with("exp", "1").String()),
		f.withClaims(f.claims.first("EXP", far).with("exp", fmt.Sprint(f.now.Unix())).String()))
}

func invalidUnicode(f *forge) (all []string) {
	header, claims := f.header.String(), f.claims.String()
	bad := []string{"\xff", "\xc3", "\xc0\xaf", "\xe0\x80\xaf", "\xed\xa0\x80", "\xed\xa0\xbd\xed\xb8\x80",
		"\xf4\x90\x80\x80", "\xf8\x88\x80\x80\x80", `\ud800`, `\udc00`, `\udc00\ud800`, `\ud800x`, `\uD83D\u0041`, "\x00",
		"\x1f", `\x41`, `\u00`, `\`}
	for _, b := range bad {
		all = append(all, f.withClaims(f.claims.with("sub", `"a`+b+`"`).String()),
			f.withClaims(f.claims.last("x"+b, "1").String()), f.withClaims(f.claims.last("unknown", `["`+b+`"]`).String()),
			f.withClaims(f.claims.with("jti", `"`+b+`"`).String()),
			f.withHeader(f.header.with("typ", `"cloakroom+jwt`+b+`"`).String()),
			f.withHeader(f.header.last("x"+b, "1").String()))
		if !f.bearer {
			all = append(all, f.withClaims(f.claims.with("data", `{"a":"`+b+`"}`).String()),
				f.withClaims(f.claims.with("data", `{"`+b+`":1}`).String()))
		}
	}
	for _, encode := range []func(string) string{
		func(s string) string { return "\ufeff" + s }, func(s string) string { return s + "\ufeff" },
		func(s string) string { return utf16Text(s, binary.LittleEndian) },
		func(s string) string { return utf16Text("\ufeff"+s, binary.LittleEndian) },
		func(s string) string { return utf16Text(s, binary.BigEndian) },
		func(s string) string { return utf16Text("\ufeff"+s, binary.BigEndian) }, utf32Text,
		func(s string) string { return "\u00a0" + s }, func(s string) string { return "\x00" + s },
		func(s string) string { return s + "\x00" }, func(s string) string { return strings.ReplaceAll(s, `"`, "\u201d") },
		func(s string) string { return strings.ReplaceAll(s, `"`, "'") },
	} {
		all = append(all, f.withClaims(encode(claims)), f.withHeader(encode(header)),
			f.direct(encode(f.outer.String()), f.jws(header, claims)))
	}
	// Nothing is normalized: what looks the same is another name (RFC 7519,
	// Section 7.3).
	for _, name := range []string{"iss", "aud"} {
		own := f.claims.get(name)
		for _, other := range []string{strings.ToUpper(own), strings.Replace(own, "e", "\u0435", 1),
			strings.Replace(own, "e", "e\u0301", 1), strings.Replace(own, "/", "\uff0f", 1),
			strings.Replace(own, `"`, `"`+"\u200b", 1), strings.TrimSuffix(own, `"`) + `/"`,
			strings.TrimSuffix(own, `"`) + ` "`} {
			all = append(all, f.withClaims(f.claims.with(name, other).String()))
		}
	}
	return all
}

func utf16Text(s string, order binary.AppendByteOrder) string {
	var b []byte
	for _, unit := range utf16.Encode([]rune(s)) {
		b = order.AppendUint16(b, unit)
	}
	return string(b)
}

func utf32Text(s string) string {
	var b []byte
	for _, r := range s {
		b = binary.LittleEndian.AppendUint32(b, uint32(r))
	}
	return string(b)
}

// numbers of the wrong type, range or spelling; and JSON that costs.
func numbers(f *forge) (all []string) {
	const wrong = `"1" null true false [] {} [1] -1 0 -0 0.0 1.5 1e3 1E9 1e400 -1e400 Infinity NaN 0x10 01 +1 1. .5 ` +
		`9007199254740993 1e30 18446744073709551616 253402300800.5 1_000 "now"`
	for _, name := range []string{"exp", "iat", "auth_time", "gen", "ver", "crt", "dl", "since"} {
		own := f.claims.get(name)
		if own == "" {
			continue
		}
		all = append(all, f.withClaims(f.claims.without(name).String()))
		for _, value := range append(strings.Fields(wrong), `"`+own+`"`, `[`+own+`]`, own+"e0", own+"E+0", own+".0",
			own+".00", "-"+own) {
			all = append(all, f.withClaims(f.claims.with(name, value).String()))
		}
		if name != "gen" && name != "ver" && name != "since" {
			all = append(all, f.withClaims(f.claims.with(name, "253402300800").String()),
				f.withClaims(f.claims.with(name, own+"0000000000").String()))
		}
	}
	for _, value := range []string{"-1.000", "0.000", "1e3.000", "253402300800.000", ".000", "1.0001", "1.-00", "1.+00",
		"1. 00"} {
		all = append(all, f.withClaims(f.claims.with("auth_time", value).String()))
	}
	for _, name := range []string{"iss", "aud", "sub", "sid", "jti", "data", "prs", "client_id", "tg"} {
		for _, value := range []string{`null`, `1`, `true`, `[]`, `{"a":1}`, `""`, `[""]`} {
			switch {
			case f.bearer && (name == "data" || name == "prs"), !f.bearer && name == "client_id",
				name == "data" && value == `{"a":1}`,
				name == "prs" && value == `true`:
				continue
			}
			all = append(all, f.withClaims(f.claims.with(name, value).String()))
		}
		if name != "prs" && f.claims.get(name) != "" {
			all = append(all, f.withClaims(f.claims.without(name).String()))
		}
	}
	if f.bearer { // a session may be nobody's, a caller is somebody
		all = append(all, f.withClaims(f.claims.without("sub").without("auth_time").String()))
	}
	deep := strings.Repeat("[", 110_000) + strings.Repeat("]", 110_000)
	for _, value := range []string{deep, deep[:110_000], strings.Repeat(`{"a":`, 110_000), strings.Repeat("[", 2500),
		strings.Repeat(`{"a":`, 600)} {
		all = append(all, f.withClaims(f.claims.last("unknown", value).String()),
			f.withHeader(f.header.last("unknown", value).String()))
	}
	var many []byte
	for i := range 1_000_000 {
		many = append(strconv.AppendInt(append(many, '"'), int64(i), 10), `":1,`...)
	}
	return append(all, f.withClaims("{"+string(many)+f.claims.String()[1:]),
		f.withHeader("{"+string(many[:590])+f.header.String()[1:]))
}

func payloads(f *forge) (all []string) {
	claims := f.claims.String()
	for _, payload := range []string{
		`null`, `[]`, `"x"`, `1`, `true`, ``, ` `, `{}`, `{`, `}`, `[` + claims + `]`, quoted(claims), claims + claims,
		claims + ` {}`, claims + `null`, claims + `,`, claims + "}", claims + "\x00", claims + `//x`, `/**/` + claims,
		claims[:len(claims)-1], claims[1:], claims[:len(claims)-1] + `,}`, `{,` + claims[1:],
		strings.Replace(claims, ",", ",,", 1), strings.Replace(claims, ":", "=", 1), strings.Replace(claims, ":", "", 1),
		"\x00", claims + "\n]",
	} {
		all = append(all, f.withClaims(payload))
	}
	header := f.header.String()
	for _, text := range []string{`null`, `[]`, `"x"`, `1`, ``, `{}`, header + header, header + ` {}`, header + `x`,
		`[` + header + `]`, quoted(header), header[:len(header)-1], header[:len(header)-1] + `,}`} {
		all = append(all, f.withHeader(text), f.direct(text, f.jws(header, claims)))
	}
	return all
}

func otherKinds(f *forge) (all []string) {
	for _, typ := range []string{"JWT", "jwt", "AT+JWT", "application/at+jwt", "logout+jwt", "refresh+jwt",
		"secevent+jwt", "dpop+jwt", "token-introspection+jwt", "statement+jwt", "JOSE", "JOSE+JSON", "id_token",
		"cloakroom", "cloakroom+jwt+", "CLOAKROOM+JWT", "Cloakroom+jwt", "cloakroom+jwt ", " cloakroom+jwt",
		"cloakroom-refresh+jwt", "at+jwtx", "at+jw", "cloakroom-service+jwt", "cloakroom-service", "x/cloakroom+jwt",
		"application/x+jwt", ""} {
		all = append(all, f.withHeader(f.header.with("typ", quoted(typ)).String()))
	}
	for _, typ := range []string{`null`, `1`, `["cloakroom+jwt"]`, `{}`} {
		all = append(all, f.withHeader(f.header.with("typ", typ).String()))
	}
	// Each of the two kinds, with its own claims, where the other is due.
	for _, bearer := range []bool{true, false} {
		other := newForge(f.t, f.material, f.now, bearer, f.sealed, f.trap)
		if bearer != f.bearer {
			all = append(all, other.good(), f.seal(other.jws(other.header.String(),
				other.claims.with("aud", f.claims.get("aud")).String())), f.withClaims(other.claims.String()))
		}
	}
	return append(all, f.withHeader(f.header.without("typ").String()),
		f.withHeader(f.header.last("cty", `"JWT"`).String()),
		f.withHeader(f.header.last("cty", f.header.get("typ")).String()))
}

func relayed(f *forge) (all []string) {
	own := f.claims.get("aud")
	for _, aud := range []string{`"https://other.example"`, `"*"`, `""`, `null`, `[]`, `[""]`, `[null]`, `[1]`,
		`[` + own + `,1]`, `[` + own + `,null]`, `[` + own + `,"https://other.example"]`,
		`["https://other.example",` + own + `]`, `[` + own + `,` + own + `]`, `[[` + own + `]]`, `{"aud":` + own + `}`,
		`{` + own + `:1}`, quoted("[" + own + "]"), `"https://orders.example/"`, `"https://orders.example.evil.example"`} {
		all = append(all, f.withClaims(f.claims.with("aud", aud).String()))
	}
	for _, iss := range []string{`"https://other.example"`, `"https://app.example/"`,
		`"https://app.example.evil.example"`, `"https://APP.example"`, `"http://app.example"`, `""`, `null`,
		`["https://app.example"]`, `"https://app.example\u0000"`} {
		all = append(all, f.withClaims(f.claims.with("iss", iss).String()))
	}
	// Another issuer, whose key has the same kid; with its own name, and with
	// ours.
	private := newPrivate(f.t, f.sig)
	for _, claims := range []object{f.claims, f.claims.with("iss", `"https://other.example"`)} {
		for _, header := range []object{f.header, f.header.with("alg", `"HS256"`), f.header.with("alg", `"ES256"`)} {
			input := f.input(header.String(), claims.String())
			all = append(all, f.seal(input+"."+b64(signWith(f.t, private, f.sig, input))))
		}
	}
	foreign := newMaterial(f.t, f.now, f.sig, keys.Direct)
	all = append(all, newForge(f.t, foreign, f.now, f.bearer, f.sealed, "").good())
	foreign.sigKID, foreign.encKID = f.sigKID, f.encKID
	return append(all, newForge(f.t, foreign, f.now, f.bearer, f.sealed, "").good())
}

func outOfTime(f *forge) (all []string) {
	at := func(d time.Duration) string { return fmt.Sprint(f.now.Add(d).Unix()) }
	for _, exp := range []time.Duration{
		0, -time.Second, -time.Minute, -24 * time.Hour,
		13 * time.Hour, 1000 * time.Hour, // later than a session or call may last
	} {
		all = append(all, f.withClaims(f.claims.with("iat", at(-2*time.Second)).with("exp", at(exp)).String()))
	}
	for _, iat := range []time.Duration{61 * time.Second, time.Hour, 10000 * time.Hour} {
		all = append(all, f.withClaims(f.claims.with("iat", at(iat)).String()),
			f.withClaims(f.claims.with("iat", at(iat)).with("exp", at(iat+time.Minute)).String()))
	}
	if !f.bearer {
		old := f.claims.with("iat", at(-21*time.Minute)) // idle for too long, whatever exp says
		all = append(all, old.seal(f), f.claims.with("dl", at(0)).seal(f), f.claims.with("dl", at(-time.Hour)).seal(f),
			f.claims.with("auth_time", at(-12*time.Hour)+".000").seal(f),
			f.claims.with("exp", at(time.Hour)).with("dl", at(time.Minute)).seal(f))
	}
	return all
}

// seal makes claims into a genuine token.
func (o object) seal(f *forge) string { return f.withClaims(o.String()) }

func misspelled(f *forge) (all []string) {
	own := string(f.sig)
	for _, alg := range []string{strings.ToLower(own), own + " ", " " + own, own + "\x00", own + "\n", own + "\u200b",
		own + "=", "HS256", "ES256", "hs256", "es256", "Hs256", "ES-256", "ES256K", "ES384", "HS384", "HS512", "SHA256",
		"HMAC", "EdDSA", "Ed25519", "\u0415S256", "\u041dS256", "ES2\uff156", "\uff25\uff33256", "E\u0405256",
		strings.Repeat("A", 500)} {
		if alg == own {
			continue
		}
		header := f.header.with("alg", quoted(alg)).String()
		all = append(all, f.withHeader(header), f.mac(random(32), header, f.claims.String()))
	}
	inner := f.jws(f.header.String(), f.claims.String())
	for _, alg := range []string{"DIR", "Dir", "dir ", " dir", "d\u0131r", "\u0501ir", "dir\x00"} {
		all = append(all, f.direct(f.outer.with("alg", quoted(alg)).String(), inner))
	}
	for _, enc := range []string{"a256gcm", "A256gcm", "A256GCM ", "\u0410256GCM", "A256GCM\x00", "A256-GCM"} {
		all = append(all, f.direct(f.outer.with("enc", quoted(enc)).String(), inner))
	}
	return all
}
