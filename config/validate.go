package config

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/cloakroom-go/cloakroom/session"
)

// validate reports what c says that can't be, whatever else is set later. What
// the constructors of the other packages check is left to them.
func (c Config) validate(label labeler) []error {
	v := validator{label: label}
	v.oneOf("mode", string(c.Mode), string(Stateless), string(Opaque), string(Auto))
	v.oneOf("session.preset", c.Session.Preset, "aal1", "aal2", "aal3")
	v.oneOf("cookie.same_site", c.Cookie.SameSite, "lax", "strict", "none")
	v.sessionTimes(c.Session)
	v.notNegative("keys.reload", c.Keys.Reload)
	v.notNegative("store.linger", c.Store.Linger)
	v.notNegative("revocations.skew", c.Revocations.Skew)
	v.notNegative("timeout", c.Timeout)
	if c.TokenMemory < 0 {
		v.fail("token_memory", "is negative; 0 stands for the default")
	}
	if c.Revocations.File != "" && c.Revocations.InsecureVolatile {
		v.fail("revocations.insecure_volatile", "contradicts %s; keep one of them", label("revocations.file"))
	}
	return v.errs
}

// validator collects mistakes under the names of their fields.
type validator struct {
	label labeler
	errs  []error
}

func (v *validator) fail(path, format string, args ...any) {
	v.errs = append(v.errs, fmt.Errorf("config: %s: %s", v.label(path), fmt.Sprintf(format, args...)))
}

func (v *validator) oneOf(path, value string, allowed ...string) {
	if value != "" && !slices.Contains(allowed, value) {
		v.fail(path, "%q is not one of %s", value, strings.Join(allowed, ", "))
	}
}

// notNegative is for a Config that was written in Go: as text, no duration is.
func (v *validator) notNegative(path string, value Duration) {
	if value < 0 {
		v.fail(path, "%v is negative; 0 stands for the default", value)
	}
}

// sessionTimes holds s to its preset, and to what a policy can be.
func (v *validator) sessionTimes(s Session) {
	limit := preset(s.Preset)
	v.within("session.idle_timeout", s.IdleTimeout, limit.IdleTimeout, s.Preset)
	v.within("session.lifetime", s.Lifetime, limit.Lifetime, s.Preset)
	for _, err := range mistakes(s.policy().Validate()) {
		v.errs = append(v.errs, fmt.Errorf("config: %s: %w", v.label(cmp.Or(pathOf(err), "session")), err))
	}
}

func (v *validator) within(path string, value Duration, limit time.Duration, preset string) {
	if limit > 0 && time.Duration(value) > limit {
		v.fail(path, "%v is longer than the %v of preset %s; shorten it or drop the preset", value, Duration(limit), preset)
	}
}

// policy returns what s says, with the times of its preset where it says none.
func (s Session) policy() session.Policy {
	p := preset(s.Preset)
	if s.IdleTimeout != 0 {
		p.IdleTimeout = time.Duration(s.IdleTimeout)
	}
	if s.Lifetime != 0 {
		p.Lifetime = time.Duration(s.Lifetime)
	}
	p.TouchEvery = time.Duration(s.TouchEvery)
	// A lifetime that is shorter than the preset's idle timeout bounds it.
	if s.IdleTimeout == 0 && p.Lifetime != 0 {
		p.IdleTimeout = min(p.IdleTimeout, p.Lifetime)
	}
	return p
}

func preset(name string) session.Policy {
	switch name {
	case "aal1":
		return session.AAL1()
	case "aal2":
		return session.AAL2()
	case "aal3":
		return session.AAL3()
	}
	return session.Policy{}
}
