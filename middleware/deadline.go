package middleware

import (
	"context"
	"sync"
	"time"
)

// A deadline is a context that ends after a while, like one of
// context.WithTimeout, but starts its timer only when somebody waits for it. A
// store in memory never does, and a timer costs more than such a store's answer.
type deadline struct {
	context.Context // the parent
	at              time.Time

	mu      sync.Mutex // guards the rest
	waiting context.Context
	stop    context.CancelFunc
	stopped bool
}

func withTimeout(parent context.Context, timeout time.Duration) (*deadline, context.CancelFunc) {
	d := &deadline{Context: parent, at: time.Now().Add(timeout)}
	return d, d.cancel
}

// Deadline implements context.Context.
func (d *deadline) Deadline() (time.Time, bool) {
	if at, ok := d.Context.Deadline(); ok && at.Before(d.at) {
		return at, true
	}
	return d.at, true
}

// Done implements context.Context.
func (d *deadline) Done() <-chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.timedLocked().Done()
}

// Err implements context.Context.
func (d *deadline) Err() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.waiting == nil && !d.stopped && time.Now().Before(d.at) {
		return d.Context.Err()
	}
	return d.timedLocked().Err()
}

// timedLocked returns the context with the timer.
func (d *deadline) timedLocked() context.Context {
	if d.waiting == nil {
		d.waiting, d.stop = context.WithDeadline(d.Context, d.at)
		if d.stopped {
			d.stop()
		}
	}
	return d.waiting
}

// cancel frees the timer, if there is one.
func (d *deadline) cancel() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.stopped = true
	if d.stop != nil {
		d.stop()
	}
}
