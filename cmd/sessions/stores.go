package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"

	_ "github.com/go-sql-driver/mysql" // the driver "mysql"
	_ "github.com/jackc/pgx/v5/stdlib" // the driver "pgx"
	_ "modernc.org/sqlite"             // the driver "sqlite"

	"github.com/cloakroom-go/cloakroom/opaque"
	"github.com/cloakroom-go/cloakroom/opaque/redisstore"
	"github.com/cloakroom-go/cloakroom/opaque/sqlstore"
)

// stores opens what store.url names.
func stores() []opaque.Opener {
	return []opaque.Opener{
		redisstore.Opener(),
		asItIs(sqlstore.Opener(sqlstore.PostgreSQL, "pgx")),
		asItIs(sqlstore.Opener(sqlstore.MySQL, "mysql")),
		asItIs(sqlstore.Opener(sqlstore.SQLite, "sqlite")),
		{Schemes: []string{"memcache"}, Open: refuseMemcached},
	}
}

func refuseMemcached(context.Context, *url.URL, opaque.OpenOptions) (opaque.Store, error) {
	return nil, errors.New("names Memcached, which can't list sessions and has no log of what has ended, " +
		"so only the application can end its sessions")
}

// asItIs opens databases that are there, and leaves their tables as the
// application has made them: it may be of another version than this program.
func asItIs(o opaque.Opener) opaque.Opener {
	open := o.Open
	o.Open = func(ctx context.Context, u *url.URL, options opaque.OpenOptions) (opaque.Store, error) {
		if u.Scheme == "sqlite" {
			if err := checkFile(u); err != nil {
				return nil, err
			}
		}
		to := *u
		if q, err := url.ParseQuery(u.RawQuery); err == nil { // the opener reports an error
			q.Set("migrate", "false")
			to.RawQuery = q.Encode()
		}
		store, err := open(ctx, &to, options)
		if err != nil {
			err = fmt.Errorf("%w; it must be the database of the application, which makes the tables", err)
		}
		return store, err
	}
	return o
}

// checkFile fails if the file of a SQLite database is missing: opening the
// database would make it.
func checkFile(u *url.URL) error {
	path := u.Path
	if u.Opaque != "" {
		path, _ = url.PathUnescape(u.Opaque) // the opener reports an error
	}
	if path == "" {
		return nil
	}
	if _, err := os.Stat(path); err != nil {
		return fmt.Errorf("names a database that can't be read; the application makes it, and a relative path begins "+
			"at the working directory: %w", err)
	}
	return nil
}
