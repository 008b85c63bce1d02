// Package middleware gives net/http handlers sessions.
//
// Make a [Middleware] with [New] from a [Config], usually through package
// config, and wrap the application's handlers with [Middleware.Handler].
// Handlers get their session with session.From. [RequireSubject] lets only
// logged-in visitors through.
//
// The middleware decides what concerns HTTP and time: the cookie, when a
// session is saved, what a client is told when that fails, whether a session is
// over, and which [Carrier] keeps it. The carrier decides what a credential
// looks like.
//
// Sessions are saved before the first byte of a response. Unsafe requests from
// other origins are refused. A visitor whose credential opens nothing is
// anonymous. If a credential can't be checked, because a store is down, the
// request is denied. A cookie is cleared only when this request has ended its
// session: in all other cases the browser may already hold a newer one.
package middleware
