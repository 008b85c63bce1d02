package devices_test

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/devices"
	"github.com/cloakroom-go/cloakroom/opaque"
	"github.com/cloakroom-go/cloakroom/session"
)

// hashOf is the name of a subject in an index. It may never change: the entries
// of all sessions would be missing.
func hashOf(subject string) string {
	sum := sha256.Sum256([]byte("cloakroom subject\x00" + subject))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// Each call to the index, the store and the list fails in turn: before it has
// an effect, or after it. A session that lives is listed all the same, and an
// end that is repeated ends what it is to end.
func TestEachCallFails(t *testing.T) {
	for _, late := range []bool{false, true} {
		for _, inToken := range []bool{false, true} {
			t.Run(fmt.Sprintf("late %v, in a token %v", late, inToken), func(t *testing.T) {
				w := newWorld(t, func(c *devices.Config) { c.Limit = func(string) int { return 3 } })
				tried := 0
				for n := 1; failsAt(t, w, n, late, inToken); n++ {
					tried++
				}
				require.Greater(t, tried, 10)
			})
		}
	}
}

// failsAt has call number n fail. It reports whether there are as many calls as
// n.
func failsAt(t *testing.T, w *world, n int, late, inToken bool) bool {
	ctx, alice := t.Context(), fmt.Sprint("alice ", n)
	w.faults.set(n, late)
	lives := make(map[string]string) // the keys by ID
	var recs []*session.Record
	for range 4 { // the last one is beyond the limit
		rec := w.record(alice)
		if key, err := w.login(ctx, rec, inToken); err == nil {
			lives[rec.ID] = key
			recs = append(recs, rec)
		} else {
			require.ErrorIs(t, err, session.Unavailable)
		}
		w.pass(time.Second)
	}
	rec := recs[len(recs)-1]
	if !inToken {
		var err error
		rec, lives[rec.ID], err = w.renew(ctx, rec, lives[rec.ID])
		if err != nil {
			require.ErrorIs(t, err, session.Unavailable)
		}
	}
	w.end(rec.ID, func() error { return w.End(ctx, alice, rec.ID) })
	require.ErrorIs(t, w.revocations.Check(rec), session.Ended)
	require.False(t, !inToken && w.opens(lives[rec.ID]))
	delete(lives, rec.ID)

	more := w.faults.came()
	w.faults.set(0, false)
	listed := w.listed(alice)
	// The last login may have ended one. If it failed half way, the list has
	// finished that.
	for _, other := range recs {
		if opens := !inToken && w.opens(lives[other.ID]); w.revocations.Check(other) != nil {
			require.False(t, opens)
			delete(lives, other.ID)
		} else if !inToken && !opens { // ended in the store only, to make room
			delete(lives, other.ID)
		}
	}
	require.GreaterOrEqual(t, len(lives), 1)
	for id := range lives {
		require.Contains(t, listed, id, "fault %d: a session that lives is not listed", n)
	}
	for id := range listed { // of a login that failed there may be a token that nobody has seen
		require.True(t, inToken || lives[id] != "", "fault %d: a session that doesn't live is listed", n)
	}
	w.faults.set(n, late)
	w.end("all", func() error { return w.EndUntil(ctx, alice, w.now()) })
	more = more || w.faults.came()
	w.faults.set(0, false)
	require.Empty(t, w.listed(alice))
	require.Empty(t, w.entries(alice), "fault %d", n)
	for id, key := range lives {
		require.False(t, !inToken && w.opens(key), "fault %d: %s still opens", n, id)
	}
	return more
}

// end repeats an end until it succeeds.
func (w *world) end(what string, end func() error) {
	w.t.Helper()
	for range 3 {
		err := end()
		if err == nil || session.ReasonOf(err) == session.NotFound {
			return
		}
		require.ErrorIs(w.t, err, session.Unavailable)
	}
	w.t.Fatalf("the end of %s fails again and again", what)
}

// An end that could not reach the revocation list can be repeated, though the
// item is gone: otherwise the session would go on in its tokens, and nobody
// would find it.
func TestEndIsRepeated(t *testing.T) {
	w := newWorld(t, nil)
	rec, key := w.mustLogin("alice")
	w.faults.set(3, false) // after Mark and Delete
	require.ErrorIs(t, w.End(t.Context(), "alice", rec.ID), session.Unavailable)
	require.False(t, w.opens(key))
	require.NoError(t, w.revocations.Check(rec))
	require.NoError(t, w.End(t.Context(), "alice", rec.ID))
	require.ErrorIs(t, w.revocations.Check(rec), session.Ended)
	require.ErrorIs(t, w.End(t.Context(), "alice", rec.ID), session.NotFound)
}

// An end that nobody finished is finished by the next list: the session doesn't
// go on unseen.
func TestListFinishesAnEnd(t *testing.T) {
	w := newWorld(t, nil)
	rec := w.record("alice")
	_, err := w.login(t.Context(), rec, true)
	require.NoError(t, err)
	_, err = w.index.Mark(t.Context(), hashOf("alice"), rec.ID, time.Time{}) // and then the process was killed
	require.NoError(t, err)
	require.Empty(t, w.listed("alice"))
	require.ErrorIs(t, w.revocations.Check(rec), session.Ended)
	require.Empty(t, w.entries("alice"))
}

// An end of all is known to the revocation list before it reaches the index. A
// login in between, in one of the sessions, must not make that session look as
// if it had begun after the end: its old item would stay.
func TestLoginBeforeAnEndReachesTheIndex(t *testing.T) {
	w := newWorld(t, nil)
	old, key := w.mustLogin("alice")
	require.NoError(t, w.revocations.EndSubject(t.Context(), "alice"))
	until := w.now()
	w.pass(2 * time.Millisecond)
	login := w.next(old)
	login.AuthenticatedAt = w.now().Truncate(time.Millisecond)
	login, err := w.revocations.Admit(login)
	require.NoError(t, err)
	require.True(t, login.CountsFrom().After(until))
	require.ErrorIs(t, w.Enter(t.Context(), nil, login, w.name(43), old, key), session.Ended)
	require.NoError(t, w.EndUntil(t.Context(), "alice", until))
	require.False(t, w.opens(key))
	require.Empty(t, w.entries("alice"))
}

// Sessions of somebody else can't be found, and nothing happens to them.
func TestForeignSubject(t *testing.T) {
	w := newWorld(t, nil)
	rec, key := w.mustLogin("alice")
	ctx := t.Context()
	for _, subject := range []string{"bob", "Alice", "alice ", "", hashOf("alice")} {
		require.Empty(t, w.listed(subject))
		require.ErrorIs(t, w.End(ctx, subject, rec.ID), session.NotFound)
		require.NoError(t, w.EndUntil(ctx, subject, w.now().Add(time.Hour)))
		foreign := *rec
		foreign.Subject = subject
		require.NoError(t, w.Over(ctx, &foreign))
		require.NoError(t, w.Forget(ctx, &foreign, key))
	}
	for _, id := range []string{"", "x", strings.ToLower(rec.ID), rec.ID + "A"} {
		require.ErrorIs(t, w.End(ctx, "alice", id), session.NotFound)
	}
	require.Contains(t, w.listed("alice"), rec.ID)
	require.True(t, w.opens(key))
	require.NoError(t, w.revocations.Check(rec))
}

// withClient has a Registry keep what a request says.
func withClient(c *devices.Config) {
	c.Client = func(r *http.Request) (string, string) { return r.UserAgent(), r.RemoteAddr }
}

func from(agent, address string) *http.Request {
	return &http.Request{Header: http.Header{"User-Agent": {agent}}, RemoteAddr: address}
}

// Details are encrypted, and bound to their subject and session.
func TestDetailsAreBound(t *testing.T) {
	w := newWorld(t, withClient)
	ctx := t.Context()
	desk, phone, other := w.record("alice"), w.record("alice"), w.record("bob")
	require.NoError(t, w.Enter(ctx, from("Desk/1", "192.0.2.1"), desk, "", nil, ""))
	require.NoError(t, w.Enter(ctx, from("Phone/1", "192.0.2.2"), phone, "", nil, ""))
	require.NoError(t, w.Enter(ctx, from("Other/1", "192.0.2.3"), other, "", nil, ""))
	require.Equal(t, "Desk/1", w.listed("alice")[desk.ID].UserAgent)
	require.Equal(t, "192.0.2.2", w.listed("alice")[phone.ID].Address)

	details := make(map[string][]byte)
	for _, subject := range []string{"alice", "bob"} {
		for _, e := range w.entries(subject) {
			details[e.ID] = e.Details
			for _, shown := range []string{"Desk", "Phone", "192.0.2", "alice", "bob"} {
				require.NotContains(t, string(e.Details), shown)
			}
		}
	}
	put := func(subject, id string, d []byte) {
		for _, e := range w.entries(subject) {
			if e.ID == id {
				e.Details = d
				require.NoError(t, w.index.Enter(ctx, hashOf(subject), e, "", 10))
			}
		}
	}
	flipped := append([]byte(nil), details[desk.ID]...)
	flipped[len(flipped)-1] ^= 1
	plain := []byte(`{"c":1,"l":1,"u":"Forged/1","a":"192.0.2.9"}`)
	for _, d := range [][]byte{details[phone.ID], details[other.ID], flipped, plain, nil, {}, {1}} {
		put("alice", desk.ID, d)
		s, ok := w.listed("alice")[desk.ID]
		require.True(t, ok, "a session whose details can't be read is a session")
		require.Equal(t, devices.Session{ID: desk.ID, SeenAt: s.SeenAt}, s)
	}
	require.NoError(t, w.End(ctx, "alice", desk.ID))
	require.Equal(t, "Phone/1", w.listed("alice")[phone.ID].UserAgent)
}

// Clients choose their user agent.
func TestHostileUserAgents(t *testing.T) {
	w := newWorld(t, withClient)
	rows := []struct{ name, in, want string }{
		{"plain", "Mozilla/5.0 (X11; Linux x86_64)", "Mozilla/5.0 (X11; Linux x86_64)"},
		{"empty", "", ""},
		{"huge", strings.Repeat("x", 1<<20), strings.Repeat("x", 200)},
		{"control characters", "a\x00b\x1b[31mc\r\nd\x7fe", "ab[31mcde"},
		{"invalid UTF-8", "a\xff\xfeb\xc3", "ab"},
		{"a character that is cut", strings.Repeat("é", 1000), ""},
		{"markup", `<script>alert("x")</script>&amp;\u0041`, "scriptalert(x)/scriptamp;u0041"},
		{"other scripts", "a\u202eb\u0000c\U0001f600d", "abcd"},
		{"huge, and nothing of it is kept", strings.Repeat("\x01", 1<<20), ""},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			rec := w.record("alice")
			require.NoError(t, w.Enter(t.Context(), from(row.in, row.in), rec, "", nil, ""))
			s := w.listed("alice")[rec.ID]
			require.Equal(t, row.want, s.UserAgent)
			require.Equal(t, row.want[:min(len(row.want), 64)], s.Address)
			for _, e := range w.entries("alice") {
				require.LessOrEqual(t, len(e.Details), devices.MaxDetails)
			}
		})
	}
	rec := w.record("alice")
	rec.Persistent, rec.CreatedAt = true, time.Unix(-1<<40, 0)
	rec.AuthenticatedAt = rec.CreatedAt
	long := strings.Repeat("x", 1000)
	require.NoError(t, w.Enter(t.Context(), from(long, long), rec, "", nil, ""))
}

// A roll-out adds a secret that only decrypts, another one makes it the first,
// and a third one removes the old one: instances of both versions run side by
// side in each, and read what the other one writes.
func TestSecretsAreChanged(t *testing.T) {
	w := newWorld(t, withClient)
	rollouts := [][][]byte{{secret(1)}, {secret(1), secret(2)}, {secret(2), secret(1)}, {secret(2)}}
	before := w.Registry
	for n, secrets := range rollouts[1:] {
		c := w.config
		c.Secrets = secrets
		after := w.open(c)
		for name, r := range map[string]*devices.Registry{"before": before, "after": after} {
			rec := w.record("alice")
			require.NoError(t, r.Enter(t.Context(), from(name, ""), rec, "", nil, ""))
			for _, other := range []*devices.Registry{before, after} {
				list, err := other.List(t.Context(), "alice")
				require.NoError(t, err)
				for _, s := range list {
					require.True(t, s.ID != rec.ID || s.UserAgent == name, "roll-out %d: %+v", n+1, s)
				}
			}
		}
		before = after
	}
}

// Activity is written at most once in half an idle timeout, in the background.
func TestSeen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil)
		rec, key := w.mustLogin("alice")
		w.faults.set(0, false)
		const requests, every = 600, 10 * time.Second // 100 minutes, with an idle timeout of 30
		for range requests {
			time.Sleep(every)
			was := *rec
			rec.SeenAt, rec.IdleDeadline = rec.SeenAt.Add(every), rec.IdleDeadline.Add(every)
			now := *rec
			w.Seen(&was, &now, key)
		}
		synctest.Wait()
		require.InDelta(t, requests*every/(15*time.Minute), w.faults.calls, 1)
		e := w.entries("alice")[0]
		require.False(t, e.SeenAt.Before(rec.SeenAt.Add(-15*time.Minute)), "%v, want about %v", e.SeenAt, rec.SeenAt)
	})
}

// A session that is missing in the index gets into it with its next activity,
// unless it has ended, or has gone on to somebody else.
func TestSeenAddsWhatIsMissing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, withClient)
		ctx := t.Context()
		seen := func(rec *session.Record, key string) {
			t.Helper()
			was := *rec
			was.SeenAt = was.SeenAt.Add(-time.Hour)
			w.Seen(&was, rec, key)
			synctest.Wait()
		}
		create := func(rec *session.Record) string {
			key := w.name(43)
			require.NoError(t, w.store.Create(ctx, key, itemOf(rec)))
			return key
		}
		token, stored := w.record("alice"), w.record("alice")
		key := create(stored)
		seen(token, "")
		seen(stored, key)
		require.Len(t, w.listed("alice"), 2)
		require.False(t, w.listed("alice")[stored.ID].LoggedInAt.IsZero())
		require.NoError(t, w.End(ctx, "alice", stored.ID))
		seen(stored, key)
		require.NoError(t, w.End(ctx, "alice", token.ID))
		seen(token, "")
		require.Empty(t, w.entries("alice"))

		changed := w.record("alice")
		key = create(changed)
		bob := w.next(changed)
		bob.Subject = "bob"
		ok, err := w.store.Swap(ctx, key, changed.Version, itemOf(bob)) // a marker, or another subject
		require.True(t, ok && err == nil)
		seen(changed, key)
		require.Empty(t, w.entries("alice"), "activity of a session in which somebody else has logged in")

		nobody := w.record("")
		seen(nobody, "")
		require.Empty(t, w.entries(""))
	})
}

// A closed Registry has no goroutine left, and drops activity.
func TestClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // fails if a goroutine is left
		w := newWorld(t, nil)
		rec, key := w.mustLogin("alice")
		require.NoError(t, w.Close())
		require.NoError(t, w.Close())
		was := *rec
		was.SeenAt = was.SeenAt.Add(-time.Hour)
		for range 10_000 {
			w.Seen(&was, rec, key)
		}
		require.Contains(t, w.listed("alice"), rec.ID)
		w.pass(13 * time.Hour)
	})
}

// A session that is unknown to the index, and beyond the limit, ends another
// one and not itself, if its own activity enters it meanwhile.
func TestLimitSparesTheSessionItself(t *testing.T) {
	w := newWorld(t, func(c *devices.Config) { c.Limit = func(string) int { return 2 } })
	first, _ := w.mustLogin("alice")
	old := w.record("alice")
	old.SeenAt = old.SeenAt.Add(-time.Minute)
	key := w.name(43)
	require.NoError(t, w.store.Create(t.Context(), key, itemOf(old)))
	w.mustLogin("alice")
	c := w.config
	c.Index = entersOnce{c.Index, func() {
		e := devices.Entry{ID: old.ID, Keys: []string{key}, CountsFrom: old.CountsFrom(), Until: old.Deadline}
		require.NoError(t, w.index.Enter(t.Context(), hashOf("alice"), e, "", 10))
	}, new(bool)}
	r := w.open(c)
	require.NoError(t, r.Enter(t.Context(), nil, old, key, nil, ""))
	require.Contains(t, w.listed("alice"), old.ID)
	require.Contains(t, w.listed("alice"), first.ID)
	require.NoError(t, w.revocations.Check(old))
}

// entersOnce does something after the first Enter.
type entersOnce struct {
	devices.Index
	then func()
	done *bool
}

func (x entersOnce) Enter(ctx context.Context, of string, e devices.Entry, replaces string, limit int) error {
	err := x.Index.Enter(ctx, of, e, replaces, limit)
	if !*x.done {
		*x.done = true
		x.then()
	}
	return err
}

// A Registry says everything that is wrong with its Config.
func TestConfig(t *testing.T) {
	_, err := devices.New(devices.Config{})
	for _, field := range []string{"Index", "Revocations", "Lifetime"} {
		require.ErrorContains(t, err, field)
	}
	var other struct{ devices.Index }
	_, err = devices.New(devices.Config{Index: other, Secrets: [][]byte{make([]byte, 31)}})
	require.ErrorContains(t, err, "31 bytes")
	_, err = devices.New(devices.Config{Index: other})
	require.ErrorContains(t, err, "Secrets")
	var _ devices.Store = (*opaque.MemoryStore)(nil)
}
