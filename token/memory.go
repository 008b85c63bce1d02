package token

import (
	"container/list"
	"slices"
	"sync"
	"time"

	"github.com/cloakroom-go/cloakroom/session"
)

// memory is what a Carrier remembers: the tokens that it has verified or made,
// so that none is verified twice, and of each generation of a session the
// newest state, so that parallel requests don't undo each other. It is bounded:
// the generations that were not asked for longest are dropped first.
type memory struct {
	// step, if set, is called before each access: tests use it to run requests
	// in every order. It is set before the first use and never changed.
	step func()

	mu         sync.Mutex // guards all below
	limit      int        // bytes
	used       int        // bytes, estimated
	tokens     map[string]*family
	families   map[generation]*list.Element // of *family
	recent     *list.List                   // of *family, the most recently used first
	successors map[generation]successor
	moves      []generation // keys of successors, oldest first
}

// A generation of a session: what one login, renewal or move began. Two
// instances may each have begun the same one, for different people even; their
// lineages differ.
type generation struct {
	sessionID, lineage string
	number             uint64
}

func generationOf(rec *session.Record) generation {
	return generation{sessionID: rec.ID, lineage: rec.Lineage, number: rec.Generation}
}

// A family is what is remembered of one generation.
type family struct {
	of     generation
	newest *sealed   // nil until a token of it is presented or saved
	seen   []*sealed // newest among them
	bytes  int
}

// A successor is what a generation has become.
type successor struct {
	credential string    // the new one, for those who present the old one; "" after a renewal
	at         time.Time // when it was made
	until      time.Time // when it is forgotten
}

const (
	// maxSeen is how many tokens of one generation are remembered: a browser
	// holds one, and its parallel requests a few more.
	maxSeen = 8

	// maxMoves bounds successors, which are kept for a minute each.
	maxMoves = 100_000

	familyBytes = 512 // what a family costs beside its tokens
	tokenBytes  = 384 // what a token costs beside its text and values, which its record repeats
)

func newMemory(limit int) *memory {
	return &memory{
		limit:      limit,
		tokens:     make(map[string]*family),
		families:   make(map[generation]*list.Element),
		recent:     list.New(),
		successors: make(map[generation]successor),
	}
}

// present looks up a token that a client has shown: its own state, and the
// newest one of its generation. Both are nil if the token is not remembered.
func (m *memory) present(token string) (own, newest *sealed) {
	m.lock()
	defer m.mu.Unlock()
	f := m.tokens[token]
	if f == nil {
		return nil, nil
	}
	m.recent.MoveToFront(m.families[f.of])
	for _, s := range f.seen {
		if s.token == token {
			own = s
		}
	}
	f.take(own)
	return own, f.newest
}

// newest returns the newest state of a generation, nil if none is remembered.
func (m *memory) newest(of generation) *sealed {
	m.lock()
	defer m.mu.Unlock()
	if e := m.families[of]; e != nil {
		return e.Value.(*family).newest
	}
	return nil
}

// issue remembers a token that nobody has seen yet. Until it is presented its
// state isn't the newest: of two logins from one state, one is going to lose.
func (m *memory) issue(s *sealed) {
	m.lock()
	defer m.mu.Unlock()
	m.remember(s)
	m.shrink()
}

// add remembers a token whose state is the newest of its generation, unless a
// newer one is remembered. It returns the newest.
func (m *memory) add(s *sealed) *sealed {
	m.lock()
	defer m.mu.Unlock()
	f, s := m.remember(s)
	f.take(s)
	newest := f.newest
	m.shrink()
	return newest
}

// drop forgets a token: one that nobody has seen, or that isn't trusted any
// more.
func (m *memory) drop(token string) {
	m.lock()
	defer m.mu.Unlock()
	f := m.tokens[token]
	if f == nil {
		return
	}
	i := slices.IndexFunc(f.seen, func(s *sealed) bool { return s.token == token })
	dropped := f.seen[i]
	m.remove(f, i)
	if f.newest == dropped {
		f.newest = nil
	}
	if len(f.seen) == 0 {
		m.dropFamily(m.families[f.of])
	}
}

// setSuccessor records what a generation has become.
func (m *memory) setSuccessor(of generation, to successor, now time.Time) {
	m.lock()
	defer m.mu.Unlock()
	for len(m.moves) > 0 && (len(m.moves) >= maxMoves || !now.Before(m.successors[m.moves[0]].until)) {
		delete(m.successors, m.moves[0])
		m.moves = m.moves[1:]
	}
	m.successors[of] = to
	m.moves = append(m.moves, of)
}

// clearSuccessor undoes setSuccessor.
func (m *memory) clearSuccessor(of generation) {
	m.lock()
	defer m.mu.Unlock()
	delete(m.successors, of)
}

// successor returns what a generation has become; ok is false if that is not
// known, or no longer.
func (m *memory) successor(of generation, now time.Time) (_ successor, ok bool) {
	m.lock()
	defer m.mu.Unlock()
	if s, ok := m.successors[of]; ok && now.Before(s.until) {
		return s, true
	}
	return successor{}, false
}

// lock begins an access to the memory.
func (m *memory) lock() {
	if m.step != nil {
		m.step()
	}
	m.mu.Lock()
}

// take makes s the newest state unless there is a newer one. Of two that are
// equally new, made by two instances, it is the one that the client showed
// last.
func (f *family) take(s *sealed) {
	if f.newest == nil || !f.newest.rec.Newer(s.rec) {
		f.newest = s
	}
}

// remember returns the family of s, and s as it is remembered: another request
// may have verified the same token at the same time.
func (m *memory) remember(s *sealed) (*family, *sealed) {
	f := m.family(generationOf(s.rec))
	if m.tokens[s.token] == f {
		i := slices.IndexFunc(f.seen, func(other *sealed) bool { return other.token == s.token })
		return f, f.seen[i]
	}
	m.tokens[s.token] = f
	f.seen = append(f.seen, s)
	m.grow(f, s.size())
	if len(f.seen) > maxSeen {
		m.dropOldest(f)
	}
	return f, s
}

// family returns the family of a generation, a new one if need be.
func (m *memory) family(of generation) *family {
	if e := m.families[of]; e != nil {
		m.recent.MoveToFront(e)
		return e.Value.(*family)
	}
	f := &family{of: of}
	m.families[of] = m.recent.PushFront(f)
	m.grow(f, familyBytes)
	return f
}

func (m *memory) grow(f *family, bytes int) {
	f.bytes += bytes
	m.used += bytes
}

// shrink drops families until the rest is within the limit.
func (m *memory) shrink() {
	for m.used > m.limit && m.recent.Len() > 1 {
		m.dropFamily(m.recent.Back())
	}
}

func (m *memory) dropFamily(e *list.Element) {
	f := m.recent.Remove(e).(*family)
	delete(m.families, f.of)
	for _, s := range f.seen {
		delete(m.tokens, s.token)
	}
	m.used -= f.bytes
}

// dropOldest forgets the token of f that was remembered first, except the
// newest and the one that was remembered just now.
func (m *memory) dropOldest(f *family) {
	for i, s := range f.seen[:len(f.seen)-1] {
		if s != f.newest {
			m.remove(f, i)
			return
		}
	}
}

func (m *memory) remove(f *family, i int) {
	m.grow(f, -f.seen[i].size())
	delete(m.tokens, f.seen[i].token)
	f.seen = slices.Delete(f.seen, i, i+1)
}

func (s *sealed) size() int { return tokenBytes + len(s.token) + 2*len(s.rec.Values.Encoded()) }
