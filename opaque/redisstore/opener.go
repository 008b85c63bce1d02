package redisstore

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strconv"
	"strings"

	"github.com/cloakroom-go/cloakroom/internal/fault"
	"github.com/cloakroom-go/cloakroom/internal/storeurl"
	"github.com/cloakroom-go/cloakroom/opaque"
)

// Opener returns the opener of URLs such as
//
//	rediss://app@cache.example:6380/0?prefix=shop:
//
// With the scheme rediss connections use TLS. The port is 6379 if it is left
// out, and 26379 with Sentinels. The path is the number of the database. The
// parameters are:
//
//	prefix              Config.Prefix
//	cluster=true        Config.Cluster
//	sentinel_master     Config.SentinelMaster; the host is that of a Sentinel
//	addr                another server of the cluster, or another Sentinel, as
//	                    host:port; may be repeated
//	cache_for           Config.CacheFor, such as 5s
//	ca_file             a PEM file with the certificates to trust instead of the
//	                    system's
//	insecure_plain=true     Config.InsecurePlain
//	insecure_eviction=true  Config.InsecureEviction
//
// Sentinels that have users of their own need a [Config].
func Opener() opaque.Opener {
	return opaque.Opener{Schemes: []string{"redis", "rediss"}, Open: openURL}
}

func openURL(ctx context.Context, u *url.URL, o opaque.OpenOptions) (opaque.Store, error) {
	cfg, err := configOf(u, o)
	if err != nil {
		return nil, err
	}
	s, err := New(ctx, cfg)
	if err != nil {
		return nil, storeurl.Rename(err, "redisstore", inURL())
	}
	return s, nil
}

// inURL returns what the fields of a Config are in a URL.
func inURL() map[fault.Name]string {
	return map[fault.Name]string{
		"Config.Addrs":          "addr",
		"Config.Cluster":        "cluster",
		"Config.SentinelMaster": "sentinel_master",
		"Config.TLS":            "the scheme rediss",
		"Config.Username":       "user",
		"Config.Password":       "a password",
		"Config.Database":       "the number of the database",
		"Config.Prefix":         "prefix",
		"Config.Linger":         "linger",
		"Config.CacheFor":       "cache_for",
		"Config.InsecurePlain":  "insecure_plain=true",
	}
}

// configOf reports every mistake in u at once, except those that New finds.
func configOf(u *url.URL, o opaque.OpenOptions) (Config, error) {
	q := storeurl.ReadQuery(u, "addr[]", "ca_file", "cache_for", "cluster", "insecure_eviction", "insecure_plain",
		"prefix", "sentinel_master")
	cfg := Config{
		Cluster:          q.Bool("cluster", false),
		SentinelMaster:   q.Text("sentinel_master"),
		Username:         u.User.Username(),
		Password:         o.Password,
		Prefix:           q.Text("prefix"),
		Timeout:          o.Timeout,
		Linger:           o.Linger,
		CacheFor:         q.Duration("cache_for"),
		OnProblem:        o.OnProblem,
		InsecurePlain:    q.Bool("insecure_plain", false),
		InsecureEviction: q.Bool("insecure_eviction", false),
		Now:              o.Now,
	}
	port := "6379"
	if cfg.SentinelMaster != "" {
		port = "26379"
	}
	cfg.Addrs = append([]string{storeurl.Addr(u, port)}, q.All("addr")...)
	err := q.Err("redisstore")
	var ofTLS, ofPath error
	cfg.TLS, ofTLS = tlsOf(u, q.Text("ca_file"))
	cfg.Database, ofPath = databaseOf(u)
	if err = errors.Join(err, ofTLS, ofPath); err != nil {
		return Config{}, err
	}
	return cfg, nil
}

func tlsOf(u *url.URL, caFile string) (*tls.Config, error) {
	if u.Scheme != "rediss" {
		if caFile != "" {
			return nil, errors.New("redisstore: ca_file needs the scheme rediss")
		}
		return nil, nil
	}
	c := &tls.Config{MinVersion: tls.VersionTLS12}
	if caFile == "" {
		return c, nil
	}
	certificates, err := os.ReadFile(caFile)
	if err != nil {
		return nil, fmt.Errorf("redisstore: ca_file: %w", err)
	}
	c.RootCAs = x509.NewCertPool()
	if !c.RootCAs.AppendCertsFromPEM(certificates) {
		return nil, errors.New("redisstore: ca_file has no certificate in PEM form")
	}
	return c, nil
}

func databaseOf(u *url.URL) (int, error) {
	path := strings.TrimPrefix(u.Path, "/")
	if path == "" && u.Opaque == "" {
		return 0, nil
	}
	number, err := strconv.ParseUint(path, 10, 16)
	if err != nil || u.Opaque != "" {
		return 0, errors.New("redisstore: the URL must have the form redis://host:port/number: " +
			"the path is the number of a database")
	}
	return int(number), nil
}
