// Package token carries sessions in signed, encrypted JWTs that the client
// keeps, and vouches for callers between services.
//
//   - [Carrier] is for an application's own session cookie, in stateless mode.
//   - [Issuer] and [Transport] vouch, towards another service, for the subject
//     whose request is being served: with a short-lived service token.
//   - [Verifier] guards the service that is called. It needs public keys alone.
//
// A session token never passes for a service token, nor the reverse: they differ
// in typ (RFC 8725bis, Section 3.11). The algorithm is a property of the key and
// never read from the token, there is no "none", and nothing reads the claims of
// a token that has not been verified, except [Explain] and [Diagnose], which are for people.
//
// What is refused before any library sees it is listed in package jose.
package token
