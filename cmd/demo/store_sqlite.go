//go:build sqlite

package main

import (
	_ "modernc.org/sqlite" // the driver "sqlite"

	"github.com/cloakroom-go/cloakroom/opaque"
	"github.com/cloakroom-go/cloakroom/opaque/sqlstore"
)

func sqlite() []opaque.Opener { return []opaque.Opener{sqlstore.Opener(sqlstore.SQLite, "sqlite")} }
