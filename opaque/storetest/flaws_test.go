package storetest

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cloakroom-go/cloakroom/opaque"
	"github.com/cloakroom-go/cloakroom/session"
)

// A flaw is one way in which a store can be wrong; 0 is a correct one.
type flaw int

const (
	none flaw = iota
	plainWrite
	lastWriterWins
	swapOlderVersions
	swapInTwoSteps
	swapSaysYes
	swapSaysNo
	swapSameVersion
	swapKeepsDeadlines
	floatingVersions
	createOverwrites
	createInTwoSteps
	createAnythingGoes
	touchCreates
	touchBack
	touchBackTogether
	touchPastDeadline
	touchRaisesVersion
	touchRewrites
	touchInTwoSteps
	touchOfOver
	swapOfOver
	deleteFails
	deleteLeavesShadow
	deleteDelayed
	staleReads
	oneBuffer
	trimsData
	limited // to 1 MiB, which is no flaw
	largeItemsVanish
	largeItemsShrink
	largeUnavailable
	largeCostsTheOld
	shortLived
	dropsAtOnce
	dropsSwapped
	fractions
	anyCase
	ignoresContext
	refuses
	saysNotDone
	headersUnordered
	headersShort
	headersWithData
	headersCapped
	headersOld
	headersIgnoreContext
	flaws
)

// store is the simplest correct Store, unless it has a flaw.
type store struct {
	flaw   flaw
	mu     sync.Mutex
	items  map[string]opaque.Item
	shadow map[string]opaque.Item // what was there before
	buffer []byte
}

func newStore(f flaw) *store {
	return &store{flaw: f, items: map[string]opaque.Item{}, shadow: map[string]opaque.Item{}}
}

func (s *store) key(key string) string {
	if s.flaw == anyCase {
		return strings.ToLower(key)
	}
	return key
}

func (s *store) done(ctx context.Context) error {
	if err := ctx.Err(); err != nil && s.flaw != ignoresContext && s.flaw != saysNotDone {
		return fmt.Errorf("%w: %w", err, session.Unavailable)
	}
	if s.flaw == refuses {
		return session.Unavailable
	}
	return nil
}

// between is where another caller gets in if the flaw lets go of the lock.
func (s *store) between(f flaw) {
	if s.flaw != f {
		return
	}
	s.mu.Unlock()
	for range rand.IntN(4) {
		runtime.Gosched()
	}
	s.mu.Lock()
}

func (s *store) Get(ctx context.Context, key string) (opaque.Item, bool, error) {
	if err := s.done(ctx); err != nil {
		return opaque.Item{}, false, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if old, ok := s.shadow[s.key(key)]; ok && s.flaw == staleReads && rand.IntN(3) == 0 {
		return old, true, nil
	}
	it, ok := s.items[s.key(key)]
	if !ok && s.flaw == deleteLeavesShadow {
		it, ok = s.shadow[s.key(key)]
	}
	if s.flaw == dropsAtOnce && s.over(it) {
		return opaque.Item{}, false, nil
	}
	return it, ok, nil
}

func (s *store) Create(ctx context.Context, key string, it opaque.Item) error {
	if err := s.done(ctx); err != nil {
		return err
	}
	if err := it.Validate(0); err != nil && s.flaw != createAnythingGoes {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	_, used := s.items[s.key(key)]
	s.between(createInTwoSteps)
	if used && s.flaw != createOverwrites {
		return session.Conflict
	}
	return s.keep(key, it)
}

func (s *store) Swap(ctx context.Context, key string, version uint64, it opaque.Item) (bool, error) {
	if err := s.done(ctx); err != nil {
		return false, err
	}
	if err := it.Validate(version); err != nil && s.flaw != swapSameVersion {
		return false, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	old, ok := s.items[s.key(key)]
	s.between(swapInTwoSteps)
	if s.refuses(old, ok, version) {
		return s.flaw == swapSaysYes, nil
	}
	if s.flaw == swapKeepsDeadlines {
		it.IdleDeadline, it.Deadline = old.IdleDeadline, old.Deadline
	}
	if err := s.keep(key, it); err != nil {
		return false, err
	}
	if s.flaw == dropsSwapped && s.over(it) {
		delete(s.items, s.key(key))
	}
	if s.flaw == saysNotDone && ctx.Err() != nil {
		return false, opaque.ErrNotDone
	}
	return s.flaw != swapSaysNo, nil
}

// keep puts what is not too large.
func (s *store) keep(key string, it opaque.Item) error {
	if len(it.Data) > 1<<20 {
		switch s.flaw {
		case limited:
			return session.TooLarge
		case largeItemsVanish:
			return nil
		case largeItemsShrink:
			it.Data = it.Data[:1<<20]
		case largeUnavailable:
			return session.Unavailable
		case largeCostsTheOld:
			delete(s.items, s.key(key))
			return session.TooLarge
		}
	}
	s.put(key, it)
	return nil
}

func (s *store) refuses(old opaque.Item, ok bool, version uint64) bool {
	switch {
	case s.flaw == plainWrite && !ok:
		return false
	case !ok:
		return true
	case s.flaw == lastWriterWins, s.flaw == swapOlderVersions && version < old.Version:
		return false
	case s.flaw == floatingVersions && float64(old.Version) == float64(version):
		return false
	}
	return old.Version != version || s.over(old) && s.flaw != swapOfOver
}

func (s *store) over(it opaque.Item) bool { return !time.Now().Before(it.OverAt()) }

func (s *store) put(key string, it opaque.Item) {
	if s.flaw != fractions {
		for _, at := range []*time.Time{&it.SeenAt, &it.IdleDeadline, &it.Deadline} {
			*at = at.Truncate(time.Second)
		}
	}
	switch s.flaw {
	case oneBuffer:
		s.buffer = append(s.buffer[:0], it.Data...)
		it.Data = s.buffer
	case trimsData:
		it.Data = []byte(strings.TrimRight(string(it.Data), "\x00\r\n"))
	case shortLived:
		if time.Until(it.Deadline) > 30*24*time.Hour {
			return
		}
	}
	if old, ok := s.items[s.key(key)]; ok {
		s.shadow[s.key(key)] = old
	}
	s.items[s.key(key)] = it
}

func (s *store) Touch(ctx context.Context, key string, seenAt, idleDeadline time.Time) (bool, error) {
	if err := s.done(ctx); err != nil {
		return false, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	it, ok := s.items[s.key(key)]
	if !ok && s.flaw == touchCreates {
		s.put(key, opaque.Item{Version: 1, SeenAt: seenAt, IdleDeadline: idleDeadline, Deadline: idleDeadline})
	}
	if !ok || s.over(it) && s.flaw != touchOfOver {
		return false, nil
	}
	s.between(touchInTwoSteps)
	s.put(key, s.touched(it, seenAt, idleDeadline))
	return true, nil
}

func (s *store) touched(it opaque.Item, seenAt, idleDeadline time.Time) opaque.Item {
	if idleDeadline.After(it.Deadline) && s.flaw != touchPastDeadline {
		idleDeadline = it.Deadline
	}
	if s.flaw == touchBackTogether && seenAt.Before(it.SeenAt) {
		return it
	}
	if seenAt.After(it.SeenAt) || s.flaw == touchBack {
		it.SeenAt = seenAt
	}
	if idleDeadline.After(it.IdleDeadline) || s.flaw == touchBack {
		it.IdleDeadline = idleDeadline
	}
	switch s.flaw {
	case touchRaisesVersion:
		it.Version++
	case touchRewrites:
		it.Data = nil
	}
	return it
}

func (s *store) Delete(ctx context.Context, key string) error {
	if err := s.done(ctx); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	old, ok := s.items[s.key(key)]
	if !ok && s.flaw == deleteFails {
		return session.NotFound
	}
	if ok {
		s.shadow[s.key(key)] = old
	}
	if s.flaw == deleteDelayed {
		go func() {
			time.Sleep(time.Millisecond)
			s.mu.Lock()
			defer s.mu.Unlock()
			delete(s.items, s.key(key))
		}()
		return nil
	}
	delete(s.items, s.key(key))
	return nil
}

// TestEveryFlawIsFound is the proof that the suite tests something: each flaw
// is found by the rules that are about it, and a store without flaws passes.
func TestEveryFlawIsFound(t *testing.T) {
	tests := map[flaw]struct{ name, rules string }{
		none:               {"none", ""},
		plainWrite:         {"a plain write", "absent, delete, swap against delete, keys"},
		lastWriterWins:     {"the last writer wins", "swap, one swap wins, no update lost, histories"},
		swapOlderVersions:  {"swap from older versions", "swap, one swap wins"},
		swapInTwoSteps:     {"look, then swap", "one swap wins, no update lost, swap against delete, histories"},
		swapSaysYes:        {"a lost swap reported as done", "absent, swap, delete, one swap wins, no update lost"},
		swapSaysNo:         {"a swap reported as lost", "round trip, swap"},
		swapSameVersion:    {"swap to any version", "swap upwards"},
		swapKeepsDeadlines: {"swap keeps the deadlines", "swap deadlines, histories"},
		floatingVersions:   {"versions as floating point", "large versions"},
		createOverwrites:   {"create overwrites", "create twice, one create wins"},
		createInTwoSteps:   {"look, then create", "one create wins"},
		createAnythingGoes: {"create of anything", "mistakes"},
		touchCreates:       {"touch creates", "absent, delete, touch against delete"},
		touchBack:          {"touch moves back", "touch never back, touch forward"},
		touchBackTogether:  {"touch compares one instant", "touch never back"},
		touchPastDeadline:  {"touch past the deadline", "touch up to the deadline"},
		touchRaisesVersion: {"touch raises the version", "touch, histories"},
		touchRewrites:      {"touch writes the data", "touch, histories"},
		touchInTwoSteps:    {"look, then touch", "touch against delete, touch against swap, touch forward, histories"},
		touchOfOver:        {"touch of what is over", "over"},
		swapOfOver:         {"swap of what is over", "over, swap deadlines"},
		deleteFails:        {"delete of nothing fails", "absent, delete"},
		deleteLeavesShadow: {"get after delete", "delete, swap against delete"},
		deleteDelayed:      {"delete later", "delete"},
		staleReads:         {"stale reads", "histories"},
		oneBuffer:          {"one buffer", "data stays"},
		trimsData:          {"data is trimmed", "any data"},
		limited:            {"a limit", ""},
		largeItemsVanish:   {"large items vanish", "sizes"},
		largeItemsShrink:   {"large items are cut", "sizes"},
		largeUnavailable:   {"no error of its own for large items", "sizes"},
		largeCostsTheOld:   {"a large item costs the one before", "sizes"},
		shortLived:         {"30 days at most", "long lifetime"},
		dropsAtOnce:        {"drops an item when it expires", "clocks"},
		dropsSwapped:       {"drops an item that was swapped and expires", "clocks"},
		fractions:          {"fractions of a second", "whole seconds"},
		anyCase:            {"keys in any case", "keys"},
		ignoresContext:     {"the context is ignored", "context"},
		refuses:            {"out of order", "round trip, histories"},
		saysNotDone:        {"done, and said not to be", "context, nothing done"},

		headersUnordered:     {"headers in another order", "headers"},
		headersShort:         {"no header of absent items", "headers"},
		headersWithData:      {"headers with data", "headers"},
		headersCapped:        {"1,000 headers at most", "headers"},
		headersOld:           {"headers of the state before", "headers"},
		headersIgnoreContext: {"headers ignore the context", "headers"},
	}
	if len(tests) != int(flaws) {
		t.Fatalf("%d flaws in the table, want %d", len(tests), flaws)
	}
	found := map[string]bool{}
	for f, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			expected, tested := strings.Split(tt.rules, ", "), 0
			for _, r := range rules() {
				if tt.rules == "" {
					if err := check(t.Context(), r, newStore(f)); err != nil {
						t.Errorf("a store without flaws fails %q: %v", r.name, err)
					}
				} else if slices.Contains(expected, r.name) {
					found[r.name] = true
					tested++
					if find(t.Context(), r, f) == nil {
						t.Errorf("the rule %q didn't find it", r.name)
					}
				}
			}
			if tt.rules != "" && tested != len(expected) {
				t.Errorf("of the rules %q only %d exist", expected, tested)
			}
		})
	}
	for _, r := range rules() {
		if !found[r.name] {
			t.Errorf("the rule %q is to find no flaw: it would pass without testing", r.name)
		}
	}
}

// find returns what r finds in a store with the flaw. A race has several tries:
// no single one is sure to hit.
func find(ctx context.Context, r rule, f flaw) error {
	for range 50 {
		if err := check(ctx, r, newStore(f)); err != nil {
			return err
		}
	}
	return nil
}

func check(ctx context.Context, r rule, s opaque.Store) error {
	p := &probe{ctx: ctx, store: s}
	r.try(p)
	return p.err
}

// TestJudge has histories whose verdict is known.
func TestJudge(t *testing.T) {
	one, two := state{version: 1, data: "1"}, state{version: 2, data: "2"}
	read := func(s state) state { s.live = true; return s }
	const open = math.MaxInt64
	tests := []struct {
		name string
		ops  []operation
		ok   bool
	}{
		{"nothing", nil, true},
		{"create, get", []operation{{kind: create, in: one, ok: true, called: 1, returned: 2}, {kind: get, ok: true, out: read(one), called: 3, returned: 4}}, true},
		{"create, not found", []operation{{kind: create, in: one, ok: true, called: 1, returned: 2}, {kind: get, called: 3, returned: 4}}, false},
		{"not found during create", []operation{{kind: create, in: one, ok: true, called: 1, returned: 3}, {kind: get, called: 2, returned: 4}}, true},
		{"two creates", []operation{{kind: create, in: one, ok: true, called: 1, returned: 3}, {kind: create, in: one, ok: true, called: 2, returned: 4}}, false},
		{"back after delete", []operation{{kind: create, in: one, ok: true, called: 1, returned: 2}, {kind: remove, ok: true, called: 3, returned: 4}, {kind: swapItem, from: 1, in: two, ok: true, called: 5, returned: 6}}, false},
		{"swap before a delete that takes long", []operation{{kind: create, in: one, ok: true, called: 1, returned: 2}, {kind: remove, ok: true, called: 3, returned: 6}, {kind: swapItem, from: 1, in: two, ok: true, called: 4, returned: 5}}, true},
		{"two swaps from one version", []operation{{kind: create, in: one, ok: true, called: 1, returned: 2}, {kind: swapItem, from: 1, in: two, ok: true, called: 3, returned: 6}, {kind: swapItem, from: 1, in: two, ok: true, called: 4, returned: 5}}, false},
		{"old value after a new one", []operation{{kind: create, in: one, ok: true, called: 1, returned: 2}, {kind: swapItem, from: 1, in: two, ok: true, called: 3, returned: 8}, {kind: get, ok: true, out: read(two), called: 4, returned: 5}, {kind: get, ok: true, out: read(one), called: 6, returned: 7}}, false},
		{"error, and it happened", []operation{{kind: create, in: one, ok: true, called: 1, returned: 2}, {kind: swapItem, from: 1, in: two, err: session.Unavailable, called: 3, returned: open}, {kind: get, ok: true, out: read(two), called: 5, returned: 6}}, true},
		{"error, and it didn't happen", []operation{{kind: create, in: one, ok: true, called: 1, returned: 2}, {kind: swapItem, from: 1, in: two, err: session.Unavailable, called: 3, returned: open}, {kind: get, ok: true, out: read(one), called: 5, returned: 6}}, true},
		{"error, and it happened twice", []operation{{kind: create, in: one, ok: true, called: 1, returned: 2}, {kind: remove, err: session.Unavailable, called: 3, returned: open}, {kind: get, called: 5, returned: 6}, {kind: get, ok: true, out: read(one), called: 7, returned: 8}}, false},
		{"nothing but errors", []operation{{kind: create, in: one, err: session.Unavailable, called: 1, returned: open}}, false},
	}
	for _, tt := range tests {
		if err := judge(tt.ops); (err == nil) != tt.ok {
			t.Errorf("%s: got %v, want right=%v", tt.name, err, tt.ok)
		}
	}
}
