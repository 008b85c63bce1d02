import { createRemoteJWKSet, jwtVerify } from 'jose'

// The keys are fetched every 10 minutes, and for an unknown key ID, but not twice
// within 30 seconds.
const keys = createRemoteJWKSet(new URL(process.env.JWKS_URL))

// verify returns the claims of a good token (sub is the user), and throws
// otherwise.
export async function verify(token) {
  const { payload } = await jwtVerify(token, keys, {
    typ: 'at+jwt',
    algorithms: ['ES256'],
    issuer: process.env.ISSUER,
    audience: process.env.AUDIENCE,
    requiredClaims: ['exp', 'sub'],
    clockTolerance: 10, // seconds
  })
  return payload
}
