// Package webdoc serves documents such as key sets: caches may keep them for a
// while, and clients ask with an ETag whether they have changed.
package webdoc

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net/http"
	"time"
)

// A Document is a body, and what the header says of it.
type Document struct {
	Body   []byte
	Type   string        // Content-Type
	ETag   string        // of Body, see [ETag]
	MaxAge time.Duration // how long caches may keep it, in whole seconds; 0: not at all

	// Private says that not everybody may read it: only the client's own cache may
	// keep it (RFC 9111, Section 5.2.2.7).
	Private bool
}

// ETag returns the strong ETag of body.
func ETag(body []byte) string {
	sum := sha256.Sum256(body)
	return `"` + base64.RawURLEncoding.EncodeToString(sum[:16]) + `"`
}

// Readable reports whether r is a GET or a HEAD, and answers 405 to all other
// requests. Whatever is answered afterwards must not be kept by caches, unless
// it is a document: see [Serve].
func Readable(w http.ResponseWriter, r *http.Request) bool {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, "method not allowed", http.StatusMethodNotAllowed)
		return false
	}
	w.Header().Set("Cache-Control", "no-store")
	return true
}

// Serve answers a request that is [Readable] with d, or with 304 if the client
// has it already.
func Serve(w http.ResponseWriter, r *http.Request, d Document) {
	h := w.Header()
	h.Set("Content-Type", d.Type)
	h.Set("X-Content-Type-Options", "nosniff")
	if d.MaxAge > 0 {
		who := "public"
		if d.Private {
			who = "private"
		}
		h.Set("Cache-Control", fmt.Sprintf("%s, max-age=%d", who, int(d.MaxAge.Seconds())))
	}
	h.Set("ETag", d.ETag)
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(d.Body)) // answers If-None-Match
}
