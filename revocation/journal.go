package revocation

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cloakroom-go/cloakroom/session"
)

const (
	// retryEvery is how often the list tries to write a journal again after an
	// error. In between, new entries fail without a try: each would write the
	// whole file.
	retryEvery = time.Second

	// maxBatch bounds the entries that wait for a disk that does not answer.
	// Beyond it the whole file is written anew from the list, which is bounded
	// itself.
	maxBatch = 1 << 16
)

// A journal makes entries durable. Entries that come while the disk is busy
// share the next write and its sync. After a write that failed, nobody knows
// where the file ends, so it is replaced by the list in memory as soon as
// possible.
type journal struct {
	path   string
	unlock func() error
	live   func() (lines []byte, entries int) // what is in force
	report func(error)
	step   func(name string) error // asked before each step; lets tests fail any of them

	mu      sync.Mutex // guards what follows
	pending *batch     // what the next write takes; nil if nothing
	last    uint64     // number of the last batch
	closed  bool

	committed atomic.Uint64 // this batch and all before it are on the disk

	wake chan struct{}
	stop chan struct{}
	done chan struct{}

	// Only the writer's goroutine uses what follows.
	file      *os.File
	size      int64  // of the file, as we left it
	entries   int    // in the file
	compactAt int    // entries at which the file is rewritten
	taken     uint64 // number of the last batch that came here
	failed    error  // why the file lacks something, nil if it doesn't
	told      bool   // of the outage that failed stands for
	closeErr  error
}

// A batch is written and synced as a whole. The nil batch is on the disk
// already.
type batch struct {
	number  uint64
	entries []entry
	whole   bool          // more than entries; write everything in force
	done    chan struct{} // closed when err is known
	err     error
}

func (b *batch) id() uint64 {
	if b == nil {
		return 0
	}
	return b.number
}

func (b *batch) wait(ctx context.Context) error {
	if b == nil {
		return nil
	}
	select {
	case <-b.done:
		return b.err
	default:
	}
	select {
	case <-b.done:
		return b.err
	case <-ctx.Done():
		return fmt.Errorf("revocation: in force, but not known to be in the journal yet: %w: %w",
			ctx.Err(), session.Unavailable)
	}
}

// has reports whether batch number n is on the disk.
func (j *journal) has(n uint64) bool { return j == nil || n <= j.committed.Load() }

// flush returns a batch to wait for until batch number n is on the disk: it may
// be under way, or may have failed.
func (j *journal) flush(n uint64) *batch {
	if j.has(n) {
		return nil
	}
	return j.enqueue()
}

// enqueue adds entries to the next write.
func (j *journal) enqueue(entries ...entry) *batch {
	if j == nil {
		return nil
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.pending == nil {
		j.last++
		j.pending = &batch{number: j.last, done: make(chan struct{})}
		if j.closed {
			return j.refuse()
		}
	}
	if !j.pending.whole {
		j.pending.entries = append(j.pending.entries, entries...)
	}
	if len(j.pending.entries) > maxBatch {
		j.pending.entries, j.pending.whole = nil, true
	}
	select {
	case j.wake <- struct{}{}:
	default:
	}
	return j.pending
}

// refuse returns a batch that has failed. mu is held.
func (j *journal) refuse() *batch {
	b := j.pending
	j.pending = nil
	b.err = fmt.Errorf("revocation: in force, but the journal is closed: %w", session.Unavailable)
	close(b.done)
	return b
}

func (j *journal) take() *batch {
	j.mu.Lock()
	defer j.mu.Unlock()
	b := j.pending
	j.pending = nil
	return b
}

// run writes batches until close, and then the last one.
func (j *journal) run() {
	defer close(j.done)
	var retry <-chan time.Time
	for {
		j.tell()
		if j.failed != nil && retry == nil {
			retry = time.After(retryEvery)
		}
		select {
		case <-retry:
			retry = nil
			if j.failed != nil {
				j.repair()
			}
		case <-j.wake:
			j.commit(j.take())
		case <-j.stop:
			j.commit(j.take())
			j.closeErr = j.finish()
			return
		}
	}
}

func (j *journal) commit(b *batch) {
	if b == nil {
		return
	}
	j.taken = b.number
	if j.failed == nil {
		j.check()
	}
	if j.failed == nil {
		if b.whole {
			j.failed = j.rewrite()
		} else if err := j.append(b.entries); err != nil {
			j.failed = err
			j.repair()
		}
	}
	if j.failed != nil {
		b.err = fmt.Errorf("revocation: in force, but not in the journal: %w: %w", j.failed, session.Unavailable)
	} else {
		j.committed.Store(b.number)
	}
	close(b.done)
	if j.failed == nil && j.entries >= j.compactAt {
		j.compact()
	}
}

// check writes the file anew if another program has changed it, and reports
// that: if this process had been killed before, logouts would have been
// forgotten.
func (j *journal) check() {
	changed := j.changed()
	if changed == nil {
		return
	}
	j.failed = changed
	if j.repair(); j.failed == nil {
		j.report(fmt.Errorf("revocation: journal %s was changed by somebody else: %w; "+
			"it has been written anew, and nothing is lost; exclude it from what did that, such as a rotation of logs",
			j.path, changed))
	}
}

// repair writes the file anew. Then the entries that failed before are on the
// disk too.
func (j *journal) repair() {
	if j.failed = j.rewrite(); j.failed == nil {
		j.committed.Store(j.taken)
	}
}

// tell reports an outage once, when it begins.
func (j *journal) tell() {
	begins := j.failed != nil && !j.told
	j.told = j.failed != nil
	if !begins {
		return
	}
	j.report(fmt.Errorf("revocation: the journal can't be written, and what ends now would be forgotten by a restart; "+
		"see to the disk, it is tried again every %v: %w", retryEvery, j.failed))
}

// compact rewrites a file of which about half is no longer in force. If that
// fails and the old file is still there, it stays in use.
func (j *journal) compact() {
	if err := j.rewrite(); err == nil {
		return
	} else if j.changed() != nil {
		j.failed = err
	}
	j.compactAt = 2 * j.entries
}

// finish leaves a complete file for the next process.
func (j *journal) finish() error {
	if j.failed == nil {
		j.check()
	} else {
		j.repair()
	}
	j.tell()
	err := j.failed
	if j.file != nil {
		err = errors.Join(err, j.file.Close())
	}
	if err = errors.Join(err, j.unlock()); err != nil {
		return fmt.Errorf("revocation: close journal: %w", err)
	}
	return nil
}

func (j *journal) close() error {
	j.mu.Lock()
	if j.closed {
		j.mu.Unlock()
		<-j.done
		return nil
	}
	j.closed = true
	j.mu.Unlock()
	close(j.stop)
	<-j.done
	return j.closeErr
}
