package introspect_test

import (
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/cloakroom-go/cloakroom/introspect"
	"github.com/cloakroom-go/cloakroom/session"
	"github.com/cloakroom-go/cloakroom/token"
)

// guard lets callers through whose bearer token the application knows.
func guard(client *introspect.Client, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		bearer, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
		caller, err := client.Introspect(r.Context(), bearer)
		switch {
		case errors.Is(err, session.Unavailable): // not known, so nobody is let in
			http.Error(w, "try again later", http.StatusServiceUnavailable)
		case err != nil:
			w.Header().Set("WWW-Authenticate", `Bearer error="invalid_token"`)
			http.Error(w, "who are you?", http.StatusUnauthorized)
		default:
			next.ServeHTTP(w, r.WithContext(token.NewContext(r.Context(), caller)))
		}
	})
}

// A service that hears of a logout within seconds.
func ExampleClient() {
	client, err := introspect.NewClient(introspect.ClientConfig{
		URL:    "https://shop.example/introspect",
		ID:     "orders",
		Secret: "", // the one that the application has under services.clients
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer client.Close()
	orders := func(w http.ResponseWriter, r *http.Request) {
		caller, _ := token.CallerFrom(r.Context())
		fmt.Fprintln(w, "the orders of", caller.Subject)
	}
	http.Handle("GET /orders", guard(client, http.HandlerFunc(orders)))

	// Output: introspect: ClientConfig.Secret is required
}
