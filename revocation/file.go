package revocation

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime"
	"time"

	"github.com/cloakroom-go/cloakroom/internal/durable"
	"github.com/cloakroom-go/cloakroom/internal/fault"
)

const (
	// defaultWait is as long as a server usually takes to shut down.
	defaultWait = 10 * time.Second

	// compactFrom is the least number of entries at which a journal is compacted:
	// a shorter one is not worth a rewrite (1024 entries are about 50 KiB).
	compactFrom = 1024
)

// openJournal reads the journal of cfg into l, and starts its writer.
func (l *List) openJournal(cfg Config, step func(name string) error) error {
	j := &journal{
		path:   cfg.Path,
		live:   l.live,
		report: l.reports.tell,
		step:   step,
	}
	j.init("journal")
	if err := j.lock(cmp.Or(cfg.Wait, defaultWait)); err != nil {
		return err
	}
	if err := l.load(j); err != nil {
		if j.file != nil {
			err = errors.Join(err, j.file.Close())
		}
		return errors.Join(err, j.unlock())
	}
	l.journal, l.out.journal = j, &j.queue
	go j.run()
	return nil
}

func (j *journal) lock(wait time.Duration) error {
	ctx, cancel := context.WithTimeout(context.Background(), wait)
	defer cancel()
	unlock, err := durable.Lock(ctx, j.path)
	if errors.Is(err, durable.ErrLocked) {
		return fmt.Errorf("revocation: journal %s is still open in another process after %v: "+
			"stop that one, or give each its own journal: %w", j.path, wait, fault.Inner(err))
	}
	if err != nil {
		return fmt.Errorf("revocation: %w", fault.Inner(err))
	}
	j.unlock = unlock
	return nil
}

// load puts the entries of the file in force. It leaves the file open, and
// complete even if a crash has cut its last line.
func (l *List) load(j *journal) error {
	if err := durable.Sweep(j.path); err != nil {
		return fmt.Errorf("revocation: journal: %w", fault.Inner(err))
	}
	data, err := j.read()
	if errors.Is(err, fs.ErrNotExist) {
		return j.rewrite()
	}
	if err != nil {
		return err
	}
	now := second(l.now())
	n, torn, err := parseJournal(data, func(e entry) {
		if e.until > now {
			l.apply(e, now)
		}
	})
	if err != nil {
		return fmt.Errorf("revocation: journal %s: %w", j.path, fault.Inner(err))
	}
	j.entries, j.size, j.compactAt = n, int64(len(data)), compactAt(l.Len())
	if torn || n >= j.compactAt {
		return j.rewrite()
	}
	return j.sync() // the process that wrote the last line may not have synced it
}

// read opens the file and returns its content.
func (j *journal) read() ([]byte, error) {
	info, err := os.Stat(j.path)
	if err == nil && !info.Mode().IsRegular() {
		return nil, fmt.Errorf("revocation: journal %s is not a file: check Config.Path", j.path)
	}
	if err == nil && open(info) {
		return nil, fmt.Errorf("revocation: journal %s has mode %#o: others could undo a logout; run: chmod 600 %[1]s",
			j.path, info.Mode().Perm())
	}
	if err == nil {
		j.file, err = os.OpenFile(j.path, os.O_RDWR|os.O_APPEND, 0)
	}
	if err != nil {
		return nil, fmt.Errorf("revocation: journal: %w", fault.Inner(err))
	}
	data := bytes.NewBuffer(make([]byte, 0, info.Size()+bytes.MinRead))
	if _, err := data.ReadFrom(j.file); err != nil {
		return nil, fmt.Errorf("revocation: journal: %w", fault.Inner(err))
	}
	return data.Bytes(), nil
}

// open reports whether others than the owner may read or write a file.
func open(info fs.FileInfo) bool {
	return info.Mode().Perm()&0o077 != 0 && runtime.GOOS != "windows"
}

// compactAt returns the number of entries at which a journal is compacted:
// about half of them are then no longer in force.
func compactAt(live int) int { return 2*live + compactFrom }

// live returns the journal of everything in force. Older entries come first: if
// a smaller list reads it and has no room for all of them, the last ones count.
func (l *List) live() (lines []byte, entries int) {
	now := second(l.now())
	w := writer{lines: make([]byte, 0, len(header)+48*l.Len())}
	w.lines = append(w.lines, header...)
	l.each(now, func(e entry) {
		entries++
		if w.add(e); w.n == lineEntries {
			w.end()
		}
	})
	w.end()
	return w.lines, entries
}

// each calls f with everything in force, older entries first.
func (l *List) each(now uint32, f func(e entry)) {
	for _, age := range [...]uint32{older, 0} {
		l.sessions.each(now, func(s slot) {
			if s.below&older == age {
				f(s.entry())
			}
		})
	}
	l.subjects.each(now, func(k key, m mark) {
		f(entry{kind: ofSubject, key: k, tag: m.tag, instant: m.instant, until: m.until})
	})
	l.tagged.each(now, func(k key, m mark) {
		f(entry{kind: ofTag, key: k, instant: m.instant, until: m.until})
	})
	l.all.each(now, func(_ key, m mark) {
		f(entry{kind: ofAll, instant: m.instant, until: m.until})
	})
}

// changed returns an error if another program has changed the file.
func (j *journal) changed() error {
	if j.file == nil {
		return errors.New("it could not be opened again")
	}
	there, err := os.Stat(j.path)
	if err != nil {
		return fmt.Errorf("it was removed, or is out of reach: %w", err)
	}
	here, err := j.file.Stat()
	switch {
	case err != nil:
		return err
	case !os.SameFile(here, there):
		return errors.New("it was replaced")
	case here.Size() < j.size:
		return fmt.Errorf("it was cut from %d bytes to %d", j.size, here.Size())
	case here.Size() > j.size:
		return fmt.Errorf("it grew from %d bytes to %d", j.size, here.Size())
	case open(here):
		return fmt.Errorf("it got mode %#o, so that others could undo a logout", here.Mode().Perm())
	}
	return nil
}

// append writes entries at the end of the file.
func (j *journal) append(entries []entry) error {
	if len(entries) == 0 {
		return nil
	}
	var w writer
	for _, e := range entries {
		w.add(e)
	}
	w.end()
	if err := j.do("write", func() error { _, err := j.file.Write(w.lines); return err }); err != nil {
		return err
	}
	j.entries += len(entries)
	j.size += int64(len(w.lines))
	return j.sync()
}

func (j *journal) sync() error { return j.do("sync", j.file.Sync) }

// do takes one step, unless a test makes it fail.
func (j *journal) do(name string, f func() error) error {
	if err := j.step(name); err != nil {
		return err
	}
	return f()
}

// rewrite replaces the file by everything in force. Entries are in memory
// before they are queued for the file, so nothing is missing.
func (j *journal) rewrite() error {
	lines, entries := j.live()
	err := j.do("rewrite", func() error { return durable.WriteFile(j.path, lines, 0o600) })
	if err != nil {
		return err
	}
	j.entries, j.size, j.compactAt = entries, int64(len(lines)), compactAt(entries)
	file, err := os.OpenFile(j.path, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return fmt.Errorf("revocation: journal: %w", fault.Inner(err))
	}
	if j.file != nil {
		j.file.Close() // nothing more will be written to the old file
	}
	j.file = file
	return nil
}
