import * as oauth from 'oauth4webapi'

// The keys are fetched every 5 minutes, and for an unknown key ID, but not twice
// within a minute.
const issuer = new URL(process.env.ISSUER)
let metadata // says where the keys are

async function discover() {
  const response = await oauth.discoveryRequest(issuer, { algorithm: 'oauth2' })
  return oauth.processDiscoveryResponse(issuer, response)
}

// authenticate returns the claims of the bearer token of request, a Request of
// the Fetch API (sub is the user), and throws if it is not good.
export async function authenticate(request) {
  metadata ??= await discover()
  return oauth.validateJwtAccessToken(metadata, request, process.env.AUDIENCE)
}
