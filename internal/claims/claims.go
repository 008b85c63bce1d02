// Package claims knows what a token says and when it is accepted: one table of
// the claims, and one table of the rules.
//
// [Decode] reads the claims of a token whose signature is good, and [Check]
// decides whether the token is accepted: it stops at the first rule that the
// token breaks. Whoever explains a token to people runs all [Rules].
package claims

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/cloakroom-go/cloakroom/internal/instant"
	"github.com/cloakroom-go/cloakroom/internal/jose"
	"github.com/cloakroom-go/cloakroom/session"
)

// A Kind is a kind of token, or a set of them.
type Kind uint8

// Ours exclude one another: they differ in typ (RFC 8725bis, Section 3.11).
const (
	Session Kind = 1 << iota // an application's own, in a cookie
	Service                  // for a call to another service
	Foreign                  // for a call to a service, by an issuer that is not Cloakroom
	Logout                   // of an OpenID provider (Back-Channel Logout 1.0, Section 2.4)
	Answer                   // no token, but what an endpoint says of one (RFC 7662, Section 2.2)

	both     = Session | Service
	others   = Foreign | Logout
	everyone = both | others
	access   = Foreign | Answer
	outside  = others | Answer
)

// Typ returns the typ of a kind of our tokens.
func (k Kind) Typ() string {
	if k == Session {
		return "cloakroom+jwt"
	}
	return "at+jwt" // RFC 9068, Section 2.1
}

// KindOf returns the kind of the tokens with that typ, 0 if they aren't ours.
func KindOf(typ string) Kind {
	for _, k := range [...]Kind{Session, Service} {
		if k.Typ() == typ {
			return k
		}
	}
	return 0
}

// Claims are what a token says. A service token has but few of a Record's
// fields. Times are whole seconds, with three exceptions: auth_time and snc of
// session tokens have milliseconds (a NumericDate may: RFC 7519, Section 2),
// and since of service tokens counts milliseconds. There auth_time is whole,
// because many programs read it as an integer.
type Claims struct {
	Issuer, Audience, JTI string
	ClientID              string    // of service tokens: the application (RFC 9068, Section 2.2)
	NotBefore             time.Time // zero for none; we write none
	session.Record                  // its SeenAt is iat, its IdleDeadline exp

	ACR       string                     // of service tokens: how strong the login was; "" if they don't say
	Audiences []string                   // of tokens of other issuers, instead of Audience
	Further   map[string]json.RawMessage // by name: none that the table has; session tokens have none
}

// IssuedAt returns iat.
func (c *Claims) IssuedAt() time.Time { return c.SeenAt }

// MadeAt returns when the token was made: iat, but [Backdated] later for a
// service token.
func (c *Claims) MadeAt(kind Kind) time.Time {
	if kind == Service {
		return c.SeenAt.Add(Backdated)
	}
	return c.SeenAt
}

// ExpiresAt returns exp.
func (c *Claims) ExpiresAt() time.Time { return c.IdleDeadline }

// A row is one claim.
type row struct {
	name         string
	of, required Kind
	decode       func(c *Claims, value []byte) error
}

// table has the claims of our tokens in the order in which Encode writes them.
// A claim that a kind doesn't have is no error, nor is an unknown one: a newer
// version may write more.
var table = [...]row{
	{"iss", both, both, func(c *Claims, value []byte) error { return decode(&c.Issuer, value, jose.String) }},
	{"aud", both, both, func(c *Claims, value []byte) error { return decode(&c.Audience, value, audience) }},
	{"sub", both, Service, func(c *Claims, value []byte) error { return decode(&c.Subject, value, text) }},
	{"client_id", Service, Service, func(c *Claims, value []byte) error { return decode(&c.ClientID, value, text) }},
	{"auth_time", Session, 0, func(c *Claims, value []byte) error { return decode(&c.AuthenticatedAt, value, milliDate) }},
	{"auth_time", Service, 0, func(c *Claims, value []byte) error { return decode(&c.AuthenticatedAt, value, date) }},
	{"sid", both, both, func(c *Claims, value []byte) error { return decode(&c.ID, value, text) }},
	{"gen", both, both, func(c *Claims, value []byte) error { return decode(&c.Generation, value, positive) }},
	{"jti", both, both, func(c *Claims, value []byte) error { return decode(&c.JTI, value, text) }},
	{"iat", both, both, func(c *Claims, value []byte) error { return decode(&c.SeenAt, value, date) }},
	{"exp", both, both, func(c *Claims, value []byte) error { return decode(&c.IdleDeadline, value, date) }},
	{"nbf", both, 0, func(c *Claims, value []byte) error { return decode(&c.NotBefore, value, date) }},
	{"lin", Session, Session, func(c *Claims, value []byte) error { return decode(&c.Lineage, value, jose.String) }},
	{"ver", Session, Session, func(c *Claims, value []byte) error { return decode(&c.Version, value, positive) }},
	{"crt", Session, Session, func(c *Claims, value []byte) error { return decode(&c.CreatedAt, value, date) }},
	{"dl", Session, Session, func(c *Claims, value []byte) error { return decode(&c.Deadline, value, date) }},
	{"prs", Session, 0, func(c *Claims, value []byte) error { return decode(&c.Persistent, value, jose.Bool) }},
	{"snc", Session, 0, func(c *Claims, value []byte) error { return decode(&c.Since, value, milliDate) }},
	{"since", Service, Service, func(c *Claims, value []byte) error { return decode(&c.Since, value, millis) }},
	{"amr", both, 0, func(c *Claims, value []byte) error { return decode(&c.AMR, value, methods) }},
	{"tg", both, 0, func(c *Claims, value []byte) error { return decode(&c.Tags, value, tags) }},
	{"acr", Service, 0, func(c *Claims, value []byte) error { return decode(&c.ACR, value, text) }},
	{"data", Session, Session, func(c *Claims, value []byte) error { return decode(&c.Values, value, values) }},
}

// Reserved reports whether applications can't give a claim of that name to a
// service token: because one of the kinds has it, or because a token with it
// would be a logout token (OpenID Connect Back-Channel Logout, Section 2.4).
// Only applications know acr.
func Reserved(name string) bool {
	has := func(r row) bool { return r.name == name && name != "acr" }
	return name == "events" || slices.ContainsFunc(table[:], has)
}

// Decode reads the claims of a token. The error names the claims that are
// missing or wrong, and holds nothing else of the token's.
func Decode(payload []byte, kind Kind) (*Claims, error) {
	var c Claims
	var p problems
	seen, next, table := 0, 0, table[:]
	if kind&outside != 0 {
		table = othersTable[:]
	}
	err := jose.Object(payload, func(name string, value []byte) error {
		// Our tokens have the claims in the order of the table.
		for i := range table {
			i = (next + i) % len(table)
			if table[i].name == name && table[i].of&kind != 0 {
				seen, next = seen|1<<i, i+1
				p.add(name, table[i].decode(&c, value))
				return nil
			}
		}
		if kind != Session {
			c.further(name, value)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	for i := range table {
		if table[i].required&kind != 0 && seen&(1<<i) == 0 {
			p.missing = append(p.missing, table[i].name)
		}
	}
	if err := p.err(); err != nil {
		return nil, err
	}
	if kind&outside != 0 {
		c.authorizedParty()
		return &c, nil
	}
	if (c.Subject == "") != c.AuthenticatedAt.IsZero() {
		return nil, errors.New("sub and auth_time go together, and one of them is missing")
	}
	return &c, nil
}

// problems are the names of claims that can't be read.
type problems struct{ missing, empty, wrong []string }

func (p *problems) add(name string, err error) {
	switch err {
	case nil:
	case errEmpty:
		p.empty = append(p.empty, name)
	default:
		p.wrong = append(p.wrong, name)
	}
}

func (p *problems) err() error {
	var all []string
	for _, of := range [...]struct {
		problem string
		names   []string
	}{{"missing: ", p.missing}, {"empty: ", p.empty}, {"of the wrong type: ", p.wrong}} {
		if of.names != nil {
			all = append(all, of.problem+strings.Join(of.names, ", "))
		}
	}
	if all == nil {
		return nil
	}
	return errors.New(strings.Join(all, "; "))
}

var (
	errEmpty = errors.New("empty")
	errWrong = errors.New("of the wrong type")
)

// decode reads a claim into to.
func decode[T any](to *T, value []byte, read func([]byte) (T, error)) (err error) {
	*to, err = read(value)
	return err
}

func text(value []byte) (string, error) {
	s, err := jose.String(value)
	if err == nil && s == "" {
		err = errEmpty
	}
	return s, err
}

// audience reads aud, which may be a string or an array of one.
func audience(value []byte) (string, error) {
	list, err := jose.Texts(value)
	if err != nil || len(list) != 1 {
		return "", errWrong
	}
	return list[0], nil
}

func positive(value []byte) (uint64, error) {
	n, err := jose.Int(value)
	if err != nil || n < 1 {
		return 0, errWrong
	}
	return uint64(n), nil
}

func date(value []byte) (time.Time, error) {
	n, err := positive(value)
	if err != nil || n > instant.MaxSecond {
		return time.Time{}, errWrong
	}
	return time.Unix(int64(n), 0), nil
}

// millis reads milliseconds since the epoch.
func millis(value []byte) (time.Time, error) {
	n, err := positive(value)
	if err != nil || n/1000 > instant.MaxSecond {
		return time.Time{}, errWrong
	}
	return time.UnixMilli(int64(n)), nil
}

// milliDate reads what encoder.seconds wrote: exactly three decimals.
func milliDate(value []byte) (time.Time, error) {
	dot := len(value) - 4
	if dot < 1 || value[dot] != '.' {
		return time.Time{}, errWrong
	}
	whole, err := date(value[:dot])
	if err != nil {
		return time.Time{}, err
	}
	milli, err := strconv.ParseUint(string(value[dot+1:]), 10, 16)
	if err != nil {
		return time.Time{}, errWrong
	}
	return whole.Add(time.Duration(milli) * time.Millisecond), nil
}

// methods reads amr, which is there only if it names any.
func methods(value []byte) ([]string, error) {
	list, err := jose.Strings(value)
	if err != nil || len(list) == 0 || slices.Contains(list, "") {
		return nil, errWrong
	}
	return list, nil
}

// tags reads the hashes of up to four tags, one behind the other.
func tags(value []byte) (all []session.LoginTag, err error) {
	s, err := jose.String(value)
	if err != nil {
		return nil, err
	}
	b, err := base64.RawURLEncoding.DecodeString(s)
	const size = len(session.LoginTag{})
	if err != nil || len(b) == 0 || len(b)%size != 0 || base64.RawURLEncoding.EncodeToString(b) != s {
		return nil, errWrong
	}
	for some := range slices.Chunk(b, size) {
		all = append(all, session.LoginTag(some))
	}
	return all, nil
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
