package keys

import (
	"bytes"
	"fmt"
	"net/http"
	"time"
)

// Handler serves the ring's public set, see [Set.PublicSet], to GET and HEAD as
// application/jwk-set+json (RFC 7517, Section 8.5.2). Caches may keep it for 10 minutes, and ask
// with its strong ETag whether it has changed. A set without keys is not to be kept, and a ring without any keys has none to
// serve (503): to verifiers an empty set says that no key is trusted.
func (r *Ring) Handler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if req.Method != http.MethodGet && req.Method != http.MethodHead {
			w.Header().Set("Allow", "GET, HEAD")
			http.Error(w, "method not allowed", http.StatusMethodNotAllowed)
			return
		}
		s, h := r.load(), w.Header()
		if len(s.byID) == 0 {
			h.Set("Cache-Control", "no-store")
			http.Error(w, "there are no keys", http.StatusServiceUnavailable)
			return
		}
		p, err := s.publish(r.now())
		if err != nil {
			http.Error(w, "the key set can't be served", http.StatusInternalServerError)
			return
		}
		h.Set("Content-Type", "application/jwk-set+json")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Cache-Control", "no-store")
		if len(p.kids) > 0 {
			h.Set("Cache-Control", fmt.Sprintf("public, max-age=%d", int(jwksMaxAge.Seconds())))
		}
		h.Set("ETag", p.etag)
		http.ServeContent(w, req, "", time.Time{}, bytes.NewReader(p.body)) // answers If-None-Match
	})
}

func (r *Ring) now() time.Time {
	if r.clock != nil {
		return r.clock()
	}
	return time.Now()
}
