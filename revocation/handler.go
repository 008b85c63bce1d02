package revocation

import (
	"errors"
	"fmt"
	"net/http"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/cloakroom-go/cloakroom/internal/fault"
	"github.com/cloakroom-go/cloakroom/internal/keyset"
	"github.com/cloakroom-go/cloakroom/internal/webdoc"
	"github.com/cloakroom-go/cloakroom/keys"
	"github.com/cloakroom-go/cloakroom/session"
)

// documentLife is for how long a document may be served, by caches too. A
// reader adds it to the staleness.
const documentLife = time.Second

// HandlerConfig configures a [Handler].
type HandlerConfig struct {
	_ [0]func() // no unkeyed literals, no comparison

	// List is the application's list, which its carriers ask. Required.
	List *List

	// Ring has the keys. The one that signs must not be symmetric: a service that
	// can verify must not be able to sign. Required.
	Ring *keys.Ring

	// Issuer is iss of the documents: that of the service tokens. Required.
	Issuer string
}

// A Handler tells the services that verify service tokens what has ended: a
// [Remote] in each service asks it once a second or so. Mount it under any
// path. It lets everybody read, so put it where only services come, or behind
// their authentication: whoever reads it can guess subjects and find out when
// they log out.
//
// The answer to GET is one JWT, which the ring's signature key signs. It has
// the ends that a service token could still need: those of about the last half
// an hour, and after a restart all that are in force. Ends of sessions in which
// nobody was logged in are left out, because they have no service tokens. With
// ?after= and the position of an earlier answer, it has only what came since.
// Several positions can be given, so several instances can share one address:
// each answers from its own position, and with everything if it has none.
// Instances without a Log in common, such as those over Memcached, tell only
// what has ended on themselves: then a service needs a Remote for each of them.
//
// An answer has at most 1 MiB, which is about 14,000 ends. If there are more,
// it says so, and the reader asks again. It has a strong ETag, and may be
// cached for a second. The Handler answers 503 if no key can sign, and until
// the list has read its Log, if it has one.
type Handler struct {
	c    HandlerConfig
	last atomic.Pointer[made] // the last document
}

// A made document is ready to be sent.
type made struct {
	part
	webdoc.Document
	at time.Time
	by *keyset.Key
}

// NewHandler checks c and returns a Handler. It reports every mistake at once.
func NewHandler(c HandlerConfig) (*Handler, error) {
	bad := fault.In("revocation: HandlerConfig")
	bad.If(c.List == nil || c.List.ready() != nil, "List", "is required: Open makes one, or NewVolatile")
	bad.If(c.Ring == nil, "Ring", "is required")
	bad.If(c.Issuer == "" || !utf8.ValidString(c.Issuer), "Issuer", "is required: that of the service tokens")
	if err := bad.Err(); err != nil {
		return nil, err
	}
	h := &Handler{c: c}
	if _, err := h.key(c.List.now()); errors.Is(err, errSymmetric) {
		return nil, err
	}
	c.List.recent.keep()
	return h, nil
}

var errSymmetric = errors.New("revocation: the signing key is symmetric, so whoever verifies what has ended could " +
	"also make it up; make a key file with an ES256 key: keygen init")

// key returns the key that signs.
func (h *Handler) key(now time.Time) (*keyset.Key, error) {
	key, err := h.c.Ring.Current(keys.Signature, now)
	if by := (*keyset.Key)(key); err != nil || !by.Algorithm().Symmetric() {
		return by, err
	}
	return nil, errSymmetric
}

// ServeHTTP implements http.Handler.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !webdoc.Readable(w, r) {
		return
	}
	d, err := h.document(r.URL.Query()["after"])
	if err != nil {
		http.Error(w, "what has ended can't be told now", http.StatusServiceUnavailable)
		return
	}
	webdoc.Serve(w, r, d.Document)
}

// document returns what is behind the positions after. Most readers have read
// everything, and get the same one.
func (h *Handler) document(after []string) (*made, error) {
	l := h.c.List
	if l == nil {
		return nil, errors.New("revocation: the zero Handler: use NewHandler")
	}
	now := l.now()
	if l.feed != nil && l.feed.readAt.Load() == nil {
		return nil, fmt.Errorf("revocation: the log of the instances has not been read yet: %w", session.Unavailable)
	}
	stale := l.staleness() // before the entries are read
	p, err := l.recent.behind(after)
	if err != nil {
		return nil, err
	}
	by, err := h.key(now)
	if err != nil {
		return nil, err
	}
	if d := h.last.Load(); d != nil && d.id == p.id && d.after == p.after && d.last == p.last &&
		d.by == by && d.at.After(now.Add(-documentLife)) && !d.at.After(now) {
		return d, nil
	}
	says := document{issuer: h.c.Issuer, issued: now, stale: stale, log: p.id, after: p.after, ended: p.text()}
	says.upto, says.more = p.upto, p.upto < p.last
	body, err := by.Unsigned(typEnded, says.encode()).Sign()
	if err != nil {
		return nil, err
	}
	p.entries = nil
	d := &made{part: p, at: now, by: by, Document: webdoc.Document{
		Body: []byte(body), ETag: webdoc.ETag([]byte(body)),
		Type: "application/jwt", MaxAge: documentLife, Private: true,
	}}
	h.last.Store(d)
	return d, nil
}
