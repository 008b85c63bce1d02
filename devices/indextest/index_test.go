package indextest

import (
	"context"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/cloakroom-go/cloakroom/devices"
	"github.com/cloakroom-go/cloakroom/session"
)

// A flaw is one way in which an index can be wrong; 0 is a correct one.
type flaw int

const (
	none flaw = iota
	overwrites
	countsFromBack
	countsFromSeconds
	untilBack
	keysSorted
	keysAnyCase
	keysMoved
	keysLost
	replacesTooFew
	replacesTooMany
	replacesFirst
	replacesAfter
	detailsKept
	detailsText
	detailsCut
	oneSubject
	subjectsAnyCase
	idsAnyCase
	idsTrimmed
	instantAsEntry
	keepsOver
	dropsEarly
	extendBack
	extendPair
	extendCreates
	extendMarked
	extendSaysNo
	leaveKeepsEmpty
	leaveAnyKey
	leaveFails
	leaveUnmarks
	markCreates
	markOneKeepsInstant
	markOneMarksAll
	markAllExclusive
	markAllRoundsUp
	markAllEverything
	markReturnsNew
	markReturnsAll
	markReturnsUnmarked
	enterUnmarks
	instantExclusive
	instantBack
	instantFirst
	instantWithEntries
	instantMinute
	instantNever
	instantOnlyNew
	limitOffByOne
	limitCountsKnown
	limitSkipsMarked
	limitBeforeError
	keysUnlimited
	keysCapped
	keysOneLess
	entriesCapped
	sharesKeys
	ignoresContext
	enterInTwoSteps
	extendInTwoSteps
	markInTwoSteps
	leaveInTwoSteps
	unavailable
	flaws
)

// index is the simplest correct Index, unless it has a flaw.
type index struct {
	flaw flaw
	now  func() time.Time
	mu   sync.Mutex // guards of
	of   map[string]*kept
}

// kept is what the index has of one subject.
type kept struct {
	entries        map[string]devices.Entry
	instant, until time.Time
	dropped        time.Time // when the entries that were over by then were dropped
}

func newIndex(f flaw, now func() time.Time) *index {
	return &index{flaw: f, now: now, of: make(map[string]*kept)}
}

// between is where another caller gets in if the flaw lets go of the lock.
func (x *index) between(f flaw) {
	if x.flaw != f {
		return
	}
	x.mu.Unlock()
	for range rand.IntN(4) {
		runtime.Gosched()
	}
	x.mu.Lock()
}

// begin locks the index, and returns what is kept of a subject.
func (x *index) begin(ctx context.Context, subject string) (*kept, error) {
	if ctx.Err() != nil && x.flaw != ignoresContext || x.flaw == unavailable {
		return nil, session.Unavailable
	}
	x.mu.Lock()
	switch x.flaw {
	case oneSubject:
		subject = ""
	case subjectsAnyCase:
		subject = strings.ToLower(subject)
	}
	s := x.of[subject]
	if s == nil {
		s = &kept{entries: make(map[string]devices.Entry)}
		x.of[subject] = s
	}
	x.drop(s)
	keep := time.Hour
	if x.flaw == instantMinute {
		keep = time.Minute
	}
	if len(s.entries) == 0 && !x.now().Before(s.until.Add(keep)) ||
		x.flaw == instantWithEntries && !x.now().Before(s.until.Add(keep)) {
		s.instant = time.Time{}
	}
	return s, nil
}

// drop drops the entries that are over. It costs much with a thousand of them,
// and nothing changes while the clock stands still.
func (x *index) drop(s *kept) {
	now := x.now()
	if now.Equal(s.dropped) || x.flaw == keepsOver {
		return
	}
	if s.dropped = now; x.flaw == dropsEarly {
		now = now.Add(time.Second)
	}
	for id, e := range s.entries {
		if !now.Before(e.Until) {
			delete(s.entries, id)
		}
	}
}

func (x *index) id(id string) string {
	switch x.flaw {
	case idsAnyCase:
		return strings.ToLower(id)
	case idsTrimmed:
		return strings.TrimSpace(id)
	}
	return id
}

func (x *index) key(key string) string {
	if x.flaw == keysAnyCase {
		return strings.ToLower(key)
	}
	return key
}

func (x *index) Enter(ctx context.Context, subject string, e devices.Entry, replaces string, limit int) error {
	s, err := x.begin(ctx, subject)
	if err != nil {
		return err
	}
	defer x.mu.Unlock()
	old, known := s.entries[x.id(e.ID)]
	if err := x.refuse(s, e, old, known, limit); err != nil {
		return err
	}
	if len(s.entries) >= 999 && x.flaw == entriesCapped {
		return nil
	}
	x.between(enterInTwoSteps)
	keys := x.keys(old.Keys, e.Keys, replaces)
	most := devices.MaxKeys
	if x.flaw == keysOneLess {
		most--
	}
	if len(keys) > most && x.flaw != keysUnlimited {
		if x.flaw != keysCapped {
			return session.Conflict
		}
		keys = keys[len(keys)-most:]
	}
	s.entries[x.id(e.ID)] = x.merged(old, e, keys)
	return nil
}

func (x *index) refuse(s *kept, e, old devices.Entry, known bool, limit int) error {
	before := !e.CountsFrom.After(s.instant)
	switch x.flaw {
	case instantExclusive:
		before = e.CountsFrom.Before(s.instant)
	case instantOnlyNew:
		before = before && !known
	}
	count := len(s.entries)
	switch x.flaw {
	case limitOffByOne:
		count--
	case limitCountsKnown:
		known = false
	case limitSkipsMarked:
		for _, e := range s.entries {
			if e.Marked {
				count--
			}
		}
	}
	switch {
	case !s.instant.IsZero() && before:
		return session.Ended
	case old.Marked && x.flaw != enterUnmarks:
		return session.Ended
	case !known && count >= limit:
		if x.flaw == limitBeforeError {
			s.entries[x.id(e.ID)] = e
		}
		return session.TooMany
	}
	return nil
}

// keys returns the keys of an entry after an Enter.
func (x *index) keys(keys, more []string, replaces string) []string {
	keys = slices.Clone(keys)
	i := slices.IndexFunc(keys, func(key string) bool { return x.key(key) == x.key(replaces) })
	switch {
	case i < 0:
	case x.flaw == replacesTooFew:
		i = 0
	case x.flaw == replacesTooMany:
		i++
	case x.flaw == replacesFirst:
		keys, i = slices.Delete(keys, i, i+1), 0
	case x.flaw == replacesAfter:
		more = slices.DeleteFunc(slices.Clone(more), func(key string) bool { return slices.Contains(keys, key) })
	}
	keys = keys[max(i, 0):]
	for n, key := range more {
		same := func(have string) bool { return x.key(have) == x.key(key) }
		if x.flaw == keysMoved {
			keys = slices.DeleteFunc(keys, same)
		}
		if !slices.ContainsFunc(keys, same) && (n == 0 || x.flaw != keysLost) {
			keys = append(keys, key)
		}
	}
	if x.flaw == keysSorted {
		slices.Sort(keys)
	}
	return keys
}

// merged returns the entry after an Enter.
func (x *index) merged(old, e devices.Entry, keys []string) devices.Entry {
	given := e
	e.Keys, e.Details = keys, slices.Clone(e.Details)
	for _, at := range []struct{ of, old *time.Time }{
		{&e.CountsFrom, &old.CountsFrom}, {&e.SeenAt, &old.SeenAt}, {&e.TokenUntil, &old.TokenUntil}, {&e.Until, &old.Until},
	} {
		if at.old.After(*at.of) && x.flaw != overwrites {
			*at.of = *at.old
		}
	}
	switch x.flaw {
	case countsFromBack:
		e.CountsFrom = given.CountsFrom
	case countsFromSeconds:
		e.CountsFrom = e.CountsFrom.Truncate(time.Second)
	case untilBack:
		e.Until = given.Until
	case detailsKept:
		if old.ID != "" {
			e.Details = old.Details
		}
	case detailsText:
		e.Details = []byte(strings.ToValidUTF8(string(e.Details), "?"))
	case detailsCut:
		e.Details = e.Details[:min(len(e.Details), 255)]
	}
	return e
}

func (x *index) List(ctx context.Context, subject string) (all []devices.Entry, err error) {
	s, err := x.begin(ctx, subject)
	if err != nil {
		return nil, err
	}
	defer x.mu.Unlock()
	for _, e := range s.entries {
		all = append(all, e)
	}
	if x.flaw == instantAsEntry && !s.instant.IsZero() {
		all = append(all, devices.Entry{ID: "!"})
	}
	return all, nil
}

func (x *index) Extend(ctx context.Context, subject, id string, seenAt, tokenUntil time.Time) (bool, error) {
	s, err := x.begin(ctx, subject)
	if err != nil {
		return false, err
	}
	defer x.mu.Unlock()
	e, ok := s.entries[x.id(id)]
	if !ok && x.flaw != extendCreates || e.Marked && x.flaw != extendMarked {
		return false, nil
	}
	x.between(extendInTwoSteps)
	if x.flaw == extendPair && seenAt.Before(e.SeenAt) {
		return true, nil
	}
	if seenAt.After(e.SeenAt) || x.flaw == extendBack {
		e.SeenAt = seenAt
	}
	if tokenUntil.After(e.TokenUntil) || x.flaw == extendBack {
		e.TokenUntil = tokenUntil
	}
	if x.flaw == extendCreates && e.ID == "" {
		e.ID, e.Until = id, x.now().Add(time.Hour)
	}
	s.entries[x.id(id)] = e
	return x.flaw != extendSaysNo, nil
}

func (x *index) Mark(ctx context.Context, subject, id string, until time.Time) (marked []devices.Entry, err error) {
	s, err := x.begin(ctx, subject)
	if err != nil {
		return nil, err
	}
	defer x.mu.Unlock()
	if _, ok := s.entries[x.id(id)]; !ok && id != "" && x.flaw == markCreates {
		s.entries[id] = devices.Entry{ID: id, Until: x.now().Add(time.Hour)}
	}
	if id == "" && x.flaw != instantNever || x.flaw == markOneKeepsInstant {
		x.keepInstant(s, until)
	}
	entries := make(map[string]devices.Entry)
	for of, e := range s.entries {
		entries[of] = e
	}
	x.between(markInTwoSteps)
	for of, e := range entries {
		one, was := of == x.id(id), e.Marked
		e.Marked = was || one || id == "" && x.ends(e, until) || x.flaw == markOneMarksAll
		s.entries[of] = e
		returns := e.Marked && (id == "" || one) && (!was || x.flaw != markReturnsNew)
		if x.flaw == markReturnsUnmarked {
			e.Marked = was
		}
		if returns || x.flaw == markReturnsAll {
			marked = append(marked, e)
		}
	}
	return marked, nil
}

func (x *index) ends(e devices.Entry, until time.Time) bool {
	switch x.flaw {
	case markAllExclusive:
		return e.CountsFrom.Before(until)
	case markAllRoundsUp:
		until = until.Add(time.Millisecond - 1).Truncate(time.Millisecond)
	case markAllEverything:
		return true
	}
	return !e.CountsFrom.After(until)
}

func (x *index) keepInstant(s *kept, until time.Time) {
	if until.After(s.instant) && (s.instant.IsZero() || x.flaw != instantFirst) || x.flaw == instantBack {
		s.instant = until
	}
	s.until = x.now()
}

func (x *index) Leave(ctx context.Context, subject, id string, keys ...string) error {
	s, err := x.begin(ctx, subject)
	if err != nil {
		return err
	}
	defer x.mu.Unlock()
	e, ok := s.entries[x.id(id)]
	if !ok {
		if x.flaw == leaveFails {
			return session.NotFound
		}
		return nil
	}
	x.between(leaveInTwoSteps)
	rest := e.Keys
	if x.flaw != sharesKeys {
		rest = slices.Clone(rest)
	}
	rest = slices.DeleteFunc(rest, func(key string) bool {
		return slices.Contains(keys, key) || x.flaw == leaveAnyKey
	})
	if len(keys) == 0 || len(rest) == 0 && x.flaw != leaveKeepsEmpty {
		delete(s.entries, x.id(id))
		return nil
	}
	e.Keys = rest
	e.Marked = e.Marked && x.flaw != leaveUnmarks
	s.entries[x.id(id)] = e
	return nil
}
