package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/cloakroom-go/cloakroom/config"
)

// shutdownTimeout is how long requests may take to end after a signal.
const shutdownTimeout = 3 * time.Second

// serve runs the application and the service until ctx ends.
func serve(ctx context.Context, o options, stderr io.Writer) (err error) {
	c, err := o.sessions()
	if err != nil {
		return err
	}
	if err := makeSecret(&c); err != nil {
		return err
	}
	log := slog.New(slog.NewTextHandler(stderr, nil))
	built, err := c.Build(config.Options{Logger: log, Stores: stores()})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, built.Close()) }()
	app, err := listen(o.addr, "-addr")
	if err != nil {
		return err
	}
	defer app.Close() // the second time, after the server, it does nothing
	api, err := listen(o.apiAddr, "-api-addr")
	if err != nil {
		return err
	}
	defer api.Close()
	d := &demo{config: c, sessions: built, log: log, now: time.Now}
	return d.serve(ctx, app, api, o.tls, stderr)
}

// A listener knows the host by which clients reach it.
type listener struct {
	net.Listener
	host string
}

// listen listens at the address that a flag gives.
func listen(addr, flag string) (*listener, error) {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("%w; choose another with %s", err, flag)
	}
	host, _, _ := net.SplitHostPort(addr) // net.Listen has taken it
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	return &listener{l, host}, nil
}

func (l *listener) url(secure bool) string {
	scheme := "http"
	if secure {
		scheme = "https"
	}
	_, port, _ := net.SplitHostPort(l.Addr().String())
	return scheme + "://" + net.JoinHostPort(l.host, port)
}

// serve runs both servers until ctx ends or one fails.
func (d *demo) serve(ctx context.Context, app, api *listener, secure bool, stderr io.Writer) (err error) {
	var cert *certificate
	if secure {
		if cert, err = newCertificate(app.host, api.host); err != nil {
			return err
		}
	}
	d.url, d.ordersURL = app.url(secure), api.url(secure)
	service, stop, err := newService(d.url, d.config.Issuer, cert, d.log)
	if err != nil {
		return err
	}
	defer stop()
	handler, err := d.handler(cert.transport())
	if err != nil {
		return err
	}
	servers := []*server{newServer(app, handler, cert, d.log), newServer(api, service, cert, d.log)}
	failed := make(chan error, len(servers))
	var running sync.WaitGroup
	for _, s := range servers {
		running.Go(func() { failed <- s.run() })
	}
	d.announce(stderr)
	select {
	case <-ctx.Done():
	case err = <-failed:
	}
	for _, s := range servers {
		running.Go(s.stop)
	}
	running.Wait()
	return err
}

// announce says that both servers listen, and at which addresses.
func (d *demo) announce(stderr io.Writer) {
	fmt.Fprintf(stderr, "demo: ready on %s\n", d.url)
	fmt.Fprintf(stderr, "demo: mode %s, keys in %s, orders service on %s\n",
		d.config.Mode, d.config.Keys.File, d.ordersURL)
	if u := d.config.Store.URL; u != "" {
		fmt.Fprintf(stderr, "demo: opaque sessions in %v\n", u)
	}
	fmt.Fprintf(stderr, "demo: open %s/ in a browser; Ctrl-C ends it\n", d.url)
}

// A server serves until it is stopped.
type server struct {
	*http.Server
	l net.Listener
}

// newServer returns a server with limits, so that slow clients don't pile up.
// It serves HTTPS if there is a certificate.
func newServer(l net.Listener, h http.Handler, cert *certificate, log *slog.Logger) *server {
	s := &server{l: l, Server: &http.Server{
		Handler:           h,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       30 * time.Second,
		WriteTimeout:      30 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}}
	if cert != nil {
		s.TLSConfig = &tls.Config{Certificates: []tls.Certificate{cert.server}}
	}
	return s
}

func (s *server) run() (err error) {
	if s.TLSConfig != nil {
		err = s.ServeTLS(s.l, "", "")
	} else {
		err = s.Serve(s.l)
	}
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

// stop waits for requests until shutdownTimeout, and then closes their
// connections.
func (s *server) stop() {
	ctx, cancel := context.WithTimeout(context.Background(), shutdownTimeout)
	defer cancel()
	if s.Shutdown(ctx) != nil {
		s.Close()
	}
}
