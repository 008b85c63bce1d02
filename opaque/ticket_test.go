package opaque_test

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cloakroom-go/cloakroom/opaque"
	"github.com/cloakroom-go/cloakroom/session"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A doubt is a renewal of which nobody knows whether the store has done it.
type doubt struct {
	*place
	base           *session.Record
	old, successor string
	ticket         string
	done           bool
	lossy          *lossy
}

func newDoubt(t *testing.T, done bool) *doubt {
	d, l := newRenewal(t)
	var err error
	d.successor, err = d.Issue(t.Context(), d.base, d.old)
	require.NoError(t, err)
	d.done = done
	d.doubt(t, l, map[bool]fault{false: refused, true: lost}[done])
	return d
}

// newRenewal returns a session that is about to be renewed.
func newRenewal(t *testing.T) (*doubt, *lossy) {
	p, l := newLossy(t)
	d := &doubt{place: p, lossy: l}
	var err error
	d.old, err = p.Issue(t.Context(), alice(), "")
	require.NoError(t, err)
	d.base, _, err = p.Open(t.Context(), d.old)
	require.NoError(t, err)
	return d, l
}

// doubt renews the session, and loses the answer.
func (d *doubt) doubt(t *testing.T, l *lossy, f fault) {
	var err error
	l.writes, l.reads = []fault{f}, []fault{refused} // the look fails too
	d.ticket, err = d.Retire(t.Context(), d.old, d.base, d.successor, 0)
	require.ErrorIs(t, err, session.Unavailable)
	require.True(t, d.Recognizes(d.ticket))
	require.LessOrEqual(t, len(d.ticket), d.MaxLength())
}

// opens returns which of the credentials opens a session.
func (d *doubt) opens(t *testing.T, credentials ...string) (open []string) {
	for _, credential := range credentials {
		if rec, _, err := d.Open(t.Context(), credential); err == nil && rec != nil {
			open = append(open, credential)
		}
	}
	return open
}

// Each row is what happens before the ticket is opened, and what the session
// goes on under, if the swap had not been done and if it had: the successor,
// the old credential, or neither.
var tickets = []struct {
	name           string
	meanwhile      func(t *testing.T, d *doubt)
	undone, isDone string
}{
	{"nothing", func(*testing.T, *doubt) {}, "successor", "successor"},
	{"a save", func(t *testing.T, d *doubt) {
		_, _, err := d.Save(t.Context(), d.old, d.base, set(d.place, d.base, "x"))
		assert.Equal(t, d.done, session.ReasonOf(err) == session.Conflict)
	}, "old", "successor"},
	{"a logout", func(t *testing.T, d *doubt) { assert.NoError(t, d.End(t.Context(), d.old, d.base)) }, "", ""},
	{"a logout by the ticket", func(t *testing.T, d *doubt) {
		assert.NoError(t, d.End(t.Context(), d.ticket, d.base))
		assert.Empty(t, d.opens(t, d.old, d.successor))
	}, "", ""},
	{"another renewal", func(t *testing.T, d *doubt) {
		other, err := d.Issue(t.Context(), d.base, d.old)
		require.NoError(t, err)
		err = retire(t, d.Carrier, d.old, d.base, other, 0)
		assert.Equal(t, d.done, session.ReasonOf(err) == session.Conflict)
	}, "", "successor"},
	{"the ticket is opened eight times at once", func(t *testing.T, d *doubt) {
		var group sync.WaitGroup
		for range 8 {
			group.Go(func() {
				rec, current, err := d.Open(t.Context(), d.ticket)
				assert.NoError(t, err)
				assert.NotNil(t, rec)
				assert.Equal(t, d.successor, current)
			})
		}
		group.Wait()
	}, "successor", "successor"},
	{"a save by the ticket after one by the old credential", func(t *testing.T, d *doubt) {
		_, _, saved := d.Save(t.Context(), d.old, d.base, set(d.place, d.base, "x"))
		_, _, err := d.Save(t.Context(), d.ticket, d.base, set(d.place, d.base, "y"))
		assert.Equal(t, saved == nil, session.ReasonOf(err) == session.Conflict)
	}, "old", "successor"},
	{"a save by the ticket", func(t *testing.T, d *doubt) {
		_, current, err := d.Save(t.Context(), d.ticket, d.base, set(d.place, d.base, "x"))
		assert.NoError(t, err)
		assert.Equal(t, d.successor, current)
	}, "successor", "successor"},
}

func TestTickets(t *testing.T) {
	for _, row := range tickets {
		for _, done := range []bool{false, true} {
			name := row.name + ", not done"
			if done {
				name = row.name + ", done"
			}
			t.Run(name, func(t *testing.T) {
				d := newDoubt(t, done)
				row.meanwhile(t, d)
				want := row.undone
				if done {
					want = row.isDone
				}
				wrote := d.lossy.wrote
				peeked, looked, lookErr := d.Peek(t.Context(), d.ticket)
				assert.Equal(t, wrote, d.lossy.wrote, "Peek redeems no ticket")
				rec, current, err := d.Open(t.Context(), d.ticket)
				assert.Equal(t, map[string]string{"successor": d.successor, "old": d.old}[want], current)
				assert.Equal(t, want == "", err != nil)
				assert.Equal(t, []any{current, session.ReasonOf(err)}, []any{looked, session.ReasonOf(lookErr)})
				assert.Equal(t, rec == nil, peeked == nil)
				if rec != nil {
					assert.Equal(t, rec.Generation, peeked.Generation)
				}
				left := d.opens(t, d.old, d.successor)
				if want == "" {
					assert.Empty(t, left)
				} else {
					assert.Equal(t, []string{current}, left, "no second credential opens")
				}
			})
		}
	}
}

// An answer that was meant for another request, at either of the two looks,
// changes nothing: the ticket works the next time.
func TestTicketWithAMixedUpAnswer(t *testing.T) {
	for _, done := range []bool{false, true} {
		for _, reads := range [][]fault{{mixedUp}, {none, mixedUp}} {
			if done && len(reads) > 1 {
				continue // the first look is enough
			}
			d := newDoubt(t, done)
			other, err := d.Issue(t.Context(), alice(), "")
			require.NoError(t, err)
			hash := sha256.Sum256([]byte(other))
			d.lossy.another, d.lossy.reads = base64.RawURLEncoding.EncodeToString(hash[:]), reads
			_, _, err = d.Open(t.Context(), d.ticket)
			require.ErrorIs(t, err, session.Forged)
			_, current, err := d.Open(t.Context(), d.ticket)
			require.NoError(t, err, "done %v", done)
			require.Equal(t, d.successor, current)
			require.Equal(t, []string{d.successor}, d.opens(t, d.old, d.successor))
		}
	}
}

// Nobody else makes a ticket, and nobody takes one apart.
func TestTicketIsSealed(t *testing.T) {
	d := newDoubt(t, false)
	raw, err := base64.RawURLEncoding.DecodeString(strings.TrimPrefix(d.ticket, "crd1_"))
	require.NoError(t, err)
	for _, credential := range []string{d.old, d.successor} {
		secret, err := base64.RawURLEncoding.DecodeString(strings.TrimPrefix(credential, "cr1_"))
		require.NoError(t, err)
		assert.NotContains(t, string(raw), string(secret[:8]))
	}
	refused := func(ticket string) {
		_, _, err := d.Open(t.Context(), ticket)
		assert.Contains(t, []session.Reason{session.Forged, session.Malformed}, session.ReasonOf(err))
		_, _, err = d.Save(t.Context(), ticket, d.base, set(d.place, d.base, "x"))
		assert.Contains(t, []session.Reason{session.Forged, session.Malformed, session.Conflict}, session.ReasonOf(err))
		assert.NoError(t, d.Forget(t.Context(), ticket))
		assert.NoError(t, d.End(t.Context(), ticket, d.base))
	}
	for at := range raw {
		other := slices.Clone(raw)
		other[at] ^= 1
		refused("crd1_" + base64.RawURLEncoding.EncodeToString(other))
	}
	for _, ticket := range []string{
		d.ticket[:len(d.ticket)-1], d.ticket + "A", "crd1_",
		d.ticket[:len(d.ticket)-1] + "_", d.ticket[:len(d.ticket)-1] + "=",
	} {
		refused(ticket)
	}
	stranger := d.with(t, "x")
	_, _, err = stranger.Open(t.Context(), d.ticket)
	assert.ErrorIs(t, err, session.Forged)
	assert.False(t, newPlace(t, false).Recognizes(d.ticket), "there are no doubts in process")
	_, current, err := d.Open(t.Context(), d.ticket)
	require.NoError(t, err, "nothing was changed")
	assert.Equal(t, d.successor, current)
}

// After a renewal to a token the ticket leads to the token if the store has
// done the swap, or does it before the ticket is opened. Otherwise it leads to
// the old session.
func TestTicketForAToken(t *testing.T) {
	for f, want := range map[fault]string{lost: "token", refused: "old", late: "token"} {
		d, l := newRenewal(t)
		d.successor = "a.token.ofthesession"
		d.doubt(t, l, f)
		for range 3 {
			rec, current, err := d.Open(t.Context(), d.ticket)
			require.NoError(t, err)
			require.Equal(t, map[string]string{"token": d.successor, "old": d.old}[want], current)
			require.Equal(t, want == "old", rec != nil)
			require.Equal(t, want == "old", len(d.opens(t, d.old)) == 1)
		}
		_, _, err := d.Save(t.Context(), d.ticket, d.base, set(d.place, d.base, "x"))
		assert.ErrorIs(t, err, session.Conflict, "the session that the ticket was for goes on elsewhere")
		require.NoError(t, d.End(t.Context(), d.ticket, d.base))
		_, _, err = d.Open(t.Context(), d.old)
		assert.Equal(t, want == "old", errors.Is(err, session.NotFound))
	}
}

// Two requests redeem a ticket at once: the slower one finds the swap done.
func TestTicketRace(t *testing.T) {
	d := newDoubt(t, false)
	store := &swapper{Store: d.remote}
	c, err := opaque.NewCarrier(opaque.CarrierConfig{Store: store, Secrets: secrets(), Now: d.clock})
	require.NoError(t, err)
	store.then = func() { assert.Len(t, d.opens(t, d.ticket), 1) }
	_, current, err := c.Open(t.Context(), d.ticket)
	require.NoError(t, err)
	assert.Equal(t, d.successor, current)
}

// A swapper lets another request go first when it is about to swap.
type swapper struct {
	opaque.Store
	then func()
}

func (s *swapper) Swap(ctx context.Context, key string, version uint64, item opaque.Item) (bool, error) {
	if then := s.then; then != nil {
		s.then = nil
		then()
	}
	return s.Store.Swap(ctx, key, version, item)
}

// After a move in doubt the client gets no ticket: the old credential leads on.
func TestMoveInDoubt(t *testing.T) {
	p, l := newLossy(t)
	old, err := p.Issue(t.Context(), alice(), "")
	require.NoError(t, err)
	base, _, err := p.Open(t.Context(), old)
	require.NoError(t, err)
	l.writes, l.reads = []fault{lost}, []fault{refused}
	hold, err := p.Retire(t.Context(), old, base, "a.token.ofthesession", time.Minute)
	assert.ErrorIs(t, err, session.Unavailable)
	assert.Empty(t, hold)
	_, current, err := p.Open(t.Context(), old)
	require.NoError(t, err)
	assert.Equal(t, "a.token.ofthesession", current)
}

// An answer that nothing has happened leaves no doubt.
func TestNoTicketWithoutDoubt(t *testing.T) {
	p, l := newLossy(t)
	refusing := &tooLarge{l}
	c, err := opaque.NewCarrier(opaque.CarrierConfig{Store: refusing, Secrets: secrets(), Now: p.clock})
	require.NoError(t, err)
	old, err := p.Issue(t.Context(), alice(), "")
	require.NoError(t, err)
	base, _, err := p.Open(t.Context(), old)
	require.NoError(t, err)
	successor, err := p.Issue(t.Context(), base, old)
	require.NoError(t, err)
	hold, err := c.Retire(t.Context(), old, base, successor, 0)
	assert.ErrorIs(t, err, session.TooLarge)
	assert.Empty(t, hold)
}
