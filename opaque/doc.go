// Package opaque keeps sessions on the server: the client holds a random
// credential that says nothing, and a [Store] holds the session.
//
// Make a [Carrier] with [NewCarrier] over a [MemoryStore], or over a store that
// several instances share, and give it to a middleware. A Store that is written
// elsewhere must pass opaque/storetest.
//
// The store never sees a credential: it finds items by the credential's SHA-256,
// and records in a store outside of the process are sealed with a key derived
// from the credential, bound to their place and version. A stolen copy of the
// store opens no session and shows no value, and a reply that belongs to another
// session, or to an older version of this one, is refused.
//
// There is no plain write. Every change is a compare-and-swap on the version
// that was read, so no update is lost, and nothing brings back a session that
// has ended.
package opaque
