// Package token keeps sessions in signed and encrypted JWTs that the client
// holds, and makes the tokens that identify a user to other services.
//
//   - [Carrier] is for an application's own session cookie, in stateless mode.
//   - [Issuer] and [Transport] send a short-lived service token to another
//     service: it says which user's request is being served.
//   - [Verifier] protects the service that is called. It needs only public
//     keys.
//
// A session token is never accepted as a service token, nor the reverse: they
// differ in typ (RFC 8725bis, Section 3.11). The algorithm belongs to the key
// and is never read from the token. Nothing reads the claims of a token before
// its signature is verified.
//
// Every token is refused, before any key is looked up,
//
//   - that is longer than 16 KiB, or has another number of segments than three,
//     or five if it is encrypted;
//   - of which a segment is not the one base64url spelling of its bytes: no
//     padding, no white space;
//   - whose header is not strict JSON, repeats a name, or has a member other
//     than alg, kid, typ, cty, enc and epk: so crit, zip, jwk, jku, x5u and the
//     like get no further;
//   - whose alg is "none" or another that no key here is for: ES256, EdDSA,
//     PS256, RS256 and HS256 sign; dir, A256KW and ECDH-ES+A256KW encrypt, with
//     A256GCM.
//
// After that it is refused if its key is unknown or not trusted any more, if
// its algorithm or its signature is not the key's, if a claim is missing or of
// the wrong type, if it is for another issuer or audience, if it is not good
// yet, or has expired, or lives longer than it may.
package token
