import { JwtVerifier } from 'aws-jwt-verify'

// The keys are fetched for an unknown key ID; for 10 seconds after that, if it is
// still unknown, unknown ones are refused. They don't expire otherwise.
const verifier = JwtVerifier.create({
  issuer: process.env.ISSUER,
  audience: process.env.AUDIENCE,
  jwksUri: process.env.JWKS_URL,
  graceSeconds: 10,
  customJwtCheck({ header }) {
    if (header.typ !== 'at+jwt') throw new Error('not an access token')
  },
})

// verify returns the claims of a good token (sub is the user), and throws
// otherwise.
export async function verify(token) {
  return verifier.verify(token)
}
