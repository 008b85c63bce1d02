// Package opaque keeps sessions on the server: the client holds a random
// credential, and a [Store] holds the session.
//
// Make a [Carrier] with [NewCarrier] over a [MemoryStore], or over a store that
// several instances share, and give it to a middleware. A Store of your own
// must pass opaque/storetest.
//
// The store never sees a credential: it finds items by the SHA-256 of the
// credential. In a store outside of the process, records are encrypted with a
// key derived from the credential and from a secret of the application, and
// bound to their key and version. So a stolen copy of the store opens no
// session and shows no value, and whoever writes to the store can't make a
// session. The data of another session, or of another version of this one, are
// refused. What remains to those who write is to delete an item, and to put
// back a whole one from before.
//
// There is no plain write. Every change is a compare-and-swap on the version
// that was read, so no update is lost, and nothing revives a session that has
// ended.
package opaque
