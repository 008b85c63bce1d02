// Package token keeps sessions in signed and encrypted JWTs that the client
// holds, and makes the tokens that identify a user to other services.
//
//   - [Carrier] is for an application's own session cookie, in stateless mode.
//   - [Issuer] and [Transport] send another service a short-lived token, which
//     says for which user a request is made.
//   - [Verifier] protects the service that is called. It needs only public
//     keys. With [Foreign] it takes the tokens of another issuer instead, such
//     as an identity provider.
//   - [Metadata] tells libraries in any language where the keys are.
//
// A session token is never accepted as a service token, nor the reverse: they
// differ in typ (RFC 8725bis, Section 3.11). The algorithm belongs to the key
// and is never read from the token. Nothing reads the claims of a token before
// its signature is verified.
//
// A token is refused, before any key is looked up,
//
//   - if it is longer than 16 KiB, or doesn't have three segments, or five if
//     it is encrypted;
//   - if a segment is not the canonical base64url of its bytes: no padding, no
//     white space;
//   - if its header is not strict JSON, repeats a name, or has a member other
//     than alg, kid, typ, cty, enc and epk, such as crit, zip, jwk, jku or x5u;
//   - if its alg is "none" or another that no key here can have: ES256, EdDSA,
//     PS256, RS256 and HS256 sign; dir, A256KW and ECDH-ES+A256KW encrypt, with
//     A256GCM.
//
// A Verifier with Foreign takes more in the header: see there.
//
// After that a token is refused if its key is unknown or not trusted any more,
// if its algorithm is not the key's, if its signature is wrong, if a claim is
// missing or of the wrong type, if it is for another issuer or audience, or if
// it is not valid yet, has expired, or lives longer than allowed.
package token
