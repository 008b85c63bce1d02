//go:build !postgres

package main

import "github.com/cloakroom-go/cloakroom/opaque"

func postgres() []opaque.Opener { return notBuiltIn("postgres", "postgres", "postgresql") }
