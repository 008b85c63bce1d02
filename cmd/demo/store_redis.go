//go:build redis

package main

import (
	"github.com/cloakroom-go/cloakroom/opaque"
	"github.com/cloakroom-go/cloakroom/opaque/redisstore"
)

func redis() []opaque.Opener { return []opaque.Opener{redisstore.Opener()} }
