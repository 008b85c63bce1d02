// Package otelcloakroom reports what sessions do as metrics of OpenTelemetry.
//
// Give [New]'s Observer to config.Options:
//
//	observer, err := otelcloakroom.New(otelcloakroom.Config{})
//	…
//	app, err := c.Build(config.Options{Observer: observer})
//
// [WatchRemote] is for services that ask an application what has ended.
//
// docs/observability.md lists the metrics. None of them has a session, a
// subject, an address or a path as an attribute, so there are at most a few
// hundred combinations of attributes.
//
// For Prometheus, let OpenTelemetry's exporter answer its requests. It is a
// module of its own:
//
//	import "go.opentelemetry.io/otel/exporters/prometheus"
//	import "go.opentelemetry.io/otel/sdk/metric"
//
//	exporter, err := prometheus.New()
//	…
//	provider := metric.NewMeterProvider(metric.WithReader(exporter))
//	observer, err := otelcloakroom.New(otelcloakroom.Config{MeterProvider: provider})
//	…
//	http.Handle("/metrics", promhttp.Handler()) // outside of the middleware
package otelcloakroom

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/cloakroom-go/cloakroom/config"
	"github.com/cloakroom-go/cloakroom/middleware"
	"github.com/cloakroom-go/cloakroom/session"
)

// The attributes. Each has only the few values that docs/observability.md
// lists.
const (
	eventKind     = attribute.Key("cloakroom.event.kind")
	eventReason   = attribute.Key("cloakroom.event.reason")
	operationName = attribute.Key("cloakroom.operation.name")
	sessionForm   = attribute.Key("cloakroom.session.form")
	entryType     = attribute.Key("cloakroom.revocation.entry.type")
	errorType     = attribute.Key("error.type") // of OpenTelemetry's semantic conventions
)

// Config configures an [Observer].
type Config struct {
	_ [0]func() // no unkeyed literals, no comparison

	// MeterProvider makes the instruments. If nil, the global one does.
	MeterProvider metric.MeterProvider
}

// An Observer reports what one config.App does. It implements config.Observer.
// Make one with [New].
type Observer struct {
	meter     metric.Meter
	events    metric.Int64Counter
	duration  metric.Float64Histogram
	conflicts metric.Int64Counter
	succeeded map[call][]metric.RecordOption // the attributes of operations that succeed, which are most
	watching  atomic.Bool                    // an App
}

// A call is what an operation was.
type call struct{ name, form string }

var _ config.Observer = (*Observer)(nil)

// New returns an Observer. Each App needs one of its own. Two Apps of one
// process need MeterProviders that tell them apart by their resources, because
// the figures of one would replace those of the other.
func New(c Config) (*Observer, error) {
	o := &Observer{
		meter:     c.meter(),
		succeeded: make(map[call][]metric.RecordOption),
	}
	for _, name := range [...]string{"open", "issue", "save", "retire", "forget", "end"} {
		for _, form := range [...]string{"stateless", "opaque"} {
			is := middleware.Operation{Name: name, Form: form}
			o.succeeded[call{name, form}] = []metric.RecordOption{attributesOf(is)}
		}
	}
	var errs [3]error
	o.events, errs[0] = o.meter.Int64Counter("cloakroom.session.event", metric.WithUnit("{event}"),
		metric.WithDescription("What happened to sessions."))
	o.duration, errs[1] = o.meter.Float64Histogram("cloakroom.session.operation.duration", metric.WithUnit("s"),
		metric.WithDescription("How long it took to open, make, save or end a session."),
		metric.WithExplicitBucketBoundaries(buckets()...))
	o.conflicts, errs[2] = o.meter.Int64Counter("cloakroom.session.conflict", metric.WithUnit("{conflict}"),
		metric.WithDescription("How often another request was faster, so that a change had to start again."))
	if err := errors.Join(errs[:]...); err != nil {
		return nil, fmt.Errorf("otelcloakroom: can't make the instruments: %w", err)
	}
	return o, nil
}

func (c Config) meter() metric.Meter {
	if c.MeterProvider == nil {
		c.MeterProvider = otel.GetMeterProvider()
	}
	return c.MeterProvider.Meter("github.com/cloakroom-go/cloakroom/otelcloakroom")
}

// buckets returns the bounds for durations, in seconds. A token is opened in
// tens of microseconds, a store on a server answers in some hundred, and a
// request waits for it for two seconds unless the configuration says otherwise.
func buckets() []float64 {
	return []float64{
		0.00001, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5,
	}
}

// Event implements config.Observer.
func (o *Observer) Event(ctx context.Context, e middleware.Event) {
	if !o.events.Enabled(ctx) {
		return
	}
	attributes := []attribute.KeyValue{eventKind.String(string(e.Kind))}
	if e.Reason != 0 {
		attributes = append(attributes, eventReason.String(e.Reason.String()))
	}
	o.events.Add(ctx, 1, metric.WithAttributeSet(attribute.NewSet(attributes...)))
}

// Operation implements config.Observer.
func (o *Observer) Operation(ctx context.Context, is middleware.Operation) {
	if is.Conflicts > 0 {
		o.conflicts.Add(ctx, int64(is.Conflicts), attributesOf(middleware.Operation{Name: is.Name, Form: is.Form}))
	}
	if !o.duration.Enabled(ctx) {
		return
	}
	options, ok := o.succeeded[call{is.Name, is.Form}]
	if !ok || is.Err != nil {
		options = []metric.RecordOption{attributesOf(is)}
	}
	o.duration.Record(ctx, is.Took.Seconds(), options...)
}

func attributesOf(is middleware.Operation) metric.MeasurementOption {
	all := []attribute.KeyValue{operationName.String(is.Name), sessionForm.String(is.Form)}
	if is.Err != nil {
		all = append(all, errorType.String(typeOf(is.Err)))
	}
	return metric.WithAttributeSet(attribute.NewSet(all...))
}

// typeOf returns the reason of err. It is no failure of a store that a client
// has gone away before its answer.
func typeOf(err error) string {
	if errors.Is(err, context.Canceled) {
		return "canceled"
	}
	return session.ReasonOf(err).String()
}
