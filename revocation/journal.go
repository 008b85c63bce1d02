package revocation

import (
	"errors"
	"fmt"
	"os"
	"time"
)

// retryEvery is how often the list tries to write a journal again after an
// error. In between, new entries fail without a try: each would write the
// whole file.
const retryEvery = time.Second

// A journal makes entries durable. Entries that come while the disk is busy
// share the next write and its sync. After a write that failed, nobody knows
// where the file ends, so it is replaced by the list in memory as soon as
// possible.
type journal struct {
	queue

	path   string
	unlock func() error
	live   func() (lines []byte, entries int) // what is in force
	report func(error)
	step   func(name string) error // asked before each step; lets tests fail any of them

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
	b.finish(&j.queue, j.failed)
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
	if !j.queue.close() {
		return nil
	}
	return j.closeErr
}
