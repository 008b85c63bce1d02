package apptest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/devices"
	"github.com/cloakroom-go/cloakroom/opaque"
	"github.com/cloakroom-go/cloakroom/session"
)

// RaceIndex shows that the order of steps which package devices describes lets
// no session survive its end, and leaves none that lives out of a list. In each
// round one session is renewed three times while others log in, lists are
// shown, and sessions are ended, one or all, with random pauses before each
// call to the store and the index.
//
// No revocation list refuses what should have ended: it would hide mistakes.
//
// As a control, RaceIndex also plays two other orders, which must fail. With
// CLOAKROOM_SOAK=1 in the environment there are 2,000 rounds, otherwise 40.
// open may be called several times, also for the same store.
func RaceIndex(t *testing.T, open func(t testing.TB) (opaque.Store, devices.Index)) {
	t.Helper()
	rounds := 40
	if os.Getenv("CLOAKROOM_SOAK") == "1" {
		rounds = 2000
	}
	t.Run("create, enter, swap", func(t *testing.T) {
		r := newIndexRace(t, createEnterSwap, open)
		r.play(func() bool { return r.rounds.Add(1) <= int64(rounds) })
		t.Logf("%d rounds, %d credentials: %d opened after their end, %d were missing in the index, %d didn't open",
			rounds, r.credentials.Load(), r.survived.Load(), r.missing.Load(), r.dead.Load())
		require.Zero(t, r.survived.Load()+r.missing.Load()+r.dead.Load())
	})
	for o, name := range map[order]string{
		enterCreateSwap: "enter, create, swap", createSwapEnter: "create, swap, enter",
	} {
		t.Run("control: "+name, func(t *testing.T) {
			r := newIndexRace(t, o, open)
			r.play(func() bool { return r.survived.Load() == 0 && r.rounds.Add(1) <= 2000 })
			t.Logf("%d rounds: %d opened after their end, %d were missing in the index",
				r.rounds.Load(), r.survived.Load(), r.missing.Load())
			require.NotZero(t, r.survived.Load(), "no session has survived in the wrong order: the race tests nothing")
		})
	}
}

// An order is that in which a new credential is made.
type order int

const (
	createEnterSwap order = iota // that of package middleware
	enterCreateSwap
	createSwapEnter
)

// An indexRace is many rounds over one store.
type indexRace struct {
	t        *testing.T
	order    order
	carrier  *opaque.Carrier
	registry *devices.Registry
	index    devices.Index

	rounds, credentials, survived, missing, dead atomic.Int64
}

func newIndexRace(t *testing.T, o order, open func(t testing.TB) (opaque.Store, devices.Index)) *indexRace {
	store, index := open(t)
	slow := pausingStore{store, store.(devices.Store)}
	carrier, err := opaque.NewCarrier(opaque.CarrierConfig{Store: slow, Secrets: Secrets()})
	require.NoError(t, err)
	registry, err := devices.New(devices.Config{
		Index: pausingIndex{index}, Store: slow, Revocations: noList{}, Secrets: Secrets(), Lifetime: time.Hour,
	})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, registry.Close()) })
	return &indexRace{t: t, order: o, carrier: carrier, registry: registry, index: index}
}

// play plays rounds as long as there are more, several at once: most of the
// time they pause.
func (r *indexRace) play(more func() bool) {
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for !r.t.Failed() && more() {
				(&indexRound{indexRace: r, subject: "subject " + randomID(), begun: time.Now()}).play()
			}
		})
	}
	all.Wait()
}

// randomID returns an ID as a session has it.
func randomID() string { return fmt.Sprintf("%011x%011x", rand.Uint64()>>20, rand.Uint64()>>20) }

// An indexRound is one round, of a subject of its own.
type indexRound struct {
	*indexRace
	subject string
	begun   time.Time

	mu     sync.Mutex // guards issued
	issued []issued
}

// issued is a credential that a client could have got.
type issued struct {
	id, credential string
}

// play has an end of all, an end of the session that is renewed, both, or none.
func (r *indexRound) play() {
	renewed := r.record()
	credential, err := r.issue(renewed, nil, "")
	r.must(err)
	login := func() { _, _ = r.issue(r.record(), nil, "") }
	callers := []func(){login, login, r.list, func() { r.renew(renewed, credential) }}
	endsAll, endsOne := rand.IntN(2) == 0, rand.IntN(2) == 0 || r.order == createSwapEnter
	if endsAll {
		callers = append(callers, func() { r.must(r.registry.EndUntil(r.t.Context(), r.subject, time.Now())) })
	}
	if endsOne {
		callers = append(callers, func() { r.end(renewed.ID) })
	}
	var all sync.WaitGroup
	for _, call := range callers {
		all.Go(func() { pause(); call() })
	}
	all.Wait()
	r.judge(func(id string) bool { return endsAll || endsOne && id == renewed.ID })
}

func (r *indexRound) record() *session.Record {
	now := r.begun.Truncate(time.Second)
	return &session.Record{
		ID: randomID(), Version: 1, Generation: 1, Lineage: randomID(), Subject: r.subject, CreatedAt: now,
		AuthenticatedAt: r.begun.Truncate(time.Millisecond), SeenAt: now, IdleDeadline: now.Add(30 * time.Minute),
		Deadline: now.Add(time.Hour),
	}
}

func (r *indexRound) must(err error) {
	if err != nil {
		r.t.Errorf("an error that nothing explains: %v", err)
	}
}

func (r *indexRound) list() {
	for range 3 {
		_, err := r.registry.List(r.t.Context(), r.subject)
		r.must(err)
		pause()
	}
}

// end ends one session. Its entry may be gone: an end of all was faster.
func (r *indexRound) end(id string) {
	if err := r.registry.End(r.t.Context(), r.subject, id); !errors.Is(err, session.NotFound) {
		r.must(err)
	}
}

// renew renews a session three times, unless it has ended.
func (r *indexRound) renew(rec *session.Record, credential string) {
	for range 3 {
		next := *rec
		next.Version, next.Generation, next.Lineage = rec.Version+1, rec.Generation+1, randomID()
		renewed, err := r.issue(&next, rec, credential)
		if err != nil {
			return
		}
		rec, credential = &next, renewed
	}
}

// issue does what a middleware does to give a session a credential, in the
// order of the race.
func (r *indexRound) issue(rec, was *session.Record, old string) (credential string, err error) {
	ctx, late := r.t.Context(), &lateCreate{wanted: r.order == enterCreateSwap}
	if credential, err = r.carrier.Issue(context.WithValue(ctx, lateKey{}, late), rec, ""); err != nil {
		return "", err
	}
	r.mu.Lock()
	r.issued = append(r.issued, issued{rec.ID, credential})
	r.mu.Unlock()
	steps := []func() error{
		func() error { return r.enter(ctx, rec, credential, was, old) },
		late.do,
		func() error { return r.retire(ctx, credential, was, old) },
	}
	if r.order == createSwapEnter {
		slices.Reverse(steps)
	}
	for _, step := range steps {
		longPause()
		if err := step(); err != nil {
			r.must(r.carrier.Forget(ctx, credential))
			r.must(r.registry.Forget(ctx, rec, r.carrier.Key(credential)))
			return "", err
		}
	}
	r.credentials.Add(1)
	return credential, nil
}

func (r *indexRound) enter(
	ctx context.Context, rec *session.Record, credential string, was *session.Record, old string,
) error {
	wasKey := ""
	if was != nil {
		wasKey = r.carrier.Key(old)
	}
	return r.registry.Enter(ctx, &http.Request{}, rec, r.carrier.Key(credential), was, wasKey)
}

func (r *indexRound) retire(ctx context.Context, credential string, was *session.Record, old string) error {
	if was == nil {
		return nil
	}
	_, err := r.carrier.Retire(ctx, old, was, credential, 0)
	return err
}

// judge looks at every credential when all callers are done. It opens them
// before it lists them: a list ends what has survived its end.
func (r *indexRound) judge(ended func(id string) bool) {
	opens := make(map[issued]bool)
	for _, c := range r.issued {
		_, _, err := r.carrier.Open(r.t.Context(), c.credential)
		opens[c] = err == nil
	}
	entries, err := r.index.List(r.t.Context(), nameInIndex(r.subject))
	r.must(err)
	list, err := r.registry.List(r.t.Context(), r.subject)
	r.must(err)
	lives := make(map[string]bool)
	for _, c := range r.issued {
		lives[c.id] = lives[c.id] || false
		if !opens[c] {
			continue
		}
		lives[c.id] = true
		if ended(c.id) {
			r.survived.Add(1)
		}
		entered := slices.ContainsFunc(entries, func(e devices.Entry) bool {
			return e.ID == c.id && slices.Contains(e.Keys, r.carrier.Key(c.credential))
		})
		listed := slices.ContainsFunc(list, func(s devices.Session) bool { return s.ID == c.id })
		if !entered || !listed && !ended(c.id) {
			r.missing.Add(1)
		}
	}
	for id, opens := range lives {
		if !opens && !ended(id) {
			r.dead.Add(1)
		}
	}
}
