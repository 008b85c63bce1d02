package apptest

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/middleware"
	"github.com/cloakroom-go/cloakroom/session"
)

// Visits is a value that most tests set.
const Visits session.Key[int] = "visits"

// Visit sends one request with a credential, "" for none, and returns the
// status and the credential that the client holds afterwards.
func Visit(m *middleware.Middleware, credential string, f func(s *session.Session)) (status int, next string) {
	return visit(context.Background(), m, credential, f)
}

func visit(
	ctx context.Context, m *middleware.Middleware, credential string, f func(s *session.Session),
) (status int, next string) {
	r := Cookies(credential)
	if credential == "" {
		r = Cookies()
	}
	w := httptest.NewRecorder()
	h := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { f(session.From(r.Context())) })
	m.Handler(h).ServeHTTP(w, r.WithContext(ctx))
	next = credential
	for _, c := range w.Result().Cookies() {
		next = c.Value
	}
	return w.Code, next
}

// Cookies is a request with a session cookie of each value, as it stands.
func Cookies(values ...string) *http.Request {
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	if len(values) > 0 {
		r.Header["Cookie"] = []string{"__Host-session=" + strings.Join(values, "; __Host-session=")}
	}
	return r
}

// Begin makes a session with one value, of subject if that isn't "".
func Begin(t testing.TB, m *middleware.Middleware, subject string) (credential string) {
	t.Helper()
	status, credential := Visit(m, "", func(s *session.Session) {
		if subject != "" {
			assert.NoError(t, s.Login(subject))
		}
		assert.NoError(t, session.Key[any]("of").Set(s, subject))
	})
	require.Equal(t, http.StatusOK, status)
	require.NotEmpty(t, credential)
	return credential
}

// SubjectOf opens a credential; "-" is for nobody's session, "" for none at
// all.
func SubjectOf(m *middleware.Middleware, credential string) (subject string) {
	Visit(m, credential, func(s *session.Session) {
		if subject = s.Subject(); subject == "" && !s.IsNew() {
			subject = "-"
		}
	})
	return subject
}

// UnknownID has the form of an opaque credential, and is none.
func UnknownID() string { return "cr1_" + B64(Random(32)) }

// B64 is base64url without padding.
func B64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

// Random returns n random bytes.
func Random(n int) []byte {
	b := make([]byte, n)
	rand.Read(b)
	return b
}

// An Answer is all of a response that a client can see, except its Date.
type Answer struct {
	Status int
	Header http.Header
	Body   string
	Panic  any
}

// Show tells the client all that it could learn of a session.
func Show(w http.ResponseWriter, r *http.Request) {
	s := session.From(r.Context())
	fmt.Fprintf(w, "subject %q, new %t, ID %q, values %q", s.Subject(), s.IsNew(), s.ID(), s.Keys())
}

// Serve returns how h answers r.
func Serve(h http.Handler, r *http.Request) (got Answer) {
	w := httptest.NewRecorder()
	defer func() {
		got = Answer{w.Code, w.Header().Clone(), w.Body.String(), recover()}
		got.Header.Del("Date")
	}()
	h.ServeHTTP(w, r)
	return got
}
