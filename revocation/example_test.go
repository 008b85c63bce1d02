package revocation_test

import (
	"context"
	"errors"
	"fmt"
	"net/http/httptest"
	"os"
	"path/filepath"
	"time"

	"github.com/cloakroom-go/cloakroom/keys"
	"github.com/cloakroom-go/cloakroom/revocation"
	"github.com/cloakroom-go/cloakroom/session"
)

func Example() {
	dir, err := os.MkdirTemp("", "keys")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)

	list, err := revocation.Open(revocation.Config{
		Path:     filepath.Join(dir, "revocations"),
		Lifetime: session.Policy{}.WithDefaults().RememberedLifetime,
	})
	if err != nil {
		panic(err)
	}
	defer list.Close()

	rec := &session.Record{ID: "7GlYk2", Subject: "alice", CreatedAt: time.Now(), AuthenticatedAt: time.Now()}
	fmt.Println(list.Check(rec))

	// The employee has left: every session of alice ends now.
	if err := list.EndSubject(context.Background(), "alice"); err != nil {
		fmt.Println("ended here, but not kept for after a restart:", err)
	}
	fmt.Println(errors.Is(list.Check(rec), session.Ended))
	// Output:
	// <nil>
	// true
}

// An application tells its services what has ended. The services refuse tokens
// of these sessions, although they would be good for another minute.
func ExampleNewRemote() {
	// In the application. Its list is that of the carriers,
	// config.App.Revocations.
	key, err := keys.Generate(keys.ES256, keys.Dates{})
	if err != nil {
		panic(err)
	}
	ring, err := keys.NewRing(key)
	if err != nil {
		panic(err)
	}
	list := revocation.NewVolatile(revocation.Config{})
	ended, err := revocation.NewHandler(revocation.HandlerConfig{List: list, Ring: ring, Issuer: "https://app.example"})
	if err != nil {
		panic(err)
	}
	app := httptest.NewServer(ended) // where only services come
	defer app.Close()

	// In a service. Its Keys are a keys.Remote, as for its token.Verifier, which
	// gets remote as VerifierConfig.Revocations.
	remote, err := revocation.NewRemote(revocation.RemoteConfig{URL: app.URL, Keys: ring, Issuer: "https://app.example"})
	if err != nil {
		panic(err)
	}
	defer remote.Close()
	for remote.Fresh() != nil { // or in a readiness probe
		time.Sleep(10 * time.Millisecond)
	}

	now := time.Now()
	alice := &session.Record{ID: "7GlYk2", Generation: 1, Subject: "alice", CreatedAt: now, AuthenticatedAt: now}
	fmt.Println(remote.Check(alice))
	if err := list.EndSession(context.Background(), alice); err != nil {
		fmt.Println("ended here, but not kept for after a restart:", err)
	}
	for remote.Check(alice) == nil { // a second later
		time.Sleep(10 * time.Millisecond)
	}
	fmt.Println(errors.Is(remote.Check(alice), session.Ended))
	// Output:
	// <nil>
	// true
}
