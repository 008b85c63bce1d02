// Demo is a small application with sessions, and a service that it calls, to
// try Cloakroom in a browser or from a script.
//
//	go run ./cmd/demo
//
// needs nothing else: it makes its keys when there are none. Open the page that
// it names. It reads its config as an application does: flags win over
// CLOAKROOM_ variables, and those over the document that -config names (see
// package config). With -mode it keeps its sessions in tokens, on the server,
// or in whichever fits. Stop it and start it in another mode, and nobody is
// logged out.
//
// Sessions on the server are in its memory, and end with it. With -store they
// are in another store, and survive a restart:
//
//	go run -tags sqlite ./cmd/demo -store sqlite:sessions.db
//
// The tag links what the store needs: redis, postgres, mysql or sqlite, or
// several of them with commas between. Memcached needs no tag. The password of
// a store has its place in CLOAKROOM_STORE_PASSWORD_FILE, or in the variable
// that CLOAKROOM_STORE_PASSWORD_ENV names.
//
// With -instances 2 there are two instances of the application in one process,
// as behind a load balancer. They share the store, and the browser shows both
// its cookie, because cookies don't depend on the port:
//
//	go run -tags sqlite ./cmd/demo -instances 2 -store sqlite:sessions.db
//
// End a session on one of them, and it is over on the other.
//
// Cookies are Secure. Browsers, and curl from 7.79 on, send them to 127.0.0.1
// over plain HTTP too; for other clients -tls adds a throw-away certificate.
//
// It writes these files, which the next start reads again:
//
//	demo-keys.json        the keys, in the working directory or where -keys says;
//	                      those of a config or of CLOAKROOM_KEYSET are never made
//	revocations.journal   what was logged out, beside the keys or where the
//	                      config says
//	demo-store.secret     the secret of the store that -store names, beside the
//	                      keys, unless the config says where it is
//	sessions.db           the sessions, if -store names it so; and while the demo
//	                      runs, sessions.db-wal and sessions.db-shm
//
// and beside each of the first two an empty one for its lock, with .lock added
// to its name.
//
// It writes what happens to standard error. Exit codes:
//
//	0  ended by SIGTERM or SIGINT
//	1  could not start, or a server failed
//	2  wrong usage
package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"

	"github.com/cloakroom-go/cloakroom/config"
	"github.com/cloakroom-go/cloakroom/middleware"
)

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

// The exit codes, as documented above.
const (
	exitOK = iota
	exitError
	exitUsage
)

// options is what the command line says.
type options struct {
	mode    config.Mode // "" for what the config says
	config  string      // path; "" for none
	addr    string      // of the application
	two     bool        // instances of the application
	addr2   string      // of the second one
	apiAddr string      // of the service
	keys    string      // path; "" for what the config says, or else defaultKeys
	tls     bool
	store   config.StoreURL // "" for what the config says
	environ []string        // as of os.Environ; wins over the config document
}

// defaultKeys is the key file if nothing names one.
const defaultKeys = "demo-keys.json"

func run(args []string, stdout, stderr io.Writer) int {
	o, err := parse(args, stdout, stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return exitOK
	case err != nil:
		return exitUsage
	}
	o.environ = os.Environ()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := serve(ctx, o, stderr); err != nil {
		fmt.Fprintf(stderr, "demo: %v\n", err)
		return exitError
	}
	return exitOK
}

// parse reads the command line. It writes its errors to stderr.
func parse(args []string, stdout, stderr io.Writer) (options, error) {
	var o options
	flags := flag.NewFlagSet("demo", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.Usage = func() { usage(flags) }
	const orConfig = ", or what the config says)"
	flags.Func("mode", "`mode` of the sessions: stateless, opaque or auto (default stateless"+orConfig, o.setMode)
	flags.StringVar(&o.config, "config", "",
		"`file` with the config of the sessions, YAML or JSON; CLOAKROOM_ variables win over it")
	flags.StringVar(&o.addr, "addr", "127.0.0.1:8080", "`address` of the application")
	flags.Func("instances", "`number` of instances of the application, 1 or 2, which need a -store (default 1)",
		o.setInstances)
	flags.StringVar(&o.addr2, "addr2", "127.0.0.1:8082", "`address` of the second instance")
	flags.StringVar(&o.apiAddr, "api-addr", "127.0.0.1:8081", "`address` of the orders service")
	flags.StringVar(&o.keys, "keys", "", "key `file`, made if it is missing (default "+defaultKeys+orConfig)
	flags.Func("store", "`URL` of the store of opaque sessions, such as sqlite:sessions.db (default memory:"+orConfig+
		"; it makes opaque the default mode", o.setStore)
	flags.BoolVar(&o.tls, "tls", false,
		"serve HTTPS with a throw-away certificate, for clients that send no Secure cookies over HTTP")
	if slices.ContainsFunc(args, func(arg string) bool { return arg == "-h" || strings.TrimLeft(arg, "-") == "help" }) {
		flags.SetOutput(stdout)
	}
	if err := flags.Parse(args); err != nil {
		return options{}, err
	}
	if flags.NArg() > 0 {
		fmt.Fprintf(stderr, "demo: unexpected argument %q\n", flags.Arg(0))
		usage(flags)
		return options{}, errors.New("unexpected argument")
	}
	return o, nil
}

func usage(flags *flag.FlagSet) {
	fmt.Fprint(flags.Output(), "Usage: demo [flags]\n\n"+
		"A small application with sessions, and a service that it calls.\n\n")
	flags.PrintDefaults()
}

func (o *options) setMode(mode string) error {
	switch o.mode = config.Mode(mode); o.mode {
	case config.Stateless, config.Opaque, config.Auto:
		return nil
	}
	return errors.New("must be stateless, opaque or auto")
}

func (o *options) setInstances(n string) error {
	if n != "1" && n != "2" {
		return errors.New("must be 1 or 2")
	}
	o.two = n == "2"
	return nil
}

// setStore returns no error: package flag would repeat the URL, which may
// contain a password. Config.Build reports what is wrong with it.
func (o *options) setStore(u string) error {
	o.store = config.StoreURL(u)
	return nil
}

// sessions returns the config of the application's sessions. If it names a key
// file, that is made by its operator: a demo that made a new one after a typing
// error in the path would log everybody out.
func (o *options) sessions() (c config.Config, err error) {
	if o.config != "" {
		if c, err = config.Load(o.config); err != nil {
			return c, err
		}
	}
	if c, err = config.FromEnv(c, o.environ); err != nil {
		return c, err
	}
	if o.store != "" { // who names a store wants to see it used
		c.Store.URL, c.Mode = o.store, cmp.Or(c.Mode, config.Opaque)
	}
	c.Mode = cmp.Or(o.mode, c.Mode, config.Stateless)
	c.Cookie.Name = cmp.Or(c.Cookie.Name, middleware.DefaultCookieName)
	c.Issuer = cmp.Or(c.Issuer, "https://cloakroom.example")
	if o.keys != "" || c.Keys.File == "" {
		c.Keys.File, c.Keys.Rotate, c.Keys.Create = cmp.Or(o.keys, defaultKeys), true, true
	}
	c.Devices.Enabled = canList(c.Store.URL)
	if o.two && !(isShared(c.Store.URL) && c.Devices.Enabled) {
		return c, errors.New("-instances 2 needs a store that both share and that can list sessions: " +
			"run: go run -tags sqlite ./cmd/demo -instances 2 -store sqlite:sessions.db")
	}
	return c, nil
}
