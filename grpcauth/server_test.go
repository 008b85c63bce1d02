package grpcauth_test

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/grpc-ecosystem/go-grpc-middleware/v2/interceptors/auth"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	reflectionpb "google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/grpc/status"

	"github.com/cloakroom-go/cloakroom/grpcauth"
	"github.com/cloakroom-go/cloakroom/keys"
	"github.com/cloakroom-go/cloakroom/session"
	"github.com/cloakroom-go/cloakroom/token"
)

// Each way to check calls lets good ones pass, with the caller, and refuses bad
// ones with the same status, whatever the reason.
func TestCalls(t *testing.T) {
	s := newShop(t)
	v, given := s.verifier(t, nil)
	ways := map[string]*service{
		"interceptors": guarded(t, v),
		"AuthFunc": serve(t, grpc.UnaryInterceptor(auth.UnaryServerInterceptor(grpcauth.AuthFunc(v))),
			grpc.StreamInterceptor(auth.StreamServerInterceptor(grpcauth.AuthFunc(v)))),
	}
	good := s.bearer(t, "alice", "orders")
	tests := []struct {
		name    string
		entries []string
		want    error // the reason; nil for none
	}{
		{"good", []string{"Bearer " + good}, nil},
		{"scheme in lower case", []string{"bearer " + good}, nil},
		{"none", nil, session.NotFound},
		{"empty", []string{""}, session.NotFound},
		{"two good ones", []string{"Bearer " + good, "Bearer " + good}, session.Ambiguous},
		{"a good one and another", []string{"Bearer " + good, "Basic YWxpY2U6cHc="}, session.Ambiguous},
		{"another scheme", []string{"Basic " + good}, session.NotFound},
		{"no scheme", []string{good}, session.NotFound},
		{"no token", []string{"Bearer x"}, session.Malformed},
		{"another audience", []string{"Bearer " + s.bearer(t, "alice", "billing")}, token.ErrWrongAudience},
		{"another issuer's key", []string{"Bearer " + newShop(t).bearer(t, "alice", "orders")}, session.UnknownKey},
		{"tampered", []string{"Bearer " + tampered(good)}, session.Forged},
		{"no signature", []string{"Bearer " + good[:strings.LastIndex(good, ".")+1]}, session.Malformed},
	}
	for way, srv := range ways {
		conn := srv.dial(t)
		for _, tt := range tests {
			ctx := t.Context()
			for _, entry := range tt.entries {
				ctx = metadata.AppendToOutgoingContext(ctx, "authorization", entry)
			}
			who, unary := call(ctx, conn, "Who")
			whoWatches, watching := stream(ctx, conn)
			reason := given.take()
			if tt.want == nil {
				require.NoError(t, unary, "%s, %s", way, tt.name)
				require.ErrorIs(t, watching, io.EOF, "%s, %s", way, tt.name)
				require.Equal(t, "alice", who, "%s, %s", way, tt.name)
				require.Equal(t, []string{"alice", "alice"}, whoWatches, "%s, %s", way, tt.name)
				continue
			}
			require.Empty(t, who+strings.Join(whoWatches, ""), "%s, %s", way, tt.name)
			for _, err := range []error{unary, watching} {
				require.Equal(t, codes.Unauthenticated, status.Code(err), "%s, %s: %v", way, tt.name, err)
				require.Equal(t, "the call has no valid service token", status.Convert(err).Message(), "%s, %s", way, tt.name)
			}
			require.ErrorIs(t, reason, tt.want, "%s, %s", way, tt.name)
			require.NotContains(t, reason.Error(), good[:20], "%s, %s", way, tt.name)
		}
	}
}

// tampered returns bearer with another payload.
func tampered(bearer string) string {
	parts := strings.Split(bearer, ".")
	parts[1] = strings.ToUpper(parts[1][:1]) + "A" + parts[1][2:]
	return strings.Join(parts, ".")
}

func TestExpired(t *testing.T) {
	s := newShop(t)
	v, given := s.verifier(t, func(c *token.VerifierConfig) {
		c.Now = func() time.Time { return time.Now().Add(5 * time.Minute) }
	})
	conn := guarded(t, v).dial(t, grpc.WithPerRPCCredentials(s.credentials(t, "orders")))
	_, err := call(as(t.Context(), "alice"), conn, "Who")
	require.Equal(t, codes.Unauthenticated, status.Code(err))
	require.ErrorIs(t, given.take(), token.ErrExpired)
}

// A service that can't reach its keys, or its list of revocations, says so: the
// client may try again.
func TestUnavailable(t *testing.T) {
	s := newShop(t)
	down := errors.New("10.0.0.7: no route to host")
	for name, change := range map[string]func(*token.VerifierConfig){
		"keys":        func(c *token.VerifierConfig) { c.Keys = unreachable{down} },
		"revocations": func(c *token.VerifierConfig) { c.Revocations = unreachable{errors.Join(down, session.Unavailable)} },
	} {
		v, given := s.verifier(t, change)
		conn := guarded(t, v).dial(t, grpc.WithPerRPCCredentials(s.credentials(t, "orders")))
		_, unary := call(as(t.Context(), "alice"), conn, "Who")
		_, watching := stream(as(t.Context(), "alice"), conn)
		for _, err := range []error{unary, watching} {
			assert.Equal(t, codes.Unavailable, status.Code(err), name)
			assert.NotContains(t, err.Error(), "10.0.0.7", name)
		}
		assert.ErrorIs(t, given.take(), session.Unavailable, name)
	}
}

type unreachable struct{ err error }

func (u unreachable) Key(context.Context, string, time.Time) (*keys.Key, error) { return nil, u.err }
func (u unreachable) Check(*session.Record) error                               { return u.err }

// The services and methods that are excepted need no token, and no others pass
// with them.
func TestExcept(t *testing.T) {
	s := newShop(t)
	v, given := s.verifier(t, nil)
	public := grpcauth.HealthAndReflection()
	tests := []struct {
		name                            string
		options                         []grpcauth.Option
		health, reflection, ping, watch codes.Code
	}{
		{"nothing", nil, codes.Unauthenticated, codes.Unauthenticated, codes.Unauthenticated, codes.Unauthenticated},
		{"ready-made", []grpcauth.Option{public}, codes.OK, codes.OK, codes.Unauthenticated, codes.Unauthenticated},
		{"a service", []grpcauth.Option{grpcauth.Except("orders.v1.Orders")}, codes.Unauthenticated, codes.Unauthenticated, codes.OK, codes.OK},
		{"two", []grpcauth.Option{public, grpcauth.Except("orders.v1.Orders/Ping")}, codes.OK, codes.OK, codes.OK, codes.Unauthenticated},
		{"a part of a name", []grpcauth.Option{grpcauth.Except("orders", "orders.v1", "orders.v1.Orders/", "Ping", "")}, codes.Unauthenticated, codes.Unauthenticated, codes.Unauthenticated, codes.Unauthenticated},
	}
	for _, tt := range tests {
		conn := guarded(t, v, tt.options...).dial(t)
		_, err := healthpb.NewHealthClient(conn).Check(t.Context(), &healthpb.HealthCheckRequest{})
		assert.Equal(t, tt.health, status.Code(err), tt.name)
		assert.Equal(t, tt.reflection, status.Code(reflect(t, conn)), tt.name)
		who, err := call(t.Context(), conn, "Ping")
		assert.Equal(t, tt.ping, status.Code(err), tt.name)
		assert.Contains(t, []string{"", "nobody"}, who, tt.name)
		_, err = stream(t.Context(), conn)
		if !errors.Is(err, io.EOF) {
			assert.Equal(t, tt.watch, status.Code(err), tt.name)
		} else {
			assert.Equal(t, tt.watch, codes.OK, tt.name)
		}
		_, err = call(t.Context(), conn, "Who")
		assert.Equal(t, tt.watch, status.Code(err), tt.name)
	}
	assert.ErrorIs(t, given.take(), session.NotFound)
}

// reflect asks a server which services it has.
func reflect(t *testing.T, conn *grpc.ClientConn) error {
	client, err := reflectionpb.NewServerReflectionClient(conn).ServerReflectionInfo(t.Context())
	require.NoError(t, err)
	ask := &reflectionpb.ServerReflectionRequest{MessageRequest: &reflectionpb.ServerReflectionRequest_ListServices{}}
	if err := client.Send(ask); err != nil {
		require.ErrorIs(t, err, io.EOF, "refused already; Recv has the status")
	}
	_, err = client.Recv()
	return err
}

// The challenge is the one that an HTTP client would get.
func TestChallenge(t *testing.T) {
	s := newShop(t)
	v, _ := s.verifier(t, nil)
	conn := guarded(t, v).dial(t)
	for entry, want := range map[string][]string{
		"":         {"Bearer"},
		"Bearer x": {`Bearer error="invalid_token"`},
		"Bearer " + s.bearer(t, "alice", "orders"): nil,
	} {
		ctx := t.Context()
		if entry != "" {
			ctx = metadata.AppendToOutgoingContext(ctx, "authorization", entry)
		}
		var unary, watching metadata.MD
		_, _ = call(ctx, conn, "Who", grpc.Trailer(&unary))
		_, _ = stream(ctx, conn, grpc.Trailer(&watching))
		assert.Equal(t, want, unary.Get("www-authenticate"))
		assert.Equal(t, want, watching.Get("www-authenticate"))
	}
}

// A login that is too old, or too weak, is refused like a bad token; the
// challenge says which login would do (RFC 9470).
func TestStepUp(t *testing.T) {
	s := newShop(t)
	v, given := s.verifier(t, func(c *token.VerifierConfig) { c.MaxAuthAge, c.ACR = time.Minute, []string{"gold"} })
	conn := guarded(t, v).dial(t, grpc.WithPerRPCCredentials(s.credentials(t, "orders")))
	var trailer metadata.MD
	_, err := call(as(t.Context(), "alice"), conn, "Who", grpc.Trailer(&trailer))
	require.Equal(t, codes.Unauthenticated, status.Code(err))
	require.Equal(t, []string{`Bearer error="insufficient_user_authentication", max_age="60", acr_values="gold"`},
		trailer.Get("www-authenticate"))
	require.ErrorIs(t, given.take(), token.ErrInsufficientAuthentication)
}

// AuthFunc needs no server around it.
func TestAuthFuncAlone(t *testing.T) {
	s := newShop(t)
	v, _ := s.verifier(t, nil)
	_, err := grpcauth.AuthFunc(v)(t.Context())
	require.Equal(t, codes.Unauthenticated, status.Code(err))
	ctx, err := grpcauth.AuthFunc(v)(metadata.NewIncomingContext(t.Context(),
		metadata.Pairs("authorization", "Bearer "+s.bearer(t, "alice", "orders"))))
	require.NoError(t, err)
	caller, ok := token.CallerFrom(ctx)
	require.True(t, ok)
	require.Equal(t, "alice", caller.Subject)
}

// A server that was given no Verifier must not start.
func TestNoVerifier(t *testing.T) {
	assert.Panics(t, func() { grpcauth.AuthFunc(nil) })
	assert.Panics(t, func() { grpcauth.UnaryServerInterceptor(nil) })
	assert.Panics(t, func() { grpcauth.StreamServerInterceptor(nil) })
}
