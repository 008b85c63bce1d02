package otelcloakroom

import (
	"context"
	"errors"
	"fmt"

	"go.opentelemetry.io/otel/metric"

	"github.com/cloakroom-go/cloakroom/revocation"
)

// WatchRemote reports what a service knows of the sessions that have ended in
// an application: the figures of r, whenever metrics are collected, until stop
// is called. Several Remotes of one process need MeterProviders that tell them
// apart, as Observers do.
func WatchRemote(c Config, r *revocation.Remote) (stop func(), err error) {
	f := &figures{meter: c.meter()}
	staleness := f.gauge("cloakroom.remote.staleness",
		"In a service: age of the knowledge of what has ended in the application.")
	entries := f.upDown("cloakroom.remote.entry.count", "{entry}",
		"In a service: ends of sessions in the application that are known.")
	fetches := f.counter("cloakroom.remote.fetch", "{fetch}",
		"In a service: how often it asked the application what has ended.")
	observe := func(_ context.Context, to metric.Observer) error {
		s := r.Stats()
		to.ObserveFloat64(staleness, s.Staleness.Seconds())
		to.ObserveInt64(entries, int64(s.Entries))
		to.ObserveInt64(fetches, int64(s.Fetches-s.Failures))
		to.ObserveInt64(fetches, int64(s.Failures), metric.WithAttributes(errorType.String("_OTHER")))
		return nil
	}
	registration, err := f.meter.RegisterCallback(observe, f.all...)
	if err = errors.Join(append(f.errs, err)...); err != nil {
		return nil, fmt.Errorf("otelcloakroom: can't make the instruments: %w", err)
	}
	return func() { _ = registration.Unregister() }, nil
}
