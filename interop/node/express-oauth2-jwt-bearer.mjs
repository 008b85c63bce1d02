import { auth } from 'express-oauth2-jwt-bearer'

// app.use('/orders', requireToken); then req.auth.payload.sub is the user. The
// keys are fetched every 10 minutes, and for an unknown key ID, but not twice
// within 30 seconds.
export const requireToken = auth({
  issuerBaseURL: process.env.ISSUER, // its metadata says where the keys are
  audience: process.env.AUDIENCE,
  strict: true, // typ at+jwt and the claims of RFC 9068
})
