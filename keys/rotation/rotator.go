package rotation

import (
	"context"
	"errors"
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

// A Rotator keeps the keys of a file in rotation from within an application: it
// takes the step [IfDue] whenever something is due. Several processes that
// share the file may each run one: the lock of the file lets one of them write,
// and the others then find nothing left to do. A process that can only read the
// file, such as a mounted secret, must not run one.
type Rotator struct {
	_ [0]func() // no unkeyed literals, no comparison

	// File is the key file. Required.
	File keys.File

	// Ring reloads the file as soon as this Rotator has changed it; other Rings
	// see the change at their next reload. A file that Ring refuses, such as a
	// restored backup, is not rotated. May be nil.
	Ring *keys.Ring

	// Every is how often to read the file, which other processes may have
	// changed. 0 means every 10 minutes.
	Every time.Duration

	// LockTimeout is how long to wait while another process holds the lock of
	// the file. 0 means 10 seconds.
	LockTimeout time.Duration

	// Rotated is called after each change, with a text for people about each
	// difference. May be nil.
	Rotated func(changes []string)

	// Report is called when a rotation fails. The next one tries again. May be
	// nil.
	Report func(error)

	// Recovered is called when a rotation succeeds after one that failed. May
	// be nil.
	Recovered func()

	// Now is the clock. If nil, time.Now.
	Now func() time.Time
}

// Run rotates until ctx ends, and returns the cause of that. It looks at the
// file first, and then waits.
func (r *Rotator) Run(ctx context.Context) error {
	if r.File.Path == "" {
		return errors.New("rotation: Rotator.File is required: the key file to keep in rotation")
	}
	for failed := false; ; {
		next, err := r.Rotate(ctx)
		if ctx.Err() == nil {
			r.notify(failed, err)
			failed = err != nil
		}
		timer := time.NewTimer(r.wait(next))
		select {
		case <-ctx.Done():
			timer.Stop()
			return context.Cause(ctx)
		case <-timer.C:
		}
	}
}

// notify calls Report if there is an error, and Recovered if there is none for
// the first time after one.
func (r *Rotator) notify(failed bool, err error) {
	switch {
	case err != nil && r.Report != nil:
		r.Report(err)
	case err == nil && failed && r.Recovered != nil:
		r.Recovered()
	}
}

// wait returns how long to sleep when something is due at next.
func (r *Rotator) wait(next time.Time) time.Duration {
	every := r.Every
	if every <= 0 {
		every = defaultEvery
	}
	if next.IsZero() {
		return every
	}
	return min(every, max(minWait, next.Sub(r.now())))
}

// Rotate does what is due now. It returns when something will be due next, or
// zero if the plan knows of nothing.
func (r *Rotator) Rotate(ctx context.Context) (next time.Time, err error) {
	set, err := r.read()
	if err != nil {
		return time.Time{}, err
	}
	now := r.now()
	if next := rotation.NextDue(set, now); next.After(now) || next.IsZero() {
		return next, nil // writers don't have to wait for a look
	}
	timeout := r.LockTimeout
	if timeout <= 0 {
		timeout = defaultLockTimeout
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	before, after, err := rotation.IfDue().Apply(ctx, keyset.File(r.File), now)
	if err != nil {
		return time.Time{}, err
	}
	if r.Ring != nil {
		err = r.Ring.Reload()
	}
	r.reportChanges(rotation.Diff(before, after))
	return rotation.NextDue(after, now), err
}

// reportChanges tells Rotated what has changed, if anything has.
func (r *Rotator) reportChanges(changes []rotation.Change) {
	if len(changes) == 0 || r.Rotated == nil {
		return
	}
	var texts []string
	for _, c := range changes {
		texts = append(texts, c.String())
	}
	r.Rotated(texts)
}

// read returns the keys of the file. With a Ring it returns an error if the
// Ring refuses the file: rotating a restored backup would raise its generation
// until the Ring takes it for a newer file.
func (r *Rotator) read() (*keyset.Set, error) {
	if r.Ring == nil {
		return keyset.File(r.File).Read()
	}
	if err := r.Ring.Reload(); err != nil {
		return nil, err
	}
	return (*keyset.Set)(r.Ring.Set()), nil
}

func (r *Rotator) now() time.Time {
	if r.Now != nil {
		return r.Now()
	}
	return time.Now()
}
