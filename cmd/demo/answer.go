package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"mime"
	"net/http"
	"strings"

	"github.com/cloakroom-go/cloakroom/session"
)

// policy forbids browsers to run scripts, to load anything from elsewhere, or
// to show a page in a frame of another site.
const policy = "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; " +
	"frame-ancestors 'none'"

// protect bounds the body of a request, and what browsers do with a response.
func protect(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Body = http.MaxBytesReader(w, r.Body, maxBody)
		h := w.Header()
		h.Set("Content-Security-Policy", policy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "same-origin")
		next.ServeHTTP(w, r)
	})
}

// wantsPage reports whether a browser asks, for HTML or with a form. Scripts
// get JSON.
func wantsPage(r *http.Request) bool {
	accept, sent := r.Header.Get("Accept"), r.Header.Get("Content-Type")
	switch {
	case isJSON(accept) || isJSON(sent):
		return false
	case strings.Contains(accept, "text/html"):
		return true
	}
	return strings.HasPrefix(sent, "application/x-www-form-urlencoded") && !strings.HasPrefix(r.URL.Path, "/api/")
}

// isJSON reports whether a Content-Type, or the first choice of an Accept,
// is JSON.
func isJSON(field string) bool {
	first, _, _ := strings.Cut(field, ",")
	kind, _, err := mime.ParseMediaType(first)
	return err == nil && kind == "application/json"
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	var body bytes.Buffer
	enc := json.NewEncoder(&body)
	enc.SetEscapeHTML(false) // return values as the client sent them; nosniff keeps browsers from rendering them
	if err := enc.Encode(v); err != nil {
		http.Error(w, http.StatusText(http.StatusInternalServerError), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = w.Write(body.Bytes()) // the client may have gone
}

// save saves the changes of s, unless err says that one has failed. If it
// can't, it answers the request and returns false, and s is as it was before.
func (d *demo) save(w http.ResponseWriter, r *http.Request, s *session.Session, err error) bool {
	if err == nil {
		err = s.Save(r.Context())
	}
	if err != nil {
		d.fail(w, r, err)
	}
	return err == nil
}

// done answers a request that has succeeded. A browser goes back to its page,
// so that reloading it doesn't post the form again.
func (d *demo) done(w http.ResponseWriter, r *http.Request, page string, v any) {
	if wantsPage(r) {
		w.Header().Set("Cache-Control", "no-store")
		http.Redirect(w, r, page, http.StatusSeeOther)
		return
	}
	writeJSON(w, http.StatusOK, v)
}

// fail answers with the reason of err. The text of err is only for the log.
func (d *demo) fail(w http.ResponseWriter, r *http.Request, err error) {
	reason := session.ReasonOf(err)
	d.log.InfoContext(r.Context(), "request refused", "path", r.URL.Path, "reason", reason.String(), "error", err)
	status, text := explain(reason)
	if errors.Is(err, errNoSubject) {
		text = "Say who you are: subject is missing."
	}
	d.deny(w, r, status, reason.String(), text)
}

// explain returns the answer to a change of a session that has failed.
func explain(reason session.Reason) (status int, text string) {
	switch reason {
	case session.TooLarge:
		return http.StatusRequestEntityTooLarge, "This does not fit into the session, which stays as it was."
	case session.BadValue:
		return http.StatusBadRequest, "This is nothing that a session can keep: it needs a short name, and JSON."
	case session.Unavailable:
		return http.StatusServiceUnavailable, "The session can't be kept for now. Try again."
	case session.NotFound:
		return http.StatusNotFound, "There is no such session, or it has ended already."
	case session.TooMany:
		return http.StatusForbidden, "You are logged in on too many devices. Log out on one of them first."
	case session.NoMiddleware, session.TooLate:
		return http.StatusInternalServerError, "The demo has made a mistake."
	}
	return http.StatusConflict, "The session has ended meanwhile."
}

// deny answers with a status, a label for scripts and a text for people.
func (d *demo) deny(w http.ResponseWriter, r *http.Request, status int, reason, text string) {
	if wantsPage(r) {
		d.render(w, r, status, view{Problem: text, Reason: reason})
		return
	}
	writeJSON(w, status, map[string]string{"error": text, "reason": reason})
}
