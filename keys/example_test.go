package keys_test

import (
	"log"
	"net/http"

	"github.com/cloakroom-go/cloakroom/keys"
)

// An application reads its key file, follows its changes, and publishes the
// public halves for the services that it calls.
func ExampleOpenRing() {
	ring, err := keys.OpenRing(keys.RingConfig{
		File:      keys.File{Path: "keys.json"},
		OnProblem: func(err error) { log.Print(err) },
	})
	if err != nil {
		log.Fatal(err)
	}
	defer ring.Close()
	http.Handle("GET /.well-known/jwks.json", ring.Handler())
}

// A service that only verifies needs no key file: the public keys come from the
// issuer.
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
