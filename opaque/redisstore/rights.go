package redisstore

import (
	"cmp"
	"context"
	"fmt"
	"strings"

	"github.com/valkey-io/valkey-go"
)

// A right is one that the user needs in the server. The server looks at rights
// before it does anything else with a command, so try shows whether the user
// has the right, and has no effect: it names the key of no session or subject,
// or an entry that no log has, or its arguments make no sense.
type right struct {
	name string   // as ACL SETUSER takes it, without the plus
	try  []string // nil if a user without the right can't connect
}

// rights returns those that the user needs for c. In a cluster each server has
// its own users.
func (c Config) rights() []right {
	session, log, index := c.Prefix+"s:", c.Prefix+logKey, c.Prefix+"x:"
	const last = "18446744073709551615-18446744073709551615"
	rights := []right{
		{"get", []string{"GET", session}},
		{"set", []string{"SET", session, "", "NX", "XX"}}, // exclude each other
		{"getrange", []string{"GETRANGE", session, "0", "0"}},
		{"setrange", []string{"SETRANGE", session, "-1", ""}},
		{"pexpire", []string{"PEXPIRE", session, "no number"}},
		{"del", []string{"DEL", session}},
		{"eval", []string{"EVAL", "return 0", "1", session}},
		{"evalsha", []string{"EVALSHA", strings.Repeat("0", 40), "1", session}},
		{"hello", nil},
		{"ping", []string{"PING"}},
		{"info", []string{"INFO", "server"}},
		{"xadd", []string{"XADD", log, "0-0", logField, ""}}, // IDs begin at 0-1
		{"xread", []string{"XREAD", "COUNT", "1", "STREAMS", log, last}},
		{"xrange", []string{"XRANGE", log, "0-0", "0-0"}},
		{"xdel", []string{"XDEL", log, "0-0"}},
		{"time", []string{"TIME"}},
		{"hget", []string{"HGET", index, ""}},
		{"hset", []string{"HSET", index, "", "", "no value"}}, // comes in pairs
		{"hdel", []string{"HDEL", index, ""}},
		{"hlen", []string{"HLEN", index}},
		{"hgetall", []string{"HGETALL", index}},
		{"pttl", []string{"PTTL", index}},
	}
	if c.Cluster {
		rights = append(rights, right{"cluster|slots", []string{"CLUSTER", "SLOTS"}},
			right{"cluster|shards", []string{"CLUSTER", "SHARDS"}}, right{"asking", []string{"ASKING"}})
	}
	if c.SentinelMaster != "" {
		rights = append(rights, right{"role", nil})
	}
	if c.CacheFor > 0 {
		rights = append(rights, right{"client|tracking", nil}, right{"client|caching", []string{"CLIENT", "CACHING", "YES"}})
	}
	return rights
}

// checkRights returns an error that names the rights that the user lacks in the
// server. It is one round trip. Every other error that the server answers with
// says that the user has the right: in a cluster, most keys are elsewhere.
func (s *Store) checkRights(ctx context.Context, server valkey.Client) error {
	var tried []right
	var commands valkey.Commands
	for _, r := range s.cfg.rights() {
		if r.try != nil {
			tried = append(tried, r)
			commands = append(commands, server.B().Arbitrary(r.try...).Build())
		}
	}
	var replies []valkey.ValkeyResult // not a result: the closure may go on after an error
	_, err := s.call(ctx, "check", func(ctx context.Context) (broken valkey.ValkeyResult) {
		replies = server.DoMulti(ctx, commands...)
		for _, r := range replies {
			if r.NonValkeyError() != nil {
				return r
			}
		}
		return broken
	})
	if err != nil {
		return err
	}
	var lacks []right
	for i, r := range replies {
		if err := r.Error(); err != nil && codeOf(err.Error()) == noRight {
			lacks = append(lacks, tried[i])
		}
	}
	if len(lacks) == 0 {
		return nil
	}
	return fmt.Errorf("redisstore: the server's user lacks rights; this gives them: %s", s.cfg.grant(lacks))
}

// noRight is the code of the server's error for a command that the user may not
// run, or not with that key.
const noRight = "NOPERM"

// grant returns the command with which an administrator gives the rights.
func (c Config) grant(rights []right) string {
	return "ACL SETUSER " + cmp.Or(c.Username, "default") + " ~" + c.Prefix + "* " + line(rights)
}

// line writes rights as ACL SETUSER takes them.
func line(rights []right) string {
	names := make([]string, len(rights))
	for i, r := range rights {
		names[i] = "+" + r.name
	}
	return strings.Join(names, " ")
}
