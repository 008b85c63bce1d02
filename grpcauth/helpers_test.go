package grpcauth_test

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/reflection"
	"google.golang.org/grpc/test/bufconn"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/cloakroom-go/cloakroom/grpcauth"
	"github.com/cloakroom-go/cloakroom/keys"
	"github.com/cloakroom-go/cloakroom/session"
	"github.com/cloakroom-go/cloakroom/sessiontest"
	"github.com/cloakroom-go/cloakroom/token"
)

const issuerName = "https://shop.example"

// A shop is an application, and what its services need to verify its tokens.
type shop struct {
	ring   *keys.Ring
	issuer *token.Issuer
}

func newShop(t testing.TB) *shop {
	t.Helper()
	key, err := keys.Generate(keys.ES256, keys.Dates{})
	require.NoError(t, err)
	ring, err := keys.NewRing(key)
	require.NoError(t, err)
	issuer, err := token.NewIssuer(token.IssuerConfig{Ring: ring, Issuer: issuerName})
	require.NoError(t, err)
	return &shop{ring, issuer}
}

// verifier returns the Verifier of the service called orders, and the reasons
// that it gives.
func (s *shop) verifier(t testing.TB, change func(*token.VerifierConfig)) (*token.Verifier, *reasons) {
	t.Helper()
	given := &reasons{}
	c := token.VerifierConfig{Keys: s.ring, Issuer: issuerName, Audience: "orders",
		OnRefused: func(_ context.Context, err error) { given.add(err) }}
	if change != nil {
		change(&c)
	}
	v, err := token.NewVerifier(c)
	require.NoError(t, err)
	return v, given
}

// credentials returns those of an application that calls audience.
func (s *shop) credentials(t testing.TB, audience string) credentials.PerRPCCredentials {
	t.Helper()
	c, err := grpcauth.PerRPCCredentials(s.issuer, audience)
	require.NoError(t, err)
	return c
}

// bearer returns a token of subject for audience.
func (s *shop) bearer(t testing.TB, subject, audience string) string {
	t.Helper()
	ctx := as(t.Context(), subject)
	bearer, err := s.issuer.Issue(ctx, session.From(ctx), audience)
	require.NoError(t, err)
	return bearer
}

// as returns the context of a request whose session subject is logged in to.
func as(ctx context.Context, subject string) context.Context {
	r := httptest.NewRequestWithContext(ctx, http.MethodGet, "/", nil)
	return sessiontest.Request(r, sessiontest.Session{ID: "of-" + subject, Subject: subject}).Context()
}

// reasons collects why calls were refused.
type reasons struct {
	mu  sync.Mutex
	all []error
}

func (r *reasons) add(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.all = append(r.all, err)
}

// take returns the reasons since the last call.
func (r *reasons) take() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := r.all
	r.all = nil
	return errors.Join(all...)
}

// A service listens in memory, with TLS.
type service struct {
	listener *bufconn.Listener
	tls      *tls.Config   // of a client
	seen     chan []string // the authorization entries of calls that reached a handler
}

// serve starts a service with the handlers of orders, health and reflection.
func serve(t testing.TB, interceptors ...grpc.ServerOption) *service {
	t.Helper()
	serverTLS, clientTLS := certificates()
	s := &service{listener: bufconn.Listen(1 << 16), tls: clientTLS, seen: make(chan []string, 100)}
	server := grpc.NewServer(append(interceptors,
		grpc.Creds(credentials.NewTLS(serverTLS)))...)
	server.RegisterService(&orders, s)
	healthpb.RegisterHealthServer(server, health.NewServer())
	reflection.Register(server)
	done := make(chan error, 1)
	go func() { done <- server.Serve(s.listener) }()
	t.Cleanup(func() {
		server.Stop()
		require.NoError(t, <-done)
	})
	return s
}

// guarded starts a service whose calls v checks.
func guarded(t testing.TB, v *token.Verifier, options ...grpcauth.Option) *service {
	return serve(t, grpc.ChainUnaryInterceptor(grpcauth.UnaryServerInterceptor(v, options...)),
		grpc.ChainStreamInterceptor(grpcauth.StreamServerInterceptor(v, options...)))
}

// dial returns a connection over TLS.
func (s *service) dial(t testing.TB, options ...grpc.DialOption) *grpc.ClientConn {
	t.Helper()
	conn, err := grpc.NewClient("passthrough:///example.com", append(options,
		grpc.WithTransportCredentials(credentials.NewTLS(s.tls)), s.dialer())...)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, conn.Close()) })
	return conn
}

func (s *service) dialer() grpc.DialOption {
	return grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) {
		return s.listener.DialContext(ctx)
	})
}

// orders has a unary method and a stream that both answer with the caller.
var orders = grpc.ServiceDesc{
	ServiceName: "orders.v1.Orders",
	HandlerType: (*any)(nil),
	Methods: []grpc.MethodDesc{
		{MethodName: "Who", Handler: who},
		{MethodName: "Ping", Handler: who},
	},
	Streams: []grpc.StreamDesc{{StreamName: "Watch", Handler: watch, ServerStreams: true}},
}

func who(srv any, ctx context.Context, decode func(any) error, interceptor grpc.UnaryServerInterceptor) (any, error) {
	in := new(emptypb.Empty)
	if err := decode(in); err != nil {
		return nil, err
	}
	method, _ := grpc.Method(ctx)
	info := &grpc.UnaryServerInfo{Server: srv, FullMethod: method}
	return interceptor(ctx, in, info, func(ctx context.Context, _ any) (any, error) {
		return srv.(*service).answer(ctx), nil
	})
}

func watch(srv any, stream grpc.ServerStream) error {
	for range 2 {
		if err := stream.SendMsg(srv.(*service).answer(stream.Context())); err != nil {
			return err
		}
	}
	return nil
}

// answer says who calls.
func (s *service) answer(ctx context.Context) *wrapperspb.StringValue {
	s.seen <- metadata.ValueFromIncomingContext(ctx, "authorization")
	if caller, ok := token.CallerFrom(ctx); ok {
		return wrapperspb.String(caller.Subject)
	}
	return wrapperspb.String("nobody")
}

// call calls a unary method of orders, and returns who the service thinks it
// was.
func call(ctx context.Context, conn *grpc.ClientConn, method string, options ...grpc.CallOption) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	out := new(wrapperspb.StringValue)
	err := conn.Invoke(ctx, "/orders.v1.Orders/"+method, &emptypb.Empty{}, out, options...)
	return out.GetValue(), err
}

// stream reads all answers of a stream of orders.
func stream(ctx context.Context, conn *grpc.ClientConn, options ...grpc.CallOption) (callers []string, err error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	s, err := conn.NewStream(ctx, &orders.Streams[0], "/orders.v1.Orders/Watch", options...)
	if err != nil {
		return nil, err
	}
	if err := errors.Join(s.SendMsg(&emptypb.Empty{}), s.CloseSend()); err != nil && !errors.Is(err, io.EOF) {
		return nil, err // io.EOF: refused already; RecvMsg has the status
	}
	for {
		out := new(wrapperspb.StringValue)
		if err := s.RecvMsg(out); err != nil {
			return callers, err
		}
		callers = append(callers, out.GetValue())
	}
}
