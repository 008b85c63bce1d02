import { readFileSync } from 'node:fs'
import { compactDecrypt, createLocalJWKSet, importJWK, jwtVerify } from 'jose'

// What keygen export --private prints. Whoever has it can make session tokens.
const set = JSON.parse(readFileSync(process.env.KEYS_FILE, 'utf8'))
const keys = createLocalJWKSet({ keys: set.keys.map(({ d, ...publicKey }) => publicKey) })

// verify returns the claims of a good session token, and throws otherwise.
export async function verify(token) {
  const { plaintext } = await compactDecrypt(token, ({ kid }) => importJWK(set.keys.find((key) => key.kid === kid)))
  const { payload } = await jwtVerify(new TextDecoder().decode(plaintext), keys, {
    typ: 'cloakroom+jwt',
    algorithms: ['ES256'],
    issuer: process.env.ISSUER,
    audience: process.env.ISSUER,
    requiredClaims: ['exp', 'sub'],
  })
  return payload
}
