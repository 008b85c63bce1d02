package keys

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
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
	outageOver     = 2 * time.Minute   // after a fetch that failed; until then nobody waits for the next one
)

// RemoteConfig says where a key set is fetched from.
type RemoteConfig struct {
	_ [0]func() // no unkeyed literals, no comparison

	// URL is where the set is: https, or http on this machine (localhost,
	// 127.0.0.1, ::1); without user, password and fragment. Required.
	URL string

	// Timeout is for one fetch. 0 means 10 seconds; at most 1 minute.
	Timeout time.Duration

	// MaxAge is how long keys are trusted after the last fetch that succeeded. In
	// an outage, a revoked key is trusted that long. 0 means 24 hours; at least 1
	// minute.
	MaxAge time.Duration

	// RSAAlgorithm is RS256 or PS256: what RSA keys without alg are for. Microsoft
	// Entra ID, for example, publishes such keys. If "", they are left out.
	RSAAlgorithm Algorithm

	// Transport makes the requests. If nil, one like http.DefaultTransport.
	Transport http.RoundTripper

	// OnProblem is called after each fetch that failed. After a fetch that
	// succeeded it is called for each key that is left out of the set, unless the
	// set before it lacked that key for the same reason. The error then wraps one
	// that has the method LeftOut() (kid string, reason error). May be nil.
	OnProblem func(error)

	// InsecureAllowHTTP accepts an http URL on another host. An attacker who can
	// change the answer can forge every token.
	InsecureAllowHTTP bool
}

// Remote is a key set that is fetched from a JWKS URL, to verify with. Each
// answer replaces the whole set, so a key that is no longer published is no
// longer trusted.
//
// The set is good for as long as the answer's Cache-Control allows, within 1
// minute and 1 hour. Then a caller still gets the old set, and a fetch begins
// in the background. A minute later a caller waits for the new set instead:
// after a quiet time, a key that was revoked long ago must not be accepted once
// more. A caller also waits if the clock was more than a minute ahead when the
// set was fetched. In an outage the old set stays for RemoteConfig.MaxAge.
//
// An unknown kid starts a fetch immediately. Tokens with invented ones can't
// cause more than one fetch in 30 seconds on average, failed ones included.
//
// A fetch fails if the status is not 200, if the answer has more than 1 MiB, if
// it redirects to another host or from https to http, and if [ParsePublicSet]
// would refuse the set or could use none of its keys. Only the answer
// {"keys":[]} says that no key is trusted. Keys that ParsePublicSet would leave
// out are reported and left out, with two exceptions for other issuers: a kid
// may have any printable characters, up to 256 bytes, and see RSAAlgorithm.
//
// A Remote is safe for concurrent use.
type Remote struct {
	cfg    RemoteConfig
	client *http.Client
	set    atomic.Pointer[remoteSet] // nil before the first answer

	ctx     context.Context // of all fetches; ends with Close
	cancel  context.CancelFunc
	fetches sync.WaitGroup
	moduli  map[string]error // results for RSA moduli, which take long; only the running fetch uses it

	mu       sync.Mutex // guards what follows; never held during a fetch
	running  *fetch     // nil if none
	failed   error      // of the last fetch; nil if it succeeded
	failedAt time.Time  // when the last fetch began
	starts   bucket     // of fetches
}

// A remoteSet is one answer. It is immutable.
type remoteSet struct {
	keys      map[string]*keyset.Key // by key ID
	leftOut   []error                // for each key that is left out
	fetched   time.Time
	refreshAt time.Time
}

// A fetch is shared by all who wait for it.
type fetch struct {
	again bool // the fetch before it failed a moment ago
	done  chan struct{}
	err   error // to be read when done is closed
}

// NewRemote returns a key set that is fetched when the first key is asked for.
func NewRemote(cfg RemoteConfig) (*Remote, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	cfg.Timeout = cmp.Or(cfg.Timeout, defaultTimeout)
	cfg.MaxAge = cmp.Or(cfg.MaxAge, defaultMaxAge)
	if cfg.OnProblem == nil {
		cfg.OnProblem = func(error) {}
	}
	client := weburl.Client(cfg.Transport)
	client.CheckRedirect = checkRedirect
	r := &Remote{cfg: cfg, client: client, moduli: make(map[string]error)}
	r.ctx, r.cancel = context.WithCancel(context.Background())
	return r, nil
}

func (c *RemoteConfig) check() error {
	m := fault.In("keys: RemoteConfig")
	wrong := weburl.Wrong(c.URL, c.InsecureAllowHTTP, "whoever can change the answer can forge every token")
	m.If(wrong != "", "URL", "%s", wrong)
	m.If(c.Timeout < 0 || c.Timeout > time.Minute, "Timeout", "must be at most 1 minute")
	m.If(c.MaxAge != 0 && c.MaxAge < minMaxAge, "MaxAge", "must be at least 1 minute")
	m.If(!slices.Contains([]Algorithm{"", RS256, PS256}, c.RSAAlgorithm), "RSAAlgorithm", "must be RS256 or PS256")
	return m.Err()
}

// Key returns the key that a token names. It waits for a fetch only if the key
// is not known or the set is too old, and no longer than ctx. The error wraps
// ErrUnknownKey, or ErrUnavailable if it could not find out because the fetch
// failed.
func (r *Remote) Key(ctx context.Context, kid string, now time.Time) (*Key, error) {
	if jose.CheckPrintableKid(kid) != nil {
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
	if k != nil && ctx.Err() != nil { // else a thief could hang up, and have the old set accept a revoked key
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
	r.mu.Lock() // so that no fetch starts after this one
	r.cancel()
	r.mu.Unlock()
	r.fetches.Wait()
	r.client.CloseIdleConnections()
	return nil
}

// find returns the set, and the key in it that a token names; nil for what is
// missing, or older than MaxAge.
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
	if r.ctx.Err() != nil {
		return nil, errors.New("keys: the remote key set is closed")
	}
	if !r.starts.take(now) {
		if _, set := r.find("", now); set == nil && r.failed == nil {
			return nil, errors.New("keys: the key set is too old, and was asked for a moment ago")
		}
		return nil, r.failed
	}
	since := now.Sub(r.failedAt) // negative if the clock was set back
	f := &fetch{again: r.failed != nil && -maxDisorder < since && since < outageOver, done: make(chan struct{})}
	r.running = f
	r.fetches.Go(func() { r.run(f, now, force) })
	return f, nil
}

// run fetches the set, wakes the callers that wait for f, and then reports
// problems.
func (r *Remote) run(f *fetch, now time.Time, force bool) {
	set, err := r.get(now, force)
	problems := []error{err}
	if err == nil {
		problems = set.news(r.set.Swap(set))
	}
	r.mu.Lock()
	r.running, r.failed, r.failedAt = nil, err, now
	r.mu.Unlock()
	f.err = err
	close(f.done)
	for _, err := range problems {
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
