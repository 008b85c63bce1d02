package interop

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
)

// A GoJOSE verifies with go-jose, which fetches no keys. Verify does, at most
// every 30 seconds if tokens have unknown keys, and else every 10 minutes.
type GoJOSE struct {
	JWKS, Issuer, Audience string

	mu      sync.Mutex // guards the rest
	keys    jose.JSONWebKeySet
	fetched time.Time
}

// Verify returns the subject of a token.
func (g *GoJOSE) Verify(ctx context.Context, token string) (subject string, err error) {
	parsed, err := jwt.ParseSigned(token, []jose.SignatureAlgorithm{jose.ES256})
	if err != nil {
		return "", err
	}
	header := parsed.Headers[0]
	if header.ExtraHeaders[jose.HeaderType] != "at+jwt" {
		return "", errors.New("not a service token")
	}
	key, err := g.key(ctx, header.KeyID)
	if err != nil {
		return "", err
	}
	var claims jwt.Claims
	if err := parsed.Claims(key, &claims); err != nil {
		return "", err
	}
	if claims.Expiry == nil {
		return "", errors.New("no exp")
	}
	expected := jwt.Expected{Issuer: g.Issuer, AnyAudience: jwt.Audience{g.Audience}, Time: time.Now()}
	return claims.Subject, claims.ValidateWithLeeway(expected, 10*time.Second)
}

func (g *GoJOSE) key(ctx context.Context, id string) (*jose.JSONWebKey, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	age := time.Since(g.fetched)
	if found := g.keys.Key(id); age > 10*time.Minute || len(found) != 1 && age > 30*time.Second {
		if err := g.fetch(ctx); err != nil {
			return nil, err
		}
	}
	if found := g.keys.Key(id); len(found) == 1 {
		return &found[0], nil
	}
	return nil, errors.New("unknown key")
}

func (g *GoJOSE) fetch(ctx context.Context) error {
	g.fetched = time.Now()
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, g.JWKS, nil)
	if err != nil {
		return err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("the key set is not there: %s", response.Status)
	}
	var keys jose.JSONWebKeySet
	err = json.NewDecoder(http.MaxBytesReader(nil, response.Body, 1<<20)).Decode(&keys)
	if err == nil {
		g.keys = keys
	}
	return err
}
