package grpcauth

import (
	"context"
	"errors"
	"fmt"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/status"

	"github.com/cloakroom-go/cloakroom/session"
	"github.com/cloakroom-go/cloakroom/token"
)

// PerRPCCredentials returns credentials that tell the service called audience
// which subject a call is for: the one of the session in the call's context.
// Give them to grpc.WithPerRPCCredentials, or grpc.PerRPCCredentials for one
// call, and make calls with the context of the incoming request. They travel
// only over connections that are encrypted and authenticated: grpc.NewClient
// fails without TLS. An audience that is the one of session tokens is an error
// (token.IssuerConfig.SessionAudience).
//
// A call fails with codes.Unauthenticated if nobody is logged in, or the
// session is over (see token.Issuer.Issue), and with codes.Unavailable if no
// token can be made now.
func PerRPCCredentials(issuer *token.Issuer, audience string) (credentials.PerRPCCredentials, error) {
	// A Transport needs an Issuer and an audience as good as ours.
	needs := token.TransportConfig{Issuer: issuer, Audience: audience, Origin: "https://grpc.invalid"}
	if _, err := token.NewTransport(needs); err != nil {
		return nil, fmt.Errorf("grpcauth: %w", err)
	}
	return &perRPC{issuer, audience}, nil
}

type perRPC struct {
	issuer   *token.Issuer
	audience string
}

// RequireTransportSecurity implements credentials.PerRPCCredentials.
func (*perRPC) RequireTransportSecurity() bool { return true }

// GetRequestMetadata implements credentials.PerRPCCredentials.
func (p *perRPC) GetRequestMetadata(ctx context.Context, _ ...string) (map[string]string, error) {
	s := session.From(ctx)
	if s.Subject() == "" {
		return nil, status.Error(codes.Unauthenticated, "grpcauth: nobody is logged in, or the context is not the one of "+
			"a request through the session middleware")
	}
	bearer, err := p.issuer.Issue(ctx, s, p.audience)
	if err != nil {
		return nil, failed(err)
	}
	return map[string]string{"authorization": "Bearer " + bearer}, nil
}

// failed returns the status of a call for which there is no token. Codes such
// as InvalidArgument would look like the service's own answer, so gRPC refuses
// them here (gRFC A54).
func failed(err error) error {
	switch {
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return status.FromContextError(err).Err()
	case errors.Is(err, session.Ended):
		return status.Error(codes.Unauthenticated, err.Error())
	case errors.Is(err, session.Unavailable):
		return status.Error(codes.Unavailable, err.Error())
	}
	return status.Error(codes.Internal, err.Error())
}
