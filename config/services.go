package config

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/cloakroom-go/cloakroom/internal/clientauth"
	"github.com/cloakroom-go/cloakroom/internal/secret"
	"github.com/cloakroom-go/cloakroom/introspect"
	"github.com/cloakroom-go/cloakroom/revocation"
	"github.com/cloakroom-go/cloakroom/session"
)

// clientPath returns the path of a client of services.
func clientPath(i int) string { return fmt.Sprintf("services.clients[%d]", i) }

// makeServices makes what other services ask.
func (b *builder) makeServices() {
	if len(b.Services.Clients) == 0 {
		return
	}
	services := b.services()
	if len(b.errs) > 0 {
		return
	}
	c := introspect.HandlerConfig{
		Services: services, Sessions: b.app.Middleware, Revocations: b.app.Revocations,
		Issuer: b.issuer(), SessionAudience: b.Audience, ClientID: b.ClientID, OnRefused: b.unanswered, Now: b.o.Now,
	}
	if b.app.Issuer != nil {
		c.Keys = b.app.Keys
	}
	h, err := introspect.NewHandler(c)
	if err != nil {
		b.fail("services.clients", err)
		return
	}
	b.app.Introspection = h
	b.makeEnded(services)
}

// makeEnded makes what tells services what has ended, if there are service
// tokens.
func (b *builder) makeEnded(services []introspect.Service) {
	if b.app.Issuer == nil {
		return
	}
	var all []clientauth.Client
	for _, s := range services {
		all = append(all, clientauth.Client{ID: s.ID, Secrets: s.Secrets})
	}
	clients, err := clientauth.New(all...)
	b.fail("services.clients", err)
	ended, err := revocation.NewHandler(revocation.HandlerConfig{
		List: b.app.Revocations, Ring: b.app.Keys, Issuer: b.issuer(),
	})
	b.fail("services.clients", err)
	if len(b.errs) == 0 {
		b.app.Ended = clients.Guard(ended, func(ctx context.Context, err error) {
			b.unanswered(ctx, fmt.Errorf("config: an unknown client asked what has ended: %w: %w", err, session.Forged))
		})
	}
}

// services reads the secrets of the services that may ask.
func (b *builder) services() (all []introspect.Service) {
	for i, client := range b.Services.Clients {
		at, field := clientPath(i), ".secret_file"
		if client.SecretEnv != "" {
			field = ".secret_env"
		}
		if cmp.Or(client.Audience, client.ID) == cmp.Or(b.Audience, b.issuer()) {
			b.fail(at+".audience", errors.New("is that of session tokens, and no service token has it; give the service "+
				"another one"))
		}
		if (client.SecretFile == "") == (client.SecretEnv == "") {
			continue // it was reported
		}
		text, err := fileOrEnv(client.SecretFile, client.SecretEnv)
		if err == nil {
			_, err = secret.Keys(text, secret.KeySize)
		}
		if err != nil {
			b.fail(at+field, err)
			continue
		}
		all = append(all, introspect.Service{
			ID: client.ID, Audience: client.Audience, Secrets: strings.Fields(string(text)),
		})
	}
	return all
}

// unanswered logs why a service gets no good answer. A stranger, or a caller of
// the service, can cause all of these but the ones in which something is out of
// reach.
func (b *builder) unanswered(ctx context.Context, err error) {
	if errors.Is(err, session.Unavailable) {
		b.o.Logger.ErrorContext(ctx, "a service that asked about a session got no answer", "error", err)
		return
	}
	b.o.Logger.InfoContext(ctx, "a service was refused, or told that a credential is not active", "error", err)
}

// loggedIn is a list with entries for the sessions that can have service
// tokens. Services that ask, or read what has ended, must hear of the end.
type loggedIn struct{ *revocation.List }

func (l loggedIn) EndSession(ctx context.Context, rec *session.Record) error {
	if rec.Subject == "" {
		return nil
	}
	return l.List.EndSession(ctx, rec)
}
