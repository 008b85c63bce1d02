// Package token keeps sessions in signed and encrypted JWTs that the client
// holds, and makes the tokens that identify a user to other services.
//
//   - [Carrier] is for an application's own session cookie, in stateless mode.
//   - [Issuer] and [Transport] send a short-lived service token to another
//     service: it says which user's request is being served.
//   - [Verifier] protects the service that is called. It needs only public keys.
//
// A session token is never accepted as a service token, nor the reverse: they
// differ in typ (RFC 8725bis, Section 3.11). The algorithm belongs to the key and
// is never read from the token. There is no "none". Nothing reads the claims of a
// token that has not been verified, except [Explain] and [Diagnose], which write
// them for people.
//
// Package internal/jose checks the form of every token first, and lists what is
// refused for it.
package token
