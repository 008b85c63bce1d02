package keys

import "time"

// Unlist makes r believe that its JWK Set has no keys.
func Unlist(r *Ring) { r.load().published.Store(&publication{body: []byte(`{"keys":[]}`)}) }

// Path is where the ring's file is.
func (r *Ring) Path() string { return r.cfg.File.Path }

// HoldReload makes reloads of r wait until release is called.
func HoldReload(r *Ring) (release func()) {
	r.mu.Lock()
	return r.mu.Unlock
}

// Settle waits until no fetch of r is under way and all reports were made.
func Settle(r *Remote) { r.fetches.Wait() }

// SetClock gives a ring another clock.
func SetClock(r *Ring, now func() time.Time) { r.cfg.Now = now }

// HoldLateLook makes r wait for a look that ends when release is called.
func HoldLateLook(r *Ring) (release func()) {
	done := make(chan struct{})
	set := func(running chan struct{}) {
		r.lateLook.mu.Lock()
		defer r.lateLook.mu.Unlock()
		r.lateLook.running = running
	}
	set(done)
	return func() { set(nil); close(done) }
}

// SetUses makes r believe that the key called id has sealed n tokens.
func SetUses(r *Ring, id string, n uint64) { r.past.seals[id].Store(n) }
