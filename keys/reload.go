package keys

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
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
	// keys still in force. It is called once for each other problem that Health
	// reports. It must not call Close, which waits for it. May be nil.
	OnProblem func(error)

	// Now is the clock. If nil, time.Now. Give it the clock that tokens are made
	// and checked with.
	Now func() time.Time
}

// OpenRing returns a ring of the keys in a key file, and reloads the file
// whenever it has changed. Close the ring when the server has shut down.
//
// While it follows the file, the ring stops signing and encrypting if it could
// not read the file for the grace of the policy minus its distribution lag:
// others may no longer trust these keys.
func OpenRing(cfg RingConfig) (*Ring, error) {
	if cfg.ReloadInterval < 0 {
		return nil, errors.New("keys: RingConfig.ReloadInterval must be positive, or 0 for that of the policy in the file")
	}
	if cfg.OnProblem == nil {
		cfg.OnProblem = func(error) {}
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
// and the default counts until the file is read again.
func (r *Ring) interval() time.Duration {
	return cmp.Or(r.cfg.ReloadInterval, r.load().set.Policy().WithDefaults().ReloadInterval)
}

// follow reloads the key file whenever it has changed, and reports problems,
// until ctx ends.
func (r *Ring) follow(ctx context.Context) {
	told := make(map[string]bool)
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(r.interval()):
		}
		if err := r.refresh(false); err != nil {
			r.cfg.OnProblem(err)
		}
		found := make(map[string]bool)
		for _, err := range r.problems(r.now()) {
			if found[err.Error()] = true; !told[err.Error()] {
				r.cfg.OnProblem(err)
			}
		}
		told = found
	}
}

// Reload reads the key file now and puts all of it in force. With an error, the
// keys stay as they are. It refuses a file of an earlier generation, such as a
// restored backup, because keys that were revoked since may be good in it.
// Restart to accept such a file.
func (r *Ring) Reload() error {
	if r.cfg.File.Path == "" {
		return errors.New("keys: the ring has no key file to reload: OpenRing needs File.Path, " +
			"and a ring without a file has Replace")
	}
	return r.refresh(true)
}

// refresh reloads the file if it has changed, or in any case if always is true.
func (r *Ring) refresh(always bool) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !always && r.current() {
		r.noteLook(false, nil)
		return nil
	}
	err := r.reload()
	r.noteLook(true, err)
	return err
}

// reload puts the file in force. The caller holds r.mu.
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
	r.isMount.Store(durable.IsMountPoint(f.Path))
	return nil
}

// A lastLook is the result of the last look at the file. It is immutable.
type lastLook struct {
	at     time.Time // when the file was last found to be the one in force
	failed error     // why the last attempt to read it failed; nil if it didn't

	reloads, failedReloads uint64 // so far, without the first
}

// noteLook notes a look at the file, and whether that has read it. The caller
// holds r.mu.
func (r *Ring) noteLook(read bool, failed error) {
	var next lastLook
	if last := r.look.Load(); last != nil {
		next = *last
		switch {
		case read && failed == nil:
			next.reloads++
		case read:
			next.failedReloads++
		}
	}
	if next.failed = failed; failed == nil {
		next.at = r.now().UTC().Round(0) // the monotonic clock stands still while the machine sleeps
	}
	r.look.Store(&next)
}

// current reports whether the file is the one that was read. It follows links,
// because a mounted secret is a link that is swapped.
func (r *Ring) current() bool {
	read := r.load().info
	now, err := os.Stat(r.cfg.File.Path)
	return err == nil && read != nil && os.SameFile(read, now) && read.Size() == now.Size() &&
		read.ModTime().Equal(now.ModTime()) && read.Mode() == now.Mode()
}

// A forcedLook is a look at the file that can't wait for the next interval. All
// callers that need one share it.
type forcedLook struct {
	mu      sync.Mutex
	running chan struct{} // closed when the look has ended; nil if there is none
	looks   bucket
}

// begin starts a look at the file if it is not too early for one, and one is
// still needed. It returns a channel that is closed when that look, or the one
// under way, has ended; nil if there is none.
func (f *forcedLook) begin(r *Ring, now time.Time, needed func() bool) <-chan struct{} {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.running != nil {
		return f.running
	}
	// Keys that Replace took out must not come back because a token names one.
	fromFile := r.load().info != nil
	if !fromFile || !needed() || !f.looks.take(now) {
		return nil
	}
	done := make(chan struct{})
	f.running = done
	go func() {
		_ = r.refresh(false) // Health tells
		f.mu.Lock()
		f.running = nil
		f.mu.Unlock()
		close(done)
	}()
	return done
}

// wait looks at the file as begin says, and waits for that until ctx ends. If
// the file system hangs, one look hangs with it, and its callers go on.
func (f *forcedLook) wait(ctx context.Context, r *Ring, now time.Time, needed func() bool) {
	if done := f.begin(r, now, needed); done != nil {
		select {
		case <-done:
		case <-ctx.Done():
		}
	}
}

// maxLateLook is how long signing waits for a file that nobody has looked at
// for long. A login that takes a second more is better than one that fails.
const maxLateLook = time.Second

// usable returns the snapshot to sign and to encrypt with. If nobody has looked
// at the file for too long, because the process stood still, it looks once more
// before it refuses.
func (r *Ring) usable(now time.Time) (*snapshot, error) {
	s := r.load()
	if r.outage(s, now) == nil {
		return s, nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), maxLateLook)
	defer cancel()
	r.lateLook.wait(ctx, r, now, func() bool { return r.outage(r.load(), now) != nil })
	s = r.load()
	return s, r.outage(s, now)
}

// outage returns an error if the file is being followed, and could not be read
// for too long: nothing may be signed then.
func (r *Ring) outage(s *snapshot, now time.Time) error {
	if s.info == nil || !r.following.Load() {
		return nil
	}
	p, seen := s.set.Policy(), r.look.Load().at
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
