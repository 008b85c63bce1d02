package otelcloakroom

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/cloakroom-go/cloakroom/config"
)

// Watch implements config.Observer. It reports the figures of the App whenever
// metrics are collected, until stop is called.
func (o *Observer) Watch(stats func() config.Stats) (stop func(), err error) {
	if o.watching.Swap(true) {
		return nil, errors.New("otelcloakroom: this Observer watches another App already; make one for each with New")
	}
	f := newFigures(o.meter)
	observe := func(_ context.Context, to metric.Observer) error {
		f.observe(to, stats(), time.Now())
		return nil
	}
	registration, err := o.meter.RegisterCallback(observe, f.all...)
	if err = errors.Join(append(f.errs, err)...); err != nil {
		o.watching.Store(false)
		return nil, fmt.Errorf("otelcloakroom: can't make the instruments: %w", err)
	}
	return func() {
		_ = registration.Unregister()
		o.watching.Store(false)
	}, nil
}

// figures are the instruments that show config.Stats.
type figures struct {
	meter metric.Meter
	all   []metric.Observable
	errs  []error

	staleness, clockOffset, timeToRotation metric.Float64ObservableGauge
	entries, items, bytes                  metric.Int64ObservableUpDownCounter
	appends, losses, reloads               metric.Int64ObservableCounter
}

func newFigures(m metric.Meter) *figures {
	f := &figures{meter: m}
	f.staleness = f.gauge("cloakroom.revocation.staleness",
		"Age of the knowledge of what has ended on other instances; 0 if this instance shares no log.")
	f.clockOffset = f.gauge("cloakroom.revocation.clock_offset",
		"How far the clock of the log's server is ahead of this one, or behind if negative.")
	f.entries = f.upDown("cloakroom.revocation.entry.count", "{entry}",
		"Entries of the list of what has ended.")
	f.appends = f.counter("cloakroom.revocation.append", "{append}",
		"Calls that told other instances what has ended.")
	f.losses = f.counter("cloakroom.revocation.loss", "{loss}",
		"How often the log had forgotten entries, and got them again.")
	f.reloads = f.counter("cloakroom.key.reload", "{reload}",
		"How often the key file was read again.")
	f.timeToRotation = f.gauge("cloakroom.key.time_to_rotation",
		"Time until the next key begins to sign or encrypt; absent if no key waits for that.")
	f.items = f.upDown("cloakroom.memory.item.count", "{item}",
		"Sessions in the memory of this process, with the notes on some that have ended or moved.")
	f.bytes = f.upDown("cloakroom.memory.size", "By",
		"Memory that these sessions and notes take.")
	return f
}

// observe reports s.
func (f *figures) observe(to metric.Observer, s config.Stats, now time.Time) {
	failed := metric.WithAttributes(errorType.String("_OTHER"))
	ofType := func(name string) metric.ObserveOption {
		return metric.WithAttributeSet(attribute.NewSet(entryType.String(name)))
	}
	to.ObserveFloat64(f.staleness, s.Revocations.Staleness.Seconds())
	to.ObserveFloat64(f.clockOffset, s.Revocations.ClockOffset.Seconds())
	to.ObserveInt64(f.entries, int64(s.Revocations.Sessions), ofType("session"))
	to.ObserveInt64(f.entries, int64(s.Revocations.Subjects), ofType("subject"))
	to.ObserveInt64(f.appends, int64(s.Revocations.Appends))
	to.ObserveInt64(f.appends, int64(s.Revocations.FailedAppends), failed)
	to.ObserveInt64(f.losses, int64(s.Revocations.Losses))
	to.ObserveInt64(f.reloads, int64(s.Keys.Reloads))
	to.ObserveInt64(f.reloads, int64(s.Keys.FailedReloads), failed)
	if !s.Keys.NextAt.IsZero() {
		to.ObserveFloat64(f.timeToRotation, s.Keys.NextAt.Sub(now).Seconds())
	}
	to.ObserveInt64(f.items, int64(s.StoredItems))
	to.ObserveInt64(f.bytes, s.StoredBytes)
}

// gauge makes a gauge of seconds.
func (f *figures) gauge(name, description string) metric.Float64ObservableGauge {
	g, err := f.meter.Float64ObservableGauge(name, metric.WithUnit("s"), metric.WithDescription(description))
	f.made(g, err)
	return g
}

// upDown makes an instrument for a sum that rises and falls.
func (f *figures) upDown(name, unit, description string) metric.Int64ObservableUpDownCounter {
	c, err := f.meter.Int64ObservableUpDownCounter(name, metric.WithUnit(unit), metric.WithDescription(description))
	f.made(c, err)
	return c
}

// counter makes an instrument for a sum that only rises.
func (f *figures) counter(name, unit, description string) metric.Int64ObservableCounter {
	c, err := f.meter.Int64ObservableCounter(name, metric.WithUnit(unit), metric.WithDescription(description))
	f.made(c, err)
	return c
}

func (f *figures) made(instrument metric.Observable, err error) {
	f.all, f.errs = append(f.all, instrument), append(f.errs, err)
}
