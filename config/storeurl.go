package config

import (
	"errors"
	"fmt"
	"net/url"
	"os"

	"github.com/cloakroom-go/cloakroom/internal/secret"
	"github.com/cloakroom-go/cloakroom/internal/storeurl"
)

// A StoreURL is the URL of a store. It may contain the password of its user.
// Package fmt therefore prints it with "xxxxx" in place of the password,
// whatever the verb, and so do the encoders of JSON and YAML.
type StoreURL string

// memory is the URL of the store in the memory of this process.
const memory StoreURL = "memory:"

// maskedPassword is what [StoreURL] shows in place of a password.
const maskedPassword = "xxxxx"

// Format implements [fmt.Formatter]. A method String would not be enough: some
// verbs don't call it.
func (u StoreURL) Format(state fmt.State, verb rune) {
	_, _ = fmt.Fprintf(state, fmt.FormatString(state, verb), u.shown())
}

// shown returns u without its password.
func (u StoreURL) shown() string {
	if shown := storeurl.Shown(string(u)); shown != "" || u == "" {
		return shown
	}
	return "(not the URL of a store)"
}

// MarshalText returns u with "xxxxx" in place of its password. It refuses what
// is no URL.
func (u StoreURL) MarshalText() ([]byte, error) {
	if _, err := storeurl.Parse(string(u)); u != "" && err != nil {
		return nil, fmt.Errorf("config: the URL of a store %w", err)
	}
	return []byte(storeurl.Shown(string(u))), nil
}

// UnmarshalText sets u from its text. It refuses what is not the URL of a
// store, in errors that repeat nothing of it.
func (u *StoreURL) UnmarshalText(text []byte) error {
	if err := StoreURL(text).check(); err != nil {
		return err
	}
	*u = StoreURL(text)
	return nil
}

func (u StoreURL) check() error {
	parsed, err := storeurl.Parse(string(u))
	if err != nil {
		return err
	}
	if parsed.Scheme == "memory" && u != memory {
		return errors.New("has more than the scheme memory; write memory: alone")
	}
	if password, _ := parsed.User.Password(); password == maskedPassword {
		return errors.New("has lost its password when it was printed; use store.password_env or store.password_file")
	}
	return nil
}

// isServer reports whether u names a store outside of this process.
func (u StoreURL) isServer() bool { return u != "" && u != memory }

// password returns the password in u, or "".
func (u StoreURL) password() string {
	parsed, err := storeurl.Parse(string(u))
	if err != nil {
		return ""
	}
	password, _ := parsed.User.Password()
	return password
}

// withoutPassword returns u with the user only. u has been checked.
func (u StoreURL) withoutPassword() *url.URL {
	parsed, err := storeurl.Parse(string(u))
	if err != nil {
		return nil
	}
	if parsed.User != nil {
		parsed.User = url.User(parsed.User.Username())
	}
	return parsed
}

// checkPasswordIn reports a password in a document that others can read.
func (c Config) checkPasswordIn(document *os.File) error {
	if c.Store.URL.password() == "" {
		return nil
	}
	if err := secret.CheckMode(document); err != nil {
		return fmt.Errorf("config: %s: has a password, and %w; or use store.password_env or store.password_file",
			fieldLabel("store.url"), err)
	}
	return nil
}

// store checks what can be said about s without opening it.
func (v *validator) store(s StoreConfig) {
	v.notNegative("store.linger", s.Linger)
	if err := s.URL.check(); s.URL != "" && err != nil {
		v.fail("store.url", "%v", err)
		return
	}
	if !s.URL.isServer() {
		return
	}
	for _, limit := range [...]struct {
		path  string
		isSet bool
	}{
		{"store.max_sessions", s.MaxSessions != 0},
		{"store.max_bytes", s.MaxBytes != 0},
		{"store.anonymous_percent", s.AnonymousPercent != 0},
	} {
		if limit.isSet {
			v.fail(limit.path, "is a limit of the store in memory, and %s names another one; leave one of them out",
				v.label("store.url"))
		}
	}
}
