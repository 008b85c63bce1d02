package introspect_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"

	"github.com/cloakroom-go/cloakroom/config"
	"github.com/cloakroom-go/cloakroom/introspect"
	"github.com/cloakroom-go/cloakroom/session"
	"github.com/cloakroom-go/cloakroom/token"
)

// An application that answers the service orders. Introspection stands beside
// the session middleware, not behind it.
func ExampleHandler() {
	os.Setenv("ORDERS_SECRET", ordersSecret) // openssl rand -base64 32
	cfg, err := config.Parse([]byte("{mode: opaque, services: {clients: [{id: orders, secret_env: ORDERS_SECRET}]}}"))
	if err != nil {
		fmt.Println(err)
		return
	}
	app, err := cfg.Build(config.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer app.Close()
	mux := http.NewServeMux()
	mux.Handle("/introspect", app.Introspection)
	mux.Handle("/", app.Middleware.Handler(http.NotFoundHandler())) // the pages of the application

	question := httptest.NewRequest("POST", "/introspect", strings.NewReader("token=unknown"))
	question.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	question.SetBasicAuth("orders", ordersSecret)
	answer := httptest.NewRecorder()
	mux.ServeHTTP(answer, question)
	fmt.Println(answer.Code, answer.Body)

	// Output: 200 {"active":false}
}

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
