package opaque

import (
	"context"
	"net/url"
	"time"
)

// An Opener opens stores that are named by URLs, so that a configuration can
// name one. The modules of stores have functions that return one, and
// config.Options.Stores takes them:
//
//	config.Options{Stores: []opaque.Opener{redisstore.Opener()}}
type Opener struct {
	// Schemes are the schemes of the URLs, in lower case, such as "redis" and
	// "rediss".
	Schemes []string

	// Open opens the store at u, whose scheme is one of Schemes, by the deadline
	// of ctx. It refuses what it does not understand in u. If the store has a
	// method Close() error, the caller calls that in the end. Errors must not
	// contain the password, and should not repeat parts of u: where a password
	// was not escaped, they may be a piece of it.
	Open func(ctx context.Context, u *url.URL, o OpenOptions) (Store, error)
}

// OpenOptions is what the opener of a store gets besides the URL. The zero
// value of a field leaves the choice to the store.
type OpenOptions struct {
	_ [0]func() // no unkeyed literals, no comparison

	Password  string           // of the user in the URL, which has none itself; "" if none is set
	Timeout   time.Duration    // bounds calls whose context has no deadline
	Linger    time.Duration    // how long an expired item is kept
	OnProblem func(error)      // gets what an operator should know; may be called concurrently
	Now       func() time.Time // the clock
}
