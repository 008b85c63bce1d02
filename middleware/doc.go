// Package middleware gives net/http handlers sessions.
//
// Make a [Middleware] with [New] from a [Config], usually through package
// config, and wrap the application's handlers with [Middleware.Handler].
// Handlers get their session with session.From. [RequireSubject] lets only
// logged-in visitors through.
//
// The middleware owns what concerns HTTP and time: the cookie, when a session
// is saved, what a client is told, whether a session is over, and which
// [Carrier] keeps it. What a credential looks like is the carrier's affair.
//
// Sessions are saved before the first byte of a response. Unsafe requests from
// other origins are refused. A credential that opens nothing leaves the visitor
// anonymous; one that could not be checked, because a store is down, denies the
// request. Only session.Session.Destroy clears a cookie: in all other cases the
// browser may already hold a newer one.
package middleware
