import * as oauth from 'oauth4webapi'

const server = { issuer: process.env.ISSUER, introspection_endpoint: `${process.env.ISSUER}/introspect` }
const client = { client_id: process.env.CLIENT_ID }
const secret = oauth.ClientSecretBasic(process.env.CLIENT_SECRET)

// verify asks the application about a token, each time. It returns the claims of
// a good one (sub is the user), and throws otherwise.
export async function verify(token) {
  const response = await oauth.introspectionRequest(server, client, secret, token)
  const claims = await oauth.processIntrospectionResponse(server, client, response)
  // The application also says who a session belongs to, but not with our aud.
  if (!claims.active || claims.aud !== process.env.AUDIENCE) throw new Error('not a good token')
  return claims
}
