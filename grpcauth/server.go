// Package grpcauth lets gRPC services know which user a call is for.
//
// A service gives its server the interceptors, and its handlers ask
// token.CallerFrom who calls:
//
//	verifier, err := token.NewVerifier(token.VerifierConfig{…})
//	…
//	public := grpcauth.HealthAndReflection()
//	server := grpc.NewServer(
//		grpc.Creds(credentials.NewTLS(…)),
//		grpc.ChainUnaryInterceptor(grpcauth.UnaryServerInterceptor(verifier, public)),
//		grpc.ChainStreamInterceptor(grpcauth.StreamServerInterceptor(verifier, public)),
//	)
//
// Use both: a server with only one of them lets every call of the other kind
// pass. An application that calls such a service gives its connection
// [PerRPCCredentials].
//
// A call without exactly one authorization entry, of scheme Bearer, with a good
// service token is refused with codes.Unauthenticated, and with
// codes.Unavailable if it could not be decided. The reason goes to
// VerifierConfig.OnRefused; the client gets the same text for each reason. If
// the user must log in again (RFC 9470), the trailer www-authenticate says how,
// as in HTTP.
//
// A stream is checked only when it begins. If it may outlive its token, the
// handler must end it, for example at Caller.ExpiresAt.
package grpcauth

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/cloakroom-go/cloakroom/token"
)

// An Option changes what the interceptors of a server let pass.
type Option func(*options)

type options struct{ public []string }

// Except lets calls of the services and methods called names pass without a
// token: names are as in "grpc.health.v1.Health", for all methods of the
// service, and "orders.v1.Orders/Ping". No token is looked at there, so
// token.CallerFrom finds no caller even if the call has one.
func Except(names ...string) Option {
	return func(o *options) { o.public = append(o.public, names...) }
}

// HealthAndReflection lets probes ask whether the server works, and tools such
// as grpcurl which services it has. Reflection shows the API to everybody who
// reaches the server; Except("grpc.health.v1.Health") is for health alone.
func HealthAndReflection() Option {
	return Except("grpc.health.v1.Health", "grpc.reflection.v1.ServerReflection",
		"grpc.reflection.v1alpha.ServerReflection")
}

// isPublic reports whether calls of fullMethod, such as
// "/orders.v1.Orders/Ping", pass without a token.
func (o options) isPublic(fullMethod string) bool {
	method := strings.TrimPrefix(fullMethod, "/")
	service, _, _ := strings.Cut(method, "/")
	return slices.Contains(o.public, service) || slices.Contains(o.public, method)
}

func collect(all []Option) options {
	var o options
	for _, option := range all {
		option(&o)
	}
	return o
}

// UnaryServerInterceptor lets v check each call before its handler. The context
// of the handler has the caller. It panics if v is nil.
func UnaryServerInterceptor(v *token.Verifier, exceptions ...Option) grpc.UnaryServerInterceptor {
	check, o := AuthFunc(v), collect(exceptions)
	return func(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
		if o.isPublic(info.FullMethod) {
			return handler(ctx, req)
		}
		ctx, err := check(ctx)
		if err != nil {
			return nil, err
		}
		return handler(ctx, req)
	}
}

// StreamServerInterceptor lets v check each stream when it begins. The context
// of the stream has the caller. It panics if v is nil.
func StreamServerInterceptor(v *token.Verifier, exceptions ...Option) grpc.StreamServerInterceptor {
	check, o := AuthFunc(v), collect(exceptions)
	return func(srv any, stream grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
		if o.isPublic(info.FullMethod) {
			return handler(srv, stream)
		}
		ctx, err := check(stream.Context())
		if err != nil {
			return err
		}
		return handler(srv, callerStream{stream, ctx})
	}
}

// A callerStream is a stream whose context has the caller.
type callerStream struct {
	grpc.ServerStream
	ctx context.Context
}

func (s callerStream) Context() context.Context { return s.ctx }

// AuthFunc returns an auth.AuthFunc for the interceptors of
// github.com/grpc-ecosystem/go-grpc-middleware/v2/interceptors/auth, to use in
// place of those here. It has no options: leave out services with that
// library's selector. It panics if v is nil.
func AuthFunc(v *token.Verifier) func(ctx context.Context) (context.Context, error) {
	if v == nil {
		panic("grpcauth: the Verifier is nil: token.NewVerifier makes one")
	}
	return func(ctx context.Context) (context.Context, error) { return check(ctx, v) }
}

// check gives v the metadata of a call as the header of an HTTP request, which
// they are (RFC 9113, Section 8.3). So both have the same rules, the same
// challenge, and the same OnRefused.
func check(ctx context.Context, v *token.Verifier) (context.Context, error) {
	header := http.Header{}
	if entries := metadata.ValueFromIncomingContext(ctx, "authorization"); len(entries) > 0 {
		header["Authorization"] = entries
	}
	r := &http.Request{Method: http.MethodPost, URL: &url.URL{Path: "/"}, Header: header}
	answer, accepted := &answer{header: http.Header{}}, context.Context(nil)
	v.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		accepted = r.Context()
	})).ServeHTTP(answer, r.WithContext(ctx))
	if accepted != nil {
		return accepted, nil
	}
	if challenge := answer.header.Get("WWW-Authenticate"); challenge != "" {
		// Without a trailer, where ctx is not a server's, the status says enough.
		_ = grpc.SetTrailer(ctx, metadata.Pairs("www-authenticate", challenge))
	}
	if answer.status == http.StatusServiceUnavailable {
		return nil, status.Error(codes.Unavailable, "can't check the caller now; try again later")
	}
	return nil, status.Error(codes.Unauthenticated, "the call has no valid service token")
}

// An answer keeps what the Verifier would tell a client over HTTP.
type answer struct {
	header http.Header
	status int
}

func (a *answer) Header() http.Header            { return a.header }
func (a *answer) Write(text []byte) (int, error) { return len(text), nil }
func (a *answer) WriteHeader(status int)         { a.status = status }
