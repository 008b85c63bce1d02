// Package introspect tells other services who a credential belongs to: OAuth
// 2.0 Token Introspection (RFC 7662).
//
// Use it for gateways and services that can't verify tokens, or must hear of a
// logout within seconds. The application serves a [Handler]. A gateway asks it
// with its own client for RFC 7662, a service in Go with a [Client]. A
// token.Verifier needs no request to the application for each token: without
// Revocations it hears of no logout until the token expires, a minute later,
// and with a revocation.Remote in about a second.
//
// The Handler knows service tokens, and sessions in both of their forms, by the
// credential in their cookie. It answers only programs that prove who they are,
// and answers only "inactive" for everything else: a forged or expired
// credential, a session that has ended, one in which nobody is logged in, and a
// service token for another service. An answer never has a value of a session,
// and asking is no activity in it.
//
// The Handler doesn't limit how often programs ask, or strangers try a secret:
// put a limit in front of it, or serve it on an internal address.
package introspect
