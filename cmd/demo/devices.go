package main

import (
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/cloakroom-go/cloakroom/session"
)

// client returns what lists show of the device that logs in, or nil if there
// are no lists.
func (d *demo) client() func(*http.Request) (userAgent, address string) {
	if !d.config.Devices.Enabled {
		return nil
	}
	return func(r *http.Request) (userAgent, address string) {
		host, _, _ := net.SplitHostPort(r.RemoteAddr) // behind a proxy it would be the proxy's
		return r.UserAgent(), host
	}
}

// A device is a session of a user, for a page and as JSON.
type device struct {
	ID         string    `json:"id"`
	Current    bool      `json:"current"`
	Remembered bool      `json:"remembered"`
	UserAgent  string    `json:"user_agent"`
	Address    string    `json:"address"`
	CreatedAt  time.Time `json:"created_at"`
	SeenAt     time.Time `json:"seen_at"`

	Name          string `json:"-"` // of the browser, for people
	Created, Seen moment `json:"-"`
}

// devices lists the sessions of a user.
func (d *demo) devices(r *http.Request, user string) ([]device, error) {
	list, err := d.sessions.Devices.List(r.Context(), user)
	now, all := d.now(), make([]device, 0, len(list))
	for _, s := range list {
		all = append(all, device{
			s.ID, s.Current, s.Remembered, s.UserAgent, s.Address, s.CreatedAt.UTC(), s.SeenAt.UTC(),
			browserName(s.UserAgent), at(s.CreatedAt, now), at(s.SeenAt, now),
		})
	}
	return all, err
}

// A devicesPage is the data of the templates that list the sessions of a user.
type devicesPage struct {
	frame
	User    string // who is listed
	Devices []device
}

// list answers with the sessions of a user.
func (d *demo) list(w http.ResponseWriter, r *http.Request, user, template string, f frame) {
	all, err := d.devices(r, user)
	switch {
	case err != nil:
		d.fail(w, r, err)
	case wantsPage(r):
		d.show(w, r, http.StatusOK, template, devicesPage{f, user, all})
	default:
		writeJSON(w, http.StatusOK, all)
	}
}

func (d *demo) showDevices(w http.ResponseWriter, r *http.Request) {
	f := d.frame(r, "/devices")
	f.Headline = "Your devices"
	f.Lead = "Each session in which you are logged in, on whichever instance."
	d.list(w, r, f.Who, "devices.html", f)
}

// endDevice ends a session of the visitor. It names the visitor, so the ID of
// somebody else's session ends nothing.
func (d *demo) endDevice(w http.ResponseWriter, r *http.Request) {
	subject := session.From(r.Context()).Subject()
	d.ended(w, r, "/devices", d.sessions.Devices.End(r.Context(), subject, r.PostFormValue("id")))
}

func (d *demo) endOthers(w http.ResponseWriter, r *http.Request) {
	d.ended(w, r, "/devices", d.sessions.Revocations.EndOthers(r.Context()))
}

// ended answers a request that was to end sessions.
func (d *demo) ended(w http.ResponseWriter, r *http.Request, page string, err error) {
	if err != nil {
		d.fail(w, r, err)
		return
	}
	d.done(w, r, page, map[string]bool{"ended": true})
}

// browserName says what a User-Agent means, as far as people care.
func browserName(userAgent string) string {
	find := func(otherwise string, pairs ...string) string {
		for i := 0; i < len(pairs); i += 2 {
			if strings.Contains(userAgent, pairs[i]) {
				return pairs[i+1]
			}
		}
		return otherwise
	}
	browser := find("A browser or script", "curl/", "curl", "Edg/", "Edge", "OPR/", "Opera", "Firefox/", "Firefox",
		"Chrome/", "Chrome", "Safari/", "Safari")
	system := find("", "Android", "Android", "iPhone", "iPhone", "iPad", "iPad", "Windows", "Windows",
		"Mac OS X", "a Mac", "Linux", "Linux")
	if system == "" {
		return browser
	}
	return browser + " on " + system
}
