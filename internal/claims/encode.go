package claims

import (
	"encoding/base64"
	"encoding/json"
	"maps"
	"slices"
	"strconv"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/cloakroom-go/cloakroom/session"
)

// Encode returns the claims as a token of that kind has them: without white
// space, in the order of the table.
func (c *Claims) Encode(kind Kind) []byte {
	e := encoder{dst: make([]byte, 0, 384+len(c.Values.Encoded()))}
	e.string("iss", c.Issuer)
	e.string("aud", c.Audience)
	if c.Subject != "" {
		e.string("sub", c.Subject)
	}
	switch {
	case kind == Service:
		e.string("client_id", c.ClientID)
		e.int("auth_time", c.AuthenticatedAt.Unix())
	case c.Subject != "":
		e.seconds("auth_time", c.AuthenticatedAt.UnixMilli())
	}
	e.string("sid", c.ID)
	e.int("gen", int64(c.Generation))
	e.string("jti", c.JTI)
	e.int("iat", c.IssuedAt().Unix())
	e.int("exp", c.ExpiresAt().Unix())
	if kind == Session {
		e.session(c)
	} else {
		e.int("since", c.CountsFrom().UnixMilli())
	}
	if len(c.AMR) > 0 {
		e.strings("amr", c.AMR)
	}
	if len(c.Tags) > 0 {
		e.tags("tg", c.Tags)
	}
	if kind == Session {
		e.values("data", c.Values)
	} else {
		e.further(c.Further)
	}
	return append(e.dst, '}')
}

func (e *encoder) session(c *Claims) {
	e.string("lin", c.Lineage)
	e.int("ver", int64(c.Version))
	e.int("crt", c.CreatedAt.Unix())
	e.int("dl", c.Deadline.Unix())
	if c.Persistent {
		e.name("prs")
		e.dst = append(e.dst, "true"...)
	}
	if !c.Since.IsZero() {
		e.seconds("snc", c.Since.UnixMilli())
	}
}

// An encoder writes the members of one JSON object.
type encoder struct{ dst []byte }

func (e *encoder) name(name string) {
	sep := byte(',')
	if len(e.dst) == 0 {
		sep = '{'
	}
	e.dst = append(e.dst, sep)
	e.quote(name)
	e.dst = append(e.dst, ':')
}

// quote appends s as a JSON string. Invalid UTF-8 can't occur: session refuses
// it in names and subjects, the constructors in issuers and audiences.
func (e *encoder) quote(s string) {
	e.dst, _ = jsontext.AppendQuote(e.dst, s)
}

func (e *encoder) string(name, value string) { e.name(name); e.quote(value) }

func (e *encoder) strings(name string, values []string) {
	e.name(name)
	sep := byte('[')
	for _, value := range values {
		e.dst = append(e.dst, sep)
		e.quote(value)
		sep = ','
	}
	e.dst = append(e.dst, ']')
}

func (e *encoder) int(name string, value int64) {
	e.name(name)
	e.dst = strconv.AppendInt(e.dst, value, 10)
}

// seconds writes milliseconds as a NumericDate with three decimals.
func (e *encoder) seconds(name string, milli int64) {
	e.int(name, milli/1000)
	frac := milli % 1000
	e.dst = append(e.dst, '.', byte('0'+frac/100), byte('0'+frac/10%10), byte('0'+frac%10))
}

// further writes claims in the order of their names.
func (e *encoder) further(all map[string]json.RawMessage) {
	for _, name := range slices.Sorted(maps.Keys(all)) {
		e.name(name)
		e.dst = append(e.dst, all[name]...)
	}
}

func (e *encoder) tags(name string, tags []session.LoginTag) {
	var b []byte
	for _, t := range tags {
		b = append(b, t[:]...)
	}
	e.string(name, base64.RawURLEncoding.EncodeToString(b))
}

func (e *encoder) values(name string, values session.Values) {
	e.name(name)
	e.dst = append(e.dst, '{')
	first := true
	for n, json := range values.All() {
		if !first {
			e.dst = append(e.dst, ',')
		}
		first = false
		e.quote(n)
		e.dst = append(e.dst, ':')
		e.dst = append(e.dst, json...)
	}
	e.dst = append(e.dst, '}')
}
