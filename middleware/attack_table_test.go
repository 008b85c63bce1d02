package middleware_test

// The attacks that this module must stand, and the tests that make them. Rows
// A1 to A31 and A57 are forged tokens, in TestAttackTokens of package token; a
// row of it that forges nothing fails. Some of them have tests besides:
//
//	A2   public key as HMAC secret        keys TestPublicKeyIsNoSecret
//	A6   kid as path, A14 segment games,
//	A17  billion hashes, A18 compression  token TestAttackCost
//	A9   weak secret                      token TestAttackWeakSecrets
//	A11  second form of a signature       token TestAttackSecondSignature
//	A16  sign/encrypt confusion           token TestAttackRemembered
//	A26  normalization                    token TestAttackNormalization
//	A31  time                             token TestAttackBoundaryOfTime,
//	     TestAttackKeyNotAfter, TestAttackRemembered, TestAttackLeeway and
//	     TestAttackNotBefore
//
// The others are in this package, unless another one is named. What stands in
// quotes is a row of the attacks, or of the behaviours, in internal/apptest:
// these run over every store.
//
//	A32  sliding forever                  "sliding forever"
//	A33  logout replay                    "logout replay"
//	A34  logout against requests at work  "logout during a request", token
//	                                      TestRaceEndedStaysEnded
//	A36  session fixation                 "fixation",
//	                                      "an unknown ID is not adopted"
//	A37  duplicate cookies                "duplicate cookies", "many cookies"
//	A38  cookie prefix bypass             TestAttackCookiePrefixes
//	A39  cookie bomb                      TestAttackCookieBomb,
//	                                      TestAttackHeaderTooLarge
//	A40  header and log injection         TestAttackHeaderInjection,
//	                                      TestAttackCookieConfigInjection
//	A41  oversize session                 TestAttackOversizeCookie,
//	                                      TestAttackOversizeCookieOfLongName
//	A42  the first byte                   TestSetThenFlush, TestEarlyHints,
//	     TestFailingSaveBeforeFlush, TestHijack, TestReadFromSeesFile and
//	     TestPanickingHandlerSavesNothing
//	A43  replay of a one-time value       "a value can be used up once"
//	A44  store key injection              "store keys"
//	A45  store read or written by others  "store dump",
//	A46  crossed replies                  "stored items exchanged"
//	A47  store down, slow, broken         TestStoreFails, "renewal" in doubt
//	A49  JWKS poisoning                   keys TestRemoteRefusesAnswers,
//	                                      TestRemoteBoundsFetches and
//	                                      TestParsePublicSet
//	A51  key downgrade                    token TestAttackKeyDowngrade
//	A53  error oracle                     "error oracle", token
//	                                      TestAttackTokenErrorOracle
//	A54  cross-site requests              TestAttackCrossSite
//	A58  two credentials in one request   token TestAttackTwoCredentials
//	A59  flood of credentials             TestAttackFlood, "many cookies",
//	                                      token TestAttackFloodOfEndedTokens
//	A60  damaged record                   "stored record", "stored marker",
//	     "stored deadlines", "stored items exchanged", "plain record in a
//	     foreign store"
//
// These have no test here:
//
//   - A35, refresh race and replay: there are no refresh tokens. A session is
//     renewed in place, and parallel requests merge ("parallel updates all
//     count").
//   - A48, eviction drops revocations: needs a store on the network, and so
//     does a part of A45 to A47. Such stores bring their own tests.
//   - A50, rotation gap: cmd/keygen brings its own tests.
//   - A52, timing oracle: no secret is compared. Opaque credentials are looked
//     up by SHA-256, signatures and seals are the standard library's; a
//     statistical test is no unit test. So there is no timing of A22 (RSA1_5)
//     either: no RSA key decrypts here.
//   - A55, proxy spoofing: no X-Forwarded header is ever read. Whether the
//     cookie is Secure is a matter of the config.
//   - A56, paths that skip the middleware: there are no skip lists.
