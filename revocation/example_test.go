package revocation_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

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
