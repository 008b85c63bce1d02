package grpcauth_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log"
	"net"
	"net/http"
	"net/http/httptest"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/cloakroom-go/cloakroom/grpcauth"
	"github.com/cloakroom-go/cloakroom/keys"
	"github.com/cloakroom-go/cloakroom/sessiontest"
	"github.com/cloakroom-go/cloakroom/token"
)

// A service whose handlers know the caller, and an application that calls it
// for its users.
func Example() {
	ring := must(keys.NewRing(must(keys.Generate(keys.ES256, keys.Dates{}))))
	serverTLS, clientTLS := certificates()

	// The service. In a process of its own it has a keys.Remote, not a ring.
	verifier := must(token.NewVerifier(token.VerifierConfig{
		Keys: ring, Issuer: "https://shop.example", Audience: "orders",
	}))
	public := grpcauth.HealthAndReflection()
	server := grpc.NewServer(
		grpc.Creds(credentials.NewTLS(serverTLS)),
		grpc.ChainUnaryInterceptor(grpcauth.UnaryServerInterceptor(verifier, public)),
		grpc.ChainStreamInterceptor(grpcauth.StreamServerInterceptor(verifier, public)),
	)
	server.RegisterService(&greeter, nil) // its handler is greet, below
	listener := must(net.Listen("tcp", "127.0.0.1:0"))
	go server.Serve(listener)
	defer server.Stop()

	// The application. Usually config.App.Issuer is the Issuer.
	issuer := must(token.NewIssuer(token.IssuerConfig{Ring: ring, Issuer: "https://shop.example"}))
	conn := must(grpc.NewClient(listener.Addr().String(),
		grpc.WithPerRPCCredentials(must(grpcauth.PerRPCCredentials(issuer, "orders"))),
		grpc.WithTransportCredentials(credentials.NewTLS(clientTLS))))
	defer conn.Close()
	handler := func(r *http.Request) {
		greeting := new(wrapperspb.StringValue)
		err := conn.Invoke(r.Context(), "/shop.v1.Greeter/Greet", &emptypb.Empty{}, greeting)
		fmt.Println(greeting.GetValue(), status.Code(err))
	}

	// A request with a session, as the middleware has it, and one without.
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	handler(sessiontest.Request(r, sessiontest.Session{Subject: "alice"}))
	handler(r)
	// Output:
	// hello alice OK
	//  Unauthenticated
}

// greet is a handler of the service.
func greet(ctx context.Context) *wrapperspb.StringValue {
	caller, _ := token.CallerFrom(ctx)
	return wrapperspb.String("hello " + caller.Subject)
}

// must is for examples: programs handle errors.
func must[T any](v T, err error) T {
	if err != nil {
		log.Fatal(err)
	}
	return v
}

// certificates returns the settings of a server and of a client that trusts it.
func certificates() (server, client *tls.Config) {
	lent := httptest.NewTLSServer(nil)
	defer lent.Close()
	roots := x509.NewCertPool()
	roots.AddCert(lent.Certificate())
	return &tls.Config{Certificates: lent.TLS.Certificates}, &tls.Config{RootCAs: roots}
}

// greeter is what protoc would write.
var greeter = grpc.ServiceDesc{
	ServiceName: "shop.v1.Greeter",
	HandlerType: (*any)(nil),
	Methods: []grpc.MethodDesc{{MethodName: "Greet", Handler: func(_ any, ctx context.Context, decode func(any) error,
		interceptor grpc.UnaryServerInterceptor,
	) (any, error) {
		in := new(emptypb.Empty)
		if err := decode(in); err != nil {
			return nil, err
		}
		info := &grpc.UnaryServerInfo{FullMethod: "/shop.v1.Greeter/Greet"}
		return interceptor(ctx, in, info, func(ctx context.Context, _ any) (any, error) {
			return greet(ctx), nil
		})
	}}},
}
