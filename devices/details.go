package devices

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/json"
	"net/http"
	"strings"
	"time"

	"github.com/cloakroom-go/cloakroom/session"
)

// minSecret is the size of the shortest secret, in bytes, as in package opaque.
const minSecret = 32

// detailsInfo separates this use of a secret from any other (RFC 5869, Section
// 3.2).
const detailsInfo = "cloakroom devices 1"

// details are the encrypted part of an entry.
type details struct {
	Created    int64  `json:"c"` // Unix seconds
	LoggedIn   int64  `json:"l"`
	Remembered bool   `json:"r,omitempty"`
	UserAgent  string `json:"u,omitempty"`
	Address    string `json:"a,omitempty"`
	Tags       []byte `json:"t,omitempty"` // session.Record.Tags, one behind the other
}

// What a user agent and an address are cut to, in bytes. So details always fit
// an Entry: clean makes sure that JSON needs no escapes.
const (
	maxUserAgent = 200
	maxAddress   = 64
)

// details returns the encrypted details of rec.
func (r *Registry) details(req *http.Request, rec *session.Record) []byte {
	d := details{Created: rec.CreatedAt.Unix(), LoggedIn: rec.AuthenticatedAt.Unix(), Remembered: rec.Persistent}
	if r.c.Client != nil && req != nil {
		agent, address := r.c.Client(req)
		d.UserAgent, d.Address = clean(agent, maxUserAgent), clean(address, maxAddress)
	}
	for _, tag := range rec.Tags {
		d.Tags = append(d.Tags, tag[:]...)
	}
	plain := must(json.Marshal(d))
	if len(r.boxes) == 0 {
		return plain
	}
	return r.boxes[0].Seal(nil, nil, plain, bound(rec.Subject, rec.ID))
}

// open returns what the details of e say. Of details that none of the secrets
// opens, it returns nothing: the session is there all the same, and can be
// ended.
func (r *Registry) open(subject string, e Entry) (d details) {
	plain := e.Details
	for _, box := range r.boxes {
		var err error
		if plain, err = box.Open(nil, nil, e.Details, bound(subject, e.ID)); err == nil {
			break
		}
	}
	if json.Unmarshal(plain, &d) != nil {
		return details{}
	}
	return d
}

// show sets what the details say.
func (d details) show(s *Session) {
	if d.Created == 0 {
		return
	}
	s.CreatedAt, s.LoggedInAt = time.Unix(d.Created, 0), time.Unix(d.LoggedIn, 0)
	s.Remembered, s.UserAgent, s.Address = d.Remembered, d.UserAgent, d.Address
}

func (d details) tags() (all []session.LoginTag) {
	const size = len(session.LoginTag{})
	for b := d.Tags; len(b) >= size; b = b[size:] {
		all = append(all, session.LoginTag(b[:size]))
	}
	return all
}

// newBoxes returns what encrypts under each secret, with random nonces.
func newBoxes(secrets [][]byte) (boxes []cipher.AEAD) {
	for _, secret := range secrets {
		key := must(hkdf.Key(sha256.New, secret, nil, detailsInfo, 32))
		boxes = append(boxes, must(cipher.NewGCMWithRandomNonce(must(aes.NewCipher(key)))))
	}
	return boxes
}

// bound binds details to their entry: somebody who can write to the index can't
// show the details of one session at another.
func bound(subject, id string) []byte { return []byte(hashOf(subject) + id) }

// clean returns what JSON keeps as it is of the printable ASCII of s. Clients
// choose their user agent.
func clean(s string, most int) string {
	s = strings.Map(func(c rune) rune {
		if c < ' ' || c > '~' || strings.ContainsRune(`"\<>&`, c) {
			return -1
		}
		return c
	}, s[:min(len(s), 4*most)])
	return s[:min(len(s), most)]
}

// must is for calls that can't fail with these arguments.
func must[T any](v T, err error) T {
	if err != nil {
		panic("devices: internal error: " + err.Error())
	}
	return v
}
