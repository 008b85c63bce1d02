package opaque_test

import (
	"log"
	"time"

	"github.com/cloakroom-go/cloakroom/opaque"
	"github.com/cloakroom-go/cloakroom/session"
)

// Sessions in the memory of the process, and a word about those that nobody
// came back for.
func ExampleNewCarrier() {
	store, err := opaque.NewMemoryStore(opaque.MemoryConfig{
		MaxSessions: 100_000,
		Linger:      5 * time.Minute, // for visitors who come back late
		OnExpire: opaque.Expired(func(rec *session.Record) {
			log.Printf("session %s of %q has expired", rec.ID, rec.Subject)
		}),
	})
	if err != nil {
		log.Fatal(err)
	}
	defer store.Close()
	carrier, err := opaque.NewCarrier(opaque.CarrierConfig{Store: store})
	if err != nil {
		log.Fatal(err)
	}
	_ = carrier // goes into middleware.Config
}
