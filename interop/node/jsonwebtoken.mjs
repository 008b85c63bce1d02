import jwt from 'jsonwebtoken'
import { JwksClient } from 'jwks-rsa'

// A key is kept for 10 minutes. An unknown key ID causes a fetch; rateLimit bounds
// them to 10 a minute.
const keys = new JwksClient({ jwksUri: process.env.JWKS_URL, rateLimit: true })

function findKey(header, done) {
  keys.getSigningKey(header.kid).then((key) => done(null, key.getPublicKey()), done)
}

// verify returns the claims of a good token (sub is the user), and throws
// otherwise.
export async function verify(token) {
  const { header, payload } = await new Promise((resolve, reject) => {
    jwt.verify(token, findKey, {
      complete: true,
      algorithms: ['ES256'],
      issuer: process.env.ISSUER,
      audience: process.env.AUDIENCE,
      clockTolerance: 10, // seconds
    }, (err, verified) => (err ? reject(err) : resolve(verified)))
  })
  if (header.typ !== 'at+jwt') throw new Error('not an access token')
  return payload
}
