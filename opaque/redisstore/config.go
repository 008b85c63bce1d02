package redisstore

import (
	"crypto/tls"
	"net"
	"strings"
	"time"

	"github.com/cloakroom-go/cloakroom/internal/fault"
	"github.com/cloakroom-go/cloakroom/internal/storeurl"
)

// Config configures a [Store]. Only Addrs is required, for a server on the same
// machine; every other server needs TLS.
type Config struct {
	_ [0]func() // no unkeyed literals, no comparison

	// Addrs is "host:port" of the server. In a cluster it is some of the servers;
	// the others are found through them. With SentinelMaster it is the Sentinels.
	Addrs []string

	// Cluster says that the servers at Addrs form a Redis Cluster.
	Cluster bool

	// SentinelMaster, if not "", is the name under which the Sentinels at Addrs
	// know the master. The store always talks to the master: a replica lags.
	SentinelMaster string

	// TLS, if not nil, is used for every connection. An empty [tls.Config] checks
	// the server's certificate against the system's roots and the host in Addrs.
	TLS *tls.Config

	Username string // of an ACL user; if "", "default". The Sentinels don't get it
	Password string // if "", none

	// SentinelUsername and SentinelPassword are for the Sentinels, which have
	// users of their own.
	SentinelUsername, SentinelPassword string

	// Database is the number of the database; a cluster has only 0.
	Database int

	// Prefix is the beginning of each key in the server. Two applications that
	// share a database need different ones. Empty means "cloakroom:".
	Prefix string

	// Timeout bounds a call whose context has no deadline, the making of a
	// connection, and how long a connection may owe an answer. 0 means 1 second.
	Timeout time.Duration

	// Linger is how long the server keeps an expired item, so that a visitor who
	// comes back late is told that the session has expired. The server removes
	// items by its own clock, so Linger is also how far that clock may be ahead of
	// ours. 0 means 2 minutes; at most 1 day.
	Linger time.Duration

	// CacheFor, if not 0, lets this process keep what it has read for so long, in
	// at most 64 MiB for each server. The server tells it what others have
	// changed. So a session that another process has changed or ended may go on
	// here as it was: normally for less than 10 milliseconds, and for CacheFor if
	// the connection breaks without a sign. The revocation list of a carrier is
	// asked all the same. What this process has written within the last second, or
	// ended, is not read from the cache, and a new connection begins with an empty
	// one. At most 1 minute; 5 seconds are plenty.
	CacheFor time.Duration

	// OnProblem is called when the server's settings would lose sessions, and when
	// they could not be looked at. The store looks every 10 minutes. If nil, it
	// looks only once, in New.
	OnProblem func(error)

	// InsecurePlain allows connections without TLS to another machine. Records
	// are encrypted all the same, but not the Password. Somebody on the way can
	// delete sessions, bring back older states of them, and write sessions of
	// their own, for any subject.
	InsecurePlain bool

	// InsecureEviction allows a server that drops sessions when its memory is full
	// (maxmemory with a maxmemory-policy other than noeviction). It logs people
	// out at random, and forgets that an old credential was replaced.
	InsecureEviction bool

	// Now is the clock. If nil, time.Now.
	Now func() time.Time
}

const (
	defaultPrefix  = "cloakroom:"
	defaultTimeout = time.Second
	defaultLinger  = 2 * time.Minute
	longestLinger  = 24 * time.Hour
	longestPrefix  = 64
)

func (c Config) withDefaults() Config {
	if c.Prefix == "" {
		c.Prefix = defaultPrefix
	}
	if c.Timeout == 0 {
		c.Timeout = defaultTimeout
	}
	if c.Linger == 0 {
		c.Linger = defaultLinger
	}
	if c.TLS != nil {
		c.TLS = c.TLS.Clone()
	}
	return c
}

// validate reports every mistake at once.
func (c Config) validate() error {
	bad := fault.In("redisstore: Config")
	c.validateServers(bad)
	bad.If(c.TLS != nil && c.TLS.MinVersion != 0 && c.TLS.MinVersion < tls.VersionTLS12,
		"TLS", "has a MinVersion below TLS 1.2: leave it out")
	bad.If(c.Username != "" && c.Password == "", "Password", "is required with a %s", fault.Name("Username"))
	bad.If(c.SentinelUsername != "" && c.SentinelPassword == "", "SentinelPassword",
		"is required with a %s", fault.Name("SentinelUsername"))
	bad.If(c.SentinelPassword != "" && c.SentinelMaster == "", "SentinelPassword",
		"needs a %s", fault.Name("SentinelMaster"))
	bad.If(c.Database < 0, "Database", "is %d: must not be negative", c.Database)
	bad.If(c.Database > 0 && c.Cluster, "Database", "is %d: a cluster has only 0", c.Database)
	bad.If(!isPrefix(c.Prefix), "Prefix", "must be at most %d printable ASCII characters without braces: "+
		"a part in braces would put all sessions on one server of a cluster", longestPrefix)
	bad.If(c.Timeout < 0, "Timeout", "is %v: must not be negative", c.Timeout)
	bad.If(c.Linger < 0 || c.Linger > longestLinger, "Linger", "is %v: must be between 0 and %v", c.Linger, longestLinger)
	bad.If(c.CacheFor < 0 || c.CacheFor > longestCacheFor || c.CacheFor%time.Millisecond != 0, "CacheFor",
		"is %v: must be whole milliseconds between 0 and %v", c.CacheFor, longestCacheFor)
	return bad.Err()
}

func (c Config) validateServers(bad *fault.Mistakes) {
	bad.If(len(c.Addrs) == 0, "Addrs", `is required: "host:port" of the server`)
	bad.If(len(c.Addrs) > 1 && !c.Cluster && c.SentinelMaster == "", "Addrs",
		"has several servers: set %s or %s", fault.Name("Cluster"), fault.Name("SentinelMaster"))
	bad.If(c.Cluster && c.SentinelMaster != "", "Cluster", "excludes %s", fault.Name("SentinelMaster"))
	for _, addr := range c.Addrs {
		host, port, err := net.SplitHostPort(addr)
		if err != nil || host == "" || port == "" {
			bad.If(true, "Addrs", `has %q: want "host:port"`, addr)
			continue
		}
		bad.Add(c.permit(addr))
	}
}

// permit returns an error if a connection to addr would need TLS and lacks it.
// It is asked again for each connection: a cluster or a Sentinel names servers
// that are not in Addrs.
func (c Config) permit(addr string) error {
	host, _, _ := net.SplitHostPort(addr)
	if c.TLS != nil || c.InsecurePlain || storeurl.IsLocal(host) {
		return nil
	}
	return fault.Errorf("redisstore: Config.TLS", "is required for %s, which is not this machine; "+
		"%s allows plain text", addr, fault.Name("InsecurePlain"))
}

func isPrefix(s string) bool {
	return len(s) <= longestPrefix &&
		!strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' || r == '{' || r == '}' })
}
