//go:build !sqlite

package main

import "github.com/cloakroom-go/cloakroom/opaque"

func sqlite() []opaque.Opener { return notBuiltIn("sqlite", "sqlite") }
