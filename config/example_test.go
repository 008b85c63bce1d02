package config_test

import (
	"context"
	"log"
	"net/http"
	"os"
	"strings"

	"github.com/cloakroom-go/cloakroom/config"
	"github.com/cloakroom-go/cloakroom/keys"
	"github.com/cloakroom-go/cloakroom/revocation"
	"github.com/cloakroom-go/cloakroom/session"
	"github.com/cloakroom-go/cloakroom/token"
)

func must[T any](v T, err error) T {
	if err != nil {
		log.Fatal(err)
	}
	return v
}

// What an application serves for the services that it calls, all of it outside
// of the session middleware.
func Example_application() {
	cfg := must(config.Load("cloakroom.yaml"))
	app := must(cfg.Build(config.Options{}))
	defer app.Close()
	pages, root := http.NewServeMux(), http.NewServeMux()

	metadata := must(token.NewMetadata(token.MetadataConfig{
		Issuer: cfg.Issuer, Ring: app.Keys,
		OpenID:        true,                       // for libraries of OpenID Connect, such as go-oidc
		Introspection: cfg.Issuer + "/introspect", // only if you serve it, see below
	}))
	for _, path := range metadata.Paths() {
		root.Handle("GET "+path, metadata)
	}
	root.Handle("GET /.well-known/jwks.json", app.Keys.Handler())

	root.Handle("/ended", app.Ended)
	root.Handle("/introspect", app.Introspection)
	root.Handle("/", app.Middleware.Handler(pages))
}

// Service tokens that say more than who the user is.
func Example_serviceClaims() {
	cfg := must(config.Load("cloakroom.yaml"))
	app := must(cfg.Build(config.Options{
		ServiceClaims: func(ctx context.Context, s *session.Session, audience string) (map[string]any, error) {
			return map[string]any{"roles": rolesOf(s.Subject(), audience)}, nil
		},
	}))
	defer app.Close()
}

func rolesOf(subject, audience string) []string { return []string{"buyer"} }

// A service that hears of a logout within about a second.
func Example_service() {
	secret := strings.TrimSpace(string(must(os.ReadFile("orders.secret"))))

	set := must(keys.NewRemote(keys.RemoteConfig{URL: "https://app.example/.well-known/jwks.json"}))
	remote := must(revocation.NewRemote(revocation.RemoteConfig{
		URL: "https://app.example/ended", Keys: set, Issuer: "https://app.example",
		ClientID: "orders", ClientSecret: secret, // the text of the file, without the line break
	}))
	verifier := must(token.NewVerifier(token.VerifierConfig{
		Keys: set, Issuer: "https://app.example", Audience: "https://orders.example", Revocations: remote,
	}))

	http.Handle("/orders", verifier.Handler(http.NotFoundHandler()))
}
