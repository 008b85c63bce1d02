package revocation_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/revocation"
	"github.com/cloakroom-go/cloakroom/session"
)

func tagged(subject string, at time.Time, tags ...session.LoginTag) *session.Record {
	rec := login(subject, at)
	rec.Tags = tags
	return rec
}

// An end of a tag reaches the logins with the tag until now, and no others. It
// survives a restart.
func TestEndTag(t *testing.T) {
	acme, other := session.Tag("tenant", "acme"), session.Tag("tenant", "other")
	c, path := newClock(), journalPath(t)
	l := open(t, path, c)
	before := tagged("alice", c.Now(), session.Tag("device", "1"), acme)
	require.NoError(t, l.EndTag(t.Context(), "tenant", "acme"))
	c.advance(time.Millisecond)
	for range 2 {
		require.ErrorIs(t, l.Check(before), session.Ended)
		require.ErrorIs(t, l.Check(tagged("bob", start, acme)), session.Ended)
		require.NoError(t, l.Check(tagged("bob", start, other)))
		require.NoError(t, l.Check(login("alice", start)))
		require.NoError(t, l.Check(anonymous(start)))
		require.NoError(t, l.Check(tagged("alice", c.Now(), acme)))
		require.Equal(t, 1, l.Len())
		require.NoError(t, l.Close())
		l = open(t, path, c)
	}
	c.advance(2 * lifetime)
	require.NoError(t, l.EndTag(t.Context(), "tenant", "new"))
	for _, row := range [][2]string{{"", ""}, {"tenant", ""}, {"", "acme"}} {
		require.ErrorIs(t, l.EndTag(t.Context(), row[0], row[1]), session.BadValue)
	}
}

// A subject that looks like a tag is not one, whoever chose it.
func TestTagIsNoSubject(t *testing.T) {
	lists(t, func(t *testing.T, l *revocation.List, c *clock) {
		tag := session.Tag("tenant", "acme")
		require.NoError(t, l.EndSubject(t.Context(), "cloakroom tag\x00\x06tenantacme"))
		require.NoError(t, l.EndSubject(t.Context(), string(tag[:])))
		require.NoError(t, l.Check(tagged("alice", start, tag)))
		require.NoError(t, l.EndTag(t.Context(), "tenant", "acme"))
		require.NoError(t, l.Check(login("tenantacme", start)))
	})
}

// A login that is under way when its tag is ended fails; one that begins later
// counts, also where clocks differ.
func TestAdmitTagged(t *testing.T) {
	for _, skew := range []time.Duration{0, 5 * time.Second} {
		c := newClock()
		l := revocation.NewVolatile(revocation.Config{Lifetime: lifetime, Now: c.Now, Skew: skew})
		tag := session.Tag("tenant", "acme")
		begun := tagged("alice", c.Now(), tag)
		c.advance(time.Second)
		require.NoError(t, l.EndTag(t.Context(), "tenant", "acme"))
		_, err := l.Admit(begun)
		require.ErrorIs(t, err, session.Ended)
		c.advance(time.Millisecond)
		admitted, err := l.Admit(tagged("alice", c.Now(), tag))
		require.NoError(t, err)
		require.NoError(t, l.Check(admitted))
		c.advance(time.Millisecond)
		require.NoError(t, l.EndTag(t.Context(), "tenant", "acme"))
		require.ErrorIs(t, l.Check(admitted), session.Ended)
	}
}

// An end of a tag is heard on other instances, and by those who watch a session
// with it there. OnEnd gets the kind of the tag, and not its value.
func TestEndTagElsewhere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := newMemoryLog()
		var told []revocation.Ending
		a := shared(t, log, func(c *revocation.Config) {
			c.OnEnd = func(_ context.Context, of revocation.Ending, _ error) { told = append(told, of) }
		})
		b := shared(t, log)
		synctest.Wait()
		with, without := recordOf("one", "alice"), recordOf("two", "alice")
		with.Tags = []session.LoginTag{session.Tag("device", "1"), session.Tag("tenant", "acme")}
		watched, other := watch(b, with), watch(b, without)
		time.Sleep(time.Second)
		require.NoError(t, a.EndTag(t.Context(), "tenant", "acme"))
		synctest.Wait()
		require.ErrorIs(t, b.Check(with), session.Ended)
		require.EqualValues(t, 1, watched.ended.Load())
		require.Zero(t, other.ended.Load())
		require.Equal(t, []revocation.Ending{{TagKind: "tenant"}}, told)
		watched.stop()
		other.stop()
		require.Zero(t, b.Watching())
		require.NoError(t, a.Close())
		require.NoError(t, b.Close())
	})
}

// An end that another system announces reaches what began until its instant.
// The announcement may come late and again, and survives a restart.
func TestEndTagUntil(t *testing.T) {
	acme := session.Tag("tenant", "acme")
	c, path := newClock(), journalPath(t)
	l := open(t, path, c)
	before := tagged("alice", c.Now(), acme)
	c.advance(2 * time.Second)
	at := c.Now()
	c.advance(time.Second)
	after := tagged("alice", c.Now(), acme) // and only then the announcement comes
	c.advance(time.Second)
	for range 3 {
		require.NoError(t, l.EndTagUntil(t.Context(), "tenant", "acme", at))
		require.ErrorIs(t, l.Check(before), session.Ended)
		require.ErrorIs(t, l.Check(tagged("bob", at, acme)), session.Ended)
		require.NoError(t, l.Check(tagged("bob", at.Add(time.Millisecond), acme)))
		require.NoError(t, l.Check(tagged("bob", start, session.Tag("tenant", "other"))))
		require.NoError(t, l.Check(after))
		require.Equal(t, 1, l.Len())
		require.NoError(t, l.Close())
		l = open(t, path, c)
		require.ErrorIs(t, l.Check(before), session.Ended)
		require.NoError(t, l.Check(after))
		c.advance(time.Minute)
	}
	// An older instant takes nothing back.
	require.NoError(t, l.EndTagUntil(t.Context(), "tenant", "acme", time.Time{}))
	require.NoError(t, l.EndTagUntil(t.Context(), "tenant", "acme", start.Add(-time.Hour)))
	require.ErrorIs(t, l.Check(before), session.Ended)
	for _, row := range [][2]string{{"", ""}, {"tenant", ""}, {"", "acme"}} {
		require.ErrorIs(t, l.EndTagUntil(t.Context(), row[0], row[1], at), session.BadValue)
	}
	require.ErrorIs(t, new(revocation.List).EndTagUntil(t.Context(), "tenant", "acme", at), session.Unavailable)
}

// Of the logins that are under way when the announcement comes, those fail that
// may have begun before the end, by the clock of the other system.
func TestAdmitAfterEndTagUntil(t *testing.T) {
	tag := session.Tag("tenant", "acme")
	for _, skew := range []time.Duration{0, 5 * time.Second} {
		c := newClock()
		l := revocation.NewVolatile(revocation.Config{Lifetime: lifetime, Now: c.Now, Skew: skew})
		at := c.Now()
		reached, later := tagged("alice", at.Add(skew), tag), tagged("alice", at.Add(skew+time.Millisecond), tag)
		c.advance(10 * time.Second)
		require.NoError(t, l.EndTagUntil(t.Context(), "tenant", "acme", at))
		_, err := l.Admit(reached)
		require.ErrorIs(t, err, session.Ended)
		require.ErrorIs(t, l.Check(reached), session.Ended)
		admitted, err := l.Admit(later)
		require.NoError(t, err)
		require.Same(t, later, admitted)
		require.NoError(t, l.Check(later))
		require.NoError(t, l.EndTagUntil(t.Context(), "tenant", "acme", at))
		require.NoError(t, l.Check(later))
	}
}

// Other instances hear of the instant, and not of the time at which it came.
// The announcement may come to each of them.
func TestEndTagUntilElsewhere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := newMemoryLog()
		a, b := shared(t, log), shared(t, log)
		synctest.Wait()
		tag := session.Tag("tenant", "acme")
		old, fresh := recordOf("one", "alice"), recordOf("two", "alice")
		old.Tags, fresh.Tags = []session.LoginTag{tag}, []session.LoginTag{tag}
		time.Sleep(2 * time.Second)
		at := time.Now()
		time.Sleep(time.Second)
		fresh.AuthenticatedAt = time.Now()
		over, goesOn := watch(b, old), watch(b, fresh)
		time.Sleep(time.Second)
		for _, l := range []*revocation.List{a, a, b} {
			require.NoError(t, l.EndTagUntil(t.Context(), "tenant", "acme", at))
			time.Sleep(time.Second)
			require.EqualValues(t, 1, over.ended.Load())
			require.Zero(t, goesOn.ended.Load())
			for _, l := range []*revocation.List{a, b} {
				require.ErrorIs(t, l.Check(old), session.Ended)
				require.NoError(t, l.Check(fresh))
				require.Equal(t, 1, l.Len())
			}
		}
		goesOn.stop()
		require.NoError(t, a.Close())
		require.NoError(t, b.Close())
	})
}

// The other system's clock may be ahead: a login that begins after the
// announcement goes on, also when that comes again. It can't be far ahead.
func TestEndTagUntilAhead(t *testing.T) {
	tag := session.Tag("tenant", "acme")
	for _, skew := range []time.Duration{0, 5 * time.Second} {
		c := newClock()
		l := revocation.NewVolatile(revocation.Config{Lifetime: lifetime, Now: c.Now, Skew: skew})
		before, begun := tagged("alice", c.Now(), tag), tagged("alice", c.Now(), tag)
		at := c.Now().Add(3 * time.Second)
		require.NoError(t, l.EndTagUntil(t.Context(), "tenant", "acme", at))
		require.ErrorIs(t, l.Check(before), session.Ended)
		_, err := l.Admit(begun)
		require.ErrorIs(t, err, session.Ended)
		c.advance(time.Millisecond)
		after, err := l.Admit(tagged("alice", c.Now(), tag))
		require.NoError(t, err)
		for range 5 {
			require.NoError(t, l.Check(after))
			require.NoError(t, l.EndTagUntil(t.Context(), "tenant", "acme", at))
			c.advance(time.Second)
		}
		require.NoError(t, l.EndTagUntil(t.Context(), "tenant", "acme", c.Now().Add(24*time.Hour)))
		require.ErrorIs(t, l.Check(after), session.Ended)
		c.advance(5*time.Minute + skew + time.Millisecond)
		require.NoError(t, l.Check(tagged("alice", c.Now(), tag)))
	}
}
