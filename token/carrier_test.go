package token_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/cloakroom-go/cloakroom/internal/apptest"
	"github.com/cloakroom-go/cloakroom/keys"
	"github.com/cloakroom-go/cloakroom/revocation"
	"github.com/cloakroom-go/cloakroom/session"
	"github.com/cloakroom-go/cloakroom/token"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var start = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// A bench is one instance with its own memory, and a clock that the test moves.
type bench struct {
	now  time.Time
	list *revocation.List
	ring *keys.Ring
	*token.Carrier
}

func newBench(t testing.TB, algorithms ...keys.Algorithm) *bench {
	b := &bench{now: start}
	b.ring = apptest.NewRing(t, b.clock, algorithms...)
	b.list = revocation.NewVolatile(revocation.Config{Now: b.clock})
	b.Carrier = b.another(t)
	return b
}

func (b *bench) clock() time.Time { return b.now }

// another makes one more instance over the same keys and list.
func (b *bench) another(t testing.TB, change ...func(*token.CarrierConfig)) *token.Carrier {
	c := token.CarrierConfig{Ring: b.ring, Issuer: "https://app.example", Revocations: b.list, Now: b.clock}
	for _, f := range change {
		f(&c)
	}
	carrier, err := token.NewCarrier(c)
	require.NoError(t, err)
	return carrier
}

// record returns a session of alice with some values.
func record(values map[string]string) *session.Record {
	return &session.Record{
		ID: "c2Vzc2lvbi1vZi1hbGljZQ", Version: 3, Generation: 2, Subject: "alice",
		CreatedAt: start.Add(-time.Hour).Local(), AuthenticatedAt: start.Add(-30*time.Minute + 7*time.Millisecond).Local(),
		SeenAt: start.Local(), IdleDeadline: start.Add(20 * time.Minute).Local(), Deadline: start.Add(11 * time.Hour).Local(),
		Persistent: true, Tags: []session.LoginTag{{1}, session.Tag("tenant", "acme")}, AMR: []string{"pwd", "otp"},
		Values: session.NewValues(values),
	}
}

// changes returns what a handler does with f.
func (b *bench) changes(rec *session.Record, f func(s *session.Session)) *session.Changes {
	policy := session.Policy{}.WithDefaults()
	s, control := session.Begin(rec, session.Options{Policy: policy, Now: b.clock, Saver: noSaver{}})
	f(s)
	changes := control.State().Pending
	return &changes
}

type noSaver struct{}

func (noSaver) Save(context.Context) error { return nil }

func (noSaver) Ended() <-chan struct{} { return nil }

func TestRoundTrip(t *testing.T) {
	signers := []keys.Algorithm{keys.ES256, keys.EdDSA, keys.PS256, keys.RS256, keys.HS256}
	sealers := []keys.Algorithm{"", keys.Direct, keys.A256KW, keys.ECDHESA256KW}
	anonymous := record(nil)
	anonymous.Subject, anonymous.AuthenticatedAt, anonymous.Persistent = "", time.Time{}, false
	anonymous.Tags, anonymous.AMR = nil, nil
	later := record(nil)
	later.Since = start.Add(5*time.Second + time.Millisecond).Local()
	for _, signer := range signers {
		for _, sealer := range sealers {
			t.Run(string(signer)+" "+string(sealer), func(t *testing.T) {
				algorithms := []keys.Algorithm{signer, sealer}
				if sealer == "" {
					algorithms = algorithms[:1]
				}
				b := newBench(t, algorithms...)
				for _, want := range []*session.Record{record(map[string]string{"a": `1`, `q"ü`: `{"x":[null]}`}), later,
					anonymous} {
					credential, err := b.Issue(t.Context(), want, "")
					require.NoError(t, err)
					assert.True(t, b.Recognizes(credential))
					assert.Equal(t, sealer != "", strings.Count(credential, ".") == 4)
					for name, carrier := range map[string]*token.Carrier{"the issuer": b.Carrier, "another instance": b.another(t)} {
						for range 2 { // at first sight, and from memory
							got, current, err := carrier.Open(t.Context(), credential)
							require.NoError(t, err, name)
							assert.Equal(t, want, got, name)
							assert.Equal(t, credential, current, name)
						}
					}
				}
			})
		}
	}
}

// The length is known before a signature is made: MaxLength is exact.
func TestMaxLengthIsExact(t *testing.T) {
	for _, algorithms := range [][]keys.Algorithm{{keys.ES256}, {keys.RS256}, {keys.HS256, keys.Direct},
		{keys.ES256, keys.A256KW}, {keys.EdDSA, keys.ECDHESA256KW}} {
		b := newBench(t, algorithms...)
		for n := range 40 {
			rec := record(map[string]string{"pad": `"` + strings.Repeat("x", 500+n) + `"`})
			credential, err := b.Issue(t.Context(), rec, "")
			require.NoError(t, err)
			limit := func(n int) *token.Carrier {
				return b.another(t, func(c *token.CarrierConfig) { c.MaxLength = n })
			}
			_, err = limit(len(credential)).Issue(t.Context(), rec, "")
			assert.NoError(t, err, "%v", algorithms)
			_, err = limit(len(credential)-1).Issue(t.Context(), rec, "")
			assert.ErrorIs(t, err, session.TooLarge, "%v", algorithms)
		}
	}
}

func TestExpiredTokenIsSeenToBeOver(t *testing.T) {
	b := newBench(t)
	credential, err := b.Issue(t.Context(), record(nil), "")
	require.NoError(t, err)
	b.now = start.Add(20 * time.Minute)
	for _, carrier := range []*token.Carrier{b.Carrier, b.another(t)} {
		rec, _, err := carrier.Open(t.Context(), credential)
		require.NoError(t, err)
		assert.Equal(t, session.IdleTimeout, session.Policy{}.WithDefaults().Over(rec, b.now))
	}
}

// An expired token doesn't open the newer state of its session: whoever replays
// it has not seen the newer token.
func TestExpiredTokenOpensNoNewerState(t *testing.T) {
	b := newBench(t)
	old, err := b.Issue(t.Context(), record(nil), "")
	require.NoError(t, err)
	base, _, err := b.Open(t.Context(), old) // remembers it
	require.NoError(t, err)
	b.now = start.Add(10 * time.Minute)
	_, newer, err := b.Save(t.Context(), old, base,
		b.changes(base, func(s *session.Session) { require.NoError(t, session.Key[any]("a").Set(s, 1)) }))
	require.NoError(t, err)
	stranger := b.another(t) // remembers the newer token alone
	_, _, err = stranger.Open(t.Context(), newer)
	require.NoError(t, err)
	for name, carrier := range map[string]*token.Carrier{"remembered": b.Carrier, "not remembered": stranger} {
		b.now = start.Add(20*time.Minute - time.Second)
		_, current, err := carrier.Open(t.Context(), old)
		require.NoError(t, err, name)
		assert.Equal(t, newer, current, name)
		b.now = start.Add(20 * time.Minute)
		rec, _, err := carrier.Open(t.Context(), old)
		assert.ErrorIs(t, err, session.IdleTimeout, name)
		assert.Nil(t, rec, name)
		refused := new(session.RefusedError)
		require.ErrorAs(t, err, &refused, "whose it was is known")
		assert.Equal(t, base.ID, refused.Record.ID, name)
		rec, _, err = carrier.Reopen(t.Context(), old, base)
		assert.ErrorIs(t, err, session.IdleTimeout, name)
		assert.Nil(t, rec, name)
	}
}

// Once its keys are not trusted any more, a token is not reopened either.
func TestReopenLooksAtTheKeys(t *testing.T) {
	b := newBench(t)
	credential, err := b.Issue(t.Context(), record(nil), "")
	require.NoError(t, err)
	rec, _, err := b.Open(t.Context(), credential)
	require.NoError(t, err)
	stranger := b.another(t)
	require.NoError(t, b.ring.Replace(apptest.NewRing(t, b.clock).Set().Keys()...))
	for name, carrier := range map[string]*token.Carrier{"remembered": b.Carrier, "not remembered": stranger} {
		_, _, err = carrier.Reopen(t.Context(), credential, rec)
		assert.ErrorIs(t, err, session.UnknownKey, name)
	}
}

func TestSaveGoesOnFromTheNewest(t *testing.T) {
	b := newBench(t)
	oldest, err := b.Issue(t.Context(), record(nil), "")
	require.NoError(t, err)
	base, _, err := b.Open(t.Context(), oldest)
	require.NoError(t, err)
	for i, name := range []string{"a", "b", "c"} {
		rec, credential, err := b.Save(t.Context(), oldest, base,
			b.changes(base, func(s *session.Session) { require.NoError(t, session.Key[any](name).Set(s, i)) }))
		require.NoError(t, err)
		assert.NotEqual(t, oldest, credential)
		assert.Equal(t, i+1, rec.Values.Len(), "each is merged onto the ones before")
	}
	rec, current, err := b.Open(t.Context(), oldest)
	require.NoError(t, err)
	assert.Equal(t, 3, rec.Values.Len())
	assert.NotEqual(t, oldest, current)
	again, _, err := b.another(t).Open(t.Context(), current)
	require.NoError(t, err)
	assert.Equal(t, rec, again)
}

// Two instances that know nothing of each other: the state that the client
// shows counts.
func TestTwoInstances(t *testing.T) {
	b := newBench(t)
	one, two := b.Carrier, b.another(t)
	credential, err := one.Issue(t.Context(), record(nil), "")
	require.NoError(t, err)
	base, _, err := one.Open(t.Context(), credential)
	require.NoError(t, err)
	set := func(c *token.Carrier, base *session.Record, name string) (*session.Record, string) {
		rec, next, err := c.Save(t.Context(), "", base,
			b.changes(base, func(s *session.Session) { require.NoError(t, session.Key[any](name).Set(s, true)) }))
		require.NoError(t, err)
		return rec, next
	}
	_, _ = set(one, base, "one")
	_, kept := set(two, base, "two")
	rec, current, err := one.Open(t.Context(), kept)
	require.NoError(t, err)
	assert.Equal(t, kept, current)
	_, ok := rec.Values.Get("two")
	assert.True(t, ok, "the browser's last cookie counts, not what this instance made beside it")
}

func TestRevokedKeyIsNotTrustedFromMemory(t *testing.T) {
	b := newBench(t)
	credential, err := b.Issue(t.Context(), record(nil), "")
	require.NoError(t, err)
	_, _, err = b.Open(t.Context(), credential)
	require.NoError(t, err)
	require.NoError(t, b.ring.Replace(apptest.NewRing(t, b.clock).Set().Keys()...))
	for range 2 {
		_, _, err = b.Open(t.Context(), credential)
		assert.ErrorIs(t, err, session.UnknownKey)
	}
}

func TestSignedOnly(t *testing.T) {
	b := newBench(t, keys.ES256)
	before, err := b.Issue(t.Context(), record(nil), "")
	require.NoError(t, err)
	signers := b.ring.Set().Keys()

	from := start.Add(time.Minute)
	sealer, err := keys.Generate(keys.Direct, keys.Dates{Created: start, PublishAt: from, SignFrom: from})
	require.NoError(t, err)
	require.NoError(t, b.ring.Replace(append(signers, sealer)...))
	b.now = start.Add(2 * time.Minute)
	_, _, err = b.Open(t.Context(), before)
	assert.NoError(t, err, "from before encryption began")

	signedOnly, err := keys.NewRing(signers...)
	require.NoError(t, err)
	old := b.another(t, func(c *token.CarrierConfig) { c.Ring = signedOnly })
	rec := record(nil)
	rec.SeenAt = b.now
	after, err := old.Issue(t.Context(), rec, "")
	require.NoError(t, err)
	_, _, err = b.Open(t.Context(), after)
	assert.ErrorIs(t, err, session.Forged)
	assert.ErrorContains(t, err, "not encrypted, and tokens must be since")
}

// No token lives longer than its keys verify.
func TestExpIsCappedByTheKeys(t *testing.T) {
	b := newBench(t)
	from, until := start.Add(-time.Hour), start.Add(5*time.Minute)
	short, err := keys.Generate(keys.HS256, keys.Dates{Created: from, PublishAt: from, SignFrom: from, SignUntil: until,
		VerifyUntil: until})
	require.NoError(t, err)
	require.NoError(t, b.ring.Replace(short))
	credential, err := b.Issue(t.Context(), record(nil), "")
	require.NoError(t, err)
	rec, _, err := b.Open(t.Context(), credential)
	require.NoError(t, err)
	assert.True(t, rec.IdleDeadline.Equal(until))
	b.now = until
	_, _, err = b.Open(t.Context(), credential)
	assert.ErrorIs(t, err, session.UnknownKey)
	_, err = b.Issue(t.Context(), record(nil), "")
	assert.ErrorIs(t, err, session.Unavailable, "no key signs any more")
}

func TestNoKeysIsUnavailable(t *testing.T) {
	b := newBench(t)
	c := b.another(t, func(c *token.CarrierConfig) { c.Ring = &keys.Ring{} })
	_, err := c.Issue(t.Context(), record(nil), "")
	assert.ErrorIs(t, err, session.Unavailable)
}

func TestRetireHasOneWinner(t *testing.T) {
	b := newBench(t)
	credential, err := b.Issue(t.Context(), record(nil), "")
	require.NoError(t, err)
	base, _, err := b.Open(t.Context(), credential)
	require.NoError(t, err)
	assert.NoError(t, retire(t, b.Carrier, credential, base, "next", 0))
	assert.ErrorIs(t, retire(t, b.Carrier, credential, base, "other", 0), session.Ended)
	_, _, err = b.Open(t.Context(), credential)
	assert.ErrorIs(t, err, session.Ended)
	_, _, err = b.Save(t.Context(), credential, base,
		b.changes(base, func(s *session.Session) { require.NoError(t, session.Key[any]("a").Set(s, 1)) }))
	assert.ErrorIs(t, err, session.Ended)
}

func TestRetireOfAnOlderState(t *testing.T) {
	b := newBench(t)
	credential, err := b.Issue(t.Context(), record(nil), "")
	require.NoError(t, err)
	base, _, err := b.Open(t.Context(), credential)
	require.NoError(t, err)
	_, _, err = b.Save(t.Context(), credential, base,
		b.changes(base, func(s *session.Session) { require.NoError(t, session.Key[any]("a").Set(s, 1)) }))
	require.NoError(t, err)
	assert.ErrorIs(t, retire(t, b.Carrier, credential, base, "next", time.Minute), session.Conflict)
	_, _, err = b.Open(t.Context(), credential)
	assert.NoError(t, err, "nothing has changed")
}

// The memory is bounded, and what falls out of it only costs another signature
// check.
func TestMemoryIsBounded(t *testing.T) {
	b := newBench(t, keys.HS256)
	small := b.another(t, func(c *token.CarrierConfig) { c.MemoryBytes = 64 << 10 })
	var credentials []string
	for i := range 500 {
		rec := record(nil)
		rec.ID = "session" + strings.Repeat("x", i%10) + string(rune('A'+i%26))
		rec.Generation = uint64(i + 1)
		credential, err := small.Issue(t.Context(), rec, "")
		require.NoError(t, err)
		credentials = append(credentials, credential)
		assert.LessOrEqual(t, token.MemoryUsed(small), 64<<10)
	}
	for _, credential := range credentials {
		_, _, err := small.Open(t.Context(), credential)
		assert.NoError(t, err)
		assert.LessOrEqual(t, token.MemoryUsed(small), 64<<10)
	}
}

// One visitor can't fill the memory with the many tokens of one session either.
func TestMemoryOfOneSession(t *testing.T) {
	b := newBench(t, keys.HS256)
	credential, err := b.Issue(t.Context(), record(nil), "")
	require.NoError(t, err)
	base, _, err := b.Open(t.Context(), credential)
	require.NoError(t, err)
	used := 0
	for i := range 200 {
		_, _, err = b.Save(t.Context(), credential, base,
			b.changes(base, func(s *session.Session) { require.NoError(t, session.Key[any]("n").Set(s, i)) }))
		require.NoError(t, err)
		if i == 20 {
			used = token.MemoryUsed(b.Carrier)
		}
	}
	assert.InDelta(t, used, token.MemoryUsed(b.Carrier), 200)
	rec, _, err := b.Open(t.Context(), credential)
	require.NoError(t, err, "a token that is no longer remembered is verified again")
	n, _ := rec.Values.Get("n")
	assert.Equal(t, "199", n)
}

func TestSecondSightIsCheap(t *testing.T) {
	b := newBench(t)
	credential, err := b.Issue(t.Context(), record(map[string]string{"a": "1"}), "")
	require.NoError(t, err)
	other := b.another(t)
	_, _, err = other.Open(t.Context(), credential)
	require.NoError(t, err)
	allocs := testing.AllocsPerRun(100, func() { _, _, _ = other.Open(context.Background(), credential) })
	assert.LessOrEqual(t, allocs, 1.0)
}

func TestNewCarrierReportsEveryMistake(t *testing.T) {
	carrier, err := token.NewCarrier(token.CarrierConfig{MaxLength: -1, MemoryBytes: -1, Audience: "\xff"})
	assert.Nil(t, carrier)
	for _, field := range []string{"Ring", "Issuer", "Audience", "Revocations", "MaxLength", "MemoryBytes"} {
		assert.ErrorContains(t, err, "CarrierConfig."+field)
	}
}

// retire expects that the client need not hold anything meanwhile.
func retire(t *testing.T, c *token.Carrier, credential string, base *session.Record, successor string,
	grace time.Duration) error {
	hold, err := c.Retire(t.Context(), credential, base, successor, grace)
	assert.Empty(t, hold)
	return err
}
