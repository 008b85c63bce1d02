package config

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/cloakroom-go/cloakroom/internal/fault"
	"github.com/cloakroom-go/cloakroom/keys"
	"github.com/cloakroom-go/cloakroom/session"
)

// noKey is the key of no session: the hash that it would be belongs to no
// credential.
const noKey = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"

// Ready returns nil if this instance can serve requests, for a readiness probe.
// Otherwise the error says all that is in the way, and wraps
// [session.Unavailable]:
//
//   - The store does not answer by the deadline of ctx.
//   - What has ended on other instances has not been read yet, or not for half
//     of RevocationsConfig.MaxStaleness. So a load balancer leaves an instance
//     before that has to answer 503. With InsecureServeStale this doesn't
//     matter.
//   - The clock of this machine and that of the store's server differ by more
//     than RevocationsConfig.Skew. Requests are served all the same.
//   - No key signs, and new sessions would be stateless.
//
// Give ctx a deadline. A probe that restarts the process must not call Ready: a
// restart mends none of this.
func (a *App) Ready(ctx context.Context) error {
	var errs []error
	if a.Store != nil {
		if _, _, err := a.Store.Get(ctx, noKey); err != nil {
			errs = append(errs, fmt.Errorf("the store does not answer: %w", fault.Inner(err)))
		}
	}
	stats := a.Revocations.Stats()
	if err := a.Revocations.Fresh(); err != nil {
		errs = append(errs, fault.Inner(err))
	} else if age := stats.Staleness; age > a.ready.age {
		errs = append(errs, fmt.Errorf("what has ended on other instances was last read %v ago", age.Round(time.Second)))
	}
	if ahead := stats.ClockOffset; ahead.Abs() > a.ready.skew {
		errs = append(errs, fmt.Errorf("the clock of the store's server is %v ahead of the one here, or behind if negative: "+
			"more than revocations.skew, %v", ahead.Round(time.Millisecond), a.ready.skew))
	}
	if a.ready.signs {
		if _, err := a.Keys.Current(keys.Signature, a.now()); err != nil {
			errs = append(errs, fault.Inner(err))
		}
	}
	err := errors.Join(errs...)
	if err != nil && !errors.Is(err, session.Unavailable) {
		err = fmt.Errorf("%w: %w", err, session.Unavailable)
	}
	if err != nil {
		err = fmt.Errorf("config: not ready: %w", err)
	}
	return err
}

// A readiness is what [App.Ready] has to look at.
type readiness struct {
	age   time.Duration // beyond it, the knowledge of what has ended elsewhere is too old
	skew  time.Duration // beyond it, clocks differ too much
	signs bool          // whether new sessions need a key
}

// normalAge is more than the age of that knowledge while all is well: about a
// second.
const normalAge = 1500 * time.Millisecond

func (b *builder) readiness() readiness {
	age := max(b.maxStaleness()/2, normalAge)
	if b.Revocations.InsecureServeStale {
		age = math.MaxInt64
	}
	return readiness{age: age, skew: b.skew(), signs: b.writesTokens()}
}
