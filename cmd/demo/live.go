package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"github.com/cloakroom-go/cloakroom/session"
)

const (
	// beatEvery is how often the stream says that the session is alive.
	beatEvery = 5 * time.Second

	// streamLife is how long a stream lasts. Then the browser connects again,
	// which counts as activity, so it must be less than the idle timeout.
	streamLife = 5 * time.Minute
)

// showLive answers with a page that shows the stream.
func (d *demo) showLive(w http.ResponseWriter, r *http.Request) {
	f := d.frame(r, "/live")
	f.Headline, f.Script = "Live", "/web/live.js"
	f.Lead = "This page notices by itself when your session is over, on whichever instance it is ended."
	w.Header().Set("Content-Security-Policy", policy+"; script-src 'self'; connect-src 'self'")
	d.show(w, r, http.StatusOK, "live.html", f)
}

// live sends server-sent events until the session is over. A browser that
// loses the stream connects again, with the cookie that it has by then. So a
// session that was only renewed goes on, and one that is over gets "ended".
func (d *demo) live(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	s := session.From(r.Context())
	if s.Subject() == "" {
		fmt.Fprint(w, "event: ended\ndata:\n\n")
		return
	}
	who, err := json.Marshal(s.Subject())
	if err != nil {
		d.fail(w, r, err)
		return
	}
	out := http.NewResponseController(w)
	_ = out.SetReadDeadline(time.Time{}) // the server's limit would end the request's context
	beat := time.NewTicker(beatEvery)
	defer beat.Stop()
	end := time.After(streamLife)
	for {
		_ = out.SetWriteDeadline(time.Now().Add(2 * beatEvery))
		fmt.Fprintf(w, "retry: 500\nevent: alive\ndata: %s\n\n", who)
		if out.Flush() != nil {
			return
		}
		select {
		case <-beat.C:
		case <-s.Ended():
			return
		case <-r.Context().Done(): // the browser has gone
			return
		case <-end:
			return
		case <-d.stopping:
			return
		}
	}
}
