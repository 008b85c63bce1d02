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
	instances := []*demo{{addr: o.addr, flag: "-addr"}}
	if o.two {
		instances[0].name = "A"
		instances = append(instances, &demo{name: "B", addr: o.addr2, flag: "-addr2"})
	}
	for _, d := range instances {
		d.config, d.log, d.now, d.stopping = c, log, time.Now, ctx.Done()
		if d.name != "" {
			d.log = log.With("instance", d.name)
		}
		if d.sessions, err = c.Build(config.Options{Logger: d.log, Stores: stores(), Client: d.client()}); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, d.sessions.Close()) }()
	}
	for _, d := range instances {
		if d.listener, err = listen(d.addr, d.flag); err != nil {
			return err
		}
		defer d.listener.Close() // the second time, after the server, it does nothing
	}
	api, err := listen(o.apiAddr, "-api-addr")
	if err != nil {
		return err
	}
	defer api.Close()
	return serveAll(ctx, instances, api, o.tls, stderr)
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

// serveAll runs the instances and the service until ctx ends or a server fails.
func serveAll(ctx context.Context, instances []*demo, api *listener, secure bool, stderr io.Writer) (err error) {
	first, last := instances[0], instances[len(instances)-1]
	var cert *certificate
	if secure {
		if cert, err = newCertificate(first.listener.host, last.listener.host, api.host); err != nil {
			return err
		}
	}
	for _, d := range instances {
		d.url, d.ordersURL = d.listener.url(secure), api.url(secure)
	}
	if first != last {
		first.other, last.other = last.url, first.url
	}
	service, stop, err := newService(first.url, first.config.Issuer, cert, first.log)
	if err != nil {
		return err
	}
	defer stop()
	servers := []*server{newServer(api, service, cert, first.log)}
	for _, d := range instances {
		handler, err := d.handler(cert.transport())
		if err != nil {
			return err
		}
		servers = append(servers, newServer(d.listener, handler, cert, d.log))
	}
	return runAll(ctx, servers, func() { first.announce(stderr) })
}

// runAll runs the servers, and calls ready, until ctx ends or one fails.
func runAll(ctx context.Context, servers []*server, ready func()) (err error) {
	failed := make(chan error, len(servers))
	var running sync.WaitGroup
	for _, s := range servers {
		running.Go(func() { failed <- s.run() })
	}
	ready()
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

// announce says that the servers listen, and at which addresses. It writes all
// at once: who waits for the first line may then read the others.
func (d *demo) announce(stderr io.Writer) {
	text := fmt.Sprintf("demo: ready on %s\n", d.url)
	if d.other != "" {
		text += fmt.Sprintf("demo: the second instance is on %s\n", d.other)
	}
	text += fmt.Sprintf("demo: mode %s, keys in %s, orders service on %s\n",
		d.config.Mode, d.config.Keys.File, d.ordersURL)
	if u := d.config.Store.URL; u != "" {
		text += fmt.Sprintf("demo: opaque sessions in %v\n", u)
	}
	fmt.Fprintf(stderr, "%sdemo: open %s/ in a browser; Ctrl-C ends it\n", text, d.url)
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
