package keys_test

import (
	"context"
	"log"
	"net/http"
	"time"

	"github.com/cloakroom-go/cloakroom/keys"
)

// An application reads its key file, takes up changes to it, and publishes the
// public halves for the services that it calls.
func ExampleOpenRing() {
	ring, err := keys.OpenRing(keys.File{Path: "keys.json"})
	if err != nil {
		log.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	go ring.Watch(ctx, 30*time.Second, func(err error) { log.Print(err) })
	http.Handle("GET /.well-known/jwks.json", ring.Handler())
}

// Who only verifies needs no key file: the public keys come from the issuer.
func ExampleNewRemote() {
	set, err := keys.NewRemote(keys.RemoteConfig{
		URL:       "https://app.example/.well-known/jwks.json",
		OnProblem: func(err error) { log.Print(err) },
	})
	if err != nil {
		log.Fatal(err)
	}
	defer set.Close()
	// set goes into token.VerifierConfig.
}
