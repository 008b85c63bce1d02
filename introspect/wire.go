package introspect

import (
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"net/url"

	"github.com/cloakroom-go/cloakroom/internal/clientauth"
)

// maxForm is the size of the largest form that is read, in bytes: more than a
// token of the greatest length, with each character of it escaped.
const maxForm = 64 << 10

// An answer is the body of status 200 (RFC 7662, Section 2.2). Times are
// seconds since 1970.
type answer struct {
	Active    bool     `json:"active"`
	Issuer    string   `json:"iss,omitempty"`
	Audience  string   `json:"aud,omitempty"`
	Subject   string   `json:"sub,omitempty"`
	ClientID  string   `json:"client_id,omitempty"`
	SessionID string   `json:"sid,omitempty"`
	AuthTime  int64    `json:"auth_time,omitempty"`
	AMR       []string `json:"amr,omitempty"`
	IssuedAt  int64    `json:"iat,omitempty"`
	ExpiresAt int64    `json:"exp,omitempty"`
	TokenType string   `json:"token_type,omitempty"`
}

// A failure is the body of another status (RFC 6749, Section 5.2).
type failure struct {
	Error       string `json:"error"`
	Description string `json:"error_description,omitempty"`
}

var (
	badClient  = failure{Error: "invalid_client"}
	outOfReach = failure{Error: "temporarily_unavailable"}
)

// badRequest returns the body of status 400. problem has no text of the client.
func badRequest(problem string) failure { return failure{"invalid_request", problem} }

// readForm returns the form of a request, or what is wrong with the request.
func readForm(w http.ResponseWriter, r *http.Request) (form url.Values, problem string) {
	if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil ||
		kind != "application/x-www-form-urlencoded" {
		return nil, "the Content-Type is not application/x-www-form-urlencoded"
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxForm))
	switch {
	case errors.As(err, new(*http.MaxBytesError)):
		return nil, "the body is larger than 64 KiB"
	case err != nil:
		return nil, "the body can't be read"
	}
	form, err = url.ParseQuery(string(body))
	if err != nil {
		return nil, "the body is not a form"
	}
	if query := r.URL.Query(); query.Has("token") || query.Has("client_secret") {
		return nil, "the URL has parameters of the form, which then get into logs"
	}
	return form, ""
}

// checkForm returns what is wrong with the parameters, or "". None may be sent
// more than once (RFC 6749, Section 3.2).
func checkForm(form url.Values) (problem string) {
	switch {
	case len(form["token"]) > 1 || len(form["token_type_hint"]) > 1:
		return "a parameter is repeated"
	case form.Get("token") == "":
		return "the parameter token is missing"
	}
	return ""
}

// respond writes an answer.
func respond(w http.ResponseWriter, status int, body any) {
	text, err := json.Marshal(body)
	if err != nil {
		status, text = http.StatusInternalServerError, nil
	}
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	switch status {
	case http.StatusUnauthorized:
		h.Set("WWW-Authenticate", clientauth.Challenge)
	case http.StatusMethodNotAllowed:
		h.Set("Allow", http.MethodPost)
	}
	w.WriteHeader(status)
	_, _ = w.Write(text)
}
