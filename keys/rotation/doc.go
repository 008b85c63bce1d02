// Package rotation changes which keys sign and encrypt, without logging anybody
// out: it plans, checks and writes the steps in the life of the keys of a key file.
//
// Use a [Rotator] in an application that has its key file to itself or shares
// it through a file system, and keygen, which is built on this package, elsewhere. [Plan] shows
// what is going to happen.
//
// The keys of one use sign one after the other. Each has its dates from the
// beginning: the next one, the standby, is published while the one before it signs, so that at the
// appointed instant every instance and every verifier knows it, and nothing needs to be written then.
//
// Every [Step] is checked before it is written. Refused, with the formula and
// the earliest safe instant, is what would reject a valid token or trust a key too long: a key that
// signs before it is known everywhere, one that stops verifying while its tokens live, a time in which
// no key signs or two do, a change of what has passed, and more tokens under one AES-GCM key than it is good for.
// A recovery is no violation: when no key can sign, or the one that signs is revoked, its successor
// signs at once.
package rotation
