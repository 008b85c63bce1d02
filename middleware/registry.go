package middleware

import (
	"context"
	"net/http"

	"github.com/cloakroom-go/cloakroom/session"
)

// Registry keeps which sessions a subject has; *devices.Registry is one. key is
// what [Carrier.Key] returns.
type Registry interface {
	// Enter notes a credential of rec that nobody has seen yet, for the session
	// that was kept as was until now, or is new if that is nil. If it fails, the
	// credential must be forgotten.
	Enter(ctx context.Context, r *http.Request, rec *session.Record, key string, was *session.Record, wasKey string) error

	// Forget takes back an Enter.
	Forget(ctx context.Context, rec *session.Record, key string) error

	// Over says that the subject of rec does not have this session any more.
	Over(ctx context.Context, rec *session.Record) error

	// Seen says that there was activity. It is quick.
	Seen(was, is *session.Record, key string)
}

// enter notes a credential that nobody has seen yet.
func (x *exchange) enter(ctx context.Context, target Carrier, credential string, rec *session.Record) error {
	if x.m.c.Registry == nil {
		return nil
	}
	wasKey := ""
	if x.kept.rec != nil {
		wasKey = x.kept.carrier.Key(x.kept.credential)
	}
	return x.m.c.Registry.Enter(ctx, x.request, rec, target.Key(credential), x.kept.rec, wasKey)
}

// noteActivity tells the registry that there was activity in the session of
// was. If somebody else has logged in to it, it removes the session of was
// instead. If a login has begun another session, that of was may go on under
// another credential.
func (x *exchange) noteActivity(was *session.Record) {
	registry, now := x.m.c.Registry, x.kept
	if registry == nil || was == nil || was.Subject == "" {
		return
	}
	switch {
	case was.ID != now.rec.ID:
	case was.Subject != now.rec.Subject:
		x.notOf(was)
	default:
		registry.Seen(was, now.rec, now.carrier.Key(now.credential))
	}
}

// notOf removes a session that its subject does not have any more. If that
// fails, the registry finds it out itself.
func (x *exchange) notOf(rec *session.Record) {
	if x.m.c.Registry != nil {
		ctx := x.m.detached(x.request.Context())
		defer ctx.cancel()
		_ = x.m.c.Registry.Over(ctx, rec)
	}
}
