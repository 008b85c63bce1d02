package opaque_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cloakroom-go/cloakroom/opaque"
	"github.com/cloakroom-go/cloakroom/revocation"
	"github.com/cloakroom-go/cloakroom/session"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var begun = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// A remote is a store as if outside of the process: it doesn't say InProcess.
// It notes all that it is told.
type remote struct {
	opaque.Store
	mu   sync.Mutex // guards told
	told []string
}

func (r *remote) hear(key string, item opaque.Item) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.told = append(r.told, key, string(item.Data))
}

func (r *remote) Create(ctx context.Context, key string, item opaque.Item) error {
	r.hear(key, item)
	return r.Store.Create(ctx, key, item)
}

func (r *remote) Swap(ctx context.Context, key string, version uint64, item opaque.Item) (bool, error) {
	r.hear(key, item)
	return r.Store.Swap(ctx, key, version, item)
}

// A place is a carrier over a store, with a clock that the test moves.
type place struct {
	mu     sync.Mutex // guards now: the store looks at the clock when it likes
	now    time.Time
	memory *opaque.MemoryStore
	remote *remote
	*opaque.Carrier
}

func (p *place) clock() time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.now
}

func (p *place) at(now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.now = now
}

func secrets() [][]byte { return [][]byte{[]byte("the secret of every test in here")} }

func newPlace(t testing.TB, outside bool, change ...func(*opaque.CarrierConfig)) *place {
	p := &place{now: begun}
	var err error
	p.memory, err = opaque.NewMemoryStore(opaque.MemoryConfig{Now: p.clock})
	require.NoError(t, err)
	t.Cleanup(func() { p.memory.Close() })
	p.remote = &remote{Store: p.memory}
	c := opaque.CarrierConfig{Store: p.memory, Secrets: secrets(), Now: p.clock}
	if outside {
		c.Store = p.remote
	}
	for _, f := range change {
		f(&c)
	}
	p.Carrier, err = opaque.NewCarrier(c)
	require.NoError(t, err)
	return p
}

// alice returns a session with some values.
func alice() *session.Record {
	return &session.Record{
		ID: "c2Vzc2lvbi1vZi1hbGljZQ", Version: 3, Generation: 2, Subject: "alice",
		CreatedAt: begun.Add(-time.Hour), AuthenticatedAt: begun.Add(7 * time.Millisecond),
		SeenAt: begun, IdleDeadline: begun.Add(20 * time.Minute), Deadline: begun.Add(12 * time.Hour),
		Persistent: true, Tags: []session.LoginTag{{1}, session.Tag("tenant", "acme")}, AMR: []string{"pwd", "otp"},
		Values: session.NewValues(map[string]string{"secret": `"7c8a"`}),
	}
}

func inBoth(t *testing.T, run func(t *testing.T, p *place)) {
	for name, outside := range map[string]bool{"in process": false, "outside": true} {
		t.Run(name, func(t *testing.T) { run(t, newPlace(t, outside)) })
	}
}

func set(p *place, rec *session.Record, name string) *session.Changes {
	return setAt(rec, name, p.clock())
}

func setAt(rec *session.Record, name string, now time.Time) *session.Changes {
	clock := func() time.Time { return now }
	s, control := session.Begin(rec,
		session.Options{Policy: session.Policy{}.WithDefaults(), Now: clock, Saver: noSaver{}})
	if err := session.Key[any](name).Set(s, true); err != nil {
		panic(err)
	}
	changes := control.State().Pending
	return &changes
}

// touch returns changes that only record activity.
func touch(p *place, policy session.Policy) *session.Changes {
	o := session.Options{Policy: policy.WithDefaults(), Now: p.clock, Saver: noSaver{}}
	_, control := session.Begin(nil, o)
	changes := control.State().Pending
	return &changes
}

type noSaver struct{}

func (noSaver) Save(context.Context) error { return nil }

func (noSaver) Ended() <-chan struct{} { return nil }

// utc returns rec with its instants in UTC, so that equal records compare
// equal.
func utc(rec *session.Record) *session.Record {
	out := *rec
	for _, at := range []*time.Time{&out.CreatedAt, &out.AuthenticatedAt, &out.Since, &out.SeenAt, &out.IdleDeadline,
		&out.Deadline} {
		*at = at.UTC()
	}
	return &out
}

func TestCarrierRoundTrip(t *testing.T) {
	anonymous := alice()
	anonymous.Subject, anonymous.AuthenticatedAt = "", time.Time{}
	anonymous.Values, anonymous.Persistent = session.Values{}, false
	anonymous.Tags, anonymous.AMR = nil, nil
	later := alice()
	later.Since = begun.Add(5*time.Second + time.Millisecond)
	inBoth(t, func(t *testing.T, p *place) {
		for _, want := range []*session.Record{alice(), later, anonymous} {
			credential, err := p.Issue(t.Context(), want, "")
			require.NoError(t, err)
			assert.True(t, p.Recognizes(credential))
			got, current, err := p.Open(t.Context(), credential)
			require.NoError(t, err)
			assert.Equal(t, want, utc(got))
			assert.Equal(t, credential, current)
			rec, same, err := p.Save(t.Context(), credential, got, set(p, got, "x"))
			require.NoError(t, err)
			assert.Equal(t, credential, same)
			got, _, err = p.Open(t.Context(), credential)
			require.NoError(t, err)
			assert.Equal(t, utc(rec), utc(got))
		}
	})
}

// The store outside sees neither credentials nor values.
func TestStoreSeesNothing(t *testing.T) {
	p := newPlace(t, true)
	credential, err := p.Issue(t.Context(), alice(), "")
	require.NoError(t, err)
	rec, _, err := p.Open(t.Context(), credential)
	require.NoError(t, err)
	require.NoError(t, retire(t, p.Carrier, credential, rec, "cr1_successor", time.Minute))
	require.NotEmpty(t, p.remote.told)
	for _, told := range p.remote.told {
		for _, secret := range []string{credential, credential[4:], "secret", "7c8a", "alice", alice().ID, "successor"} {
			assert.NotContains(t, told, secret)
		}
		assert.False(t, p.Recognizes(told), "what is in the store is no credential")
	}
}

func TestRecognizes(t *testing.T) {
	p := newPlace(t, false)
	good, err := p.Issue(t.Context(), alice(), "")
	require.NoError(t, err)
	tests := []struct {
		name, in string
		want     bool
	}{
		{"good", good, true},
		{"empty", "", false},
		{"no prefix", good[4:], false},
		{"other version", "cr2_" + good[4:], false},
		{"too short", good[:len(good)-1], false},
		{"too long", good + "A", false},
		{"padding", good[:len(good)-1] + "=", false},
		{"standard alphabet", "cr1_" + strings.Repeat("+", 43), false},
		{"line break", good[:20] + "\n" + good[21:], false},
		{"trailing bits", good[:len(good)-1] + "B", false},
		{"zero byte", good[:20] + "\x00" + good[21:], false},
	}
	for _, tt := range tests {
		assert.Equal(t, tt.want, p.Recognizes(tt.in), tt.name)
		if !tt.want {
			_, _, err := p.Open(t.Context(), tt.in)
			assert.ErrorIs(t, err, session.Malformed, tt.name)
		}
	}
}

func TestTouchIsNoNewVersion(t *testing.T) {
	inBoth(t, func(t *testing.T, p *place) {
		credential, err := p.Issue(t.Context(), alice(), "")
		require.NoError(t, err)
		base, _, err := p.Open(t.Context(), credential)
		require.NoError(t, err)
		p.at(begun.Add(10 * time.Minute))
		_, _, err = p.Save(t.Context(), credential, base, touch(p, session.Policy{RememberedIdleTimeout: 20 * time.Minute}))
		require.NoError(t, err)
		rec, _, err := p.Open(t.Context(), credential)
		require.NoError(t, err)
		assert.Equal(t, base.Version, rec.Version)
		assert.True(t, rec.IdleDeadline.Equal(begun.Add(30*time.Minute)))
		assert.NoError(t, retire(t, p.Carrier, credential, base, "next", 0), "a touch is in nobody's way")
	})
}

func TestRetireAndFollow(t *testing.T) {
	inBoth(t, func(t *testing.T, p *place) {
		old, err := p.Issue(t.Context(), alice(), "")
		require.NoError(t, err)
		base, _, err := p.Open(t.Context(), old)
		require.NoError(t, err)
		next, err := p.Issue(t.Context(), base, "")
		require.NoError(t, err)
		require.NoError(t, retire(t, p.Carrier, old, base, next, time.Minute))
		assert.ErrorIs(t, retire(t, p.Carrier, old, base, "other", time.Minute), session.Conflict)
		_, _, err = p.Save(t.Context(), old, base, set(p, base, "x"))
		assert.ErrorIs(t, err, session.Conflict)
		rec, current, err := p.Open(t.Context(), old)
		require.NoError(t, err)
		assert.Nil(t, rec)
		assert.Equal(t, next, current)
		p.at(begun.Add(20 * time.Minute))
		_, current, err = p.Open(t.Context(), old)
		require.NoError(t, err)
		assert.Equal(t, next, current, "as long as the old session could have lived")
		p.at(begun.Add(21 * time.Minute))
		_, _, err = p.Open(t.Context(), old)
		assert.ErrorIs(t, err, session.Ended)
		assert.NoError(t, p.End(t.Context(), old, base), "a logout that began before follows, also after the grace")
		_, _, err = p.Open(t.Context(), next)
		assert.ErrorIs(t, err, session.NotFound)
		assert.NoError(t, p.End(t.Context(), next, base), "ending an ended session succeeds")
		_, _, err = p.Save(t.Context(), next, base, setAt(base, "x", begun))
		assert.ErrorIs(t, err, session.NotFound)
	})
}

// A session that went on in another form is ended there by the list.
func TestEndReachesOtherForms(t *testing.T) {
	list := revocation.NewVolatile(revocation.Config{})
	p := newPlace(t, false, func(c *opaque.CarrierConfig) { c.Revocations = list })
	old, err := p.Issue(t.Context(), alice(), "")
	require.NoError(t, err)
	base, _, err := p.Open(t.Context(), old)
	require.NoError(t, err)
	require.NoError(t, retire(t, p.Carrier, old, base, "some.other.form", time.Minute))
	require.NoError(t, list.Check(base))
	require.NoError(t, p.End(t.Context(), old, base))
	assert.ErrorIs(t, list.Check(base), session.Ended)
	again, err := p.Issue(t.Context(), alice(), "")
	require.NoError(t, err)
	_, _, err = p.Open(t.Context(), again)
	assert.ErrorIs(t, err, session.Ended, "the list counts here too")
}

// A request that has opened a session before all of its subject's were ended
// changes nothing afterwards.
func TestEndedSubjectIsNotSaved(t *testing.T) {
	for name, act := range map[string]func(p *place, credential string, base *session.Record) error{
		"a change": func(p *place, credential string, base *session.Record) error {
			_, _, err := p.Save(t.Context(), credential, base, set(p, base, "x"))
			return err
		},
		"a touch": func(p *place, credential string, base *session.Record) error {
			p.at(begun.Add(2 * time.Minute))
			_, _, err := p.Save(t.Context(), credential, base, touch(p, session.Policy{}))
			return err
		},
		"a renewal": func(p *place, credential string, base *session.Record) error {
			_, err := p.Retire(t.Context(), credential, base, "next", 0)
			return err
		},
	} {
		list := revocation.NewVolatile(revocation.Config{Now: func() time.Time { return begun.Add(time.Minute) }})
		p := newPlace(t, false, func(c *opaque.CarrierConfig) { c.Revocations = list })
		credential, err := p.Issue(t.Context(), alice(), "")
		require.NoError(t, err)
		base, _, err := p.Open(t.Context(), credential)
		require.NoError(t, err)
		require.NoError(t, list.EndSubject(t.Context(), "alice"))
		assert.ErrorIs(t, act(p, credential, base), session.Ended, name)
	}
}

// A store whose clock is ahead refuses to change what it holds to be over.
func TestStoreClockAhead(t *testing.T) {
	inBoth(t, func(t *testing.T, p *place) {
		credential, err := p.Issue(t.Context(), alice(), "")
		require.NoError(t, err)
		base, _, err := p.Open(t.Context(), credential)
		require.NoError(t, err)
		changes := setAt(base, "x", begun) // by the application's clock it still lives
		p.at(begun.Add(21 * time.Minute))
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		_, _, err = p.Save(ctx, credential, base, changes)
		assert.ErrorIs(t, err, session.IdleTimeout)
		assert.NoError(t, p.End(ctx, credential, base), "a late logout succeeds")
		_, _, err = p.Open(ctx, credential)
		assert.ErrorIs(t, err, session.NotFound)
	})
}

func TestMaxBytes(t *testing.T) {
	p := newPlace(t, false, func(c *opaque.CarrierConfig) { c.MaxBytes = 200 })
	credential, err := p.Issue(t.Context(), alice(), "")
	require.NoError(t, err)
	big := alice()
	big.Values = session.NewValues(map[string]string{"x": strings.Repeat("1", 200)})
	_, err = p.Issue(t.Context(), big, "")
	assert.ErrorIs(t, err, session.TooLarge)
	assert.Equal(t, 1, p.memory.Len())
	_, _, err = p.Open(t.Context(), credential)
	assert.NoError(t, err)
}

type failing struct{ opaque.Store }

func (failing) Get(context.Context, string) (opaque.Item, bool, error) {
	return opaque.Item{}, false, errors.New("connection refused")
}

func TestStoreErrorsAreUnavailable(t *testing.T) {
	p := newPlace(t, false, func(c *opaque.CarrierConfig) { c.Store = failing{c.Store} })
	_, _, err := p.Open(t.Context(), "cr1_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA")
	assert.ErrorIs(t, err, session.Unavailable)
	assert.ErrorContains(t, err, "connection refused")
	assert.ErrorIs(t, p.End(t.Context(), "cr1_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", alice()), session.Unavailable)
}

func TestNewCarrierReportsEveryMistake(t *testing.T) {
	c, err := opaque.NewCarrier(opaque.CarrierConfig{MaxBytes: -1})
	assert.Nil(t, c)
	assert.ErrorContains(t, err, "CarrierConfig.Store")
	assert.ErrorContains(t, err, "CarrierConfig.MaxBytes")
	_, err = opaque.NewCarrier(opaque.CarrierConfig{Store: failing{}})
	assert.ErrorContains(t, err, "opaque: CarrierConfig.Secrets is required")
	_, err = opaque.NewCarrier(opaque.CarrierConfig{Store: failing{}, Secrets: append(secrets(), []byte("hunter2"))})
	assert.EqualError(t, err, "opaque: CarrierConfig.Secrets has 7 bytes at index 1: use 32 random ones")
}

// retire expects that the client need not hold anything meanwhile.
func retire(t *testing.T, c *opaque.Carrier, credential string, base *session.Record, successor string,
	grace time.Duration) error {
	hold, err := c.Retire(t.Context(), credential, base, successor, grace)
	assert.Empty(t, hold)
	return err
}

// A counter counts look-ups.
type counter struct {
	opaque.Store
	gets int
}

func (c *counter) Get(ctx context.Context, key string) (opaque.Item, bool, error) {
	c.gets++
	return c.Store.Get(ctx, key)
}

// Open follows a few renewals to tell whether the session still lives, and no
// more: whoever presents the first credential of many doesn't make it slow.
func TestOpenFollowsAFewRenewals(t *testing.T) {
	count := &counter{}
	p := newPlace(t, false, func(c *opaque.CarrierConfig) { count.Store, c.Store = c.Store, count })
	var rec *session.Record
	var first, last string
	begin := func() {
		rec = alice()
		rec.SeenAt, rec.IdleDeadline, rec.Deadline = begun, begun.Add(time.Hour), begun.Add(2*time.Hour)
		var err error
		first, err = p.Issue(t.Context(), rec, "")
		require.NoError(t, err)
		last = first
	}
	renew := func() {
		next := *rec
		next.Version, next.Generation = rec.Version+1, rec.Generation+1
		credential, err := p.Issue(t.Context(), &next, last)
		require.NoError(t, err)
		_, err = p.Retire(t.Context(), last, rec, credential, 0)
		require.NoError(t, err)
		rec, last = &next, credential
	}
	opens := func() error {
		count.gets = 0
		_, _, err := p.Open(t.Context(), first)
		return err
	}
	begin()
	for range 4 {
		renew()
		assert.ErrorAs(t, opens(), new(*session.SupersededError))
	}
	require.NoError(t, p.End(t.Context(), last, rec))
	assert.ErrorIs(t, opens(), session.NotFound, "a logout is told from a renewal")

	begin()
	for range 20 {
		renew()
	}
	assert.ErrorAs(t, opens(), new(*session.SupersededError))
	assert.Equal(t, 5, count.gets)
}
