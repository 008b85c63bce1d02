package rotation

import (
	"cmp"
	"context"
	"errors"
	"sync"
	"time"

	"github.com/cloakroom-go/cloakroom/internal/keyset"
	"github.com/cloakroom-go/cloakroom/internal/rotation"
	"github.com/cloakroom-go/cloakroom/keys"
)

const (
	// defaultEvery bounds how late the Rotator sees a change by another
	// process. Reading the file is cheap, so it can be short.
	defaultEvery = 10 * time.Minute

	// defaultLockTimeout is far longer than a write of the file, so it ends
	// only when another process hangs with the lock.
	defaultLockTimeout = 10 * time.Second

	// minWait keeps a step that stays due, and so does nothing, from spinning.
	minWait = time.Second
)

// RotatorConfig says which key file a [Rotator] keeps in rotation, and how. Its
// hooks must not call Close, which waits for them.
type RotatorConfig struct {
	_ [0]func() // no unkeyed literals, no comparison

	// File is the key file. Required.
	File keys.File

	// Ring reloads the file as soon as the Rotator has changed it; other Rings see
	// the change at their next look. A file that Ring refuses, such as a restored
	// backup, is not rotated. May be nil.
	Ring *keys.Ring

	// Every is how often to read the file, which other processes may have
	// changed. 0 means every 10 minutes.
	Every time.Duration

	// LockTimeout is how long to wait while another process holds the lock of
	// the file. 0 means 10 seconds.
	LockTimeout time.Duration

	// OnRotated is called after each change, with a text for people about each
	// difference. May be nil.
	OnRotated func(changes []string)

	// OnProblem is called when a rotation fails. The next one tries again. May be
	// nil.
	OnProblem func(error)

	// OnRecovered is called when a rotation succeeds after one that failed. May
	// be nil.
	OnRecovered func()

	// Now is the clock. If nil, time.Now.
	Now func() time.Time
}

// A Rotator keeps the keys of a file in rotation from within an application: it
// takes the step [IfDue] whenever something is due. Several processes that
// share the file may each run one: the lock of the file lets one of them write,
// and the others then find nothing left to do. A process that can only read the
// file, such as a mounted secret, must not run one.
type Rotator struct {
	cfg     RotatorConfig
	stop    context.CancelFunc
	running sync.WaitGroup

	// Only look changes these: first in NewRotator, then in the background.
	next   time.Time // when something is due; zero if that is not known
	failed bool      // the last look
}

// NewRotator does what is due now, and then goes on in the background until
// Close. If the first rotation fails, OnProblem gets the error, as for any
// other. The error of NewRotator is only about cfg.
func NewRotator(cfg RotatorConfig) (*Rotator, error) {
	switch {
	case cfg.File.Path == "":
		return nil, errors.New("rotation: RotatorConfig.File is required: the key file to keep in rotation")
	case cfg.Every < 0 || cfg.LockTimeout < 0:
		return nil, errors.New("rotation: RotatorConfig.Every and LockTimeout must not be negative")
	}
	cfg.Every = cmp.Or(cfg.Every, defaultEvery)
	cfg.LockTimeout = cmp.Or(cfg.LockTimeout, defaultLockTimeout)
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	r := &Rotator{cfg: cfg}
	ctx, stop := context.WithCancel(context.Background())
	r.stop = stop
	r.look(ctx)
	r.running.Go(func() { r.run(ctx) })
	return r, nil
}

// Close stops rotating, and waits for a rotation that is under way.
func (r *Rotator) Close() error {
	r.stop()
	r.running.Wait()
	return nil
}

// run looks again and again until ctx ends.
func (r *Rotator) run(ctx context.Context) {
	for {
		wait := r.cfg.Every
		if !r.next.IsZero() {
			wait = min(wait, max(minWait, r.next.Sub(r.cfg.Now())))
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
			r.look(ctx)
		}
	}
}

// look does what is due, and tells how it went.
func (r *Rotator) look(ctx context.Context) {
	var err error
	if r.next, err = r.rotate(ctx); ctx.Err() != nil {
		return // Close, not the file, is why it failed
	}
	switch {
	case err != nil && r.cfg.OnProblem != nil:
		r.cfg.OnProblem(err)
	case err == nil && r.failed && r.cfg.OnRecovered != nil:
		r.cfg.OnRecovered()
	}
	r.failed = err != nil
}

// rotate does what is due now. It returns when something will be due next, or
// zero if the plan knows of nothing.
func (r *Rotator) rotate(ctx context.Context) (next time.Time, err error) {
	set, err := r.read()
	if err != nil {
		return time.Time{}, err
	}
	now := r.cfg.Now()
	if next := rotation.NextDue(set, now); next.After(now) || next.IsZero() {
		return next, nil // writers don't have to wait for a look
	}
	ctx, cancel := context.WithTimeout(ctx, r.cfg.LockTimeout)
	defer cancel()
	before, after, err := rotation.IfDue().Apply(ctx, keyset.File(r.cfg.File), now)
	if err != nil {
		return time.Time{}, err
	}
	if r.cfg.Ring != nil {
		err = r.cfg.Ring.Reload()
	}
	var changes []string
	for _, c := range rotation.Diff(before, after) {
		changes = append(changes, c.String())
	}
	if len(changes) > 0 && r.cfg.OnRotated != nil {
		r.cfg.OnRotated(changes)
	}
	return rotation.NextDue(after, now), err
}

// read returns the keys of the file. With a Ring it returns an error if the
// Ring refuses the file: rotating a restored backup would raise its generation
// until the Ring takes it for a newer file.
func (r *Rotator) read() (*keyset.Set, error) {
	if r.cfg.Ring == nil {
		return keyset.File(r.cfg.File).Read()
	}
	if err := r.cfg.Ring.Reload(); err != nil {
		return nil, err
	}
	return (*keyset.Set)(r.cfg.Ring.Set()), nil
}
