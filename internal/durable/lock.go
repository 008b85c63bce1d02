package durable

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/gofrs/flock"
)

// ErrLocked means that another process, or another part of this one, holds the lock.
var ErrLocked = errors.New("durable: locked by another process")

// lockRetry is how often a held lock is tried again.
const lockRetry = 10 * time.Millisecond

// Lock takes the exclusive lock of path and returns the function that gives it
// back. The lock is on a file of its own, path+".lock" (mode 0600), because a
// rename replaces the file that it protects; that file stays. The system releases the lock of a
// process that dies.
//
// Lock tries at least once, even if ctx has ended, and then until ctx ends. The error
// then wraps [ErrLocked] and the cause of ctx's end.
func Lock(ctx context.Context, path string) (unlock func() error, err error) {
	target, err := resolve(path)
	if err != nil {
		return nil, err
	}
	l := flock.New(target+".lock", flock.SetFlag(os.O_CREATE|lockFlags), flock.SetPermissions(0o600))
	for {
		ok, err := l.TryLock()
		if err != nil {
			return nil, fmt.Errorf("durable: lock %s: %w", path, err)
		}
		if ok {
			return l.Unlock, nil
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("%w: %s.lock: %w", ErrLocked, path, context.Cause(ctx))
		case <-time.After(lockRetry):
		}
	}
}
