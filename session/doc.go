// Package session is what an application sees of its visitors' sessions, and
// what the two forms of a session have in common.
//
// A handler asks for the session of its request with [From], and reads and
// writes values by typed names:
//
//	const Visits session.Key[int] = "visits"
//
//	func home(w http.ResponseWriter, r *http.Request) {
//		s := session.From(r.Context())
//		n, err := Visits.Update(s, func(n int) int { return n + 1 })
//		…
//	}
//
// [Session.Login] after a successful authentication, [Session.Destroy] to log
// out, and [Session.Renew] after a change of rights are all that an application
// has to call for its sessions to be safe. Values are JSON in both modes: they
// are encoded when they are set, and decoded when they are read.
//
// Handlers need [From], [Session], [Key] and [Reason]. The rest is for those who
// write middlewares and carriers.
//
// The middleware decides when a session is kept, and a carrier how: as a token
// that the client holds (package token), or as a record behind an opaque
// credential (package opaque). A [Record] is one state of a session, [Changes]
// leads from one to the next, [Policy] says when a session is over, and [Reason]
// why there is none. Handlers can't tell which carrier keeps their session.
package session
