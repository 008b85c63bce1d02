package logtest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cloakroom-go/cloakroom/internal/instant"
	"github.com/cloakroom-go/cloakroom/revocation"
)

// A flaw is one way in which a log can be wrong; 0 is a correct one.
type flaw int

const (
	none           flaw = iota
	repeats             // which is no flaw: the last entries come again, in another order
	inPages             // which is no flaw: at most 100 entries in a Reading
	commitsLate         // an entry is numbered first and visible later, and a Read goes on behind the last number
	forgets             // each 20th Append
	keepsLast           // 1,000 entries
	cutsBatches         // to 500 entries
	appendsLater        // after Append has returned
	lies                // says that every Reading is complete, though it has pages
	neverSays           // that a Reading is complete
	skips               // what was appended during a Read
	startsAtEnd         // reads from now on, if there is no position
	ownOnly             // has only what its own instance appended
	ownPositions        // counts them from another number on each instance
	lastWins            // the last value of a key counts
	lastUntil           // the last end of a key counts
	onceInBatch         // refuses a batch with two entries of one key
	onlyNew             // refuses keys that it has
	refusesOver         // refuses batches with something that is over
	dropsOver           // drops batches with something that is over
	floating            // keeps values as floating point
	until2038           // keeps seconds in 31 bits
	trimsKeys           // cuts spaces and zeros off
	anyCase             // takes upper and lower case for the same
	shortKeys           // keeps 32 bytes
	ignoresAppend       // returns after wait
	ignoresWait         // returns after an Append
	ignoresTime         // returns at once
	ignoresCancel       // returns after wait, also if the context ends
	appendsNothing      // if the context has ended, and says that it has
	keepsPosition       // takes a position for good that it has lost
	noClock             // says that the clocks agree
	wrongSign           // how far the caller's clock is ahead
	halfWay             // takes the server's time for that in the middle of the call
	clockOnce           // tells the time only from the beginning
	flaws
)

// memory is the simplest correct log, unless it has a flaw.
type memory struct {
	flaw    flaw
	mu      sync.Mutex // guards what follows
	rows    []row      // by number, except with commitsLate
	last    int
	appends int
	opened  int
	changed chan struct{}
	now     func() time.Time // of the caller
}

type row struct {
	revocation.Entry
	number, instance int
}

func newMemory(f flaw) *memory { return &memory{flaw: f, changed: make(chan struct{}), now: time.Now} }

func (m *memory) open() revocation.Log {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.opened++
	return &instance{m, m.opened}
}

func (m *memory) lose() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.rows, m.last = nil, 0
}

type instance struct {
	*memory
	id int
}

func (m *instance) Append(ctx context.Context, entries []revocation.Entry) error {
	if err := ctx.Err(); err != nil {
		if m.flaw == appendsNothing {
			return nil
		}
		return err
	}
	if m.flaw == appendsLater {
		go func() { time.Sleep(time.Millisecond); _ = m.append(entries) }()
		return nil
	}
	return m.append(entries)
}

func (m *instance) append(entries []revocation.Entry) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.refuse(entries); err != nil {
		return err
	}
	m.appends++
	if m.flaw == dropsOver && slices.ContainsFunc(entries, over1) || m.flaw == forgets && m.appends%20 == 0 {
		return nil
	}
	if m.flaw == cutsBatches {
		entries = entries[:min(len(entries), 500)]
	}
	var rows []row
	for _, e := range entries {
		m.last++
		rows = append(rows, row{m.stored(e), m.last, m.id})
	}
	if m.flaw == commitsLate {
		m.mu.Unlock()
		time.Sleep(time.Duration(rand.IntN(4)) * time.Millisecond)
		m.mu.Lock()
	}
	m.rows = append(m.rows, rows...)
	if m.flaw == keepsLast {
		m.rows = m.rows[max(0, len(m.rows)-1000):]
	}
	close(m.changed)
	m.changed = make(chan struct{})
	return nil
}

func over1(e revocation.Entry) bool { return !e.Until.After(time.Now()) }

func (m *instance) refuse(entries []revocation.Entry) error {
	seen := map[string]bool{}
	for _, e := range entries {
		known := slices.ContainsFunc(m.rows, func(r row) bool { return m.flaw == onlyNew && r.Key == e.Key })
		if known || m.flaw == onceInBatch && seen[e.Key] || m.flaw == refusesOver && over1(e) {
			return errors.New("refused")
		}
		seen[e.Key] = true
	}
	return nil
}

// stored returns e as it is kept.
func (m *instance) stored(e revocation.Entry) revocation.Entry {
	switch m.flaw {
	case floating:
		e.Value = int64(float64(e.Value) * (1 - 1e-16))
	case until2038:
		e.Until = time.Unix(e.Until.Unix()&(1<<31-1), 0)
	case trimsKeys:
		e.Key = strings.TrimRight(e.Key, " \x00")
	case anyCase:
		e.Key = strings.ToLower(e.Key)
	case shortKeys:
		e.Key = e.Key[:min(len(e.Key), 32)]
	case lastWins, lastUntil:
		m.overwrite(e)
	}
	return e
}

// overwrite has all rows of e's key say what e does.
func (m *instance) overwrite(e revocation.Entry) {
	for i := range m.rows {
		if r := &m.rows[i]; r.Key == e.Key && m.flaw == lastWins {
			r.Value = e.Value
		} else if r.Key == e.Key {
			r.Until = e.Until
		}
	}
}

func (m *instance) Read(ctx context.Context, pos string, wait time.Duration) (revocation.Reading, error) {
	for begun := time.Now(); ; {
		sent := m.now()
		there := time.Now()
		m.mu.Lock()
		r, changed := m.reading(pos), m.changed
		m.mu.Unlock()
		r.ClockOffset = m.offset(pos, there, sent, m.now())
		if m.flaw == skips {
			time.Sleep(time.Millisecond)
			m.mu.Lock()
			r.Next = strconv.Itoa(m.last)
			m.mu.Unlock()
		}
		left := wait - time.Since(begun)
		end := time.After(left)
		switch {
		case m.flaw == ignoresWait:
			end = nil
		case left <= 0:
			return r, nil
		}
		if pos == "" || len(r.Entries) > 0 && m.flaw != ignoresAppend || r.Lost || m.flaw == ignoresTime {
			return r, nil
		}
		over := ctx.Done()
		if m.flaw == ignoresCancel {
			over = nil
		}
		select {
		case <-changed:
		case <-end:
		case <-over:
			return revocation.Reading{}, ctx.Err()
		}
	}
}

func (m *instance) offset(pos string, there, sent, received time.Time) time.Duration {
	ahead := instant.Ahead(there, sent, received)
	switch {
	case m.flaw == noClock, m.flaw == clockOnce && pos != "":
		return 0
	case m.flaw == wrongSign:
		return -ahead
	case m.flaw == halfWay:
		return there.Sub(sent) - received.Sub(sent)/2
	}
	return ahead
}

// reading returns what is behind pos.
func (m *instance) reading(pos string) revocation.Reading {
	from, offset := 0, 0
	if m.flaw == ownPositions {
		offset = 1000 * m.id
	}
	if n, err := strconv.Atoi(pos); err == nil {
		from = n - offset
	} else if m.flaw == startsAtEnd {
		from = m.last
	}
	if from > m.last && m.flaw != keepsPosition && m.flaw != ownPositions {
		return revocation.Reading{Lost: true}
	}
	next := from
	var entries []revocation.Entry
	more := false
	for _, r := range m.rows {
		if r.number <= from || m.flaw == ownOnly && r.instance != m.id {
			continue
		}
		if more = (m.flaw == inPages || m.flaw == lies) && len(entries) == 100; more {
			break
		}
		entries, next = append(entries, r.Entry), max(next, r.number)
	}
	if m.flaw == repeats && len(entries) > 0 {
		entries = nil
		for _, r := range m.rows[max(0, from-10):] {
			entries = append(entries, r.Entry)
		}
		rand.Shuffle(len(entries), func(i, j int) { entries[i], entries[j] = entries[j], entries[i] })
	}
	complete := m.flaw != neverSays && (!more || m.flaw == lies)
	return revocation.Reading{Entries: entries, Next: strconv.Itoa(next + offset), Complete: complete}
}

func TestMemoryContract(t *testing.T) {
	Run(t, func(*testing.T) func() revocation.Log { return newMemory(none).open })
	RunLost(t, func(*testing.T) (func() revocation.Log, func()) {
		m := newMemory(none)
		return m.open, m.lose
	})
	RunClock(t, func(_ *testing.T, now func() time.Time) revocation.Log {
		m := newMemory(none)
		m.now = now
		return m.open()
	})
}

// TestEveryFlawIsFound is the proof that the suite tests something: each flaw
// is found by the rules that are about it, and a log without flaws passes.
func TestEveryFlawIsFound(t *testing.T) {
	tests := map[flaw]struct{ name, rules string }{
		none:           {"none", ""},
		repeats:        {"entries come again, in any order", ""},
		inPages:        {"pages", ""},
		commitsLate:    {"a reader of what is behind the last number, and late commits", "appenders"},
		forgets:        {"forgets now and then", "appenders"},
		keepsLast:      {"a capped log", "many"},
		cutsBatches:    {"a capped batch", "many"},
		appendsLater:   {"appended after it was said", "round trip, from the beginning, positions, keys, many"},
		lies:           {"complete, though there is more", "keys, many"},
		neverSays:      {"never complete", "round trip, quiet"},
		skips:          {"skips what is appended during a Read", "appenders"},
		startsAtEnd:    {"begins at the end", "from the beginning, two lists"},
		ownOnly:        {"what the instance itself appended", "round trip, from the beginning, two lists"},
		ownPositions:   {"positions of one instance", "positions"},
		lastWins:       {"the last value wins", "greatest"},
		lastUntil:      {"the last end wins", "greatest"},
		onceInBatch:    {"a key twice in a batch", "one batch"},
		onlyNew:        {"a key that is there already", "again, greatest, appenders"},
		refusesOver:    {"refuses what is over", "over"},
		dropsOver:      {"drops what comes with something that is over", "over"},
		floating:       {"values in floating point", "values"},
		until2038:      {"the year 2038", "values"},
		trimsKeys:      {"keys are trimmed", "keys"},
		anyCase:        {"keys in any case", "keys"},
		shortKeys:      {"keys of 32 bytes", "keys"},
		ignoresAppend:  {"waits on after an Append", "soon"},
		ignoresWait:    {"waits for an Append", "wait, quiet"},
		ignoresTime:    {"doesn't wait", "quiet"},
		ignoresCancel:  {"waits on after its context has ended", "context"},
		appendsNothing: {"appends nothing when its context has ended", "context"},
		keepsPosition:  {"a position that is lost", "position lost, lists heal"},
		noClock:        {"no clock", "clocks"},
		wrongSign:      {"the clock of the caller", "clocks"},
		halfWay:        {"the middle of a call", "slow answers"},
		clockOnce:      {"one look at the clock", "clocks"},
	}
	if len(tests) != int(flaws) {
		t.Fatalf("%d flaws in the table, want %d", len(tests), flaws)
	}
	all, found := slices.Concat(rules(), lostRules(), clockRules()), map[string]bool{}
	for f, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			expected, tested := strings.Split(tt.rules, ", "), 0
			for _, r := range all {
				if tt.rules == "" {
					if err := check(t, r, f); err != nil {
						t.Errorf("a log without flaws fails %q: %v", r.name, err)
					}
				} else if slices.Contains(expected, r.name) {
					found[r.name] = true
					tested++
					if find(t, r, f) == nil {
						t.Errorf("the rule %q didn't find it", r.name)
					}
				}
			}
			if tt.rules != "" && tested != len(expected) {
				t.Errorf("of the rules %q only %d exist", expected, tested)
			}
		})
	}
	for _, r := range all {
		if !found[r.name] {
			t.Errorf("the rule %q is to find no flaw: it would pass without testing", r.name)
		}
	}
}

// find returns what r finds in a log with the flaw. A race has several tries:
// no single one is sure to hit.
func find(t *testing.T, r rule, f flaw) error {
	for range 20 {
		if err := check(t, r, f); err != nil {
			return err
		}
	}
	return nil
}

// check runs r with a clock of its own, which costs no time.
func check(t *testing.T, r rule, f flaw) (err error) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory(f)
		p := newProbe(t.Context(), m.open)
		p.lose = m.lose
		p.openAt = func(now func() time.Time) revocation.Log {
			m := newMemory(f)
			m.now = now
			return m.open()
		}
		r.run(p)
		err = p.err
	})
	if err != nil {
		err = fmt.Errorf("%s: %w", r.name, err)
	}
	return err
}
