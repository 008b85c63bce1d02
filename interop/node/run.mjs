// Runs a verifier of this directory for the tests: node run.mjs FILE. For each
// token on a line of its input it prints "ok SUB" or "no REASON".
import { createInterface } from 'node:readline'
import { pathToFileURL } from 'node:url'

const verifier = await import(pathToFileURL(process.argv[2]))

function request(token) {
  return new Request('https://orders.example/orders', { headers: { authorization: `Bearer ${token}` } })
}

// express calls middleware of Express, as Express would.
async function express(token) {
  const headers = { host: 'orders.example', authorization: `Bearer ${token}` }
  const get = (name) => headers[name.toLowerCase()]
  const req = { method: 'GET', protocol: 'https', originalUrl: '/orders', query: {}, headers, get, is: () => false }
  await new Promise((resolve, reject) => {
    verifier.requireToken(req, {}, (err) => (err ? reject(err) : resolve()))
  })
  return req.auth.payload.sub
}

// server calls an application with the interface of fetch.
async function server(token) {
  const response = await verifier.app.fetch(request(token))
  if (response.status !== 200) throw new Error(response.headers.get('www-authenticate') ?? `status ${response.status}`)
  return (await response.json()).user
}

async function verify(token) {
  if (verifier.requireToken) return express(token)
  if (verifier.app) return server(token)
  if (verifier.authenticate) return (await verifier.authenticate(request(token))).sub
  return (await verifier.verify(token)).sub
}

for await (const token of createInterface({ input: process.stdin })) {
  try {
    console.log(`ok ${await verify(token)}`)
  } catch (err) {
    console.log(`no ${String(err?.message ?? err).replace(/\s+/g, ' ')}`)
  }
}
