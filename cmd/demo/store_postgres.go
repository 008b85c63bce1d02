//go:build postgres

package main

import (
	_ "github.com/jackc/pgx/v5/stdlib" // the driver "pgx"

	"github.com/cloakroom-go/cloakroom/opaque"
	"github.com/cloakroom-go/cloakroom/opaque/sqlstore"
)

func postgres() []opaque.Opener { return []opaque.Opener{sqlstore.Opener(sqlstore.PostgreSQL, "pgx")} }
