package session

import (
	"fmt"
	"time"
)

// Ended returns a channel that is closed when the session is over. It is for
// handlers that run long, such as WebSockets and server-sent events. Such a
// handler returns when the channel is closed, and also when the request's
// context is done: the channel says nothing about a client that has gone. It
// is closed when
//
//   - the session is destroyed, or ended together with all sessions of its
//     subject or of everybody;
//   - a subject logs in to the session of another subject;
//   - the session was idle for too long, or its lifetime is over;
//   - the request is over, so that no goroutine waits for ever.
//
// It stays open when the session is renewed, when it moves between token and
// store, when revocation.List.EndOthers keeps it, and when a visitor logs in
// to a session in which nobody was logged in.
//
// If the request has no session, the channel is closed with the request. A
// session that the request begins later is watched from then on. If the
// session has ended already, or no middleware has put one into the context,
// Ended returns a closed channel.
//
// How soon the channel is closed:
//
//   - What ends in this process closes it immediately.
//   - What ends on another instance closes it when this one reads that in the
//     log of the store: within milliseconds over Redis, within about a second
//     over SQL. If the log can't be read for as long as the list of
//     revocations may be stale, by default 5 minutes, all channels that are
//     open then are closed, unless the list is set to serve on.
//   - If the store has no log (Memcached), or each instance has a list of its
//     own, an end on another instance closes it at the idle deadline.
//   - The end of a tag (revocation.List.EndTag) goes by the tags that this
//     process knows: an instance that announces a login to the others names no
//     tags. After a login on another instance, while the channel is open, the
//     end of a new tag closes it only at the idle deadline, and the end of a
//     tag from before that login closes it although the session goes on.
//   - Time closes it at the deadline. An open stream is no activity, but other
//     requests of the session move the deadline. The middleware knows those of
//     this process. For others it looks into the store, once when the deadline
//     has passed.
//
// A client whose stream was closed connects again with the cookie that it has
// by then. It needs that if its session is stateless and was active only on
// other instances, which this one can't know, or if it was renewed on another
// instance and an idle deadline has passed since: then the channel is closed
// although the session goes on.
func (s *Session) Ended() <-chan struct{} {
	if s.o.Saver == nil {
		ended := make(chan struct{})
		close(ended)
		return ended
	}
	return s.o.Saver.Ended()
}

// knownFor is how long what a request knows of its session counts as the
// present: as long as a request usually takes.
const knownFor = time.Minute

// Fresh returns nil if the session may still be used for something that lasts
// longer than the request, such as a token for another service. A request knows
// its session as it was when the request began. If that is more than a minute
// ago and the session is over since then, as far as [Session.Ended] tells, the
// error wraps [Ended]. The first call after that minute begins to find out, and
// may be too early to know.
func (s *Session) Fresh() error {
	s.mu.Lock()
	young := s.o.Now == nil || s.o.Now().Before(s.began.Add(knownFor))
	s.mu.Unlock()
	if young {
		return nil
	}
	select {
	case <-s.Ended():
		return fmt.Errorf("session: the session is over, and the request goes on: %w", Ended)
	default:
		return nil
	}
}
