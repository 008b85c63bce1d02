//go:build !mysql

package main

import "github.com/cloakroom-go/cloakroom/opaque"

func mysql() []opaque.Opener { return notBuiltIn("mysql", "mysql") }
