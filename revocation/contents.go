package revocation

import "hash/maphash"

// Contents are what the log has, as far as it was read since the beginning.
// They show what it lacks of the list: after a loss, and when a process starts
// with the journal of one that ended before it could append everything. Each
// instance appends that. What the log has is left alone: otherwise each loss
// would make it longer by all entries of every instance.
type contents struct {
	seed    maphash.Seed
	entries map[uint64]uint32 // until
}

// compare returns empty contents, or nil if the list is empty, too.
func (f *feed) compare() *contents {
	if f.list.Len() == 0 {
		return nil
	}
	return &contents{maphash.MakeSeed(), make(map[uint64]uint32)}
}

// complete has appended what is in force here and not in has. It is called when
// the log was read to the end, or when nothing else would be left that has it.
func (f *feed) complete(has *contents) {
	if has == nil {
		return
	}
	f.lacking.Store(has)
	select {
	case f.wake <- struct{}{}:
	default:
	}
}

// addLacking appends to owed what the log lacks, if that is to be done.
func (f *feed) addLacking(owed []entry) []entry {
	if has := f.lacking.Swap(nil); has != nil {
		f.list.each(second(f.list.now()), func(e entry) {
			if !has.has(e) {
				owed = append(owed, e)
			}
		})
	}
	return owed
}

// of identifies an entry with its value.
func (c *contents) of(e entry) uint64 {
	return maphash.Comparable(c.seed, struct {
		kind    kind
		key     key
		below   uint32
		instant int64
	}{e.kind, e.key, e.below, e.instant})
}

func (c *contents) add(e entry) {
	if c != nil {
		k := c.of(e)
		c.entries[k] = max(c.entries[k], e.until)
	}
}

// has reports whether the log has e, and for as long.
func (c *contents) has(e entry) bool { return c.entries[c.of(e)] >= e.until }
