package main

import (
	"bytes"
	"embed"
	"encoding/json"
	"fmt"
	"html/template"
	"net/http"
	"strings"
	"time"

	"github.com/cloakroom-go/cloakroom/config"
	"github.com/cloakroom-go/cloakroom/internal/keyset"
	"github.com/cloakroom-go/cloakroom/keys"
	"github.com/cloakroom-go/cloakroom/session"
)

//go:embed web
var web embed.FS

// static serves the style sheet and the icon.
func static() http.Handler {
	files := http.FileServerFS(web)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "no-cache") // it may change with the next build
		files.ServeHTTP(w, r)
	})
}

// A view is the result of a request, for the page.
type view struct {
	Problem string          // for people; "" for none
	Reason  string          // for developers
	Answer  json.RawMessage // of the orders service
}

// A frame has the data that every page shows.
type frame struct {
	view
	Mode            config.Mode
	Who             string // is logged in; "" for nobody
	Headline, Lead  string
	Path            string // of the page
	Links           []link
	Instance, Other string // the name of this instance, and the URL of the other; "" if there is one
	Script          string // path; "" for none
}

// A link leads to a page.
type link struct{ Path, Text string }

// A page is the data of the template of the visitor's session.
type page struct {
	frame
	session.Record
	Form string // in which the session is: "token", "opaque", or "" if there is none

	Exists        bool
	Created       moment
	Authenticated moment
	Ends          moment // unless there is another request before
	Latest        moment
	Visits        int
	Packed        bool
	Values        []row
	Token         *tokenView
	Keys          []keyView
	Plan          template.HTML // picture of the keys' lives
	Orders        []row

	Secure         bool   // with -tls
	URL, OrdersURL string // of the application and the service
}

// A row is one member of a JSON object, or one value of the session.
type row struct {
	Name, Text string
	Note       string // what the member means
	Size       int    // of the value, in bytes of JSON
}

// A moment is an instant in words and in ISO 8601.
type moment struct{ Text, Relative, ISO string }

// A keyView is a key of the ring.
type keyView struct {
	ID, Algorithm, Does string
	State               string
	Now                 bool // it signs, or encrypts, new tokens
	From, Until, End    moment
	Revoked             moment // zero if it was not
	Encrypts            bool
	Uses                uint64 // of a key that encrypts
}

// render answers with the page of the visitor's session.
func (d *demo) render(w http.ResponseWriter, r *http.Request, status int, v view) {
	d.show(w, r, status, "home.html", d.view(r, v))
}

// show answers with a page. It makes the whole page before it sends a byte, so
// that a mistake in the template gives an error and not half a page.
func (d *demo) show(w http.ResponseWriter, r *http.Request, status int, name string, data any) {
	var body bytes.Buffer
	if err := d.pages.ExecuteTemplate(&body, name, data); err != nil {
		d.log.ErrorContext(r.Context(), "page could not be made", "error", err)
		http.Error(w, http.StatusText(http.StatusInternalServerError), http.StatusInternalServerError)
		return
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = w.Write(body.Bytes()) // the client may have gone
}

// frame returns what the page at path has in common with the others.
func (d *demo) frame(r *http.Request, path string) frame {
	f := frame{
		Mode: d.config.Mode, Who: session.From(r.Context()).Subject(), Path: path,
		Links: []link{{"/", "Session"}}, Instance: d.name, Other: d.other,
	}
	if f.Who != "" {
		f.Links = append(f.Links, link{"/live", "Live"})
	}
	if f.Who != "" && d.sessions.Devices != nil {
		f.Links = append(f.Links, link{"/devices", "Devices"})
	}
	if f.Who == adminName && d.sessions.Devices != nil {
		f.Links = append(f.Links, link{"/admin", "Users"})
	}
	return f
}

func (d *demo) view(r *http.Request, v view) *page {
	now := d.now()
	plan, err := drawKeys(d.sessions.Keys.Set(), now)
	if err != nil {
		d.log.ErrorContext(r.Context(), "keys could not be drawn", "error", err)
	}
	s := session.From(r.Context())
	rec := s.Snapshot()
	p := &page{
		frame: d.frame(r, "/"), Record: rec, Exists: rec.ID != "",
		Created: at(rec.CreatedAt, now), Authenticated: at(rec.AuthenticatedAt, now),
		Ends: at(rec.IdleDeadline, now), Latest: at(rec.Deadline, now),
		Visits: visits.Get(s), Packed: s.Has(string(suitcase)),
		Keys: d.keys(now), Plan: plan, Orders: members(v.Answer, now),
		Secure: strings.HasPrefix(d.url, "https:"), URL: d.url, OrdersURL: d.ordersURL,
	}
	for name, text := range rec.Values.All() {
		p.Values = append(p.Values, row{Name: name, Text: shorten(text), Size: len(text)})
	}
	if p.Exists {
		p.Form = "opaque"
		if p.Token = d.token(r, now); p.Token != nil {
			p.Form = "token"
		}
	}
	p.view = v
	p.Headline, p.Lead = d.words(p)
	return p
}

// words say in which form the session is, or will be.
func (d *demo) words(p *page) (headline, lead string) {
	const (
		ticket = "a random number that says nothing."
		keeps  = "The server keeps nothing of it."
		none   = "You have no session yet. "
	)
	switch {
	case p.Form == "token" && p.Token.Encrypted:
		return "You keep your coat on", "Your session travels with you, in a signed and encrypted token. " + keeps
	case p.Form == "token":
		return "You keep your coat on", "Your session travels with you, in a signed token. " + keeps
	case p.Form == "opaque":
		return "Your coat is checked in", "The server keeps your session. Your cookie is the ticket: " + ticket
	}
	headline = "May we take your coat?"
	switch d.config.Mode {
	case config.Opaque:
		return headline, none + "The server will keep it, and you will get a ticket: " + ticket
	case config.Auto:
		return headline, none + "It will travel with you while it fits into a cookie, and be checked in when it doesn’t."
	}
	return headline, none + "It will travel with you, in a signed token. " + keeps
}

// keys describes the ring.
func (d *demo) keys(now time.Time) []keyView {
	ring := d.sessions.Keys
	signer, _ := ring.Current(keys.Signature, now) // without one, none is marked
	sealer, _ := ring.Current(keys.Encryption, now)
	var all []keyView
	for _, k := range ring.Set().Keys() {
		dates := k.Dates()
		v := keyView{
			ID: k.ID(), Algorithm: string(k.Algorithm()), State: string(k.State(now)), Does: role(k, now),
			Now: k == signer || k == sealer, Encrypts: k.Use() == keys.Encryption, Uses: (*keyset.Key)(k).Uses(),
			From: at(dates.SignFrom, now), Until: at(dates.SignUntil, now), End: at(dates.VerifyUntil, now),
		}
		if k.Algorithm() == keys.Direct {
			v.Algorithm = "dir, A256GCM"
		}
		if when, _, revoked := k.Revoked(); revoked {
			v.Revoked = at(when, now)
		}
		all = append(all, v)
	}
	return all
}

// role says what a key does now.
func role(k *keys.Key, now time.Time) string {
	verb, reads := "sign", "verifies"
	if k.Use() == keys.Encryption {
		verb, reads = "encrypt", "decrypts"
	}
	switch k.State(now) {
	case keys.Staged, keys.Pending:
		return "will " + verb
	case keys.Active:
		return verb + "s"
	case keys.Retiring:
		return reads
	}
	return "is trusted no more"
}

// at describes t in relation to now.
func at(t, now time.Time) moment {
	if t.IsZero() {
		return moment{}
	}
	t = t.UTC()
	m := moment{Text: t.Format("2 Jan 2006, 15:04:05 UTC"), ISO: t.Format(time.RFC3339)}
	switch left := t.Sub(now); {
	case left >= time.Second:
		m.Relative = "in " + about(left)
	case left > -2*time.Second:
		m.Relative = "just now"
	default:
		m.Relative = about(-left) + " ago"
	}
	return m
}

// about returns d in days, or else in two units.
func about(d time.Duration) string {
	d = d.Round(time.Second)
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%d s", d/time.Second)
	case d < time.Hour:
		return fmt.Sprintf("%d min %d s", d/time.Minute, d%time.Minute/time.Second)
	case d < 48*time.Hour:
		return fmt.Sprintf("%d h %d min", d/time.Hour, d%time.Hour/time.Minute)
	}
	return fmt.Sprintf("%d days", d/(24*time.Hour))
}

// shorten cuts a long JSON text, and says how much is missing.
func shorten(text string) string {
	const keep = 96
	if runes := []rune(text); len(runes) > keep+24 {
		return fmt.Sprintf("%s … %s more", string(runes[:keep]), characters(len(runes)-keep))
	}
	return text
}

func characters(n int) string {
	text := fmt.Sprint(n)
	if len(text) > 3 {
		text = text[:len(text)-3] + "," + text[len(text)-3:]
	}
	return text + " characters"
}

// members returns the members of a JSON object in their order, each with
// a note.
func members(object json.RawMessage, now time.Time) []row {
	dec := json.NewDecoder(bytes.NewReader(object))
	if t, err := dec.Token(); err != nil || t != json.Delim('{') {
		return nil
	}
	var rows []row
	for dec.More() {
		name, err := dec.Token()
		if err != nil {
			return rows
		}
		var value json.RawMessage
		if err := dec.Decode(&value); err != nil {
			return rows
		}
		label := fmt.Sprint(name)
		rows = append(rows, row{Name: label, Text: shorten(plain(value)), Note: note(label, value, now)})
	}
	return rows
}

// plain returns a JSON string without its quotes, and everything else as it is.
func plain(value json.RawMessage) string {
	var text string
	if json.Unmarshal(value, &text) == nil {
		return text
	}
	return string(value)
}
