package session

// Ended returns a channel that is closed when the session is over. It is for
// handlers that run long, such as WebSockets and server-sent events: return
// from the handler then. The channel is closed when
//
//   - the session is destroyed, or ended together with all sessions of its
//     subject or of everybody;
//   - another subject logs in to it, in the place of the one who was logged
//     in;
//   - it was idle for too long, or its lifetime is over;
//   - the request is over, so that no goroutine waits for ever.
//
// It is not closed when the session is renewed, when it moves between token
// and store, when revocation.List.EndOthers keeps it, or when a visitor who
// was not logged in logs in. A visitor without a session gets a channel that
// is closed when the request is over, or when a session is over that this
// request has begun. The channel is closed already if the session has ended
// before the call, or if no middleware has put a session into the context.
//
// How soon it is closed depends on where the session has ended:
//
//   - In this process: immediately, in all modes.
//   - On another instance, over a store that has a log of what has ended:
//     within milliseconds over Redis, within about a second over SQL, in all
//     modes. If the log can't be read, when it can be read again.
//   - On another instance, without such a log (Memcached, or a list of
//     revocations for each instance): at the idle deadline.
//   - By time: at the deadline. A stream is no activity, but other requests
//     of the session move the deadline. If these went to another instance,
//     the middleware looks into the store, once at each idle deadline that
//     it knows. For a stateless session there is nothing to look into, so
//     the channel may be closed although the session goes on.
//
// In that case, and in others that are rare, such as a renewal on another
// instance followed by an idle deadline, the client connects again with the
// cookie that it has by then, and its session goes on.
func (s *Session) Ended() <-chan struct{} {
	if s.o.Saver == nil {
		ended := make(chan struct{})
		close(ended)
		return ended
	}
	return s.o.Saver.Ended()
}
