// Package clientauth authenticates programs that call an endpoint of the
// application: confidential clients with HTTP Basic (RFC 6749, Section 2.3.1).
//
// Make a [Clients] with [New], and put [Clients.Guard] around a handler; or
// call [Clients.Check] on each request, and answer 401 with [Challenge] if it
// fails. An endpoint that reads a form also calls [Proof.Agrees]: some programs
// repeat their ID and secret there. A secret in the form only, or in the URL,
// is refused, since forms and URLs end up in logs.
//
// A program that calls such an endpoint uses [Prove].
package clientauth

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// Challenge is the WWW-Authenticate that goes with status 401 (RFC 7617,
// Section 2).
const Challenge = `Basic realm="cloakroom", charset="UTF-8"`

const (
	maxID = 256 // bytes

	// maxHeader is the longest Authorization that is looked at, in bytes: what a
	// stranger sends is hashed before it is known to be wrong.
	maxHeader = 4096

	// minSecret is how many bytes a secret stands for. A guess is then
	// hopeless, however many are made, so nothing here counts them.
	minSecret = 32

	// minDistinct is how many different bytes a secret has at least. Of 32
	// random ones about 30 differ, and fewer than 16 once in 10 billion times;
	// a word that is repeated until it is long enough has fewer.
	minDistinct = 16
)

// A Client is a program that may call.
type Client struct {
	// ID names the client: letters, digits and "-._~", at most 256.
	ID string

	// Secrets are accepted, each of them: while a secret changes there are two.
	// Each is base64 or hexadecimal text for at least 32 random bytes.
	Secrets []string
}

// Clients are those that may call. The zero Clients refuse everybody.
type Clients struct{ byID map[string][]digest }

// A digest stands for a secret. All have the same length, so comparing them
// takes the same time whatever a client sends.
type digest [sha256.Size]byte

func digestOf(secret string) digest { return sha256.Sum256([]byte(secret)) }

// New returns clients with different IDs.
func New(all ...Client) (*Clients, error) {
	c := &Clients{byID: make(map[string][]digest, len(all))}
	var errs []error
	for _, one := range all {
		err := one.check()
		if _, again := c.byID[one.ID]; err == nil && again {
			err = fmt.Errorf("two clients have the ID %q", one.ID)
		}
		errs = append(errs, err)
		for _, secret := range one.Secrets {
			c.byID[one.ID] = append(c.byID[one.ID], digestOf(secret))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return c, nil
}

func (c Client) check() error {
	if err := CheckID(c.ID); err != nil {
		return err
	}
	if len(c.Secrets) == 0 {
		return fmt.Errorf("client %q has no secret", c.ID)
	}
	for i, secret := range c.Secrets {
		if !strong(secret) {
			return fmt.Errorf("secret %d of client %q is not %d random bytes in base64 or hexadecimal; make one with: "+
				"openssl rand -base64 %[3]d", i+1, c.ID, minSecret)
		}
	}
	return nil
}

// CheckID returns an error if no client can have this ID. Those that can look
// the same whether or not a program encodes them as RFC 6749 asks.
func CheckID(id string) error {
	bad := func(r rune) bool {
		return !('a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || strings.ContainsRune("-._~", r))
	}
	if id == "" || len(id) > maxID || strings.ContainsFunc(id, bad) {
		return fmt.Errorf("a client's ID has 1 to %d letters, digits and the characters -._~", maxID)
	}
	return nil
}

// strong reports whether a secret stands for enough bytes that look random.
func strong(secret string) bool {
	for _, decode := range [...]func(string) ([]byte, error){
		hex.DecodeString, base64.StdEncoding.DecodeString, base64.RawStdEncoding.DecodeString,
		base64.URLEncoding.DecodeString, base64.RawURLEncoding.DecodeString,
	} {
		b, err := decode(secret)
		if err != nil || len(b) < minSecret || strings.ContainsAny(secret, "\r\n") {
			continue
		}
		slices.Sort(b)
		if len(slices.Compact(b)) >= minDistinct {
			return true
		}
	}
	return false
}

// Prove makes r say that the client called id has sent it.
func Prove(r *http.Request, id, secret string) {
	r.SetBasicAuth(url.QueryEscape(id), url.QueryEscape(secret))
}

// WrongSecret says what a program that proves who it is has done wrong with its
// secret, or returns "".
func WrongSecret(secret string) string {
	if secret == strings.TrimSpace(secret) {
		return ""
	}
	return "begins or ends with white space, such as the line break at the end of a file: remove it"
}

// A Proof says which client has sent a request.
type Proof struct {
	ID     string
	secret digest // that it has proved to know
}

// The reasons for which Check fails. None names what the client sent.
var (
	errNone      = errors.New("there is no Authorization header")
	errSeveral   = errors.New("there are several Authorization headers")
	errNotBasic  = errors.New("the Authorization header is not of scheme Basic, malformed, or too long")
	errUnknownID = errors.New("no client has the ID in the Authorization header")
	errSecret    = errors.New("the client's secret is not the one in the Authorization header")
)

// Check returns the client that has sent r, by the one Authorization header.
// Its time doesn't tell whether a client exists, or how much of a secret was
// right.
func (c *Clients) Check(r *http.Request) (Proof, error) {
	switch fields := r.Header["Authorization"]; {
	case len(fields) == 0:
		return Proof{}, errNone
	case len(fields) > 1:
		return Proof{}, errSeveral
	case len(fields[0]) > maxHeader:
		return Proof{}, errNotBasic
	}
	id, secret, ok := r.BasicAuth()
	if !ok {
		return Proof{}, errNotBasic
	}
	if decoded, err := url.QueryUnescape(id); err == nil {
		id = decoded
	}
	known := c.byID[id]
	sent := forms(secret)
	proof, proved := Proof{ID: id}, 0
	for _, want := range append([]digest{{}}, known...) { // one at least, for an ID that nobody has
		for _, got := range sent {
			same := subtle.ConstantTimeCompare(got[:], want[:])
			subtle.ConstantTimeCopy(same, proof.secret[:], want[:])
			proved |= same
		}
	}
	switch {
	case len(known) == 0:
		return Proof{}, errUnknownID
	case proved == 0:
		return Proof{}, errSecret
	}
	return proof, nil
}

// Guard lets the requests of clients through to next. Others get 401, the same
// for each reason, and refused is told the reason.
func (c *Clients) Guard(next http.Handler, refused func(ctx context.Context, err error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, err := c.Check(r); err != nil {
			refused(r.Context(), err)
			w.Header().Set("Cache-Control", "no-store")
			w.Header().Set("WWW-Authenticate", Challenge)
			http.Error(w, "unauthorized", http.StatusUnauthorized)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// forms returns the secrets that a client can mean: RFC 6749 has it encode the
// secret as in a form, and many programs don't. A plus sign of base64 is a
// space if it is decoded in vain.
func forms(secret string) [2]digest {
	decoded, err := url.QueryUnescape(secret)
	if err != nil {
		decoded = secret
	}
	return [2]digest{digestOf(secret), digestOf(decoded)}
}

// Agrees reports whether the ID and the secret that a form repeats are those of
// the Authorization header. A client must not use two ways of proving who it is
// (RFC 6749, Section 2.3), but sending the same twice does no harm.
func (p Proof) Agrees(form url.Values) bool {
	ids, secrets := form["client_id"], form["client_secret"]
	if len(ids) > 1 || len(ids) == 1 && ids[0] != p.ID || len(secrets) > 1 {
		return false
	}
	if len(secrets) == 0 {
		return true
	}
	got := digestOf(secrets[0])
	return subtle.ConstantTimeCompare(got[:], p.secret[:]) == 1
}
