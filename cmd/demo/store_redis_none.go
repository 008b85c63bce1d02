//go:build !redis

package main

import "github.com/cloakroom-go/cloakroom/opaque"

func redis() []opaque.Opener { return notBuiltIn("redis", "redis", "rediss") }
