package sqlstore_test

import (
	"context"
	"database/sql"
	"log"

	"github.com/cloakroom-go/cloakroom/opaque/sqlstore"
)

// Sessions in a file on one machine. The driver's import is
// _ "modernc.org/sqlite".
func ExampleNew() {
	db, err := sql.Open("sqlite", "file:sessions.db?_pragma=busy_timeout(1000)&_pragma=synchronous(FULL)")
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	store, err := sqlstore.New(db, sqlstore.Config{
		Dialect:   sqlstore.SQLite,
		OnProblem: func(err error) { log.Print(err) },
	})
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = store.Close() }()
	if err := store.Migrate(context.Background()); err != nil {
		log.Fatal(err)
	}
	// opaque.NewCarrier takes the store, or Options.Store of package config.
}
