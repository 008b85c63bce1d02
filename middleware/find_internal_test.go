package middleware

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/cloakroom-go/cloakroom/session"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var findingAt = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// A cloakCarrier has a session, a successor or an error for each credential. It
// has no other methods: whoever only looks calls no other.
type cloakCarrier struct {
	Carrier
	all map[string]cloak
}

type cloak struct {
	rec     *session.Record
	leads   string // to another credential
	err     error
	updated *session.Record // what is found when it is looked up again
}

func (c *cloakCarrier) Recognizes(credential string) bool { return strings.HasPrefix(credential, "c-") }
func (c *cloakCarrier) MaxLength() int                    { return 100 }

func (c *cloakCarrier) Open(_ context.Context, credential string) (*session.Record, string, error) {
	found, ok := c.all[credential]
	if !ok {
		return nil, "", session.NotFound
	}
	current := credential
	if found.leads != "" {
		current = found.leads
	}
	return found.rec, current, found.err
}

func (c *cloakCarrier) Reopen(
	_ context.Context, credential string, known *session.Record,
) (*session.Record, string, error) {
	if rec := c.all[credential].updated; rec != nil {
		return rec, credential, nil
	}
	return known, credential, nil
}

// rec returns a session that was seen some time ago.
func rec(id string, generation, version uint64, seen time.Duration) *session.Record {
	at := findingAt.Add(-seen)
	return &session.Record{
		ID: id, Generation: generation, Version: version, CreatedAt: at, SeenAt: at,
		IdleDeadline: at.Add(20 * time.Minute), Deadline: at.Add(12 * time.Hour),
	}
}

var cloaks = map[string]cloak{
	"c-A":          {rec: rec("A", 1, 5, 0)},
	"c-A-later":    {rec: rec("A", 1, 6, 0)},
	"c-A-renewed":  {rec: rec("A", 2, 1, 0)},
	"c-A-moved":    {leads: "c-A"},
	"c-B":          {rec: rec("B", 1, 1, 0)},
	"c-idle":       {rec: rec("I", 1, 1, 20*time.Minute)},
	"c-active":     {rec: rec("M", 1, 1, 20*time.Minute), updated: rec("M", 1, 1, 0)},
	"c-old":        {rec: rec("O", 1, 1, 12*time.Hour)},
	"c-down":       {err: session.Unavailable},
	"c-ended":      {err: session.Ended},
	"c-superseded": {err: &session.SupersededError{At: findingAt.Add(-59 * time.Second)}},
	"c-long-ago":   {err: &session.SupersededError{At: findingAt.Add(-time.Minute)}},
	"c-circle":     {leads: "c-circle-2"},
	"c-circle-2":   {leads: "c-circle"},
	"c-elsewhere":  {leads: "unknown"},
}

// What the cookies of a request stand for, and what is said of the others: the
// session and the credential that the client holds, then the refusals, the
// sessions that ambiguous cookies open, and whether the client may hold a newer
// cookie. A look deletes nothing and calls no hook.
func TestFind(t *testing.T) {
	for _, row := range []struct{ cookies, want string }{
		{"", "anonymous"},
		{"c-A", "A by c-A"},
		{"c-A c-A", "A by c-A"},
		{"c-none", "anonymous not_found"},
		{"c-ended", "anonymous ended"},
		{"other", "anonymous malformed"},
		{"other c-A", "A by c-A malformed"},
		{"c-ended c-A c-none", "A by c-A ended not_found"},
		{"c-A c-A-later", "A by c-A-later"},
		{"c-A-later c-A", "A by c-A-later"},
		{"c-A-renewed c-A-later", "A by c-A-renewed"},
		{"c-A-moved", "A by c-A-moved"},
		{"c-A c-A-moved", "A by c-A"},
		{"c-A c-B", "anonymous ambiguous rivals B A"},
		{"c-A c-B c-A-later", "anonymous ambiguous rivals B A"},
		{"c-A c-A-later c-A-renewed c-A-moved c-none", "anonymous ambiguous rivals A"},
		{"c-idle", "anonymous over I:idle_timeout"},
		{"c-old", "anonymous over O:lifetime_over"},
		{"c-active", "M by c-active"},
		{"c-idle c-A", "A by c-A over I:idle_timeout"},
		{"c-superseded", "anonymous ended newer"},
		{"c-superseded c-A", "A by c-A ended newer"},
		{"c-long-ago", "anonymous ended"},
		{"c-circle", "anonymous ended"},
		{"c-elsewhere", "anonymous malformed"},
		{"c-down", "unavailable"},
		{"c-A c-down c-B", "unavailable"},
		{"cross-site", "anonymous newer"},
		{"cross-site c-A", "A by c-A"},
	} {
		assert.Equal(t, row.want, findingOf(t, row.cookies), row.cookies)
	}
}

func findingOf(t *testing.T, cookies string) string {
	forbidden := func(context.Context, Event) { t.Error("an event was raised") }
	m, err := New(Config{
		Carrier: &cloakCarrier{all: cloaks}, Cookie: Cookie{SameSite: http.SameSiteStrictMode},
		Now: func() time.Time { return findingAt }, OnEvent: forbidden,
	})
	require.NoError(t, err)
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	for _, value := range strings.Fields(cookies) {
		if value == "cross-site" {
			r.Header.Set("Sec-Fetch-Site", value)
			continue
		}
		r.AddCookie(&http.Cookie{Name: DefaultCookieName, Value: value})
	}
	var list [maxTried]candidate
	found, from := m.read(r, list[:0])
	if err := m.find(t.Context(), from, &found); err != nil {
		return session.ReasonOf(err).String()
	}
	return found.String()
}

func (f finding) String() string {
	words := []string{"anonymous"}
	if f.session.rec != nil {
		words = []string{f.session.rec.ID, "by", f.client.holds}
	}
	for _, refused := range f.refusals {
		word := session.ReasonOf(refused.err).String()
		if over := refused.over.rec; over != nil {
			word = fmt.Sprintf("over %s:%s", over.ID, word)
		}
		words = append(words, word)
	}
	if f.rivals != nil {
		words = append(words, "rivals")
	}
	for _, rival := range f.rivals {
		words = append(words, rival.rec.ID)
	}
	if f.client.newer != nil {
		words = append(words, "newer")
	}
	return strings.Join(words, " ")
}
