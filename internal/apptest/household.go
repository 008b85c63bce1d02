package apptest

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"strings"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/middleware"
	"github.com/cloakroom-go/cloakroom/session"
)

// A household is some visitors whose secrets are noted: all that a client may
// know and a server of sessions must not.
type household struct {
	*burglar
	secrets []string
	lost    *doubtful
	opaque  *middleware.Middleware // with answers that get lost
	auto    *middleware.Middleware
}

func newHousehold(b *burglar) *household {
	h := &household{burglar: b, lost: &doubtful{Store: b.w.tally}}
	b.w.Store = h.lost
	h.opaque = b.w.Middleware(b, "opaque")
	b.w.Store = b.w.tally
	h.auto = b.w.Middleware(b, "auto")
	return h
}

// word returns one that stands nowhere else, and notes it.
func (h *household) word() string {
	word := "w" + hex.EncodeToString(Random(12))
	h.secrets = append(h.secrets, word)
	return word
}

// visit is a request whose credential, session ID and new credential are noted.
func (h *household) visit(m *middleware.Middleware, credential string, f func(s *session.Session) error) string {
	_, next := Visit(m, credential, func(s *session.Session) {
		assert.NoError(h, f(s))
		if s.ID() != "" {
			h.secrets = append(h.secrets, s.ID())
		}
	})
	require.NotEmpty(h, next)
	// A token consists of segments, and an opaque credential of its prefix and
	// secrets.
	for part := range strings.FieldsFuncSeq(next, func(r rune) bool { return r == '.' }) {
		part = strings.TrimPrefix(strings.TrimPrefix(part, "cr1_"), "crd1_")
		if len(part) >= 16 {
			h.secrets = append(h.secrets, part)
		}
	}
	return next
}

// live leads some sessions through all that a store can be asked to keep.
func (h *household) live() {
	set := func(s *session.Session) error {
		return session.Key[any]("name "+h.word()).Set(s, map[string]string{h.word(): "\"ü\"\n" + h.word()})
	}
	big := func(size int) func(s *session.Session) error {
		return func(s *session.Session) error {
			return session.Key[any]("big").Set(s, h.word()+strings.Repeat("-", size)+h.word())
		}
	}
	renew := func(s *session.Session) error { return s.Renew() }
	for range 3 {
		subject := "zoë \"z\" " + h.word() + "@example.com"
		h.secrets = append(h.secrets, subject)
		login := func(s *session.Session) error { return s.Login(subject) }
		c := h.visit(h.opaque, "", set)
		c = h.visit(h.opaque, c, login)
		c = h.visit(h.opaque, c, set)
		c = h.visit(h.opaque, c, renew)
		h.lost.doubt = true
		_, ticket := Visit(h.opaque, c, func(s *session.Session) { assert.NoError(h, s.Renew()) })
		h.lost.doubt, h.lost.lost = false, 0
		require.True(h, strings.HasPrefix(ticket, "crd1_"), "a renewal in doubt")
		h.secrets = append(h.secrets, strings.TrimPrefix(ticket, "crd1_"))
		h.visit(h.opaque, ticket, set)

		c = h.visit(h.auto, "", login) // into the store, and back
		c = h.visit(h.auto, c, big(6000))
		require.Equal(h, "opaque", Form(c))
		h.visit(h.auto, c, big(10))
		h.visit(h.auto, "", big(6000))
		c = h.visit(h.auto, "", big(6000))
		status, _ := Visit(h.auto, c, func(s *session.Session) { assert.NoError(h, s.Destroy()) })
		require.Equal(h, http.StatusOK, status)
	}
}

// tableWords are values and subjects of the tables that Run plays.
func tableWords() []string {
	return []string{"visits", "victim", "mallory", "aubergine", "deep enough", "alice@example.com"}
}

// FormsOf returns what a secret looks like where it is kept with or without an
// encoding, by the name of that.
func FormsOf(secret string) map[string][]byte {
	forms := map[string][]byte{}
	add := func(name string, b []byte) {
		forms[name] = b
		forms[name+" in hex"] = []byte(hex.EncodeToString(b))
		forms[name+" in HEX"] = []byte(strings.ToUpper(hex.EncodeToString(b)))
		for shift := range 3 { // by where in a group of three bytes it begins
			text := base64.RawStdEncoding.EncodeToString(append(make([]byte, shift), b...))
			text = text[(shift*8+5)/6 : (shift+len(b))*8/6] // without what depends on its neighbours
			forms[name+" in base64 "+"012"[shift:shift+1]] = []byte(text)
			forms[name+" in base64url "+"012"[shift:shift+1]] = []byte(strings.NewReplacer("+", "-", "/", "_").Replace(text))
		}
	}
	add("text", []byte(secret))
	if quoted, err := json.Marshal(secret); err == nil {
		forms["JSON"] = quoted[1 : len(quoted)-1]
	}
	if raw, err := base64.RawURLEncoding.DecodeString(secret); err == nil {
		add("content", raw)
	}
	return forms
}
