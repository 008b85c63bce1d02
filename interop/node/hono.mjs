import { Hono } from 'hono'
import { jwk } from 'hono/jwk'

let set
let fetched = 0

// keys returns the issuer's keys, which are fetched every 30 seconds. With
// jwks_uri instead, jwk() would fetch them for each request.
async function keys() {
  if (Date.now() - fetched >= 30_000) {
    const response = await fetch(process.env.JWKS_URL)
    if (!response.ok) throw new Error(`no keys: status ${response.status}`)
    set = await response.json()
    fetched = Date.now()
  }
  return set.keys
}

export const app = new Hono()
app.use(jwk({
  keys,
  alg: ['ES256'],
  verification: { typ: 'at+jwt', iss: process.env.ISSUER, aud: process.env.AUDIENCE },
}))
app.get('/orders', (c) => c.json({ user: c.get('jwtPayload').sub }))
