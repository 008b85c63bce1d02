package config

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/cloakroom-go/cloakroom/opaque"
	"github.com/cloakroom-go/cloakroom/session"
)

// openTimeout is how long the start waits for a store on a server.
const openTimeout = 10 * time.Second

func (b *builder) openStore() {
	b.checkStore()
	switch {
	case b.o.Store != nil:
		b.app.Store = b.o.Store
	case b.Config.Store.URL.isServer():
		b.openServer()
	case b.mode() != Stateless: // a new store in memory has no session of the other form to accept
		b.openMemory()
	}
}

// checkStore reports settings that contradict each other or have no effect.
func (b *builder) checkStore() {
	c := b.Config.Store
	if c.URL != "" && b.o.Store != nil {
		b.fail("store.url", errors.New("has no effect, since the application passes in a store "+
			"(Options.Store); leave one of them out"))
	}
	if b.o.OnExpire != nil && b.o.Store != nil {
		b.errs = append(b.errs, errors.New("config: Options.OnExpire is for sessions in the memory of "+
			"this process, and Options.Store is set; leave one of them out"))
	}
	if b.o.OnExpire != nil && c.URL.isServer() {
		b.fail("store.url", errors.New("names a store that keeps sessions outside of this process, "+
			"and Options.OnExpire is only for those in its memory; leave one of them out"))
	}
	if (c.SecretFile != "" || c.SecretEnv != "") && b.o.Store == nil && !c.URL.isServer() {
		b.fail(c.secretPath(), errors.New("is for a store outside of this process, and store.url names none; "+
			"name it, or leave this out"))
	}
	b.checkPasswords()
}

// checkPasswords refuses a second password, and one that has no store.
func (b *builder) checkPasswords() {
	c := b.Config.Store
	hasOne := c.URL.password() != ""
	for _, source := range [...]struct{ path, value string }{
		{"store.password_file", c.PasswordFile}, {"store.password_env", c.PasswordEnv},
	} {
		switch {
		case source.value == "":
		case !c.URL.isServer():
			b.fail(source.path, errors.New("is the password of a store, and store.url names none; name it, or leave this out"))
		case hasOne:
			b.fail(source.path, errors.New("is a second password for one store; "+
				"set only one of password_file, password_env and the password in store.url"))
		default:
			hasOne = true
		}
	}
}

func (b *builder) openMemory() {
	c := opaque.MemoryConfig{
		MaxSessions:      b.Config.Store.MaxSessions,
		MaxBytes:         int64(b.Config.Store.MaxBytes),
		AnonymousPercent: b.Config.Store.AnonymousPercent,
		Linger:           time.Duration(b.Config.Store.Linger),
		Now:              b.o.Now,
	}
	if b.o.OnExpire != nil {
		c.OnExpire = opaque.Expired(b.o.OnExpire)
	}
	memory, err := opaque.NewMemoryStore(c)
	if err != nil {
		b.fail("store", err)
		return
	}
	b.app.Store = memory
	b.closers = append(b.closers, memory.Close)
}

// openServer opens the store that the URL names.
func (b *builder) openServer() {
	u := b.Config.Store.URL.withoutPassword()
	if u == nil || b.Config.Store.URL.check() != nil {
		return // it was reported
	}
	open, err := openerFor(b.o.Stores, u.Scheme)
	if err != nil {
		b.fail("store.url", err)
		return
	}
	password, ok := b.storePassword()
	if !ok {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), openTimeout)
	defer cancel()
	store, err := open(ctx, u, opaque.OpenOptions{
		Password: password,
		Timeout:  max(0, time.Duration(b.Timeout)),
		Linger:   max(0, time.Duration(b.Config.Store.Linger)),
		OnProblem: func(err error) {
			b.o.Logger.Error("the store of sessions needs attention", "error", masked(err, password))
		},
		Now: b.o.Now,
	})
	if err != nil {
		for _, err := range mistakes(err) {
			b.fail("store.url", masked(err, password))
		}
		return
	}
	b.app.Store = store
	if closer, ok := store.(io.Closer); ok {
		b.closers = append(b.closers, closer.Close)
	}
}

// storePassword returns the password of the store, "" if none is set. ok is
// false if it could not be read.
func (b *builder) storePassword() (password string, ok bool) {
	c := b.Config.Store
	if c.PasswordFile == "" && c.PasswordEnv == "" {
		return c.URL.password(), true
	}
	path := "store.password_env"
	if c.PasswordFile != "" {
		path = "store.password_file"
	}
	text, err := fileOrEnv(c.PasswordFile, c.PasswordEnv)
	b.fail(path, err)
	return string(bytes.TrimRight(text, "\r\n")), err == nil // editors and echo add line breaks
}

// An openFunc is the function of an [opaque.Opener].
type openFunc = func(context.Context, *url.URL, opaque.OpenOptions) (opaque.Store, error)

// openerFor returns the function that opens stores of a scheme. If there is
// none, the error says what to add to the program. It repeats no scheme that is
// not known: that may be the beginning of a password.
func openerFor(openers []opaque.Opener, scheme string) (open openFunc, err error) {
	known := []string{"memory"}
	for _, o := range openers {
		switch {
		case o.Open == nil || len(o.Schemes) == 0:
			return nil, errors.New("can't be opened: one of Options.Stores has no Open or no Schemes")
		case slices.Contains(o.Schemes, scheme) && open != nil:
			return nil, fmt.Errorf("has the scheme %s, which two of Options.Stores open; leave one of them out", scheme)
		case slices.Contains(o.Schemes, scheme):
			open = o.Open
		}
		known = append(known, o.Schemes...)
	}
	if open != nil {
		return open, nil
	}
	if m, ok := modules()[scheme]; ok {
		return nil, fmt.Errorf("has the scheme %s, and this program has no store for it: import %s, "+
			"and add this line to config.Options: %s", scheme, m.imports, m.line)
	}
	for scheme := range modules() {
		known = append(known, scheme)
	}
	slices.Sort(known)
	return nil, fmt.Errorf("has an unknown scheme; known are %s", strings.Join(slices.Compact(known), ", "))
}

// A module is what a program needs for the stores of a scheme.
type module struct{ imports, line string }

// modules returns the modules of our stores by their schemes.
func modules() map[string]module {
	of := func(name, opener, driver string) module {
		imports := `"github.com/cloakroom-go/cloakroom/opaque/` + name + `"`
		if driver != "" {
			imports += ` and a driver, such as _ "` + driver + `"`
		}
		return module{imports, "Stores: []opaque.Opener{" + name + "." + opener + "}"}
	}
	redis := of("redisstore", "Opener()", "")
	return map[string]module{
		"redis": redis, "rediss": redis,
		"memcache": of("memcachestore", "Opener()", ""),
		"postgres": of("sqlstore", `Opener(sqlstore.PostgreSQL, "pgx")`, "github.com/jackc/pgx/v5/stdlib"),
		"mysql":    of("sqlstore", `Opener(sqlstore.MySQL, "mysql")`, "github.com/go-sql-driver/mysql"),
		"sqlite":   of("sqlstore", `Opener(sqlstore.SQLite, "sqlite")`, "modernc.org/sqlite"),
	}
}

// masked returns err without the password, in case that a driver repeats it.
func masked(err error, password string) error {
	text := err.Error()
	for _, spelling := range []string{password, url.QueryEscape(password), url.PathEscape(password)} {
		if spelling != "" {
			text = strings.ReplaceAll(text, spelling, maskedPassword)
		}
	}
	if text == err.Error() {
		return err
	}
	return maskedError{text, session.ReasonOf(err)}
}

// A maskedError has the text and the reason of another error, and nothing else
// of it.
type maskedError struct {
	text   string
	reason session.Reason
}

func (e maskedError) Error() string { return e.text }

func (e maskedError) Unwrap() error { return e.reason }
