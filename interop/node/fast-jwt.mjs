import { createVerifier } from 'fast-jwt'
import buildGetJwks from 'get-jwks'

const getJwks = buildGetJwks({ jwksPath: new URL(process.env.JWKS_URL).pathname })

async function findKey({ header: { alg, kid } }) {
  // A key is kept for a minute, and each unknown key ID causes a fetch. Without
  // these two lines a key would be trusted for as long as it is used, even if the
  // issuer has revoked it.
  getJwks.cache.purgeStale()
  getJwks.staleCache.clear()
  return getJwks.getPublicKey({ domain: new URL(process.env.JWKS_URL).origin, alg, kid })
}

// verify returns the claims of a good token (sub is the user), and throws
// otherwise.
export const verify = createVerifier({
  key: findKey,
  algorithms: ['ES256'],
  checkTyp: 'at+jwt',
  allowedIss: process.env.ISSUER,
  allowedAud: process.env.AUDIENCE,
  requiredClaims: ['iss', 'aud', 'exp', 'sub'],
  clockTolerance: 10_000, // milliseconds
})
