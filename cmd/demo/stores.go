package main

import (
	"context"
	"fmt"
	"net/url"
	"slices"

	"github.com/cloakroom-go/cloakroom/opaque"
	"github.com/cloakroom-go/cloakroom/opaque/memcachestore"
)

// stores opens what -store and store.url name. All drivers but the one of
// Memcached take long to compile, so each of them has a build tag.
func stores() []opaque.Opener {
	return slices.Concat([]opaque.Opener{memcachestore.Opener()}, redis(), postgres(), mysql(), sqlite())
}

// notBuiltIn stands for the opener of a build tag that the demo was built
// without. Its error is about store.url, and says how to build the demo.
func notBuiltIn(tag string, schemes ...string) []opaque.Opener {
	return []opaque.Opener{{
		Schemes: schemes,
		Open: func(_ context.Context, u *url.URL, _ opaque.OpenOptions) (opaque.Store, error) {
			return nil, fmt.Errorf("names a store that this demo was built without, because it takes long to compile; "+
				"run: go run -tags %s ./cmd/demo -store %s:…", tag, u.Scheme)
		},
	}}
}
