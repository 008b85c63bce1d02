package memcachestore

import (
	"context"
	"errors"
	"net/url"

	"github.com/cloakroom-go/cloakroom/internal/fault"
	"github.com/cloakroom-go/cloakroom/internal/storeurl"
	"github.com/cloakroom-go/cloakroom/opaque"
)

// Opener returns the opener of URLs such as memcache://cache.example:11211, or
// memcache:///run/memcached.sock for a Unix socket. The port is 11211 if it is
// left out. The only parameter is prefix, which is Config.Prefix. A server that
// can't be reached is an error.
func Opener() opaque.Opener {
	return opaque.Opener{Schemes: []string{"memcache"}, Open: openURL}
}

func openURL(ctx context.Context, u *url.URL, o opaque.OpenOptions) (opaque.Store, error) {
	q := storeurl.ReadQuery(u, "prefix")
	if err := errors.Join(q.Err("memcachestore"), check(u, o)); err != nil {
		return nil, err
	}
	s, err := New(Config{Addr: address(u), Prefix: q.Text("prefix"), Timeout: o.Timeout, Now: o.Now})
	if err != nil {
		return nil, storeurl.Rename(err, "memcachestore", map[fault.Name]string{
			"Config.Addr": "the server", "Config.Prefix": "prefix",
		})
	}
	if _, _, err := s.Get(ctx, "opened"); err != nil { // no session has this key
		_ = s.Close()
		return nil, err
	}
	return s, nil
}

func check(u *url.URL, o opaque.OpenOptions) error {
	switch {
	case u.User != nil || o.Password != "":
		return errors.New("memcachestore: Memcached has no users and passwords; leave them out")
	case o.Linger != 0:
		return errors.New("memcachestore: an expired session is kept for 2 minutes; leave linger out")
	case u.Opaque != "", u.Host == "" && u.Path == "", u.Host != "" && u.Path != "" && u.Path != "/":
		return errors.New("memcachestore: the URL must have the form memcache://host:port or memcache:///path/of/socket")
	}
	return nil
}

func address(u *url.URL) string {
	if u.Host == "" {
		return u.Path
	}
	return storeurl.Addr(u, "11211")
}
