// Package session is what an application sees of its visitors' sessions.
//
// A handler gets the session of its request with [From], and reads and writes
// values by typed names:
//
//	const Visits session.Key[int] = "visits"
//
//	func home(w http.ResponseWriter, r *http.Request) {
//		s := session.From(r.Context())
//		n, err := Visits.Update(s, func(n int) int { return n + 1 })
//		…
//	}
//
// To be safe, an application must call three methods: [Session.Login] after a
// successful authentication, [Session.Destroy] to log out, and [Session.Renew]
// after a change of rights. Values are encoded as JSON when they are set, and
// decoded when they are read, in all modes.
//
// Handlers need only [From], [Session], [Key] and [Reason]; a configuration
// needs [Policy]. Everything else is for the packages that keep sessions:
//
//   - A middleware decides when a session is saved: [Begin], [Options],
//     [Control], [State], [Phase] and [NewContext].
//   - A carrier decides how: as a token that the client holds (package
//     token), or as a record on the server (package opaque). A [Record] is one
//     state of a session, with its [Values], and [Changes] make the next one
//     from it. A carrier refuses with a [RefusedError] or a [SupersededError].
//     Handlers can't tell which carrier has their session.
//   - A revocation list tells the session of a request what it has ended:
//     [SubjectEnded], [OthersEnded] and [RenewSince].
package session
