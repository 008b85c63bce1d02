package keys

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cloakroom-go/cloakroom/internal/fault"
	"github.com/cloakroom-go/cloakroom/internal/jose"
	"github.com/cloakroom-go/cloakroom/internal/keyset"
	"github.com/cloakroom-go/cloakroom/internal/weburl"
)

// Bounds of Remote.
const (
	defaultTimeout = 10 * time.Second
	defaultMaxAge  = 24 * time.Hour
	minMaxAge      = time.Minute

	defaultRefresh = keyset.JWKSMaxAge // if the answer does not say how long it is good
	minRefresh     = time.Minute       // however short the answer says
	maxRefresh     = time.Hour         // however long it says
	maxStale       = time.Minute       // for so long after that the old set is used while the new one is being fetched
	maxDisorder    = time.Minute       // callers that read the clock earlier may come later, by less than that
	outageOver     = 2 * time.Minute   // after a fetch that failed; until then nobody waits for the next one
	fetchEvery     = 30 * time.Second  // on average, whatever the reason and the outcome
	fetchBurst     = 2                 // at once
)

// RemoteConfig says where a key set is fetched from.
type RemoteConfig struct {
	_ [0]func() // no unkeyed literals, no comparison

	// URL is where the set is: https, or http on this machine (localhost,
	// 127.0.0.1, ::1); without user, password and fragment. Required.
	URL string

	Timeout time.Duration // of one fetch; 0 means 10 seconds, at most 1 minute
	// MaxAge is how long keys are trusted after the last fetch that succeeded. A
	// key that was revoked while we can't hear of it is trusted that long. 0 means
	// 24 hours, at least 1 minute.
	MaxAge time.Duration

	Transport http.RoundTripper // if nil, one like http.DefaultTransport

	// OnProblem is called after each fetch that failed. It is also called after a
	// fetch that succeeded, once for each key that is left out of the set, and was
	// not left out of the set before it for the same reason. For such a key the
	// error wraps one that has the method LeftOut() (kid string, reason error). If
	// nil, nobody hears of it.
	OnProblem func(error)

	// InsecureAllowHTTP accepts an http URL on another host: whoever can change
	// the answer can forge every token.
	InsecureAllowHTTP bool
}

// Remote is a key set that is fetched from a JWKS URL, to verify with. It keeps
// the set for as long as the answer's Cache-Control allows, within 1 minute and
// 1 hour, and then refreshes it in the background; but if nobody has asked for
// another minute, the next one who does waits for the new set, lest a key that
// was revoked long ago is good once more. So does the next one who asks if the
// set was fetched by a clock that was more than a minute ahead. During an
// outage the old set stays for RemoteConfig.MaxAge. An unknown kid makes it
// fetch at once, and tokens with invented ones can't make it fetch more often
// than every 30 seconds, failures included. Each answer replaces the whole set,
// so a key that is no longer published is no longer trusted.
//
// An answer counts only if its status is 200. Refused are answers over 1 MiB,
// redirects to another host or from https to http, and what [ParsePublicSet]
// refuses; keys that it leaves out are left out, and reported. An answer that
// is {"keys":[]} and nothing else says that no key is trusted. A set none of
// whose keys can be used is a failed fetch.
//
// A Remote is safe for concurrent use.
type Remote struct {
	cfg    RemoteConfig
	client *http.Client
	set    atomic.Pointer[remoteSet] // nil before the first answer

	ctx    context.Context // of all fetches
	cancel context.CancelFunc
	wg     sync.WaitGroup   // fetches
	moduli map[string]error // what is known of RSA moduli; for the fetch that runs

	mu      sync.Mutex // guards what follows; never held during a fetch
	running *fetch     // nil if none
	failed  error      // of the last fetch
	failing time.Time  // when that began
	starts  bucket     // of fetches
	closed  bool
}

type remoteSet struct {
	keys      map[string]*keyset.Key
	leftOut   []error // for each key that is left out
	fetched   time.Time
	refreshAt time.Time
}

// A fetch is shared by all who wait for it.
type fetch struct {
	again bool // one before it failed a moment ago
	done  chan struct{}
	err   error // once done is closed
}

// NewRemote returns a key set that is fetched when the first key is asked for.
func NewRemote(cfg RemoteConfig) (*Remote, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	if cfg.Timeout == 0 {
		cfg.Timeout = defaultTimeout
	}
	if cfg.MaxAge == 0 {
		cfg.MaxAge = defaultMaxAge
	}
	if t, ok := http.DefaultTransport.(*http.Transport); ok && cfg.Transport == nil {
		cfg.Transport = t.Clone()
	}
	client := &http.Client{Transport: cfg.Transport, CheckRedirect: checkRedirect}
	r := &Remote{cfg: cfg, client: client, moduli: make(map[string]error)}
	r.ctx, r.cancel = context.WithCancel(context.Background())
	return r, nil
}

func (c *RemoteConfig) check() error {
	var errs []error
	u, err := url.Parse(c.URL)
	switch {
	case c.URL == "":
		errs = append(errs, errors.New("keys: RemoteConfig.URL is required"))
	case err != nil || u.Host == "" || u.User != nil || u.Fragment != "":
		errs = append(errs, errors.New("keys: RemoteConfig.URL must be absolute, without user, password and fragment"))
	case !weburl.HasHost(u):
		errs = append(errs, errors.New("keys: RemoteConfig.URL has no host, or a port that is not between 1 and 65535"))
	case u.Scheme != "https" && (u.Scheme != "http" || !weburl.IsLocal(u) && !c.InsecureAllowHTTP):
		errs = append(errs, errors.New("keys: RemoteConfig.URL must be https: "+
			"whoever can change the answer can forge every token; InsecureAllowHTTP lifts this"))
	}
	if c.Timeout < 0 || c.Timeout > time.Minute {
		errs = append(errs, errors.New("keys: RemoteConfig.Timeout must be at most 1 minute"))
	}
	if c.MaxAge != 0 && c.MaxAge < minMaxAge {
		errs = append(errs, errors.New("keys: RemoteConfig.MaxAge must be at least 1 minute"))
	}
	return errors.Join(errs...)
}

// Key returns the key that a token names. It waits for a fetch only if the key
// is not known or the set is too old, and no longer than ctx. The error wraps
// ErrUnknownKey, or ErrUnavailable when the set could not be fetched, so that
// nothing can be said about the key.
func (r *Remote) Key(ctx context.Context, kid string, now time.Time) (*Key, error) {
	if jose.CheckKid(kid) != nil {
		return nil, ErrUnknownKey
	}
	r.distrust(now)
	k, set := r.find(kid, now)
	if k != nil && now.Before(set.refreshAt) {
		return k, nil
	}
	running, err := r.start(now, k == nil)
	if k != nil && !set.stale(now, running) {
		return k, nil // refreshed in the background
	}
	if running != nil {
		err = running.wait(ctx)
	}
	if k != nil && ctx.Err() != nil { // else a thief would hang up, to be judged by the old set
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, fault.Inner(err))
	}
	if k, _ := r.find(kid, now); k != nil {
		return k, nil
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, fault.Inner(err))
	}
	return nil, ErrUnknownKey
}

// distrust makes a set due that is dated later than now, and counts its age
// from now on: the clock was ahead when it was fetched, so its age is unknown.
func (r *Remote) distrust(now time.Time) {
	set := r.set.Load()
	if set == nil || !set.fetched.After(now.Add(maxDisorder)) {
		return
	}
	due := *set
	due.fetched, due.refreshAt = now, now.Add(-maxStale)
	r.set.CompareAndSwap(set, &due)
}

// stale reports whether a caller should wait for the fetch that is running. In
// an outage one caller has waited in vain, so the others don't wait.
func (s *remoteSet) stale(now time.Time, running *fetch) bool {
	return running != nil && !running.again && !now.Before(s.refreshAt.Add(maxStale))
}

// Close ends the fetches that are under way and waits for them.
func (r *Remote) Close() error {
	r.mu.Lock()
	r.closed = true
	r.mu.Unlock()
	r.cancel()
	r.wg.Wait()
	r.client.CloseIdleConnections()
	return nil
}

// find looks into the set, if it is not too old.
func (r *Remote) find(kid string, now time.Time) (*Key, *remoteSet) {
	set := r.set.Load()
	if set == nil || !now.Before(set.fetched.Add(r.cfg.MaxAge)) {
		return nil, nil
	}
	return (*Key)(set.keys[kid]), set
}

// start returns the fetch that is under way, a new one, or nil when it is too
// early for one. The error says why nothing is known meanwhile: the set is too
// old or the last fetch failed.
func (r *Remote) start(now time.Time, force bool) (*fetch, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.running != nil {
		return r.running, nil
	}
	if r.closed {
		return nil, errors.New("keys: the remote key set is closed")
	}
	if !r.starts.take(now) {
		if _, set := r.find("", now); set == nil && r.failed == nil {
			return nil, errors.New("keys: the key set is too old, and was asked for a moment ago")
		}
		return nil, r.failed
	}
	since := now.Sub(r.failing) // negative if the clock was set back
	f := &fetch{again: r.failed != nil && -maxDisorder < since && since < outageOver, done: make(chan struct{})}
	r.running = f
	r.wg.Go(func() { r.run(f, now, force) })
	return f, nil
}

func (r *Remote) run(f *fetch, now time.Time, force bool) {
	set, err := r.get(now, force)
	var news []error
	if err == nil {
		news = set.news(r.set.Swap(set))
	} else {
		news = []error{err}
	}
	r.mu.Lock()
	r.running, r.failed, r.failing = nil, err, now
	r.mu.Unlock()
	f.err = err
	close(f.done)
	if r.cfg.OnProblem == nil {
		return
	}
	for _, err := range news {
		r.cfg.OnProblem(err)
	}
}

// news returns errors for the keys that are left out of s, and were not left
// out of the set before it for the same reason.
func (s *remoteSet) news(before *remoteSet) (all []error) {
	for _, e := range s.leftOut {
		known := func(old error) bool { return old.Error() == e.Error() }
		if before == nil || !slices.ContainsFunc(before.leftOut, known) {
			all = append(all, fmt.Errorf("keys: fetch key set: %w", e))
		}
	}
	return all
}

func (f *fetch) wait(ctx context.Context) error {
	select {
	case <-f.done:
		return f.err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
