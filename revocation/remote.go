package revocation

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cloakroom-go/cloakroom/internal/clientauth"
	"github.com/cloakroom-go/cloakroom/internal/fault"
	"github.com/cloakroom-go/cloakroom/internal/weburl"
	"github.com/cloakroom-go/cloakroom/keys"
	"github.com/cloakroom-go/cloakroom/session"
)

// Bounds of Remote.
const (
	defaultInterval = time.Second
	minInterval     = 100 * time.Millisecond
	defaultRemote   = 30 * time.Second // MaxStaleness
	minRemote       = 5 * time.Second
	maxFetch        = 10 * time.Second // how long one fetch takes at most
	pruneRemote     = time.Minute      // how often expired entries are dropped
)

// RemoteConfig says where a service asks what has ended.
type RemoteConfig struct {
	_ [0]func() // no unkeyed literals, no comparison

	// URL is where the application has its [Handler]: https, or http on this
	// machine (localhost, 127.0.0.1, ::1); without user, password and fragment.
	// Required.
	URL string

	// Keys are the application's public keys, as for token.Verifier: usually the
	// same keys.Remote. Required.
	Keys interface {
		Key(ctx context.Context, kid string, now time.Time) (*keys.Key, error)
	}

	// Issuer is the only iss that is accepted: the application's, as for
	// token.Verifier. Required.
	Issuer string

	// ClientID and ClientSecret, if set, are sent by HTTP Basic, encoded as RFC
	// 6749, Section 2.3.1 says.
	ClientID, ClientSecret string

	// Transport makes the requests, and may authenticate them in another way. If
	// nil, one like http.DefaultTransport.
	Transport http.RoundTripper

	// Interval is how long the Remote waits before it asks again. 0 means 1
	// second; at least 100 milliseconds.
	Interval time.Duration

	// MaxStaleness is how long tokens are accepted after the Remote last knew
	// what had ended. That includes the time in which the application itself
	// can't read its Log. A service that is to go on then for as long as the
	// application needs the application's Config.MaxStaleness. 0 means 30
	// seconds; at least 5 seconds and 4 times Interval.
	MaxStaleness time.Duration

	// OnProblem is called once in each outage, when half of MaxStaleness has
	// passed, and when the first fetch fails. It is called in a goroutine of
	// its own. Close waits for it, so it must not call Close. May be nil.
	OnProblem func(error)

	// InsecureAllowHTTP accepts an http URL on another host. Whoever is on the way
	// can then read the client's secret, and what has ended.
	InsecureAllowHTTP bool
}

// A Remote is for a service: it knows what has ended in the application. Give
// it to token.Verifier as VerifierConfig.Revocations. It asks the application's
// [Handler] in the background, from [NewRemote] to Close.
//
// An end is in force here after one Interval and the time of a fetch. The
// Remote does not forget it as long as a service token that it ends could be
// accepted. When it can't find out what has ended for MaxStaleness, it refuses
// every token, with an error that wraps [session.Unavailable].
//
// What it fetches must be signed, and of the right type and issuer. An answer
// that is older than the one before it from the same instance is refused: so a
// recorded answer revives no session, and does not make the Remote look fresh.
// If an answer comes more than 10 seconds late, which is how far clocks may
// differ, the rest of the delay is added to the staleness. A fetch fails if the
// status is not 200, if the answer has more than 1 MiB, if it redirects to
// another host or from https to http, and if it takes longer than a third of
// MaxStaleness or 10 seconds.
//
// Methods may be called concurrently.
type Remote struct {
	cfg    RemoteConfig
	url    *url.URL
	client *http.Client
	list   *List // of what has ended

	begun  time.Time
	readAt atomic.Pointer[time.Time] // since when nothing may be missing; nil before the first answer

	fetches, failures atomic.Uint64

	cancel  context.CancelFunc
	polling sync.WaitGroup

	// Only the goroutine that polls uses what follows.
	instances []instance // that have answered, the last one first
	prunedAt  time.Time
	failed    bool // the last fetch
	told      bool // of the outage
}

// NewRemote checks cfg and begins to ask. Until the first answer has come,
// tokens are refused as in an outage. The caller must Close it.
func NewRemote(cfg RemoteConfig) (*Remote, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	cfg.Interval = cmp.Or(cfg.Interval, defaultInterval)
	cfg.MaxStaleness = cmp.Or(cfg.MaxStaleness, defaultRemote)
	u, err := url.Parse(cfg.URL)
	if err != nil {
		return nil, err
	}
	r := &Remote{
		cfg: cfg, url: u, client: weburl.Client(cfg.Transport), begun: time.Now(),
		list: NewVolatile(Config{OnProblem: cfg.OnProblem}),
	}
	ctx, cancel := context.WithCancel(context.Background())
	r.cancel = cancel
	r.polling.Go(func() { r.poll(ctx) })
	return r, nil
}

func (c *RemoteConfig) check() error {
	bad := fault.In("revocation: RemoteConfig")
	wrong := weburl.Wrong(c.URL, c.InsecureAllowHTTP,
		"whoever is on the way can read the client's secret, and what has ended")
	bad.If(wrong != "", "URL", "%s", wrong)
	bad.If(c.Keys == nil, "Keys", "is required: keys.NewRemote fetches the application's")
	bad.If(c.Issuer == "", "Issuer", "is required")
	bad.If((c.ClientID == "") != (c.ClientSecret == ""), "ClientSecret", "goes with %s: give both or none",
		fault.Name("RemoteConfig.ClientID"))
	wrongSecret := clientauth.WrongSecret(c.ClientSecret)
	bad.If(wrongSecret != "", "ClientSecret", "%s", wrongSecret)
	bad.If(c.Interval != 0 && c.Interval < minInterval, "Interval", "is %v: give at least %v, or 0 for the default",
		c.Interval, minInterval)
	least := max(minRemote, 4*cmp.Or(c.Interval, defaultInterval))
	bad.If(cmp.Or(c.MaxStaleness, defaultRemote) < least, "MaxStaleness", "is %v: give at least %v, 4 times %s",
		cmp.Or(c.MaxStaleness, defaultRemote), least, fault.Name("RemoteConfig.Interval"))
	return bad.Err()
}

// Check returns an error that wraps [session.Ended] if the session of rec, as a
// service token describes it, has ended; and one that wraps
// [session.Unavailable] if that is not known.
func (r *Remote) Check(rec *session.Record) error {
	if r.list == nil {
		return fmt.Errorf("revocation: the zero Remote: use NewRemote: %w", session.Unavailable)
	}
	if err := r.list.Check(rec); err != nil {
		return err
	}
	return r.Fresh()
}

// Fresh returns nil if tokens are accepted: what has ended is known, up to at
// most RemoteConfig.MaxStaleness ago. Otherwise the error wraps
// [session.Unavailable]. Readiness probes can call it.
func (r *Remote) Fresh() error {
	switch {
	case r.readAt.Load() == nil:
		return fmt.Errorf("revocation: the application has not said yet what has ended: %w", session.Unavailable)
	case r.staleness() > r.cfg.MaxStaleness:
		return fmt.Errorf("revocation: what has ended in the application has not been known for longer than %v: %w",
			r.cfg.MaxStaleness, session.Unavailable)
	}
	return nil
}

// RemoteStats are figures about a [Remote], for metrics.
type RemoteStats struct {
	// Staleness is how long ago the Remote last knew everything that had ended. It
	// counts from the beginning of the last complete fetch, and includes how stale
	// the application's own list was. One to four seconds are normal. Before the
	// first fetch it counts from NewRemote.
	Staleness time.Duration

	// Entries is how many ends are known, including some that have expired.
	Entries int

	// Fetches and Failures count the requests, and those of them that failed.
	Fetches, Failures uint64
}

// Stats returns the present figures.
func (r *Remote) Stats() RemoteStats {
	if r.list == nil {
		return RemoteStats{}
	}
	return RemoteStats{
		Staleness: r.staleness(), Entries: r.list.Len(), Fetches: r.fetches.Load(), Failures: r.failures.Load(),
	}
}

func (r *Remote) staleness() time.Duration {
	return age(time.Now(), *cmp.Or(r.readAt.Load(), &r.begun))
}

// Close ends the fetch that is under way, and waits for it. Afterwards Check
// goes on with what is known, for MaxStaleness.
func (r *Remote) Close() error {
	if r.cancel != nil {
		r.cancel()
		r.polling.Wait()
		r.client.CloseIdleConnections()
		return r.list.Close()
	}
	return nil
}
