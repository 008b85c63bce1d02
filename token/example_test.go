package token_test

import (
	"encoding/json"
	"fmt"
	"log"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/cloakroom-go/cloakroom/keys"
	"github.com/cloakroom-go/cloakroom/token"
)

// A service that other services call for their visitors.
func ExampleVerifier_Handler() {
	set, err := keys.NewRemote(keys.RemoteConfig{URL: "https://app.example/.well-known/jwks.json"})
	if err != nil {
		log.Fatal(err)
	}
	defer set.Close()
	verifier, err := token.NewVerifier(token.VerifierConfig{Keys: set, Issuer: "https://app.example", Audience: "orders"})
	if err != nil {
		log.Fatal(err)
	}
	orders := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		caller, _ := token.CallerFrom(r.Context()) // always there behind the Handler
		fmt.Fprintf(w, "orders of %s\n", caller.Subject)
	})
	http.Handle("/orders", verifier.Handler(orders))
}

// A service whose callers log in at an identity provider: here Keycloak, whose
// access tokens have typ JWT. A payment wants a login of the last five minutes.
func ExampleForeign() {
	const realm = "https://sso.example/realms/shop"
	set, err := keys.NewRemote(keys.RemoteConfig{URL: realm + "/protocol/openid-connect/certs"})
	if err != nil {
		log.Fatal(err)
	}
	defer set.Close()
	verifier, err := token.NewVerifier(token.VerifierConfig{Keys: set, Issuer: realm, Audience: "payments",
		Foreign: &token.Foreign{Types: []string{"JWT"}}, MaxAuthAge: 5 * time.Minute})
	if err != nil {
		log.Fatal(err)
	}
	pay := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		caller, _ := token.CallerFrom(r.Context())
		var scope string
		_ = json.Unmarshal(caller.Claims["scope"], &scope) // without scope it stays empty
		if !slices.Contains(strings.Fields(scope), "pay") {
			http.Error(w, "the token is not for payments", http.StatusForbidden)
			return
		}
		fmt.Fprintf(w, "paid by %s\n", caller.Subject)
	})
	http.Handle("/pay", verifier.Handler(pay))
}

// An application that calls such a service. The outgoing request carries the
// context of the incoming one, so the Transport knows whose session it is.
func ExampleTransport() {
	ring, err := keys.OpenRing(keys.RingConfig{File: keys.File{Path: "keys.json"}})
	if err != nil {
		log.Fatal(err)
	}
	defer ring.Close()
	issuer, err := token.NewIssuer(token.IssuerConfig{Ring: ring, Issuer: "https://app.example"})
	if err != nil {
		log.Fatal(err)
	}
	transport, err := token.NewTransport(token.TransportConfig{Issuer: issuer, Audience: "orders",
		Origin: "https://orders.internal"})
	if err != nil {
		log.Fatal(err)
	}
	client := &http.Client{Transport: transport}
	http.HandleFunc("/my-orders", func(w http.ResponseWriter, r *http.Request) {
		outgoing, err := http.NewRequestWithContext(r.Context(), http.MethodGet, "https://orders.internal/orders", nil)
		if err != nil {
			http.Error(w, "try again", http.StatusInternalServerError)
			return
		}
		response, err := client.Do(outgoing)
		if err != nil {
			http.Error(w, "try again", http.StatusBadGateway)
			return
		}
		defer response.Body.Close()
		fmt.Fprintln(w, response.Status)
	})
}

// An application tells other services where its keys are. A library finds them
// by the issuer's URL.
func ExampleNewMetadata() {
	ring, err := keys.OpenRing(keys.RingConfig{File: keys.File{Path: "keys.json"}})
	if err != nil {
		log.Fatal(err)
	}
	defer ring.Close()
	metadata, err := token.NewMetadata(token.MetadataConfig{Issuer: "https://app.example", Ring: ring, OpenID: true})
	if err != nil {
		log.Fatal(err)
	}
	for _, path := range metadata.Paths() {
		http.Handle(path, metadata)
	}
	http.Handle("/.well-known/jwks.json", ring.Handler())
}
