package introspect_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/cloakroom-go/cloakroom/internal/apptest"
	"github.com/cloakroom-go/cloakroom/introspect"
)

// BenchmarkHandler is one question, without the network. Strangers get 401.
func BenchmarkHandler(b *testing.B) {
	d := newDesk(b, "auto", func(c *introspect.HandlerConfig) { c.OnRefused = nil })
	token := apptest.Begin(b, d.m, "alice")
	rows := map[string]string{
		"service token": d.serviceToken(b, token, "orders"), "session in a token": token,
		"session in the store": apptest.Begin(b, d.Middleware(b, "opaque"), "bob"), "unknown": apptest.UnknownID(),
		"huge": strings.Repeat("a.", 20_000),
	}
	for name, credential := range rows {
		b.Run(name, func(b *testing.B) { ask(b, d.handler, ordersSecret, credential) })
	}
	b.Run("stranger", func(b *testing.B) { ask(b, d.handler, stockSecret, token) })
}

func ask(b *testing.B, h http.Handler, secret, credential string) {
	b.ReportAllocs()
	for b.Loop() {
		h.ServeHTTP(httptest.NewRecorder(), request("orders", secret, credential))
	}
}

// BenchmarkClient is a token that was asked about a moment ago, and one that
// wasn't, without the network.
func BenchmarkClient(b *testing.B) {
	client, _ := newClient(b, says(http.StatusOK, "application/json", `{"active":true,"sub":"alice","aud":"orders"}`))
	b.Run("known", func(b *testing.B) {
		for b.Loop() {
			_, _ = client.Introspect(b.Context(), "x")
		}
	})
	n := 0
	b.Run("new", func(b *testing.B) {
		for b.Loop() {
			n++
			_, _ = client.Introspect(b.Context(), fmt.Sprint(n))
		}
	})
}
