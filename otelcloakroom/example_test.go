package otelcloakroom_test

import (
	"fmt"
	"io"
	"log"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"

	client "github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.opentelemetry.io/otel/exporters/prometheus"
	"go.opentelemetry.io/otel/sdk/metric"

	"github.com/cloakroom-go/cloakroom/config"
	"github.com/cloakroom-go/cloakroom/otelcloakroom"
	"github.com/cloakroom-go/cloakroom/session"
)

// Prometheus gets the metrics from OpenTelemetry's exporter.
func Example_prometheus() {
	registry := client.NewRegistry() // or the default one, if you leave out WithRegisterer
	exporter, err := prometheus.New(prometheus.WithRegisterer(registry), prometheus.WithoutScopeInfo())
	if err != nil {
		log.Fatal(err)
	}
	provider := metric.NewMeterProvider(metric.WithReader(exporter))
	observer, err := otelcloakroom.New(otelcloakroom.Config{MeterProvider: provider})
	if err != nil {
		log.Fatal(err)
	}
	app, err := config.Config{Mode: config.Opaque}.Build(config.Options{
		Observer: observer, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		log.Fatal(err)
	}
	defer app.Close()

	login := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := session.From(r.Context()).Login("alice"); err != nil {
			http.Error(w, "sorry", http.StatusInternalServerError)
		}
	})
	mux := http.NewServeMux()
	mux.Handle("/login", app.Middleware.Handler(login))
	mux.Handle("/metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{})) // outside of the middleware

	mux.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/login", nil))
	w := httptest.NewRecorder()
	mux.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	text, _ := io.ReadAll(w.Body)
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(line, "cloakroom_session_event_total") || strings.HasPrefix(line, "cloakroom_memory_item") {
			fmt.Print(line)
		}
	}
	// Output:
	// cloakroom_memory_item_count 1
	// cloakroom_session_event_total{cloakroom_event_kind="created"} 1
}
