package redisstore

import (
	"errors"
	"fmt"
	"strings"

	"github.com/valkey-io/valkey-go"

	"github.com/cloakroom-go/cloakroom/opaque"
	"github.com/cloakroom-go/cloakroom/session"
)

// refusals are the codes with which a server refuses a command, and what the
// operator can do. notDone is true if nothing has happened. After every other
// error the command may have happened.
func refusals(code string) (advice string, notDone bool) {
	switch code {
	case "READONLY":
		return "the server is a replica now", true
	case "LOADING":
		return "the server is still reading its data from disk", true
	case "CLUSTERDOWN":
		return "the cluster lacks a server for some of the keys", true
	case "OOM":
		return "the server's memory is full: raise maxmemory", true
	case "NOREPLICAS":
		return "the server has fewer replicas than min-replicas-to-write", true
	case "NOAUTH", "WRONGPASS":
		return "the server does not accept the Username and Password", true
	case noRight:
		return "the server's user lacks rights", false // a script may have come half way
	case "MASTERDOWN", "MISCONF":
		return "the server takes no writes: see its log", true
	}
	return "", false
}

// failure is the error of a command. It has only the code of a server's error:
// the rest may repeat keys. A server that has become a replica stays connected,
// so its connections are closed, and a new one is made to the new master.
func (s *Store) failure(op string, err error) error {
	if errors.Is(err, valkey.ErrNoCache) {
		return fmt.Errorf("redisstore: %s: the server refuses CLIENT TRACKING, which CacheFor needs: "+
			"does the ACL user have +client|tracking? %w", op, session.Unavailable)
	}
	refused, ok := valkey.IsValkeyErr(err)
	switch {
	case !ok && errors.As(err, new(unconnected)):
		return notDone(op, err)
	case !ok:
		return fmt.Errorf("redisstore: %s: %w: %w", op, err, session.Unavailable)
	}
	code := codeOf(refused.Error())
	if code == "READONLY" {
		s.conns.closeOld()
	}
	advice, not := refusals(code)
	if code == noRight {
		advice += "; this gives them: " + s.cfg.grant(s.cfg.rights())
	}
	switch {
	case not:
		return fmt.Errorf("redisstore: %s: %s (%s): %w", op, advice, code, opaque.ErrNotDone)
	case advice != "":
		return fmt.Errorf("redisstore: %s: %s (%s): %w", op, advice, code, session.Unavailable)
	}
	return fmt.Errorf("redisstore: %s: the server answers with the error %s: %w", op, code, session.Unavailable)
}

// notDone is the error of a command that was never sent.
func notDone(op string, err error) error {
	return fmt.Errorf("redisstore: %s: %w: %w", op, err, opaque.ErrNotDone)
}

// codeOf returns the first word of a server's error if it is a code. The client
// leaves out the code ERR.
func codeOf(text string) string {
	code, _, _ := strings.Cut(text, " ")
	if code == "" || strings.ContainsFunc(code, func(r rune) bool { return r < 'A' || r > 'Z' }) {
		return "ERR"
	}
	return code
}
