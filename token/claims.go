package token

import (
	"errors"
	"slices"
	"strconv"
	"time"

	"github.com/cloakroom-go/cloakroom/internal/jose"
	"github.com/cloakroom-go/cloakroom/session"
	"github.com/go-json-experiment/json/jsontext"
)

// The kinds of tokens, as typ names them. They exclude one another.
const (
	typSession = "cloakroom+jwt"
	typService = "cloakroom-service+jwt"
)

// maxSeconds is the last second of the year 9999. Later ones are nobody's
// deadline and overflow somewhere.
const maxSeconds = 253402300799

// claims are what a token of either kind says. Times are whole seconds, except
// auth_time, which has milliseconds (a NumericDate may: RFC 7519, Section 2).
type claims struct {
	issuer, audience, subject, sessionID, jti string
	lineage                                   string
	version, generation                       int64
	issuedAt, expiresAt, createdAt, deadline  time.Time
	authenticatedAt, since                    time.Time // zero for nobody, and for no Record.Since
	notBefore                                 time.Time // zero for none; we write none
	persistent                                bool
	values                                    session.Values
}

// encode returns the claims of a session token, or of a service token, which
// has fewer. All are written by us, in this order, without white space.
func (c *claims) encode(typ string) []byte {
	e := encoder{dst: make([]byte, 0, 384+len(c.values.Encoded()))}
	e.string("iss", c.issuer)
	e.string("aud", c.audience)
	if c.subject != "" {
		e.string("sub", c.subject)
		e.seconds("auth_time", c.authenticatedAt.UnixMilli())
	}
	e.string("sid", c.sessionID)
	e.int("gen", c.generation)
	e.string("jti", c.jti)
	e.int("iat", c.issuedAt.Unix())
	e.int("exp", c.expiresAt.Unix())
	if typ == typSession {
		e.string("lin", c.lineage)
		e.int("ver", c.version)
		e.int("crt", c.createdAt.Unix())
		e.int("dl", c.deadline.Unix())
		if c.persistent {
			e.raw("prs", "true")
		}
		if !c.since.IsZero() {
			e.seconds("snc", c.since.UnixMilli())
		}
		e.values("data", c.values)
	}
	return append(e.dst, '}')
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

func (e *encoder) raw(name, json string) { e.name(name); e.dst = append(e.dst, json...) }

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

var errClaims = errors.New("token: a claim is missing or of the wrong type")

// decodeClaims reads the claims of a verified token. Claims that it doesn't
// know are passed over: a newer version may write more.
func decodeClaims(payload []byte, typ string) (*claims, error) {
	var c claims
	required, seen := requiredClaims(typ), 0
	err := jose.Object(payload, func(name string, value []byte) error {
		if slices.Contains(required, name) {
			seen++ // names don't repeat: the gate sees to that
		}
		return c.decode(name, value)
	})
	if err != nil {
		return nil, err
	}
	if seen < len(required) || c.sessionID == "" || c.jti == "" || (c.subject == "") != c.authenticatedAt.IsZero() {
		return nil, errClaims
	}
	return &c, nil
}

// requiredClaims returns the names of the claims that every token of a kind has.
func requiredClaims(typ string) []string {
	names := [...]string{"iss", "aud", "sid", "gen", "jti", "iat", "exp", "lin", "ver", "crt", "dl", "data"}
	if typ == typSession {
		return names[:]
	}
	return names[:7]
}

// decode reads one claim.
func (c *claims) decode(name string, value []byte) (err error) {
	switch name {
	case "iss":
		c.issuer, err = jose.String(value)
	case "aud":
		c.audience, err = audience(value)
	case "sid":
		c.sessionID, err = jose.String(value)
	case "jti":
		c.jti, err = jose.String(value)
	case "lin":
		c.lineage, err = jose.String(value)
	case "gen":
		c.generation, err = positive(value)
	case "ver":
		c.version, err = positive(value)
	case "iat":
		c.issuedAt, err = date(value)
	case "exp":
		c.expiresAt, err = date(value)
	case "crt":
		c.createdAt, err = date(value)
	case "dl":
		c.deadline, err = date(value)
	case "data":
		c.values, err = values(value)
	default:
		err = c.decodeOptional(name, value)
	}
	return err
}

func (c *claims) decodeOptional(name string, value []byte) (err error) {
	switch name {
	case "sub":
		if c.subject, err = jose.String(value); err == nil && c.subject == "" {
			err = errClaims
		}
	case "auth_time":
		c.authenticatedAt, err = milliDate(value)
	case "nbf":
		c.notBefore, err = date(value)
	case "prs":
		c.persistent, err = jose.Bool(value)
	case "snc":
		c.since, err = milliDate(value)
	}
	return err
}

// audience reads aud, which may be a string or an array of one.
func audience(value []byte) (string, error) {
	if len(value) > 0 && value[0] == '[' {
		list, err := jose.Strings(value)
		if err != nil || len(list) != 1 {
			return "", errClaims
		}
		return list[0], nil
	}
	return jose.String(value)
}

func positive(value []byte) (int64, error) {
	n, err := jose.Int(value)
	if err != nil || n < 1 {
		return 0, errClaims
	}
	return n, nil
}

func date(value []byte) (time.Time, error) {
	n, err := positive(value)
	if err != nil || n > maxSeconds {
		return time.Time{}, errClaims
	}
	return time.Unix(n, 0), nil
}

// milliDate reads what encoder.seconds wrote: exactly three decimals.
func milliDate(value []byte) (time.Time, error) {
	dot := len(value) - 4
	if dot < 1 || value[dot] != '.' {
		return time.Time{}, errClaims
	}
	whole, err := date(value[:dot])
	if err != nil {
		return time.Time{}, err
	}
	milli, err := strconv.ParseUint(string(value[dot+1:]), 10, 16)
	if err != nil {
		return time.Time{}, errClaims
	}
	return whole.Add(time.Duration(milli) * time.Millisecond), nil
}

func values(value []byte) (session.Values, error) {
	texts := make(map[string]string)
	err := jose.Object(value, func(name string, value []byte) error {
		texts[name] = string(value)
		return nil
	})
	if err != nil {
		return session.Values{}, err
	}
	return session.NewValues(texts), nil
}
