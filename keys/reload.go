package keys

import (
	"cmp"
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

// RingConfig says which key file a [Ring] follows, and how.
type RingConfig struct {
	_ [0]func() // no unkeyed literals, no comparison

	// File is the key file. Required.
	File File

	// ReloadInterval is how often to look whether the file has changed. 0 means
	// the ReloadInterval of the policy in the file.
	ReloadInterval time.Duration

	// OnProblem is called each time the file could not be read again, with the old
	// keys still in force, and once for each other problem that Health reports. It
	// must not call Close. If nil, only Health tells of problems.
	OnProblem func(error)

	// Now is the clock. If nil, time.Now. Give it the clock that tokens are made
	// and checked with.
	Now func() time.Time
}

// OpenRing returns a ring of the keys in a key file, and reloads the file
// whenever it has changed. Close the ring when the server has shut down.
//
// Until then the ring stops signing and encrypting if it could not read the
// file for the grace of the policy less its distribution lag: others may no
// longer trust these keys.
func OpenRing(cfg RingConfig) (*Ring, error) {
	if cfg.ReloadInterval < 0 {
		return nil, errors.New("keys: RingConfig.ReloadInterval must be positive, or 0 for that of the policy in the file")
	}
	r := &Ring{cfg: cfg}
	if err := r.Reload(); err != nil {
		return nil, err
	}
	ctx, stop := context.WithCancel(context.Background())
	r.stop = stop
	r.following.Store(true)
	r.running.Go(func() { r.follow(ctx) })
	return r, nil
}

// Close stops following the key file, and waits for the look that is under way.
// The keys stay in force. A second Close does nothing.
func (r *Ring) Close() error {
	if r.stop != nil {
		r.following.Store(false)
		r.stop()
		r.running.Wait()
	}
	return nil
}

// interval is how often to look at the file. After Replace there is no policy,
// so that the default counts until the file was read again.
func (r *Ring) interval() time.Duration {
	return cmp.Or(r.cfg.ReloadInterval, r.load().set.Policy().WithDefaults().ReloadInterval)
}

// follow reloads the key file whenever it has changed, until ctx ends.
func (r *Ring) follow(ctx context.Context) {
	tell := r.cfg.OnProblem
	if tell == nil {
		tell = func(error) {}
	}
	told := make(map[string]bool)
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(r.interval()):
		}
		if err := r.refresh(); err != nil {
			tell(err)
		}
		found := make(map[string]bool)
		for _, err := range r.problems(r.now()) {
			if found[err.Error()] = true; !told[err.Error()] {
				tell(err)
			}
		}
		told = found
	}
}

// Reload reads the key file now and puts all of it in force, or, with an error,
// leaves the keys as they are. It refuses a file of an earlier generation, such
// as a restored backup, because revoked keys may come back to life in it:
// restart to accept it.
func (r *Ring) Reload() error {
	if r.cfg.File.Path == "" {
		return errors.New("keys: the ring has no key file to reload: OpenRing needs File.Path, " +
			"and a ring without a file has Replace")
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	err := r.reload()
	r.sight(err)
	return err
}

// reload does what Reload does. The caller holds r.mu.
func (r *Ring) reload() error {
	f := keyset.File(r.cfg.File)
	s, info, err := f.Open()
	if errors.Is(err, fs.ErrNotExist) && r.load().info != nil {
		return fmt.Errorf("keys: the key file %s is gone; restore it%s; instances need a restart only if that is not "+
			"the latest version; a new file would log everybody out: %w", f.Path, f.SuchAs(), fs.ErrNotExist)
	}
	if err != nil {
		return err
	}
	digest, err := s.Digest()
	if err == nil {
		err = r.past.accepts(s, digest)
	}
	if err != nil {
		return fmt.Errorf("%w: %s %w", keyset.ErrInvalidFile, f.Path, err)
	}
	if err := r.install(s, info); err != nil {
		return err
	}
	r.past.remember(s, digest)
	r.single.Store(durable.IsMountPoint(f.Path))
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
			return fmt.Errorf("goes back behind the revocation of key %s; restore a later one, "+
				"or restart if you want to go back", k.ID())
		}
	}
	return nil
}

// A sighting is what is known of the file since the last look at it. It is
// immutable.
type sighting struct {
	at     time.Time // when the file was last found to be the one in force
	failed error     // why the last attempt to read it failed; nil if it didn't
}

// sight notes that the file was looked at. The caller holds r.mu.
func (r *Ring) sight(failed error) {
	next := sighting{failed: failed}
	if failed == nil {
		next.at = r.now().UTC().Round(0) // the monotonic clock stands still while the machine sleeps
	} else if last := r.seen.Load(); last != nil {
		next.at = last.at
	}
	r.seen.Store(&next)
}

// current reports whether the file is the one that was read. It follows links,
// because a mounted secret is a link that is swapped.
func (r *Ring) current() bool {
	read := r.load().info
	now, err := os.Stat(r.cfg.File.Path)
	return err == nil && read != nil && os.SameFile(read, now) && read.Size() == now.Size() &&
		read.ModTime().Equal(now.ModTime()) && read.Mode() == now.Mode()
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

// A forcedLook is a look at the file that can't wait for the next interval.
// Everybody who needs one waits for the same look.
type forcedLook struct {
	mu      sync.Mutex
	running chan struct{} // closed when the look has ended; nil if there is none
	looks   bucket
}

// reloadFor looks for an unknown key in a file that may have changed. The looks
// are bounded, because anybody can invent key IDs. If the file system hangs,
// one look hangs with it, and its callers return when their ctx ends.
func (r *Ring) reloadFor(ctx context.Context, kid string, now time.Time) *keyset.Key {
	if done := r.look(kid, now); done != nil {
		select {
		case <-done:
		case <-ctx.Done():
		}
	}
	return r.load().byID[kid]
}

// look returns a channel that is closed when the look under way, or a new one,
// has ended. It returns nil if it is too early for a look, or if the last one
// found the key a moment ago.
func (r *Ring) look(kid string, now time.Time) <-chan struct{} {
	return r.forced.begin(r, now, func() bool { return r.load().byID[kid] == nil })
}

// begin starts a look at the file if none is under way, it is not too early for
// one, and one is still needed.
func (f *forcedLook) begin(r *Ring, now time.Time, needed func() bool) <-chan struct{} {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.running != nil {
		return f.running
	}
	replaced := r.load().info == nil // what Replace took out must not come back because somebody names it
	if r.cfg.File.Path == "" || replaced || !needed() || !f.looks.take(now) {
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

// maxLateLook is how long signing waits for a file that nobody has looked at
// for long.
const maxLateLook = time.Second

// usable returns the snapshot to sign and to encrypt with. If nobody has looked
// at the file for too long, because the process stood still, it looks once more
// before it refuses.
func (r *Ring) usable(now time.Time) (*snapshot, error) {
	s := r.load()
	err := r.outage(s, now)
	if err == nil {
		return s, nil
	}
	done := r.late.begin(r, now, func() bool { return r.outage(r.load(), now) != nil })
	if done != nil {
		timer := time.NewTimer(maxLateLook)
		defer timer.Stop()
		select {
		case <-done:
		case <-timer.C:
		}
	}
	s = r.load()
	return s, r.outage(s, now)
}

// outage returns why nothing may be signed, if the file is being followed and
// could not be read for too long.
func (r *Ring) outage(s *snapshot, now time.Time) error {
	if s.info == nil || !r.following.Load() {
		return nil
	}
	p, seen := s.set.Policy(), r.seen.Load().at
	// What was read may have been replaced elsewhere for as long as the
	// distribution lag. With a long interval, one look that fails is no outage.
	grace := max(p.Grace-p.DistributionLag, 2*r.interval())
	if now.Before(seen.Add(grace)) {
		return nil
	}
	return fmt.Errorf("%w: the key file could not be read since %s, longer than grace - distribution_lag = %s: "+
		"nothing is signed or encrypted until it can; tokens are still verified",
		ErrUnavailable, seen.UTC().Format(time.RFC3339), span.Format(grace))
}
