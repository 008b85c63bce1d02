package config

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/cloakroom-go/cloakroom/devices"
	"github.com/cloakroom-go/cloakroom/internal/clientauth"
	"github.com/cloakroom-go/cloakroom/session"
)

// minRevocations is the least value of revocation.Config.MaxEntries, except 0.
// It is checked here too, so that the other mistakes in the config are still
// found.
const minRevocations = 10_000

// validate reports mistakes in c that no other setting can correct later. The
// constructors of the other packages check the rest.
func (c Config) validate(label labeler) []error {
	v := validator{label: label}
	v.oneOf("mode", string(c.Mode), string(Stateless), string(Opaque), string(Auto))
	v.oneOf("session.preset", c.Session.Preset, "aal1", "aal2", "aal3")
	v.oneOf("cookie.same_site", c.Cookie.SameSite, "lax", "strict", "none")
	v.sessionTimes(c.Session)
	for _, origin := range c.CrossOrigin.Trusted {
		v.origin("cross_origin.trusted", origin)
	}
	v.notNegative("keys.reload", c.Keys.Reload)
	if c.Keys.Reload > 0 && c.Keys.Reload < Duration(time.Second) {
		v.fail("keys.reload", "%v is too short; write 1s or more", c.Keys.Reload)
	}
	v.store(c.Store)
	v.notNegative("revocations.skew", c.Revocations.Skew)
	v.notNegative("revocations.wait", c.Revocations.Wait)
	v.notNegative("revocations.max_staleness", c.Revocations.MaxStaleness)
	if n := c.Revocations.MaxEntries; n != 0 && n < minRevocations {
		v.fail("revocations.max_entries",
			"%d is too few; write at least %d, or leave it out for 2,000,000", n, minRevocations)
	}
	v.devices(c.Devices)
	v.services(c.Services)
	v.notNegative("timeout", c.Timeout)
	if c.TokenMemory < 0 {
		v.fail("token_memory", "is negative; 0 stands for the default")
	}
	if c.Revocations.File != "" && c.Revocations.InsecureVolatile {
		v.fail("revocations.insecure_volatile", "contradicts %s; keep one of them", label("revocations.file"))
	}
	return v.errs
}

func (v *validator) devices(c DevicesConfig) {
	if c.Limit < 0 || c.Limit > devices.MaxEntries {
		v.fail("devices.limit", "%d is not between 1 and %d; write such a number, or leave it out for %d",
			c.Limit, devices.MaxEntries, devices.DefaultLimit)
	}
	for path, isSet := range map[string]bool{"devices.limit": c.Limit != 0, "devices.refuse_new": c.RefuseNew} {
		if isSet && !c.Enabled {
			v.fail(path, "has no effect unless %s is true", v.label("devices.enabled"))
		}
	}
}

func (v *validator) services(c ServicesConfig) {
	ids := map[string]bool{}
	for i, client := range c.Clients {
		at := clientPath(i)
		switch err := clientauth.CheckID(client.ID); {
		case client.ID == "":
			v.fail(at+".id", "is missing; name the service")
		case err != nil:
			v.fail(at+".id", "can't be used: %v", err)
		case ids[client.ID]:
			v.fail(at+".id", "is that of another client; give each another one")
		}
		ids[client.ID] = true
		switch {
		case client.SecretFile != "" && client.SecretEnv != "":
			v.fail(at+".secret_env", "is a second place for the secret of one client; set only one of secret_file "+
				"and secret_env")
		case client.SecretFile == "" && client.SecretEnv == "":
			v.fail(at+".secret_file", "is missing; run: (umask 077; openssl rand -base64 32 > orders.secret), "+
				"and name that file")
		}
	}
}

// A validator collects mistakes, each with the name of its field.
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

// notNegative is for a Config that was written in Go: a duration that was read
// from text is never negative.
func (v *validator) notNegative(path string, value Duration) {
	if value < 0 {
		v.fail(path, "%v is negative; 0 stands for the default", value)
	}
}

// sessionTimes checks s against its preset and the rules for a policy.
func (v *validator) sessionTimes(s SessionConfig) {
	limit := presets()[s.Preset]
	v.within("session.idle_timeout", &s.IdleTimeout, limit.IdleTimeout, s.Preset)
	v.within("session.lifetime", &s.Lifetime, limit.Lifetime, s.Preset)
	v.within("session.remembered_idle_timeout", &s.RememberedIdleTimeout, limit.RememberedIdleTimeout, s.Preset)
	v.within("session.remembered_lifetime", &s.RememberedLifetime, limit.RememberedLifetime, s.Preset)
	v.errs = append(v.errs, report(v.label, "session", s.policy().Validate())...)
}

// within checks a value against the limit of a preset. It shortens a value that
// is too long, so that it is reported only once.
func (v *validator) within(path string, value *Duration, limit time.Duration, preset string) {
	if limit > 0 && time.Duration(*value) > limit {
		v.fail(path, "%v is longer than the %v of preset %s; shorten it or drop the preset", *value, Duration(limit), preset)
		*value = Duration(limit)
	}
}

// policy returns the times of s, and those of its preset where s leaves them
// open.
func (s SessionConfig) policy() session.Policy {
	limit := presets()[s.Preset]
	return session.Policy{
		// A lifetime that is shorter than the preset's idle timeout bounds it.
		IdleTimeout:           set(s.IdleTimeout, shorter(limit.IdleTimeout, s.Lifetime)),
		Lifetime:              set(s.Lifetime, limit.Lifetime),
		RememberedIdleTimeout: set(s.RememberedIdleTimeout, shorter(limit.RememberedIdleTimeout, s.RememberedLifetime)),
		RememberedLifetime:    set(s.RememberedLifetime, limit.RememberedLifetime),
		TouchEvery:            time.Duration(s.TouchEvery),
	}
}

// set returns d, or otherwise if d is not set.
func set(d Duration, otherwise time.Duration) time.Duration {
	return cmp.Or(time.Duration(d), otherwise)
}

// shorter returns limit, or bound if that is set and shorter.
func shorter(limit time.Duration, bound Duration) time.Duration {
	if bound == 0 {
		return limit
	}
	return min(limit, time.Duration(bound))
}

// presets returns the values of session.preset and what each stands for.
func presets() map[string]session.Policy {
	return map[string]session.Policy{"aal1": session.AAL1(), "aal2": session.AAL2(), "aal3": session.AAL3()}
}
