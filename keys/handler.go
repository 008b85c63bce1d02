package keys

import (
	"net/http"
	"time"

	"github.com/cloakroom-go/cloakroom/internal/keyset"
	"github.com/cloakroom-go/cloakroom/internal/webdoc"
)

// Handler answers GET and HEAD with the JWK Set that verifiers need (RFC 7517,
// Section 5): the public halves of the signature keys that are pending, active
// or retiring. The set never has a symmetric key, or one that encrypts.
//
// Caches may keep the set for 10 minutes, and ask with its strong ETag whether
// it has changed. They must not keep a set without keys. A ring without any
// keys answers 503, because to verifiers an empty set says that no key is
// trusted.
func (r *Ring) Handler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if !webdoc.Readable(w, req) {
			return
		}
		s := r.load()
		if len(s.byID) == 0 {
			http.Error(w, "there are no keys", http.StatusServiceUnavailable)
			return
		}
		p, err := s.publish(r.now())
		if err != nil {
			http.Error(w, "the key set can't be served", http.StatusInternalServerError)
			return
		}
		d := webdoc.Document{Body: p.body, Type: "application/jwk-set+json", ETag: p.etag}
		if len(p.kids) > 0 {
			d.MaxAge = keyset.JWKSMaxAge
		}
		webdoc.Serve(w, req, d)
	})
}

// A publication is the public set as it is served, and the time for which it is
// right.
type publication struct {
	body        []byte
	etag        string
	kids        map[string]bool // IDs of the keys in body
	from, until time.Time       // until is zero if nothing will change
}

func (p *publication) covers(now time.Time) bool {
	return p != nil && !now.Before(p.from) && (p.until.IsZero() || now.Before(p.until))
}

// publish returns the public set at the time now, computed anew when a key
// changes its state.
func (s *snapshot) publish(now time.Time) (*publication, error) {
	if p := s.published.Load(); p.covers(now) {
		return p, nil
	}
	body, err := s.set.PublicSet(now)
	if err != nil {
		return nil, err
	}
	listed, err := keyset.ReadPublicSet(body) // as its readers will see it
	if err != nil {
		return nil, err
	}
	p := &publication{body: body, etag: webdoc.ETag(body), kids: make(map[string]bool), from: now}
	for _, k := range listed.Keys {
		p.kids[k.ID()] = true
	}
	p.until = s.set.Changes(now)
	s.published.Store(p)
	return p, nil
}
