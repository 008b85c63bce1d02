package revocation

import (
	"cmp"
	"encoding/binary"
	"slices"
	"sync"
)

const (
	// fewEnds is how many ends of one subject are only counted, and not listed.
	// Most subjects never have more, so most entries need no second table.
	fewEnds = 8

	// maxEnds is how many more entries of one subject the list keeps. It may be
	// twice as many if otherwise the session that is being renewed would end.
	maxEnds = 64

	maxCounters = 1 << 22
)

// crowds finds the subjects with many ended sessions: for example, a client
// that logs in and out in a loop.
type crowds struct {
	mu      sync.Mutex // guards what follows
	size    int        // of counts
	counts  []uint8    // by hash; subjects that share a counter are listed sooner
	members map[key][]member
	ageAt   uint32 // unix second
}

// A member is the entry of one session, as it was when its subject ended it.
type member struct {
	slot
	prior uint32 // tokens below this generation, all of nobody, had ended before this entry
	from  int64  // the latest CountsFrom of a token that the entry ends, in milliseconds
}

// newCrowds is for a list of so many entries: with two counters for each, one
// subject in ten million shares a counter that is full.
func newCrowds(maxEntries int) *crowds {
	return &crowds{size: 2 * min(maxEntries, maxCounters/2), members: make(map[key][]member)}
}

// add lists an entry that is new to the table. If more than maxEnds entries of
// the subject are listed, it removes and returns the older half: those with
// from at reach or earlier. reach is at most last, unless there are more than
// 2*maxEnds.
func (c *crowds) add(subject key, m member, last int64, now, longest uint32) (older []member, reach int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.age(now, longest)
	list, listed := c.members[subject]
	if n := &c.counts[binary.LittleEndian.Uint64(subject[:])%uint64(c.size)]; !listed && *n < fewEnds {
		*n++
		return nil, 0
	}
	list = append(living(list, now), m)
	c.members[subject] = list
	if len(list) <= maxEnds {
		return nil, 0
	}
	slices.SortFunc(list, func(a, b member) int { return cmp.Compare(a.from, b.from) })
	reach = list[len(list)/2].from
	if len(list) <= 2*maxEnds {
		reach = min(reach, last)
	}
	n, _ := slices.BinarySearchFunc(list, reach+1, func(m member, t int64) int { return cmp.Compare(m.from, t) })
	c.members[subject] = slices.Clone(list[n:])
	return list[:n], reach
}

// note lists an entry that another instance has made, so that an end of the
// subject can cover it.
func (c *crowds) note(subject key, m member, now, longest uint32) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.age(now, longest)
	list, listed := c.members[subject]
	if n := &c.counts[binary.LittleEndian.Uint64(subject[:])%uint64(c.size)]; !listed && *n < fewEnds {
		*n++
		return
	}
	c.members[subject] = append(list, m)
}

// covered removes and returns the members that an end of the subject makes
// superfluous: those with from at certain or earlier, or at reach or earlier if
// more than 2*maxEnds are listed. A member that lives longer than until, when
// the end of the subject expires, is kept.
func (c *crowds) covered(subject key, reach, certain int64, until uint32) (covered []member) {
	c.mu.Lock()
	defer c.mu.Unlock()
	list, listed := c.members[subject]
	if !listed {
		return nil
	}
	if len(list) <= 2*maxEnds {
		reach = certain
	}
	c.members[subject] = slices.DeleteFunc(list, func(m member) bool {
		is := m.from <= reach && m.until <= until
		if is {
			covered = append(covered, m)
		}
		return is
	})
	return covered
}

// update notes that an entry of the subject ends more than it did.
func (c *crowds) update(subject key, m member) {
	c.mu.Lock()
	defer c.mu.Unlock()
	list := c.members[subject]
	if i := slices.IndexFunc(list, func(old member) bool { return old.key == m.key }); i >= 0 {
		m.prior = list[i].prior
		list[i] = m
	}
}

// age halves the counters once in the time that entries live, so that subjects
// who end few sessions at a time aren't listed in the end.
func (c *crowds) age(now, longest uint32) {
	if c.counts != nil && now < c.ageAt {
		return
	}
	c.ageAt = longest
	if c.counts == nil {
		c.counts = make([]uint8, c.size)
		return
	}
	for i := range c.counts {
		c.counts[i] /= 2
	}
	for subject, list := range c.members {
		if list = living(list, now); len(list) == 0 {
			delete(c.members, subject)
		} else {
			c.members[subject] = list
		}
	}
}

// living drops the members whose time is over, in place.
func living(list []member, now uint32) []member {
	return slices.DeleteFunc(list, func(m member) bool { return m.until <= now })
}
