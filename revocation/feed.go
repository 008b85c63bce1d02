package revocation

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cloakroom-go/cloakroom/internal/fault"
	"github.com/cloakroom-go/cloakroom/session"
)

const (
	// readWait is how long one look into the log waits for something new. When it
	// ends, the list is as stale as its beginning, so staleness is up to twice as
	// much.
	readWait = 500 * time.Millisecond

	// logTimeout bounds an Append, and a Read beyond what it waits.
	logTimeout = 5 * time.Second

	minStaleness = 2 * time.Second

	// mostHeard is how many times MaxEntries a list holds at most before it takes
	// no more from other instances.
	mostHeard = 2

	// atOnce is how soon a Read returns that has not waited.
	atOnce = 5 * time.Millisecond

	// maxAhead is how far an instant of another instance may be in the future.
	// Without a limit, an instant near the end of time would disable all later
	// ends.
	maxAhead = 24 * time.Hour
)

// DefaultMaxStaleness is Config.MaxStaleness if that is 0: a failover passes
// without a refusal.
const DefaultMaxStaleness = 5 * time.Minute

// A feed connects a list with the log that it shares with other instances. One
// goroutine appends what has ended here, another reads what has ended
// elsewhere.
type feed struct {
	queue // of what is appended
	list  *List
	log   Log
	bound time.Duration // how stale the list may be
	serve bool          // whether a list beyond that serves

	ctx     context.Context // of the goroutine that reads
	cancel  context.CancelFunc
	reading sync.WaitGroup
	lacking atomic.Pointer[contents] // appended next is what this lacks; nil for nothing
	unsent  error                    // why the log lacks something; the goroutine that appends sets it

	pos    atomic.Value              // string: the position up to which the list knows the log
	begun  time.Time                 // when the list was opened
	readAt atomic.Pointer[time.Time] // when the last complete read began; nil if there was none

	appends, failedAppends, losses atomic.Uint64 // for Stats
	clockOffset                    atomic.Int64  // of the last Reading, in nanoseconds
	apart                          time.Time     // when the clocks last differed too much; for the goroutine that reads
}

func (l *List) openFeed(cfg Config) {
	f := &feed{list: l, log: cfg.Log, bound: cfg.staleness(), serve: cfg.InsecureServeStale, begun: l.now()}
	f.init("log of the instances")
	f.pos.Store("")
	f.ctx, f.cancel = context.WithCancel(context.Background())
	l.feed, l.out.log = f, &f.queue
	l.out.anonymous = &allowance{most: float64(l.maxEntries) / anonymousShare, life: l.lifetime, now: l.now}
	go f.append()
	has := f.compare()
	f.reading.Go(func() { f.read(has) })
}

// close appends what is left. It returns an error if the log did not take that,
// and no journal has it either.
func (f *feed) close() error {
	f.cancel()
	f.reading.Wait()
	first := f.queue.close()
	if first && f.unsent != nil && f.list.journal == nil {
		return fmt.Errorf("revocation: the log of the instances didn't take all that has ended here, "+
			"and nothing else has it: %w", f.unsent)
	}
	return nil
}

// read follows the log until close. has is nil if the list is empty.
func (f *feed) read(has *contents) {
	var ahead <-chan page
	for pos, told, gaveUp := "", false, false; ; {
		p := f.fetch(pos, ahead)
		if f.ctx.Err() != nil {
			if f.list.journal == nil {
				f.complete(has)
			}
			return
		}
		err := p.err
		if ahead = f.fetchAhead(p); err == nil && !p.Lost {
			f.compareClocks(p.ClockOffset)
			err = f.hear(p.Entries, has)
		}
		if err != nil && !told {
			f.list.reports.tell(f.unread(err))
		}
		told = err != nil
		gaveUp = f.giveUp(gaveUp)
		switch {
		case err != nil:
			ahead = nil
			f.pause(retryEvery / 4)
			continue
		case p.Lost:
			f.losses.Add(1)
			pos, has = "", f.compare()
			f.pos.Store(pos)
			f.pause(retryEvery / 4)
			continue
		case len(p.Entries) == 0 && pos != "" && f.list.now().Sub(p.began) < atOnce:
			f.pause(atOnce) // the log has not waited, as it should have
		}
		pos = p.Next
		f.pos.Store(pos)
		if p.Complete {
			f.complete(has)
			has = nil
			f.readAt.Store(&p.began)
		}
	}
}

// giveUp tells those who watch sessions, once, when the list is too stale: any
// of the sessions may have ended elsewhere. It reports whether it is.
func (f *feed) giveUp(before bool) bool {
	stale := !f.serve && f.list.staleness() > f.bound
	if stale && !before {
		f.list.watchers.endAll(math.MaxInt64)
	}
	return stale
}

// known returns the position up to which the list knows the log.
func (f *feed) known() string { return f.pos.Load().(string) }

// catchUp reads what others have appended since pos, until now, and returns the
// position behind it. It does not wait for read, which may be waiting for
// something new. It calls note, if not nil, with each entry that is in force;
// an entry from before pos may be among them.
func (f *feed) catchUp(ctx context.Context, pos string, note func(Entry)) (next string, err error) {
	ctx, cancel := context.WithTimeout(ctx, logTimeout)
	defer cancel()
	for {
		r, err := f.log.Read(ctx, pos, 0)
		if err == nil && r.Lost && pos != "" {
			err = errLost
		}
		if err == nil {
			err = f.hear(r.Entries, nil)
		}
		if err != nil {
			return "", fmt.Errorf("revocation: the log of the instances can't be read, and what was ended elsewhere just "+
				"before is not known: %w: %w", fault.Inner(err), session.Unavailable)
		}
		for i := 0; note != nil && i < len(r.Entries); i++ {
			note(r.Entries[i])
		}
		if pos = r.Next; r.Complete {
			return pos, nil
		}
		if len(r.Entries) == 0 {
			f.pause(atOnce)
		}
	}
}

var errLost = errors.New("it has lost entries, which the instances append again")

// pause keeps a log that is broken from taking a processor.
func (f *feed) pause(d time.Duration) {
	select {
	case <-time.After(d):
	case <-f.ctx.Done():
	}
}

// hear puts in force what other instances have ended, and notes in has that the
// log has it. It fails when that is more than the list may hold: a list that
// goes stale is better than one that forgets ends.
func (f *feed) hear(entries []Entry, has *contents) error {
	now := f.list.now()
	at, longest := second(now), f.list.until(now)
	// Changes come first: a session that its subject has kept must not look as if
	// it had ended with the others.
	for _, changes := range []bool{true, false} {
		for _, in := range entries {
			if strings.HasPrefix(in.Key, string(ofChange)) != changes {
				continue
			}
			e, ok := fromShared(in)
			if !ok || e.until <= at {
				continue
			}
			if f.list.isOverfull() && f.list.isFull(now) && f.list.isOverfull() {
				return fmt.Errorf("the list has %d entries, %d times MaxEntries: find out where they come from, or raise it",
					f.list.Len(), mostHeard)
			}
			e.longest = longest
			f.list.hear(e, at)
			has.add(e)
		}
	}
	f.list.isFull(now)
	return nil
}

// append writes batches until close, and then the last one. What the log did
// not take is tried again with the next batch, and each second.
func (f *feed) append() {
	defer close(f.done)
	var owed []entry
	var whole, told bool // whole: more than owed
	var retry <-chan time.Time
	for stopped := false; !stopped; {
		select {
		case <-retry:
		case <-f.wake:
		case <-f.stop:
			stopped = true
		}
		b := f.take()
		if b != nil {
			owed, whole = append(owed, b.entries...), whole || b.whole
		}
		if whole = whole || len(owed) > maxBatch; whole {
			owed = owed[:0]
			f.list.each(second(f.list.now()), func(e entry) { owed = append(owed, e) })
		}
		owed = f.addLacking(owed)
		err := f.send(owed)
		if b != nil {
			b.finish(&f.queue, err)
		}
		if err != nil && !told {
			f.list.reports.tell(f.unwritten(err))
		}
		f.unsent = err
		if told, retry = err != nil, nil; err != nil {
			retry = time.After(retryEvery)
			continue
		}
		owed, whole = nil, false
	}
}

// send appends entries, some at a time.
func (f *feed) send(entries []entry) error {
	const most = 1000
	for len(entries) > 0 {
		some := entries[:min(len(entries), most)]
		shared := make([]Entry, len(some))
		for i := range some {
			shared[i] = some[i].shared()
		}
		ctx, cancel := context.WithTimeout(context.Background(), logTimeout) // close waits for it
		err := f.log.Append(ctx, shared)
		cancel()
		if err != nil {
			f.failedAppends.Add(1)
			return fault.Inner(err)
		}
		f.appends.Add(1)
		entries = entries[len(some):]
	}
	return nil
}

func (f *feed) unread(err error) error {
	then := fmt.Sprintf("after %v without it, stateless sessions get 503 here", f.bound)
	if f.serve {
		then = "stateless sessions that have ended elsewhere open here"
	}
	return fmt.Errorf("revocation: the log of the instances can't be read, so what ends on other instances is not "+
		"known here; %s; it is tried again all the time: %w", then, fault.Inner(err))
}

func (f *feed) unwritten(err error) error {
	return fmt.Errorf("revocation: the log of the instances can't be written, and what ends here is not known on "+
		"other instances; it is tried again every %v: %w", retryEvery, err)
}

// Fresh returns nil if the list knows what has ended on other instances, except
// in the last Config.MaxStaleness. Otherwise it returns an error that wraps
// [session.Unavailable]: no token may be accepted or made. Without Config.Log,
// and with Config.InsecureServeStale, it returns nil.
func (l *List) Fresh() error {
	switch f := l.feed; {
	case f == nil || f.serve:
		return nil
	case f.readAt.Load() == nil:
		return fmt.Errorf("revocation: the log of the instances has not been read yet: %w", session.Unavailable)
	case l.staleness() > f.bound:
		return fmt.Errorf("revocation: the log of the instances could not be read for longer than %v: %w",
			f.bound, session.Unavailable)
	}
	return nil
}
