package middleware_test

import (
	"log"
	"log/slog"
	"net/http"

	"github.com/cloakroom-go/cloakroom/middleware"
	"github.com/cloakroom-go/cloakroom/opaque"
	"github.com/cloakroom-go/cloakroom/session"
)

// Package config does this from a document; by hand it is not much more.
func ExampleNew() {
	store, err := opaque.NewMemoryStore(opaque.MemoryConfig{})
	if err != nil {
		log.Fatal(err)
	}
	defer store.Close()
	carrier, err := opaque.NewCarrier(opaque.CarrierConfig{Store: store})
	if err != nil {
		log.Fatal(err)
	}
	m, err := middleware.New(middleware.Config{
		Carrier: carrier,
		Policy:  session.AAL2(),
		OnEvent: middleware.LogEvents(slog.Default()),
	})
	if err != nil {
		log.Fatal(err)
	}
	mux := http.NewServeMux()
	loggedIn := middleware.RequireSubject(middleware.RequireConfig{LoginURL: "/login", ReturnParam: "next"})
	mux.Handle("/account", loggedIn(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// only logged-in visitors come here
	})))
	mux.HandleFunc("POST /login", func(w http.ResponseWriter, r *http.Request) {
		// check the password, and call session.Session.Login
		http.Redirect(w, r, middleware.ReturnPath(r, "next"), http.StatusSeeOther)
	})
	server := &http.Server{Addr: "localhost:8080", Handler: m.Handler(mux)}
	_ = server // server.ListenAndServe()
}
