package backchannel

import (
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/cloakroom-go/cloakroom/internal/fault"
	"github.com/cloakroom-go/cloakroom/session"
)

// maxBody bounds a request, in bytes: the longest token that is looked at, and
// as much of other parameters.
const maxBody = 32 << 10

// errMethod is why a request with another method than POST is refused.
var errMethod = fmt.Errorf("backchannel: the method is not POST: %w", session.Malformed)

// A failure is why a good token didn't end everything, whatever the error
// wraps.
type failure struct {
	what string
	err  error
}

func (f *failure) Error() string { return "backchannel: " + f.what + ": " + fault.Inner(f.err).Error() }

func (f *failure) Unwrap() []error { return []error{session.Unavailable, f.err} }

// posted returns the logout token of r: the one parameter of that name in a
// form in the body (Section 2.5). Other parameters are ignored, and so is the
// query of the URL.
func posted(w http.ResponseWriter, r *http.Request) (string, error) {
	if r.Method != http.MethodPost {
		return "", errMethod
	}
	r.Body = http.MaxBytesReader(w, r.Body, maxBody)
	if err := r.ParseForm(); err != nil { // its text may be that of the request
		return "", fmt.Errorf("backchannel: the request has no form that can be read, or more than %d bytes: %w",
			maxBody, session.Malformed)
	}
	switch tokens := r.PostForm["logout_token"]; len(tokens) {
	case 0:
		return "", fmt.Errorf("backchannel: the body is not a form with a logout_token "+
			"(application/x-www-form-urlencoded): %w", session.Malformed)
	case 1:
		return tokens[0], nil
	}
	return "", fmt.Errorf("backchannel: several parameters called logout_token: %w", session.Ambiguous)
}

// answer answers as Section 2.8 says. The error codes are those of RFC 6749.
func answer(w http.ResponseWriter, err error) {
	w.Header().Set("Cache-Control", "no-store")
	status, code := http.StatusBadRequest, "invalid_request"
	switch {
	case err == nil:
		w.WriteHeader(http.StatusOK)
		return
	case err == errMethod:
		w.Header().Set("Allow", http.MethodPost)
		status = http.StatusMethodNotAllowed
	case errors.Is(err, session.Unavailable):
		status, code = http.StatusServiceUnavailable, "temporarily_unavailable"
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, `{"error":"`+code+`"}`+"\n")
}
