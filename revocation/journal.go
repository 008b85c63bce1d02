package revocation

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cloakroom-go/cloakroom/internal/durable"
	"github.com/cloakroom-go/cloakroom/session"
)

const (
	// lockWait is how long Open waits for a process that is just ending.
	lockWait = time.Second

	// retryEvery is how often a journal that failed is tried again. Meanwhile what
	// comes fails at once: the file may be large.
	retryEvery = time.Second

	// compactFrom is how many entries a journal has at least before it is compacted.
	compactFrom = 1024
)

// A journal makes entries durable. Entries that come while the disk is busy share
// the next write and its sync. Where a write fails, the file's end is unknown, so
// it is replaced by what is in memory as soon as that can be done.
type journal struct {
	path   string
	unlock func() error
	live   func() []entry // what is in force
	report func(error)    // nil if nobody wants to know

	mu      sync.Mutex // guards what follows
	pending *batch     // what the next write takes; nil if nothing
	last    uint64     // number of the last batch
	closed  bool

	committed atomic.Uint64 // this batch and all before it are on the disk

	wake chan struct{}
	stop chan struct{}
	done chan struct{}

	// Of the writer's goroutine alone.
	file      *os.File
	entries   int    // in the file
	compactAt int    // entries at which the file is rewritten
	taken     uint64 // number of the last batch that came here
	failed    error  // why the file lacks something, nil if it doesn't
	told      bool   // of the outage that failed stands for
	closeErr  error
	reports   sync.WaitGroup
}

// A batch is what is written at once. The nil batch is written already.
type batch struct {
	number  uint64
	entries []entry
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
		return fmt.Errorf("revocation: in force, but not known to be in the journal yet: %w: %w", ctx.Err(), session.Unavailable)
	}
}

// openJournal reads the journal at path into l, and starts its writer.
func (l *List) openJournal(path string, report func(error)) error {
	j := &journal{
		path:   path,
		live:   l.live,
		report: report,
		wake:   make(chan struct{}, 1),
		stop:   make(chan struct{}),
		done:   make(chan struct{}),
	}
	if err := j.lock(); err != nil {
		return err
	}
	if err := l.load(j); err != nil {
		return errors.Join(err, j.unlock())
	}
	l.journal = j
	go j.run()
	return nil
}

func (j *journal) lock() error {
	ctx, cancel := context.WithTimeout(context.Background(), lockWait)
	defer cancel()
	unlock, err := durable.Lock(ctx, j.path)
	if errors.Is(err, durable.ErrLocked) {
		return fmt.Errorf("revocation: journal %s is open in another process: stop that one, or give each its own journal: %w", j.path, err)
	}
	if err != nil {
		return fmt.Errorf("revocation: %w", err)
	}
	j.unlock = unlock
	return nil
}

// load puts in force what the file says, and leaves the file open and whole.
func (l *List) load(j *journal) error {
	entries, whole, err := readJournal(j.path)
	if err != nil {
		return err
	}
	if err := durable.Sweep(j.path); err != nil {
		return fmt.Errorf("revocation: journal: %w", err)
	}
	now := l.now().Unix()
	for _, e := range entries {
		if e.Until > now {
			l.apply(e, always)
		}
	}
	j.entries = len(entries)
	if !whole || j.entries >= compactAt(l.Len()) {
		return j.rewrite()
	}
	j.compactAt = compactAt(l.Len())
	if err := j.reopen(); err != nil {
		return err
	}
	return j.file.Sync() // the last line may be from a process that was killed before it could
}

// readJournal returns the entries of the file. whole is false if it must be
// written anew: it doesn't exist, or a crash cut its end.
func readJournal(path string) (entries []entry, whole bool, err error) {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, fmt.Errorf("revocation: journal: %w", err)
	}
	if !info.Mode().IsRegular() {
		return nil, false, fmt.Errorf("revocation: journal %s is not a file: check Config.Path", path)
	}
	if open := info.Mode().Perm() & 0o077; open != 0 && runtime.GOOS != "windows" {
		return nil, false, fmt.Errorf("revocation: journal %s has mode %#o: others could undo a logout; chmod 600 it", path, info.Mode().Perm())
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, false, fmt.Errorf("revocation: journal: %w", err)
	}
	entries, torn, err := parseJournal(data)
	if err != nil {
		return nil, false, fmt.Errorf("revocation: journal %s: %w", path, err)
	}
	return entries, !torn, nil
}

// compactAt is the number of entries at which a journal with so many live ones is
// mostly dead.
func compactAt(live int) int { return 2*live + compactFrom }

// live returns an entry for everything in force.
func (l *List) live() []entry {
	now := l.now().Unix()
	entries := make([]entry, 0, l.Len())
	l.sessions.each(now, func(id string, m mark) {
		entries = append(entries, entry{Session: id, below: m.value, Until: m.until})
	})
	l.subjects.each(now, func(sum string, m mark) {
		entries = append(entries, entry{Subject: []byte(sum), Tag: m.tag, Instant: int64(m.value), Until: m.until})
	})
	l.all.each(now, func(_ string, m mark) {
		entries = append(entries, entry{Instant: int64(m.value), Until: m.until})
	})
	return entries
}

// has reports whether batch number n is on the disk.
func (j *journal) has(n uint64) bool { return j == nil || n <= j.committed.Load() }

// enqueue adds e to the next write.
func (j *journal) enqueue(e entry) *batch {
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
	j.pending.entries = append(j.pending.entries, e)
	select {
	case j.wake <- struct{}{}:
	default:
	}
	return j.pending
}

// refuse returns a batch that is over. mu is held.
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

// run is the writer. It ends at close, after the last entry.
func (j *journal) run() {
	defer close(j.done)
	defer j.reports.Wait()
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
		if err := j.append(b.entries); err != nil {
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

// repair makes the file whole again. What failed before is then on the disk, too.
func (j *journal) repair() {
	if j.failed = j.rewrite(); j.failed == nil {
		j.committed.Store(j.taken)
	}
}

// tell reports an outage when it begins. Reports have goroutines of their own: one
// that is slow must not keep logouts waiting.
func (j *journal) tell() {
	begins := j.failed != nil && !j.told
	j.told = j.failed != nil
	if !begins || j.report == nil {
		return
	}
	err := fmt.Errorf("revocation: the journal can't be written, and what ends now would be forgotten by a restart; see to the disk, it is tried again every %v: %w", retryEvery, j.failed)
	j.reports.Go(func() { j.report(err) })
}

// append writes entries at the end of the file.
func (j *journal) append(entries []entry) error {
	if !j.attached() {
		return errors.New("the file was removed or replaced")
	}
	l, err := line(entries)
	if err != nil {
		return err
	}
	if _, err := j.file.Write(l); err != nil {
		return err
	}
	j.entries += len(entries)
	return j.file.Sync()
}

// attached reports whether path still leads to the open file.
func (j *journal) attached() bool {
	if j.file == nil {
		return false
	}
	there, err := os.Stat(j.path)
	if err != nil {
		return false
	}
	here, err := j.file.Stat()
	return err == nil && os.SameFile(here, there)
}

// rewrite replaces the file by what is in force. Entries are in
// memory before they come here, so nothing is missing.
func (j *journal) rewrite() error {
	entries := j.live()
	var data bytes.Buffer
	data.WriteString(header)
	for i := range entries {
		l, err := line(entries[i : i+1])
		if err != nil {
			return err
		}
		data.Write(l)
	}
	if err := durable.WriteFile(j.path, data.Bytes(), 0o600); err != nil {
		return err
	}
	j.entries, j.compactAt = len(entries), compactAt(len(entries))
	return j.reopen()
}

func (j *journal) reopen() error {
	file, err := os.OpenFile(j.path, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return fmt.Errorf("revocation: journal: %w", err)
	}
	if j.file != nil {
		j.file.Close() // nothing is left to be written through it
	}
	j.file = file
	return nil
}

// compact rewrites a file that is mostly dead. If that fails, the old one still
// serves, unless it is gone.
func (j *journal) compact() {
	if err := j.rewrite(); err == nil {
		return
	} else if !j.attached() {
		j.failed = err
	}
	j.compactAt = 2 * j.entries
}

// finish leaves the file whole for the next process.
func (j *journal) finish() error {
	if j.failed != nil {
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
