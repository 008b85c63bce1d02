package main

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"strings"

	"github.com/cloakroom-go/cloakroom/keys"
	"github.com/cloakroom-go/cloakroom/token"
)

// ordersAudience is the name of the orders service in service tokens.
const ordersAudience = "orders"

// newService returns the orders service, and a function that ends its fetches.
// In real life the service is another program. It needs only the public keys of
// the application at appURL to know who is calling.
func newService(
	appURL, issuer string, cert *certificate, log *slog.Logger,
) (h http.Handler, stop func() error, err error) {
	remote, err := keys.NewRemote(keys.RemoteConfig{
		URL:       appURL + "/.well-known/jwks.json",
		Transport: cert.transport(),
		OnProblem: func(err error) { log.Error("orders service: public keys", "error", err) },
		// Both servers are this process, whatever its host is called.
		InsecureAllowHTTP: strings.HasPrefix(appURL, "http:"),
	})
	if err != nil {
		return nil, nil, err
	}
	verifier, err := token.NewVerifier(token.VerifierConfig{
		Keys: remote, Issuer: issuer, Audience: ordersAudience,
		OnRefused: func(ctx context.Context, err error) {
			log.InfoContext(ctx, "orders service: request refused", "error", err)
		},
	})
	if err != nil {
		return nil, nil, errors.Join(err, remote.Close())
	}
	mux := http.NewServeMux()
	mux.Handle("GET /orders", verifier.Handler(http.HandlerFunc(orders)))
	return protect(mux), remote.Close, nil
}

// orders returns the user and the session that the service token names.
func orders(w http.ResponseWriter, r *http.Request) {
	caller, _ := token.CallerFrom(r.Context()) // Verifier.Handler has put it there
	writeJSON(w, http.StatusOK, struct {
		Subject string `json:"subject"`
		Session string `json:"session"`
		Issuer  string `json:"issuer"`
	}{caller.Subject, caller.SessionID, caller.Issuer})
}
