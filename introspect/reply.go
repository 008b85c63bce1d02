package introspect

import (
	"context"
	"errors"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/cloakroom-go/cloakroom/internal/instant"
	"github.com/cloakroom-go/cloakroom/internal/jose"
	"github.com/cloakroom-go/cloakroom/internal/weburl"
)

var errForm = errors.New("it is not the JSON of RFC 7662, Section 2.2")

// maxReply is the size of the largest answer that is read, in bytes.
const maxReply = 1 << 20 // 1 MiB

// A reply is what an endpoint has answered.
type reply struct {
	size                                 int // in bytes, of the text
	active                               bool
	issuer, subject, sessionID, clientID string
	audience, amr                        []string
	authTime, issuedAt, expiresAt        time.Time // zero for none
}

func (a *reply) isFor(audience string) bool { return slices.Contains(a.audience, audience) }

// ask sends one request (RFC 7662, Section 2.1).
func (c *Client) ask(ctx context.Context, credential string) (*reply, error) {
	ctx, cancel := context.WithTimeout(ctx, c.c.Timeout)
	defer cancel()
	form := url.Values{"token": {credential}}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.c.URL, strings.NewReader(form.Encode()))
	if err != nil {
		return nil, noAnswer(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Accept", "application/json")
	req.SetBasicAuth(url.QueryEscape(c.c.ID), url.QueryEscape(c.c.Secret)) // RFC 6749, Section 2.3.1
	body, header, err := weburl.Fetch(c.client, req, maxReply)
	if err != nil {
		return nil, noAnswer(err)
	}
	if kind, _, err := mime.ParseMediaType(header.Get("Content-Type")); err != nil || kind != "application/json" {
		return nil, noAnswer(errors.New("the Content-Type of what it sends is not application/json"))
	}
	says, err := readReply(body)
	if err != nil {
		return nil, noAnswer(err)
	}
	return says, nil
}

// readReply reads an answer. It passes over members that nobody needs here.
func readReply(body []byte) (*reply, error) {
	a := reply{size: len(body)}
	hasActive := false
	err := jose.Object(body, func(name string, value []byte) (err error) {
		switch name {
		case "active":
			hasActive = true
			a.active, err = jose.Bool(value)
		case "iss":
			a.issuer, err = jose.String(value)
		case "sub":
			a.subject, err = jose.String(value)
		case "sid":
			a.sessionID, err = jose.String(value)
		case "client_id":
			a.clientID, err = jose.String(value)
		case "amr":
			a.amr, err = jose.Strings(value)
		case "aud":
			a.audience, err = jose.Texts(value)
		case "auth_time":
			a.authTime, err = date(value)
		case "iat":
			a.issuedAt, err = date(value)
		case "exp":
			a.expiresAt, err = date(value)
		}
		return err
	})
	if err != nil || !hasActive {
		return nil, errForm
	}
	return &a, nil
}

// date reads whole seconds since 1970.
func date(value []byte) (time.Time, error) {
	n, err := jose.Int(value)
	if err != nil || n < 1 || n > instant.MaxSecond {
		return time.Time{}, errForm
	}
	return time.Unix(n, 0), nil
}
