package session

import (
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

const (
	// maxSubjectLength bounds a subject, in bytes.
	maxSubjectLength = 256

	// maxTags is how many tags a login may have.
	maxTags = 4

	// maxMethods and maxMethodLength bound what AMR says, in methods and in bytes.
	// The registered names are shorter than 8 bytes (RFC 8176, Section 2).
	maxMethods      = 8
	maxMethodLength = 64
)

// A LoginOption says more about a login: a [LoginTag] what it belongs to, [AMR]
// how the subject authenticated.
type LoginOption interface{ addTo(l *login) }

// A login is what [Session.Login] records of a login beside its subject.
type login struct {
	tags []LoginTag
	amr  []string
}

func (t LoginTag) addTo(l *login) { l.tags = append(l.tags, t) }

// methods is the LoginOption that AMR returns.
type methods []string

func (m methods) addTo(l *login) { l.amr = append(l.amr, m...) }

// AMR says how the subject authenticated: amr of the service tokens (OpenID
// Connect Core, Section 2), in names of RFC 8176, Section 2 such as "pwd",
// "otp" and "mfa", or your own: at most eight, each of 1 to 64 printable ASCII
// characters without a space.
func AMR(names ...string) LoginOption { return methods(slices.Clone(names)) }

// newLogin checks what options say.
func newLogin(options []LoginOption) (login, error) {
	var l login
	for _, option := range options {
		if option != nil {
			option.addTo(&l)
		}
	}
	if len(l.tags) > maxTags || slices.Contains(l.tags, LoginTag{}) {
		return login{}, fmt.Errorf("session: Login takes at most %d tags, each with a kind and a value: %w",
			maxTags, BadValue)
	}
	if len(l.amr) > maxMethods || slices.ContainsFunc(l.amr, badMethod) {
		return login{}, fmt.Errorf("session: AMR takes at most %d names, each of 1 to %d printable ASCII characters "+
			"without a space: %w", maxMethods, maxMethodLength, BadValue)
	}
	return l, nil
}

func badMethod(name string) bool {
	return name == "" || len(name) > maxMethodLength ||
		strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r > '~' })
}

// Login records that subject, 1 to 256 bytes in UTF-8, has just authenticated.
// It is the defence against session fixation: the visitor gets a new
// credential, and the old one ends immediately; in stateless mode on this
// instance, and on others when they hear of it. The lifetime starts again. If
// another subject was logged in, all values are cleared, and what Remember has
// set is forgotten.
//
// A login doesn't depend on the session it starts from. If that one has timed
// out, or another request has logged in or renewed it meanwhile, as after a
// double click, this login gets a session of its own, with another ID and the
// values that the request has loaded. It fails with [Ended] when it is saved
// if, since the request began, the session was destroyed, or all sessions of
// subject were ended by another request.
//
// Each [Tag], at most four, says what else the login belongs to, and [AMR] how
// the subject authenticated. A later login replaces them.
func (s *Session) Login(subject string, options ...LoginOption) error {
	if subject == "" || len(subject) > maxSubjectLength || !utf8.ValidString(subject) {
		return fmt.Errorf("session: Login needs a subject of 1 to %d bytes in UTF-8; to log out, call Destroy: %w",
			maxSubjectLength, BadValue)
	}
	l, err := newLogin(options)
	if err != nil {
		return err
	}
	if s.o.Saver == nil {
		return errNoMiddleware()
	}
	return s.changeCredential(op{
		kind: opLogin, name: subject, login: l, at: s.loginAt(subject, l.tags), persist: s.o.Persistent,
	}, true)
}

// loginAt returns the instant that a login of subject is dated to: the
// beginning of the request, so that it doesn't escape if all sessions of the
// subject are ended while the password is being checked; but if this request
// has ended them, an instant after that.
func (s *Session) loginAt(subject string, tags []LoginTag) time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	at := s.began
	login := Record{Subject: subject, Tags: tags}
	for of, from := range s.loginFrom {
		if of.isOf(&login) && from.After(at) {
			at = from
		}
	}
	return at
}
