// Package introspect tells other services who a credential belongs to: OAuth
// 2.0 Token Introspection (RFC 7662).
//
// Use it for gateways and services that can't verify tokens, or must hear of a
// logout within seconds. The application serves a [Handler]. A gateway calls it
// with what it has for RFC 7662, a service in Go with a [Client]. Where a
// minute's delay of a logout does no harm, token.Verifier needs no request to
// the application.
//
// The Handler knows service tokens, and sessions in both of their forms, by the
// credential in their cookie. It answers only programs that prove who they are,
// and says "inactive", with nothing else, of whatever is not good: a forged or
// expired credential, a session that has ended, one in which nobody is logged
// in, and a service token for another service. An answer never has a value of a
// session, and asking is no activity in it.
//
// The Handler doesn't limit how often a program asks, or a stranger fails to
// prove who he is; put a limit in front of it, or serve it on an internal
// address.
package introspect
