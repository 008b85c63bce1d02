package backchannel_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/backchannel"
	"github.com/cloakroom-go/cloakroom/revocation"
	"github.com/cloakroom-go/cloakroom/session"
)

// A sid names one session at the provider, also if the token has a sub, too. A
// sub alone means all of them. Nobody else's sessions end, at this provider or
// at another one that uses the same names.
func TestWhoseSessionsEnd(t *testing.T) {
	p, other := newProvider(t, "https://id.example"), newProvider(t, "https://id.example/2")
	for _, row := range []struct {
		name string
		who  fields
		want [4]bool // alice's sessions s1, s2 and one without a sid, bob's s1
	}{
		{"sid", fields{"sid": "s1"}, [4]bool{true, false, false, true}},
		{"sid and sub", fields{"sid": "s2", "sub": "alice"}, [4]bool{false, true, false, false}},
		{"sub", fields{"sub": "alice"}, [4]bool{true, true, true, false}},
		{"sub that is a sid", fields{"sub": "s1"}, [4]bool{}},
		{"sid that is a sub", fields{"sid": "alice"}, [4]bool{}},
		{"unknown sid", fields{"sid": "s3", "sub": "alice"}, [4]bool{}},
	} {
		d := newDesk()
		var here, there []*session.Record
		for _, login := range [][2]string{{"alice", "s1"}, {"alice", "s2"}, {"alice", ""}, {"bob", "s1"}} {
			here = append(here, d.login(p, login[0], login[1]))
			there = append(there, d.login(other, login[0], login[1]))
		}
		untagged := &session.Record{ID: "1", Subject: "alice", CreatedAt: d.now, AuthenticatedAt: d.now}
		var told []backchannel.Logout
		h := p.handler(t, d.List, d.at, func(c *backchannel.Config) {
			c.OnLogout = func(_ context.Context, l backchannel.Logout) error { told = append(told, l); return nil }
		})
		require.Equal(t, 200, post(h, p.logout(t, d.now, row.who)).Code)
		for i, rec := range here {
			require.Equal(t, row.want[i], d.ended(rec), "%s: session %d", row.name, i)
			require.False(t, d.ended(there[i]), "%s: session %d at the other provider", row.name, i)
		}
		require.False(t, d.ended(untagged), "the application's subject of that name is somebody else")
		subject, _ := row.who["sub"].(string)
		sid, _ := row.who["sid"].(string)
		until := d.now.Add(999 * time.Millisecond)
		require.Len(t, told, 1)
		require.True(t, until.Equal(told[0].Until))
		until = told[0].Until
		require.Equal(t, []backchannel.Logout{{Issuer: p.issuer, Subject: subject, SessionID: sid, Until: until}}, told)
	}
}

// A provider can't speak for another one, even if it is configured here too.
func TestProvidersStandAlone(t *testing.T) {
	p, other, d := newProvider(t, "https://id.example"), newProvider(t, "https://login.example"), newDesk()
	rec := d.login(p, "alice", "s1")
	for _, h := range []*backchannel.Handler{p.handler(t, d.List, d.at), other.handler(t, d.List, d.at)} {
		claims := other.claims(d.now, fields{"iss": p.issuer, "sub": "alice"})
		isRefused(t, post(h, other.sign(t, claims, nil)))
	}
	isRefused(t, post(other.handler(t, d.List, d.at), p.logout(t, d.now, fields{"sub": "alice"})))
	require.False(t, d.ended(rec))
}

// Sessions end that began until the token was made, whenever it comes, and
// however often.
func TestInstant(t *testing.T) {
	p, d := newProvider(t, "https://id.example"), newDesk()
	var until time.Time
	h := p.handler(t, d.List, d.at, func(c *backchannel.Config) {
		c.OnLogout = func(_ context.Context, l backchannel.Logout) error { until = l.Until; return nil }
	})
	made := d.now.Add(400 * time.Millisecond) // iat is a whole second
	text := p.logout(t, made, fields{"sub": "alice"})
	d.now = d.now.Add(999 * time.Millisecond)
	before := d.login(p, "alice", "s1")
	d.now = d.now.Add(time.Millisecond)
	after := d.login(p, "alice", "s2")
	d.now = d.now.Add(2 * time.Minute)
	require.Equal(t, 200, post(h, text).Code)
	require.Equal(t, made.Truncate(time.Second).Add(999*time.Millisecond), until.UTC())
	later := d.login(p, "alice", "s3")
	for range 3 {
		require.True(t, d.ended(before))
		require.False(t, d.ended(after), "a login before the token came")
		require.False(t, d.ended(later), "a login after the token came")
		require.Equal(t, 1, d.Len(), "nothing is stored for each time that it comes")
		require.Equal(t, 200, post(h, text).Code)
		d.now = d.now.Add(3 * time.Second)
	}
	d.now = made.Truncate(time.Second).Add(5*time.Minute + 10*time.Second)
	isRefused(t, post(h, p.sign(t, p.claims(made, fields{"sub": "alice", "exp": nil}), nil)))

}

// If the provider's clock is ahead, a login after the token has come goes on
// all the same, and also when it comes again.
func TestProviderIsAhead(t *testing.T) {
	p, d := newProvider(t, "https://id.example"), newDesk()
	h, text := p.handler(t, d.List, d.at), p.logout(t, d.now.Add(5*time.Second), fields{"sub": "alice"})
	before := d.login(p, "alice", "s1")
	require.Equal(t, 200, post(h, text).Code)
	require.True(t, d.ended(before))
	d.now = d.now.Add(time.Millisecond)
	after, err := d.Admit(d.login(p, "alice", "s2")) // as every carrier does
	require.NoError(t, err)
	for range 10 {
		require.False(t, d.ended(after))
		d.now = d.now.Add(time.Second)
		require.Equal(t, 200, post(h, text).Code)
	}
}

// If the provider's clock is behind, Skew makes up for it.
func TestProviderIsBehind(t *testing.T) {
	p, d := newProvider(t, "https://id.example"), newDesk()
	d.List = revocation.NewVolatile(revocation.Config{Lifetime: time.Hour, Now: d.clock, Skew: 5 * time.Second})
	rec := d.login(p, "alice", "s1")
	d.now = d.now.Add(time.Second)
	text := p.logout(t, d.now.Add(-5*time.Second), fields{"sid": "s1"})
	require.Equal(t, 200, post(p.handler(t, d.List, d.at), text).Code)
	require.True(t, d.ended(rec))
}

// No two pairs of names share a tag, and a login with a missing name fails.
func TestTags(t *testing.T) {
	seen := make(map[session.LoginTag]bool)
	for _, names := range [][3]string{
		{"https://id.example", "alice", "s1"}, {"https://id.example/", "bob", "s2"}, {"https://id.exampl", "ealice", "es1"},
		{"https://id.example2", "alice", "s1"}, {"https://id.example", "2alice", "2s1"}, {"s3", "b", "b:"}, {"1", ":b", "b"},
	} {
		tags := tagsOf(backchannel.Tags(names[0], names[1], names[2]))
		require.Len(t, tags, 2)
		for _, tag := range tags {
			require.NotZero(t, tag)
			require.False(t, seen[tag], "%q", names)
			seen[tag] = true
		}
		require.Equal(t, tags[:1], tagsOf(backchannel.Tags(names[0], names[1], "")))
	}
	for _, names := range [][3]string{{"", "alice", ""}, {"", "alice", "s1"}, {"https://id.example", "", "s1"}} {
		require.Contains(t, tagsOf(backchannel.Tags(names[0], names[1], names[2])), session.LoginTag{}, "which Login refuses")
	}
}
