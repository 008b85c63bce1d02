package redisstore

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/valkey-io/valkey-go"
)

// checkInterval is how often the settings are looked at: an operator may change
// them while the server runs.
const checkInterval = 10 * time.Minute

// check looks at every server that the client knows: what the user may do
// there, and the settings. It uses INFO, because managed servers forbid CONFIG.
func (s *Store) check(ctx context.Context) error {
	var errs []error
	for addr, node := range s.client.Nodes() {
		if err := s.checkServer(ctx, node); err != nil {
			errs = append(errs, fmt.Errorf("%w (server %s)", err, addr))
		}
	}
	return errors.Join(errs...)
}

func (s *Store) checkServer(ctx context.Context, server valkey.Client) error {
	if err := s.checkRights(ctx, server); err != nil {
		return err
	}
	reply, err := s.call(ctx, "check", func(ctx context.Context) valkey.ValkeyResult {
		return server.Do(ctx, server.B().Info().Build())
	})
	if err != nil {
		return err
	}
	info, err := reply.ToString()
	if err != nil {
		return s.failure("check", err)
	}
	return errors.Join(s.judge(parseInfo(info)), s.checkTracking(ctx, server))
}

// checkTracking reports whether the server tracks what is read for the cache.
// The client would not notice that it doesn't.
func (s *Store) checkTracking(ctx context.Context, server valkey.Client) error {
	if s.cfg.CacheFor == 0 {
		return nil
	}
	_, err := s.call(ctx, "check", func(ctx context.Context) valkey.ValkeyResult {
		return server.Do(ctx, server.B().ClientCaching().Yes().Build())
	})
	return err
}

// judge refuses a server that is too old, and one that would drop sessions. All
// policies but noeviction do that: each session has an expiry.
func (s *Store) judge(info map[string]string) error {
	if version := info["redis_version"]; !isAtLeast(version, 6, 2) {
		return fmt.Errorf("redisstore: the server's version is %q: Redis 6.2, Valkey 7.2 or later is required", version)
	}
	policy := info["maxmemory_policy"]
	if policy == "noeviction" || info["maxmemory"] == "0" || s.cfg.InsecureEviction {
		return nil
	}
	return fmt.Errorf("redisstore: the server drops sessions when its memory is full (maxmemory-policy %q): "+
		"set it to noeviction; InsecureEviction (insecure_eviction=true in a URL) allows it", policy)
}

// parseInfo reads the lines "name:value" of INFO.
func parseInfo(text string) map[string]string {
	info := map[string]string{}
	for line := range strings.Lines(text) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		info[name] = value
	}
	return info
}

func isAtLeast(version string, major, minor int) bool {
	first, rest, _ := strings.Cut(version, ".")
	second, _, _ := strings.Cut(rest, ".")
	gotMajor, err := strconv.Atoi(first)
	if err != nil {
		return false
	}
	gotMinor, err := strconv.Atoi(second)
	return err == nil && (gotMajor > major || gotMajor == major && gotMinor >= minor)
}

// checkRepeatedly checks until Close, if somebody wants to know.
func (s *Store) checkRepeatedly() {
	ctx, cancel := context.WithCancel(context.Background())
	s.stop = cancel
	if s.cfg.OnProblem == nil {
		return
	}
	s.looking.Go(func() {
		tick := time.NewTicker(checkInterval)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			if err := s.check(ctx); err != nil && ctx.Err() == nil {
				s.cfg.OnProblem(err)
			}
		}
	})
}
