package rotation

import (
	"context"
	"errors"
	"time"

	"github.com/cloakroom-go/cloakroom/internal/keyset"
	"github.com/cloakroom-go/cloakroom/internal/rotation"
	"github.com/cloakroom-go/cloakroom/keys"
)

// A Rotator keeps the keys of a file in rotation from within an application: it
// takes the step IfDue whenever something is due. Several processes that share the file may each have one: the lock
// of the file lets one of them write, and the others find that nothing is left to do. Processes that only read the file,
// such as a mounted secret, must not have one.
type Rotator struct {
	_ [0]func() // no unkeyed literals, no comparison

	// File is the key file. Required.
	File keys.File

	// Ring is told of each change at once; others find it when they look. What it refuses of the file, such as a backup that was
	// restored, is not rotated. May be nil.
	Ring *keys.Ring

	// Every is how often the file is looked at, since others may have changed it. 0 means every 10 minutes.
	Every time.Duration

	// LockTimeout is how long to wait for another process that writes. 0 means 10 seconds.
	LockTimeout time.Duration

	// Rotated is called after each change with what has changed, for people. May be
	// nil.
	Rotated func(changes []string)

	// Report is called when it could not be done. It is tried again the next time. May be nil.
	Report func(error)

	// Recovered is called when it could be done again, after Report. May be nil.
	Recovered func()

	// Now is the clock. If nil, time.Now.
	Now func() time.Time
}

// Run rotates until ctx ends, and returns the cause of its end. It begins at once.
func (r *Rotator) Run(ctx context.Context) error {
	if r.File.Path == "" {
		return errors.New("rotation: Rotator.File is required: the key file to keep in rotation")
	}
	for failed := false; ; {
		next, err := r.Rotate(ctx)
		if ctx.Err() == nil {
			r.tell(failed, err)
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

// tell reports err, or that there is none any more.
func (r *Rotator) tell(failed bool, err error) {
	switch {
	case err != nil && r.Report != nil:
		r.Report(err)
	case err == nil && failed && r.Recovered != nil:
		r.Recovered()
	}
}

// wait is how long to sleep if something is due at next.
func (r *Rotator) wait(next time.Time) time.Duration {
	every := r.Every
	if every <= 0 {
		every = 10 * time.Minute
	}
	if next.IsZero() {
		return every
	}
	return min(every, max(time.Second, next.Sub(r.now())))
}

// Rotate does what is due now, and returns when something is due next, zero if that is not known.
func (r *Rotator) Rotate(ctx context.Context) (next time.Time, err error) {
	set, err := r.read()
	if err != nil {
		return time.Time{}, err
	}
	now := r.now()
	if next := rotation.NextDue(set, now); next.After(now) || next.IsZero() {
		return next, nil // without the lock
	}
	timeout := r.LockTimeout
	if timeout <= 0 {
		timeout = 10 * time.Second
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
	r.report(rotation.Diff(before, after))
	return rotation.NextDue(after, now), err
}

func (r *Rotator) report(changes []rotation.Change) {
	if len(changes) == 0 || r.Rotated == nil {
		return
	}
	var texts []string
	for _, c := range changes {
		texts = append(texts, c.String())
	}
	r.Rotated(texts)
}

// read returns what is in the file, if the ring puts it in force.
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
