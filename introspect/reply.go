package introspect

import (
	"context"
	"errors"
	"mime"
	"net/http"
	"net/url"
	"strings"

	"github.com/cloakroom-go/cloakroom/internal/claims"
	"github.com/cloakroom-go/cloakroom/internal/clientauth"
	"github.com/cloakroom-go/cloakroom/internal/jose"
	"github.com/cloakroom-go/cloakroom/internal/weburl"
)

var errForm = errors.New("it is not the JSON of RFC 7662, Section 2.2")

// maxReply is the size of the largest answer that is read, in bytes.
const maxReply = 1 << 20 // 1 MiB

// A reply is the answer of an endpoint.
type reply struct {
	*claims.Claims
	active bool
	size   int // in bytes, of the text
}

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
	clientauth.Prove(req, c.c.ID, c.c.Secret)
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
	says, err := claims.Decode(body, claims.Answer)
	if err != nil {
		return nil, errForm
	}
	active, err := jose.Bool(says.Further["active"])
	if err != nil {
		return nil, errForm
	}
	return &reply{says, active, len(body)}, nil
}
