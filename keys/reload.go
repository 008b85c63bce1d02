package keys

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/cloakroom-go/cloakroom/internal/durable"
	"github.com/cloakroom-go/cloakroom/internal/keyset"
	"github.com/cloakroom-go/cloakroom/internal/span"
)

// A sighting is what a ring that watches its file knows of it. It is immutable.
type sighting struct {
	at     time.Time     // when the file was found to be the one in force
	failed error         // why the last attempt to read it failed; nil if it didn't
	every  time.Duration // at which Watch looks; 0 if it is not at work
	begun  time.Time     // when Watch began
}

// OpenRing returns a ring of the keys in a key file. Call Watch to follow its changes.
func OpenRing(f File) (*Ring, error) {
	r := &Ring{file: keyset.File(f)}
	if err := r.Reload(); err != nil {
		return nil, err
	}
	return r, nil
}

// Reload reads the key file again and puts all of it in force, or, with an
// error, leaves the keys as they are. It refuses a file of an earlier
// generation, such as a restored backup, in which revoked keys may come back to life: restart to accept it.
func (r *Ring) Reload() error {
	if r.file.Path == "" {
		return errors.New("keys: the ring has no key file to reload: OpenRing needs File.Path, and a ring without a file has Replace")
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	err := r.reload()
	r.sight(err)
	return err
}

// reload does what Reload does. The caller holds r.mu.
func (r *Ring) reload() error {
	s, info, err := r.file.Open()
	if errors.Is(err, fs.ErrNotExist) && r.load().info != nil {
		return fmt.Errorf("keys: the key file %s is gone; restore it%s; instances need a restart only if that is not the latest version; a new file would log everybody out: %w", r.file.Path, r.file.SuchAs(), fs.ErrNotExist)
	}
	if err != nil {
		return err
	}
	digest, err := s.Digest()
	if err == nil {
		err = r.past.accepts(s, digest)
	}
	if err != nil {
		return fmt.Errorf("%w: %s %w", ErrInvalidFile, r.file.Path, err)
	}
	if err := r.install(s, info); err != nil {
		return err
	}
	r.past.remember(s, digest)
	r.single.Store(durable.IsMountPoint(r.file.Path))
	return nil
}

// accepts refuses a file that goes back behind what was in force.
func (h *history) accepts(s *keyset.Set, digest [sha256.Size]byte) error {
	switch n := s.Generation(); {
	case n < h.generation:
		return fmt.Errorf("has generation %d, and %d is in force; restart if you want to go back", n, h.generation)
	case n == h.generation && digest != h.digest:
		return fmt.Errorf("has generation %d, which is in force with other content: a backup was restored and then changed, "+
			"or two write without a common lock; restore the later file, or restart if this is the right one", n)
	}
	for _, k := range slices.Concat(s.Keys(), s.Pruned()) {
		if h.revoked[k.ID()] && !k.IsRevoked() {
			return fmt.Errorf("goes back behind the revocation of key %s; restore a later one, or restart if you want to go back", k.ID())
		}
	}
	return nil
}

// sight notes that the file was looked at.
func (r *Ring) sight(failed error) {
	next := r.sighting()
	next.failed = failed
	if failed == nil {
		next.at = r.now().Round(0) // the monotonic clock stands still while the machine sleeps
	}
	r.watch.Store(&next)
}

func (r *Ring) sighting() sighting {
	if w := r.watch.Load(); w != nil {
		return *w
	}
	return sighting{}
}

// current reports whether the file is the one that was read. A mounted secret is a link that is
// swapped: what it leads to counts.
func (r *Ring) current() bool {
	read := r.load().info
	now, err := os.Stat(r.file.Path)
	return err == nil && read != nil && os.SameFile(read, now) && read.Size() == now.Size() && read.ModTime().Equal(now.ModTime()) && read.Mode() == now.Mode()
}

// refresh reloads the file if it has changed.
func (r *Ring) refresh() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	var err error
	if !r.current() {
		err = r.reload()
	}
	r.sight(err)
	return err
}

// forcedLook is a look at the file because of an unknown key ID. All who have one wait for the same look.
type forcedLook struct {
	mu      sync.Mutex
	running chan struct{} // closed when the look has ended; nil if there is none
	looks   bucket
}

// reloadFor looks for a key that is not known in a file that may have changed. It
// is bounded, since everybody can invent key IDs. A file system that hangs holds one look, and whoever waits for it
// goes when ctx ends.
func (r *Ring) reloadFor(ctx context.Context, kid string, now time.Time) *keyset.Key {
	if done := r.look(kid, now); done != nil {
		select {
		case <-done:
		case <-ctx.Done():
		}
	}
	return r.load().byID[kid]
}

// look returns what ends with the look that is under way, or with a new one; nil if it is too early for one, or if the last one has
// found the key a moment ago.
func (r *Ring) look(kid string, now time.Time) <-chan struct{} {
	return r.forced.begin(r, now, func() bool { return r.load().byID[kid] == nil })
}

// begin begins a look at the file, if none is under way, it is not too early for
// one, and it is needed still.
func (f *forcedLook) begin(r *Ring, now time.Time, needed func() bool) <-chan struct{} {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.running != nil {
		return f.running
	}
	replaced := r.load().info == nil // what Replace took out must not come back because somebody names it
	if r.file.Path == "" || replaced || !needed() || !f.looks.take(now) {
		return nil
	}
	done := make(chan struct{})
	f.running = done
	go func() {
		_ = r.refresh() // Health tells
		f.mu.Lock()
		f.running = nil
		f.mu.Unlock()
		close(done)
	}()
	return done
}

// maxLateLook is how long signing waits for a file that nobody has looked at for
// long.
const maxLateLook = time.Second

// usable returns the snapshot to sign and to encrypt with. If nobody has looked at the file for
// too long, as when the process stood still, it looks once more before it refuses.
func (r *Ring) usable(now time.Time) (*snapshot, error) {
	s := r.load()
	err := r.seen(s, now)
	if err == nil {
		return s, nil
	}
	done := r.late.begin(r, now, func() bool { return r.seen(r.load(), now) != nil })
	if done != nil {
		timer := time.NewTimer(maxLateLook)
		defer timer.Stop()
		select {
		case <-done:
		case <-timer.C:
		}
	}
	s = r.load()
	return s, r.seen(s, now)
}

// Watch reloads the key file whenever it has changed, looking every so often
// until ctx ends. It reports each reload that failed, with the old keys still in
// force, and tries again the next time; and once each what else Health calls a problem. report may be nil. Watch
// returns the cause of ctx's end.
//
// While Watch is at work, a file that could not be read for the grace of the policy, less its distribution lag, ends signing
// and encrypting: it may be that others don't trust these keys any more.
func (r *Ring) Watch(ctx context.Context, every time.Duration, report func(error)) error {
	if every <= 0 {
		return errors.New("keys: Watch needs a positive interval")
	}
	if report == nil {
		report = func(error) {}
	}
	r.watching(every)
	defer r.watching(0)
	told := make(map[string]bool)
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-ticker.C:
			if err := r.refresh(); err != nil {
				report(err)
			}
			told = tell(told, r.problems(r.now()), report)
		}
	}
}

// tell reports the problems that were not there the last time.
func tell(told map[string]bool, problems []error, report func(error)) map[string]bool {
	now := make(map[string]bool)
	for _, err := range problems {
		now[err.Error()] = true
		if !told[err.Error()] {
			report(err)
		}
	}
	return now
}

// watching notes that Watch has begun to look every so often, or, with 0, that it has ended.
func (r *Ring) watching(every time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	next := r.sighting()
	next.every, next.begun = every, r.now().Round(0)
	r.watch.Store(&next)
}

// seen returns why nothing may be signed, if the file, which is being watched,
// could not be read for too long.
func (r *Ring) seen(s *snapshot, now time.Time) error {
	w := r.watch.Load()
	if w == nil || w.every == 0 || s.info == nil {
		return nil
	}
	p := s.set.Policy()
	// What was read may have been replaced elsewhere for as long as the distribution lag. The next look may be far off.
	since, grace := w.at, max(p.Grace-p.DistributionLag, 2*w.every)
	if w.failed == nil && w.begun.After(w.at) {
		since = w.begun // nobody has looked in between
	}
	if now.Before(since.Add(grace)) {
		return nil
	}
	return fmt.Errorf("%w: the key file could not be read since %s, longer than grace - distribution_lag = %s: nothing is signed or encrypted until it can; tokens are still verified", ErrUnavailable, w.at.UTC().Format(time.RFC3339), span.Format(grace))
}
