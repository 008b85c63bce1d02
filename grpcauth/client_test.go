package grpcauth_test

import (
	"context"
	"io"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/cloakroom-go/cloakroom/grpcauth"
	"github.com/cloakroom-go/cloakroom/keys"
	"github.com/cloakroom-go/cloakroom/session"
	"github.com/cloakroom-go/cloakroom/token"
)

// Each call is made for the subject of its context.
func TestPerRPCCredentials(t *testing.T) {
	s := newShop(t)
	v, _ := s.verifier(t, nil)
	srv := guarded(t, v)
	whole := srv.dial(t, grpc.WithPerRPCCredentials(s.credentials(t, "orders")))
	each := srv.dial(t)
	for _, subject := range []string{"alice", "bob"} {
		ctx := as(t.Context(), subject)
		who, err := call(ctx, whole, "Who")
		require.NoError(t, err)
		require.Equal(t, subject, who)
		callers, err := stream(ctx, whole)
		require.ErrorIs(t, err, io.EOF)
		require.Equal(t, []string{subject, subject}, callers)
		who, err = call(ctx, each, "Who", grpc.PerRPCCredentials(s.credentials(t, "orders")))
		require.NoError(t, err)
		require.Equal(t, subject, who)
	}
}

// The Issuer keeps tokens, so that calls of one session share one, and those of
// other sessions and for other services don't.
func TestTokenIsKept(t *testing.T) {
	s := newShop(t)
	v, _ := s.verifier(t, nil)
	srv := guarded(t, v, grpcauth.Except("orders.v1.Orders/Ping"))
	conn := srv.dial(t)
	entry := func(ctx context.Context, audience string) string {
		_, err := call(ctx, conn, "Ping", grpc.PerRPCCredentials(s.credentials(t, audience)))
		require.NoError(t, err)
		entries := <-srv.seen
		require.Len(t, entries, 1)
		return entries[0]
	}
	alice, bob := as(t.Context(), "alice"), as(t.Context(), "bob")
	first := entry(alice, "orders")
	require.True(t, first == entry(alice, "orders"))
	require.False(t, first == entry(bob, "orders"))
	require.False(t, first == entry(alice, "billing"))
}

// A service that gets a token can't use it at another.
func TestTokenPerAudience(t *testing.T) {
	s := newShop(t)
	v, given := s.verifier(t, nil)
	conn := guarded(t, v).dial(t, grpc.WithPerRPCCredentials(s.credentials(t, "billing")))
	_, err := call(as(t.Context(), "alice"), conn, "Who")
	require.Equal(t, codes.Unauthenticated, status.Code(err))
	require.ErrorIs(t, given.take(), token.ErrWrongAudience)
}

// Credentials beside ours make two entries, and neither counts.
func TestTwoCredentials(t *testing.T) {
	s := newShop(t)
	v, given := s.verifier(t, nil)
	conn := guarded(t, v).dial(t, grpc.WithPerRPCCredentials(s.credentials(t, "orders")))
	ctx := metadata.AppendToOutgoingContext(as(t.Context(), "alice"), "authorization", "Bearer x")
	_, err := call(ctx, conn, "Who")
	require.Equal(t, codes.Unauthenticated, status.Code(err))
	require.ErrorIs(t, given.take(), session.Ambiguous)
}

// gRPC refuses to send a token without TLS.
func TestNoTLS(t *testing.T) {
	s := newShop(t)
	v, _ := s.verifier(t, nil)
	srv := guarded(t, v)
	plain := grpc.WithTransportCredentials(insecure.NewCredentials())
	_, err := grpc.NewClient("passthrough:///example.com", plain, grpc.WithPerRPCCredentials(s.credentials(t, "orders")))
	require.ErrorContains(t, err, "transport level security")

	conn, err := grpc.NewClient("passthrough:///example.com", plain, srv.dialer())
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, conn.Close()) })
	ctx, cancel := context.WithTimeout(as(t.Context(), "alice"), time.Minute)
	defer cancel()
	_, err = call(ctx, conn, "Who", grpc.PerRPCCredentials(s.credentials(t, "orders")))
	require.Error(t, err)
	require.Empty(t, srv.seen)
}

// A call for which there is no token fails in the client, and says why.
func TestNoToken(t *testing.T) {
	s := newShop(t)
	v, _ := s.verifier(t, nil)
	srv := guarded(t, v)
	future, err := keys.Generate(keys.ES256, keys.Dates{SignFrom: time.Now().Add(time.Hour)})
	require.NoError(t, err)
	ring, err := keys.NewRing(future)
	require.NoError(t, err)
	keyless, err := token.NewIssuer(token.IssuerConfig{Ring: ring, Issuer: issuerName})
	require.NoError(t, err)
	tests := []struct {
		name   string
		issuer *token.Issuer
		ctx    context.Context
		want   codes.Code
		text   string
	}{
		{"nobody is logged in", s.issuer, as(t.Context(), ""), codes.Unauthenticated, "nobody is logged in"},
		{"no session middleware", s.issuer, t.Context(), codes.Unauthenticated, "nobody is logged in"},
		{"no key signs now", keyless, as(t.Context(), "alice"), codes.Unavailable, "token: can't sign"},
	}
	for _, tt := range tests {
		per, err := grpcauth.PerRPCCredentials(tt.issuer, "orders")
		require.NoError(t, err)
		for name, conn := range map[string]*grpc.ClientConn{
			"connection": srv.dial(t, grpc.WithPerRPCCredentials(per)),
			"call":       srv.dial(t, grpc.WithDefaultCallOptions(grpc.PerRPCCredentials(per))),
		} {
			_, err := call(tt.ctx, conn, "Who")
			assert.Equal(t, tt.want, status.Code(err), "%s, %s: %v", tt.name, name, err)
			assert.ErrorContains(t, err, tt.text, "%s, %s", tt.name, name)
		}
	}
	require.Empty(t, srv.seen)
}

func TestPerRPCCredentialsConfig(t *testing.T) {
	c, err := grpcauth.PerRPCCredentials(nil, "")
	require.ErrorContains(t, err, "Issuer is required")
	require.ErrorContains(t, err, "Audience is required")
	require.Nil(t, c)
	s := newShop(t)
	_, err = grpcauth.PerRPCCredentials(s.issuer, issuerName)
	require.ErrorContains(t, err, "session tokens")
	require.True(t, s.credentials(t, "orders").RequireTransportSecurity())
}
