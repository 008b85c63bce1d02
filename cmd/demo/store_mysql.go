//go:build mysql

package main

import (
	_ "github.com/go-sql-driver/mysql" // the driver "mysql"

	"github.com/cloakroom-go/cloakroom/opaque"
	"github.com/cloakroom-go/cloakroom/opaque/sqlstore"
)

func mysql() []opaque.Opener { return []opaque.Opener{sqlstore.Opener(sqlstore.MySQL, "mysql")} }
