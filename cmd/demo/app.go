package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"html/template"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/cloakroom-go/cloakroom/config"
	"github.com/cloakroom-go/cloakroom/middleware"
	"github.com/cloakroom-go/cloakroom/session"
	"github.com/cloakroom-go/cloakroom/token"
)

// What the application keeps in a session, besides what clients choose.
const (
	visits   session.Key[int]    = "visits"
	suitcase session.Key[string] = "suitcase"
)

const (
	// maxBody bounds the body of a request, in bytes.
	maxBody = 1 << 20

	// suitcaseBytes is more than a cookie holds (RFC 6265bis, Section 5.6).
	suitcaseBytes = 6000

	// maxAnswer bounds an answer of the orders service, in bytes.
	maxAnswer = 64 << 10
)

// A demo is an instance of the application.
type demo struct {
	name       string // "A" or "B"; "" if there is one instance
	addr, flag string // where it listens, and the flag that says so
	listener   *listener
	config     config.Config
	sessions   *config.App
	log        *slog.Logger
	now        func() time.Time
	stopping   <-chan struct{} // closed when the demo is about to end
	url, other string          // of this instance, and of the other one or ""
	ordersURL  string

	orders *http.Client // nil if there is no key for service tokens
	pages  *template.Template
}

// handler returns the whole application. base sends its requests to
// the service.
func (d *demo) handler(base http.RoundTripper) (http.Handler, error) {
	var err error
	if d.pages, err = template.ParseFS(web, "web/*.html"); err != nil {
		return nil, err
	}
	if d.sessions.Issuer != nil {
		vouching, err := token.NewTransport(token.TransportConfig{
			Issuer: d.sessions.Issuer, Audience: ordersAudience, Origin: d.ordersURL, Base: base,
		})
		if err != nil {
			return nil, err
		}
		d.orders = &http.Client{Transport: vouching, Timeout: 5 * time.Second}
	}
	root := http.NewServeMux()
	root.Handle("/.well-known/jwks.json", d.sessions.Keys.Handler())
	root.Handle("GET /web/", static())
	root.Handle("/", d.sessions.Middleware.Handler(d.routes()))
	return protect(root), nil
}

// routes returns the handlers that need a session.
func (d *demo) routes() *http.ServeMux {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", d.home)
	mux.HandleFunc("GET /api/session", d.describe)
	mux.HandleFunc("POST /api/visits", d.visit)
	mux.HandleFunc("GET /api/values/{key}", d.getValue)
	mux.HandleFunc("PUT /api/values/{key}", d.putValue)
	mux.HandleFunc("DELETE /api/values/{key}", d.deleteValue)
	mux.HandleFunc("POST /suitcase", d.change(pack))
	mux.HandleFunc("POST /login", d.change(login))
	mux.HandleFunc("POST /logout", d.change(logout))
	mux.HandleFunc("POST /logout-everywhere", d.change(d.logoutEverywhere))
	mux.HandleFunc("GET /orders", d.callOrders)
	loggedIn := middleware.RequireSubject(middleware.RequireConfig{LoginURL: "/#who"})
	mux.Handle("GET /live", loggedIn(http.HandlerFunc(d.showLive)))
	mux.HandleFunc("GET /live/events", d.live)
	if d.sessions.Devices != nil {
		mux.Handle("GET /devices", loggedIn(http.HandlerFunc(d.showDevices)))
		mux.Handle("POST /devices/end", loggedIn(http.HandlerFunc(d.endDevice)))
		mux.Handle("POST /devices/end-others", loggedIn(http.HandlerFunc(d.endOthers)))
		mux.Handle("GET /admin", loggedIn(d.onlyAdmin(d.showUser)))
		mux.Handle("POST /admin/end", loggedIn(d.onlyAdmin(d.endOfUser)))
		mux.Handle("POST /admin/end-all", loggedIn(d.onlyAdmin(d.endUser)))
	}
	return mux
}

func (d *demo) home(w http.ResponseWriter, r *http.Request) { d.render(w, r, http.StatusOK, view{}) }

func (d *demo) describe(w http.ResponseWriter, r *http.Request) {
	writeJSON(w, http.StatusOK, d.summary(session.From(r.Context())))
}

// A summary is a session as JSON. What is not set is null.
type summary struct {
	Mode            config.Mode                `json:"mode"`
	ID              *string                    `json:"id"`
	New             bool                       `json:"new"`
	Subject         string                     `json:"subject"`
	CreatedAt       *time.Time                 `json:"created_at"`
	AuthenticatedAt *time.Time                 `json:"authenticated_at"`
	ExpiresAt       *time.Time                 `json:"expires_at"`
	Values          map[string]json.RawMessage `json:"values"`
}

func (d *demo) summary(s *session.Session) summary {
	rec := s.Snapshot()
	sum := summary{
		Mode: d.config.Mode, New: s.IsNew(), Subject: rec.Subject,
		CreatedAt: instant(rec.CreatedAt), AuthenticatedAt: instant(rec.AuthenticatedAt),
		ExpiresAt: instant(rec.IdleDeadline), Values: map[string]json.RawMessage{},
	}
	if rec.ID != "" {
		sum.ID = &rec.ID
	}
	for name, text := range rec.Values.All() {
		sum.Values[name] = json.RawMessage(text)
	}
	return sum
}

func instant(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return new(t.UTC())
}

// visit counts. It saves before it answers, because two visits at the same time
// both read the old number, and saving gives the second of them its own.
func (d *demo) visit(w http.ResponseWriter, r *http.Request) {
	s := session.From(r.Context())
	_, err := visits.Update(s, func(n int) int { return n + 1 })
	if d.save(w, r, s, err) {
		d.done(w, r, "/", map[string]int{"visits": visits.Get(s)})
	}
}

// valueOf returns the key of the value that r names.
func valueOf(r *http.Request) session.Key[json.RawMessage] {
	return session.Key[json.RawMessage](r.PathValue("key"))
}

func (d *demo) getValue(w http.ResponseWriter, r *http.Request) {
	value, ok, err := valueOf(r).Lookup(session.From(r.Context()))
	switch {
	case err != nil:
		d.fail(w, r, err)
	case !ok:
		d.deny(w, r, http.StatusNotFound, "not_found", "The session has no value of this name.")
	default:
		writeJSON(w, http.StatusOK, value)
	}
}

func (d *demo) putValue(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		d.fail(w, r, unreadable(err))
		return
	}
	s := session.From(r.Context())
	if d.save(w, r, s, valueOf(r).Set(s, body)) { // Set refuses what is not JSON
		d.getValue(w, r)
	}
}

func (d *demo) deleteValue(w http.ResponseWriter, r *http.Request) {
	s := session.From(r.Context())
	if !s.Has(r.PathValue("key")) {
		d.deny(w, r, http.StatusNotFound, "not_found", "The session has no value of this name.")
		return
	}
	if d.save(w, r, s, valueOf(r).Delete(s)) {
		w.WriteHeader(http.StatusNoContent)
	}
}

// change returns a handler that changes the session, saves it, and answers with
// what it is now.
func (d *demo) change(act func(*http.Request, *session.Session) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		s := session.From(r.Context())
		if d.save(w, r, s, act(r, s)) {
			d.done(w, r, "/", d.summary(s))
		}
	}
}

// pack adds a value that no cookie can hold, or removes it.
func pack(_ *http.Request, s *session.Session) error {
	if s.Has(string(suitcase)) {
		return suitcase.Delete(s)
	}
	return suitcase.Set(s, strings.Repeat("shirts, ", suitcaseBytes/8))
}

// login accepts any name. A real application checks a password first.
func login(r *http.Request, s *session.Session) error {
	in, err := readLogin(r)
	if err != nil {
		return err
	}
	if err := s.Login(in.Subject); err != nil || !in.Remember {
		return err
	}
	return s.Remember(true)
}

func logout(_ *http.Request, s *session.Session) error { return s.Destroy() }

// logoutEverywhere ends all sessions of the user, or only this one if nobody is
// logged in.
func (d *demo) logoutEverywhere(r *http.Request, s *session.Session) error {
	if subject := s.Subject(); subject != "" {
		if err := d.sessions.Revocations.EndSubject(r.Context(), subject); err != nil {
			return err
		}
	}
	return s.Destroy()
}

var errNoSubject = fmt.Errorf("demo: login without a subject: %w", session.BadValue)

// A loginForm has the fields of the page's login form.
type loginForm struct {
	Subject  string `json:"subject"`
	Remember bool   `json:"remember"`
}

// readLogin reads it from JSON or a form.
func readLogin(r *http.Request) (in loginForm, err error) {
	if isJSON(r.Header.Get("Content-Type")) {
		err = json.NewDecoder(r.Body).Decode(&in)
	} else {
		err = r.ParseForm()
		in = loginForm{strings.TrimSpace(r.PostForm.Get("subject")), r.PostForm.Has("remember")}
	}
	switch {
	case err != nil:
		return in, unreadable(err)
	case in.Subject == "":
		return in, errNoSubject
	}
	return in, nil
}

// unreadable returns the error for a body that can't be read.
func unreadable(err error) error {
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return fmt.Errorf("demo: body of more than %d bytes: %w", maxBody, session.TooLarge)
	}
	return fmt.Errorf("demo: unreadable body: %w", session.BadValue)
}

// callOrders calls the orders service for the user, and returns its answer.
func (d *demo) callOrders(w http.ResponseWriter, r *http.Request) {
	switch {
	case session.From(r.Context()).Subject() == "":
		d.deny(w, r, http.StatusUnauthorized, "not_logged_in", "The orders service serves people it knows. Log in first.")
		return
	case d.orders == nil:
		d.deny(w, r, http.StatusServiceUnavailable, session.Unavailable.String(),
			"The key ring has no key that other services could verify with.")
		return
	}
	answer, err := d.askOrders(r)
	if err != nil {
		d.log.ErrorContext(r.Context(), "orders service could not be asked", "error", err)
		d.deny(w, r, http.StatusBadGateway, session.Unavailable.String(),
			"The orders service can't be reached, or did not accept the call.")
		return
	}
	if wantsPage(r) {
		d.render(w, r, http.StatusOK, view{Answer: answer})
		return
	}
	writeJSON(w, http.StatusOK, answer)
}

func (d *demo) askOrders(r *http.Request) (json.RawMessage, error) {
	out, err := http.NewRequestWithContext(r.Context(), http.MethodGet, d.ordersURL+"/orders", nil)
	if err != nil {
		return nil, err
	}
	response, err := d.orders.Do(out)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	if err != nil {
		return nil, err
	}
	if response.StatusCode != http.StatusOK || !json.Valid(answer) {
		return nil, fmt.Errorf("demo: the orders service answered %s", response.Status)
	}
	return answer, nil
}
