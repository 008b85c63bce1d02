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

// shutdownTimeout is how long requests that are under way may take to end.
const shutdownTimeout = 3 * time.Second

// serve runs the application and the service until ctx ends.
func serve(ctx context.Context, o options, stderr io.Writer) error {
	log := logger(stderr)
	c, err := o.sessions(ctx, stderr)
	if err != nil {
		return err
	}
	built, err := c.Build(config.Options{Logger: log})
	if err != nil {
		return err
	}
	app, err := listen(o.addr)
	if err != nil {
		return errors.Join(fmt.Errorf("%w; choose another with -addr", err), built.Close())
	}
	api, err := listen(o.apiAddr)
	if err != nil {
		return errors.Join(fmt.Errorf("%w; choose another with -api-addr", err), app.Close(), built.Close())
	}
	d := &demo{config: c, sessions: built, log: log, now: time.Now}
	err = d.serve(ctx, app, api, o.tls, stderr)
	return errors.Join(err, built.Close())
}

// A listener is where a server listens, and under which host clients reach it.
type listener struct {
	net.Listener
	host, port string
}

func listen(addr string) (*listener, error) {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, err
	}
	host, _, _ := net.SplitHostPort(addr) // net.Listen has taken it
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	_, port, _ := net.SplitHostPort(l.Addr().String())
	return &listener{Listener: l, host: host, port: port}, nil
}

func (l *listener) url(secure bool) string {
	scheme := "http"
	if secure {
		scheme = "https"
	}
	return scheme + "://" + net.JoinHostPort(l.host, l.port)
}

// serve runs both servers until ctx ends or one fails.
func (d *demo) serve(ctx context.Context, app, api *listener, secure bool, stderr io.Writer) error {
	var cert *certificate
	if secure {
		var err error
		if cert, err = newCertificate(app.host, api.host); err != nil {
			return errors.Join(err, app.Close(), api.Close())
		}
	}
	d.url, d.ordersURL = app.url(secure), api.url(secure)
	service, err := newService(d.url, d.config.Issuer, cert, d.log)
	if err != nil {
		return errors.Join(err, app.Close(), api.Close())
	}
	defer service.Close()
	handler, err := d.handler(cert.transport())
	if err != nil {
		return errors.Join(err, app.Close(), api.Close())
	}
	servers := []*server{newServer(app, handler, cert, d.log), newServer(api, service.handler(), cert, d.log)}
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

// announce says that both servers listen, and where to click.
func (d *demo) announce(stderr io.Writer) {
	fmt.Fprintf(stderr, "demo: ready on %s\n", d.url)
	fmt.Fprintf(stderr, "demo: mode %s, keys in %s, orders service on %s\n", d.config.Mode, d.config.Keys.File, d.ordersURL)
	fmt.Fprintf(stderr, "demo: open %s/ in a browser; Ctrl-C ends it\n", d.url)
}

// A server serves until it is stopped.
type server struct {
	http   *http.Server
	l      net.Listener
	secure bool
}

func newServer(l net.Listener, h http.Handler, cert *certificate, log *slog.Logger) *server {
	s := &server{l: l, http: &http.Server{
		Handler:           h,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       30 * time.Second,
		WriteTimeout:      30 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}}
	if cert != nil {
		s.secure = true
		s.http.TLSConfig = &tls.Config{Certificates: []tls.Certificate{cert.server}}
	}
	return s
}

func (s *server) run() (err error) {
	if s.secure {
		err = s.http.ServeTLS(s.l, "", "")
	} else {
		err = s.http.Serve(s.l)
	}
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

// stop lets requests that are under way end, and then hangs up.
func (s *server) stop() {
	ctx, cancel := context.WithTimeout(context.Background(), shutdownTimeout)
	defer cancel()
	if s.http.Shutdown(ctx) != nil {
		s.http.Close()
	}
}
