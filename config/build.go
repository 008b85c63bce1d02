package config

import (
	"cmp"
	"context"
	"crypto"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math"
	"net/http"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/cloakroom-go/cloakroom/devices"
	"github.com/cloakroom-go/cloakroom/internal/durable"
	"github.com/cloakroom-go/cloakroom/internal/keyset"
	"github.com/cloakroom-go/cloakroom/keys"
	"github.com/cloakroom-go/cloakroom/middleware"
	"github.com/cloakroom-go/cloakroom/opaque"
	"github.com/cloakroom-go/cloakroom/revocation"
	"github.com/cloakroom-go/cloakroom/session"
	"github.com/cloakroom-go/cloakroom/token"
)

// Options is what an application adds to its [Config] in code. The zero Options
// are the defaults.
type Options struct {
	_ [0]func() // no unkeyed literals, no comparison

	// Store keeps the sessions that are not stateless. It outlives this process or
	// is shared with others. The application closes it, after the [App]. It can't
	// be combined with Config.Store.URL. If nil, the sessions are where that says,
	// by default in the memory of this process.
	Store opaque.Store

	// Stores open the store that Config.Store.URL names: one for each kind of
	// store that the operator may choose from. The modules of the stores have
	// functions that return one.
	Stores []opaque.Opener

	// Logger gets what an operator should know: for example, that the key file
	// could not be read again, or that the journal of revocations can't be
	// written. Unless OnEvent is set, it also gets what happens to sessions. If
	// nil, slog.Default().
	Logger *slog.Logger

	// OnEvent gets what happens to sessions, instead of the Logger.
	OnEvent func(ctx context.Context, event middleware.Event)

	// Observer turns what happens into metrics; package otelcloakroom has one for
	// OpenTelemetry and Prometheus. Each App needs one of its own. It gets the
	// same events as OnEvent or the Logger, after them. If nil, nothing is
	// measured; App.Stats has the figures all the same.
	Observer Observer

	// ErrorHandler answers the requests that the middleware denies, with 403, 409,
	// 500 or 503; see middleware.Config. If nil, they get the status as text.
	ErrorHandler func(w http.ResponseWriter, r *http.Request, status int, err error)

	// OnTimeout is called when a visitor comes back too late; see
	// middleware.Config.
	OnTimeout func(ctx context.Context, ended *session.Record, why session.Reason)

	// OnExpire is called with each session that times out in the memory of this
	// process. It is not called for stateless sessions, and can't be combined with
	// another store.
	OnExpire func(ended *session.Record)

	// ServiceClaims returns further claims of service tokens, such as roles or
	// acr; see token.IssuerConfig.Claims. If nil, they have none.
	ServiceClaims func(ctx context.Context, s *session.Session, audience string) (map[string]any, error)

	// Client returns what a list of devices is to show of the one that logs in;
	// see devices.Config. If nil, it shows neither user agent nor address. Client
	// and SessionLimit need Config.Devices.Enabled.
	Client func(*http.Request) (userAgent, address string)

	// SessionLimit returns how many sessions a subject may have at once, instead
	// of Config.Devices.Limit.
	SessionLimit func(subject string) int

	// Signers sign with the private keys that live in a KMS or an HSM; see
	// keys.File.
	Signers []crypto.Signer

	// CrossOrigin decides which unsafe requests from other origins are let
	// through. If nil, Config.CrossOrigin decides.
	CrossOrigin *http.CrossOriginProtection

	// Now is the clock. If nil, time.Now.
	Now func() time.Time
}

// An App is what a [Config] describes, ready for use. Make one with
// [Config.Build], and Close it when the server has shut down.
type App struct {
	// Middleware keeps the sessions.
	Middleware *middleware.Middleware

	// Keys are those of the key file, kept up to date. Without a key file there
	// are none, and Health reports that no key signs, which doesn't matter in mode
	// opaque.
	Keys *keys.Ring

	// Revocations ends all sessions of a subject (EndSubject), all except the one
	// of the request (EndOthers), or all sessions of everybody (EndAll).
	Revocations *revocation.List

	// Devices lists the sessions of a subject, and ends one. It is nil unless
	// Config.Devices.Enabled is set.
	Devices *devices.Registry

	// Store keeps the sessions that are not stateless; nil in mode stateless with
	// the default store.
	Store opaque.Store

	// Issuer makes service tokens. It is nil if Keys has no key for that: other
	// services can't verify with a symmetric key.
	Issuer *token.Issuer

	// Introspection answers other services who a credential belongs to (RFC 7662).
	// Ended tells them what has ended, for revocation.Remote. Both answer only the
	// services of Config.Services, and belong outside of the Middleware, at any
	// path. They are nil if there are no such services, and Ended is nil without
	// an Issuer.
	Introspection http.Handler
	Ended         http.Handler // see Introspection

	ready readiness
	now   func() time.Time
	close func() error
}

// Close stops the goroutines of the App and waits for them. It closes the
// journal, and the store unless that is Options.Store. A second Close does
// nothing.
func (a *App) Close() error {
	if a.close == nil {
		return nil
	}
	return a.close()
}

// Build opens the key file, the journal of revocations and the store that
// Config.Store.URL names, and makes the App.
// It reports every mistake at once: in c, in o and in the files. After an error
// the App is nil and nothing is left open.
func (c Config) Build(o Options) (*App, error) {
	b := c.builder(o)
	b.openKeys()
	b.openStore()
	b.openRevocations()
	b.makeDevices()
	b.makeMiddleware()
	b.makeIssuer()
	b.makeServices()
	b.observe()
	b.checkKeys()
	return b.finish()
}

func (c Config) builder(o Options) *builder {
	b := &builder{Config: c, o: o, life: c.policy(), errs: c.validate(fieldLabel)}
	b.app.now = b.now
	if b.o.Logger == nil {
		b.o.Logger = slog.Default()
	}
	if b.o.OnEvent == nil {
		b.o.OnEvent = middleware.LogEvents(b.o.Logger)
	}
	return b
}

// finish returns the App, or all mistakes.
func (b *builder) finish() (*App, error) {
	if len(b.errs) > 0 {
		return nil, errors.Join(append(b.errs, b.closeAll())...)
	}
	if b.file.Path != "" {
		b.watchKeys()
	}
	b.app.ready = b.readiness()
	b.app.close = sync.OnceValue(b.closeAll)
	return &b.app, nil
}

// A builder makes an App part by part. If a part fails, an empty one takes its
// place, so that mistakes in the other parts are found too.
type builder struct {
	Config
	o       Options
	app     App
	file    keys.File      // of app.Keys; its path is empty if there is none
	life    session.Policy // how long sessions live
	closers []func() error
	errs    []error

	readSecrets *secretsRead // nil until they are needed
}

func (b *builder) now() time.Time {
	if b.o.Now != nil {
		return b.o.Now()
	}
	return time.Now()
}

// fail notes each mistake in err, for the field that it is about. If a mistake
// names no field, it is about the one at path, or about several if path is "".
func (b *builder) fail(path string, err error) {
	b.errs = append(b.errs, report(fieldLabel, path, err)...)
}

// closeAll closes the parts, in the reverse order.
func (b *builder) closeAll() error {
	var errs []error
	for i := len(b.closers) - 1; i >= 0; i-- {
		errs = append(errs, b.closers[i]())
	}
	return errors.Join(errs...)
}

// writesTokens reports whether new sessions are, or can be, stateless.
func (b *builder) writesTokens() bool { return b.mode() == Stateless || b.mode() == Auto }

// acceptsTokens reports whether there can be stateless sessions.
func (b *builder) acceptsTokens() bool {
	return b.writesTokens() || b.Keys.File != "" && b.acceptsOther()
}

func (b *builder) acceptsOther() bool { return b.AcceptOtherForm == nil || *b.AcceptOtherForm }

// openRevocations opens the journal, and the log that comes with a store of
// several instances. The list is only in memory if the config says so, or if
// all sessions end with this process anyway.
func (b *builder) openRevocations() {
	longest := b.life.WithDefaults() // remembered sessions have the longest limits
	c := revocation.Config{
		Path:               b.journal(),
		Log:                b.log(),
		MaxStaleness:       b.maxStaleness(),
		InsecureServeStale: b.Revocations.InsecureServeStale,
		Wait:               max(0, time.Duration(b.Revocations.Wait)),
		Lifetime:           longest.RememberedLifetime,
		SingleInstance:     b.Revocations.SingleInstance,
		IdleTimeout:        longest.RememberedIdleTimeout,
		MaxEntries:         b.Revocations.MaxEntries,
		Skew:               b.skew(),
		OnProblem:          func(err error) { b.o.Logger.Error("the list of revocations needs attention", "error", err) },
		OnEnd:              b.allEnded,
		EndKept:            b.endKept(),
		Now:                b.o.Now,
	}
	if c.MaxEntries < minRevocations {
		c.MaxEntries = 0 // or it was reported
	}
	b.app.Revocations = revocation.NewVolatile(c)
	if b.Revocations.InsecureVolatile {
		return
	}
	if c.Path == "" && c.Log == nil {
		if b.o.Store != nil || b.Config.Store.URL.isServer() {
			b.fail("revocations.file", errors.New("is missing: the store outlives this process, "+
				"so what has ended must be remembered too; name a file, or set revocations.insecure_volatile"))
		}
		return
	}
	list, err := revocation.Open(c)
	if err != nil {
		b.fail("revocations.file", explainJournal(err))
		return
	}
	b.app.Revocations = list
	b.closers = append(b.closers, list.Close)
}

// allEnded reports that many sessions have ended.
func (b *builder) allEnded(ctx context.Context, of revocation.Ending, err error) {
	kind := middleware.EndedAll
	switch {
	case of.Subject != "":
		kind = middleware.EndedSubject
	case of.TagKind != "":
		kind = middleware.EndedTag
	}
	b.event(ctx, middleware.Event{
		Kind: kind, Time: b.now(), Subject: of.Subject, TagKind: of.TagKind, Reason: session.ReasonOf(err), Err: err,
	})
}

// explainJournal adds to err the setting that helps: if another process has the
// journal open, or if nothing can be written beside the keys, as in a mounted
// secret.
func explainJournal(err error) error {
	if errors.Is(err, durable.ErrLocked) {
		return fmt.Errorf("%w; if it is shutting down, set revocations.wait to the time that it needs", err)
	}
	if errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.EROFS) {
		return fmt.Errorf("%w; set revocations.file to a path in a writable directory that survives restarts", err)
	}
	return err
}

// clockSkew is how far the clocks of several instances may differ if the config
// does not say it.
const clockSkew = 5 * time.Second

// skew returns how far the clocks of the instances may differ.
func (b *builder) skew() time.Duration {
	skew := max(0, time.Duration(b.Revocations.Skew))
	if b.log() != nil {
		skew = cmp.Or(skew, clockSkew)
	}
	return skew
}

func (b *builder) maxStaleness() time.Duration {
	return cmp.Or(max(0, time.Duration(b.Revocations.MaxStaleness)), revocation.DefaultMaxStaleness)
}

// log returns the log of the store, or nil if it has none.
func (b *builder) log() revocation.Log {
	if log, ok := b.app.Store.(revocation.Log); ok && !b.Revocations.InsecureVolatile {
		return log
	}
	return nil
}

// journal returns the path of the journal, or "" if the config names none and
// no key file beside which it could be. With a log none is needed, and several
// instances may have the key file.
func (b *builder) journal() string {
	if b.Revocations.File != "" || b.Keys.File == "" || b.log() != nil {
		return b.Revocations.File
	}
	return filepath.Join(filepath.Dir(b.Keys.File), "revocations.journal")
}

func (b *builder) makeMiddleware() {
	m, err := middleware.New(b.carriers(middleware.Config{
		Revocations:  b.app.Revocations,
		Registry:     b.registry(),
		Policy:       b.life,
		Cookie:       b.cookie(),
		CrossOrigin:  b.crossOrigin(),
		Timeout:      max(0, time.Duration(b.Timeout)),
		OnTimeout:    b.o.OnTimeout,
		ErrorHandler: b.o.ErrorHandler,
		OnEvent:      b.o.OnEvent,
		Observer:     b.o.Observer,
		Now:          b.o.Now,
	}))
	b.fail("cookie", err) // everything else was checked before
	b.app.Middleware = m
}

// carriers adds the carriers of the mode to c.
func (b *builder) carriers(c middleware.Config) middleware.Config {
	var stateless, stored []middleware.Carrier // one or none each
	var successors token.Successors
	if b.app.Store != nil {
		carrier := b.stored()
		stored, successors = append(stored, carrier), carrier
	}
	if b.acceptsTokens() {
		stateless = append(stateless, b.stateless(successors))
	}
	switch {
	case b.mode() == Auto && len(stored) > 0:
		c.Carrier, c.Overflow = stateless[0], stored[0]
	case b.writesTokens():
		c.Carrier, c.Accept = stateless[0], stored
	case len(stored) > 0:
		c.Carrier, c.Accept = stored[0], stateless
	default:
		c.Carrier = &opaque.Carrier{} // the error of the store is noted already
	}
	if !b.acceptsOther() {
		c.Accept = nil
	}
	return c
}

func (b *builder) stateless(successors token.Successors) *token.Carrier {
	carrier, err := token.NewCarrier(token.CarrierConfig{
		Ring:        b.app.Keys,
		Issuer:      b.issuer(),
		Audience:    b.Audience,
		Revocations: b.app.Revocations,
		Successors:  successors,
		MaxLength:   max(1, middleware.MaxCookieBytes-len(b.cookieName())),
		MemoryBytes: int(min(max(0, b.TokenMemory), math.MaxInt)),
		Now:         b.o.Now,
	})
	if err != nil {
		b.fail("", err)
		return &token.Carrier{}
	}
	return carrier
}

func (b *builder) stored() *opaque.Carrier {
	secrets, ok := b.storeSecrets()
	if !ok {
		return &opaque.Carrier{}
	}
	c := opaque.CarrierConfig{
		Store: b.app.Store, Secrets: secrets, Revocations: b.app.Revocations, Now: b.o.Now,
	}
	switch {
	case b.acceptsTokens() || b.log() != nil:
	case len(b.Services.Clients) > 0:
		c.Revocations = loggedIn{b.app.Revocations}
	default:
		c.Revocations = storeOnly{b.app.Revocations}
	}
	carrier, err := opaque.NewCarrier(c)
	if err != nil {
		b.fail("", err)
		return &opaque.Carrier{}
	}
	b.checkSecrets(carrier)
	return carrier
}

// storeOnly is a list without entries for single sessions. If no token opens a
// session, a session that the store has deleted has ended, and with an entry
// for each logout visitors could make the list grow for nothing. Where several
// instances share a log, it has these entries: only so do handlers on other
// instances hear that the session has ended which they are serving, and a store
// that loses its last writes in a failover revives no session.
type storeOnly struct{ *revocation.List }

func (storeOnly) EndSession(context.Context, *session.Record) error { return nil }

// makeIssuer makes the issuer of service tokens, if there is a key for it.
func (b *builder) makeIssuer() {
	now := b.now()
	if len(b.errs) > 0 || !(*keyset.Set)(b.app.Keys.Set()).HasFuture(keyset.Signature, now) {
		return
	}
	if key, err := b.app.Keys.Current(keys.Signature, now); err == nil && keyset.Algorithm(key.Algorithm()).Symmetric() {
		return
	}
	issuer, err := token.NewIssuer(token.IssuerConfig{
		Ring: b.app.Keys, Issuer: b.issuer(), ClientID: b.ClientID, SessionAudience: b.Audience,
		Claims: b.o.ServiceClaims, Now: b.o.Now,
	})
	b.fail("issuer", err)
	b.app.Issuer = issuer
	if _, err := token.NewMetadata(token.MetadataConfig{Ring: b.app.Keys, Issuer: b.issuer()}); err != nil {
		b.o.Logger.Warn("the issuer is no https URL, so no service that verifies tokens can configure itself; set " +
			"issuer to the application's https URL before there are such services, since a change ends all tokens")
	}
}
