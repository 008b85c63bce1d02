package session_test

import (
	"testing"
	"time"

	"github.com/cloakroom-go/cloakroom/session"
	"github.com/stretchr/testify/assert"
)

var start = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func TestPolicyDefaults(t *testing.T) {

	policy := func(idle, lifetime, rememberedIdle, rememberedLifetime, touch time.Duration) session.Policy {
		return session.Policy{IdleTimeout: idle, Lifetime: lifetime, RememberedIdleTimeout: rememberedIdle,
			RememberedLifetime: rememberedLifetime, TouchEvery: touch}
	}
	tests := []struct {
		name     string
		in, want session.Policy
	}{
		{"zero", session.Policy{}, policy(20*time.Minute, 12*time.Hour, 14*day, 30*day, time.Minute)},
		{"short idle", session.Policy{IdleTimeout: time.Minute}, policy(time.Minute, 12*time.Hour, 14*day, 30*day, 15*time.Second)},
		{"short life", session.Policy{Lifetime: 5 * time.Minute}, policy(5*time.Minute, 5*time.Minute, 14*day, 30*day, time.Minute)},
		{"long", session.Policy{IdleTimeout: 20 * day, Lifetime: 90 * day}, policy(20*day, 90*day, 20*day, 90*day, time.Minute)},
		{"remembered for a week", session.Policy{RememberedLifetime: 7 * day}, policy(20*time.Minute, 12*time.Hour, 7*day, 7*day, time.Minute)},
		{"remembered for an idle hour", session.Policy{RememberedIdleTimeout: time.Hour}, policy(20*time.Minute, 12*time.Hour, time.Hour, 30*day, time.Minute)},
		{"AAL1", session.AAL1(), policy(30*day, 30*day, 30*day, 30*day, time.Minute)},
		{"AAL2", session.AAL2(), policy(time.Hour, day, time.Hour, day, time.Minute)},
		{"AAL3", session.AAL3(), policy(15*time.Minute, 12*time.Hour, 15*time.Minute, 12*time.Hour, time.Minute)},
	}
	for _, tt := range tests {
		assert.Equal(t, tt.want, tt.in.WithDefaults(), tt.name)
		assert.NoError(t, tt.in.Validate(), tt.name)
	}
}

func TestPolicyValidate(t *testing.T) {
	tests := []struct {
		name string
		in   session.Policy
		want string
	}{
		{"negative idle", session.Policy{IdleTimeout: -1}, "Policy.IdleTimeout -1ns is too short: at least 1s"},
		{"tiny life", session.Policy{Lifetime: time.Millisecond}, "Policy.Lifetime 1ms is too short: at least 1s"},
		{"idle beyond life", session.Policy{IdleTimeout: time.Hour, Lifetime: time.Minute}, "Policy.IdleTimeout 1h0m0s is longer than the lifetime of 1m0s: shorten it, or set Policy.Lifetime to 1h0m0s or more"},
		{"idle beyond the default life", session.Policy{IdleTimeout: 13 * time.Hour}, "longer than the lifetime of 12h0m0s"},
		{"remembered for less", session.Policy{IdleTimeout: time.Hour, RememberedIdleTimeout: time.Minute}, "Policy.RememberedIdleTimeout 1m0s is shorter than the ordinary idle timeout of 1h0m0s"},
		{"remembered for less, in all", session.Policy{RememberedLifetime: time.Hour}, "Policy.RememberedLifetime 1h0m0s is shorter than the ordinary lifetime of 12h0m0s"},
		{"remembered idle beyond life", session.Policy{RememberedIdleTimeout: 31 * 24 * time.Hour}, "longer than the lifetime of 720h0m0s: shorten it, or set Policy.RememberedLifetime"},
		{"rare touch", session.Policy{IdleTimeout: time.Minute, TouchEvery: 16 * time.Second}, "a quarter of the idle timeout"},
		{"negative touch", session.Policy{TouchEvery: -1}, "TouchEvery"},
	}
	for _, tt := range tests {
		assert.ErrorContains(t, tt.in.Validate(), tt.want, tt.name)
	}
}

func TestOver(t *testing.T) {
	rec := &session.Record{
		CreatedAt: start, SeenAt: start.Add(time.Hour),
		IdleDeadline: start.Add(80 * time.Minute), Deadline: start.Add(12 * time.Hour),
	}
	login := *rec
	login.AuthenticatedAt, login.Deadline = start.Add(time.Hour), start.Add(13*time.Hour)
	login.SeenAt, login.IdleDeadline = start.Add(12*time.Hour), start.Add(12*time.Hour+20*time.Minute)
	remembered := *rec
	remembered.Persistent = true
	remembered.IdleDeadline, remembered.Deadline = start.Add(15*24*time.Hour), start.Add(30*24*time.Hour)
	usual := session.Policy{}.WithDefaults()
	tests := []struct {
		name   string
		policy session.Policy
		rec    *session.Record
		after  time.Duration
		want   session.Reason
	}{
		{"alive", usual, rec, time.Hour, 0},
		{"a moment before", usual, rec, 80*time.Minute - 1, 0},
		{"at the idle deadline", usual, rec, 80 * time.Minute, session.IdleTimeout},
		{"at the deadline", usual, rec, 12 * time.Hour, session.LifetimeOver},
		{"shorter idle timeout", session.Policy{IdleTimeout: 10 * time.Minute}.WithDefaults(), rec, 70 * time.Minute, session.IdleTimeout},
		{"longer idle timeout changes nothing", session.AAL1(), rec, 80 * time.Minute, session.IdleTimeout},
		{"shorter lifetime", session.Policy{Lifetime: time.Hour}.WithDefaults(), rec, time.Hour, session.LifetimeOver},
		{"counted from the login", usual, &login, 12*time.Hour + 10*time.Minute, 0},
		{"remembered", usual, &remembered, 14 * 24 * time.Hour, 0},
		{"shorter idle timeout, remembered", session.Policy{RememberedIdleTimeout: 24 * time.Hour}.WithDefaults(), &remembered, 25 * time.Hour, session.IdleTimeout},
		{"shorter lifetime, remembered", session.Policy{RememberedLifetime: 24 * time.Hour}.WithDefaults(), &remembered, 24 * time.Hour, session.LifetimeOver},
		{"shorter lifetime, from the login", session.Policy{Lifetime: 11 * time.Hour}.WithDefaults(), &login, 12 * time.Hour, session.LifetimeOver},
	}
	for _, tt := range tests {
		assert.Equal(t, tt.want, tt.policy.Over(tt.rec, start.Add(tt.after)), tt.name)
		end := tt.policy.End(tt.rec)
		assert.NotZero(t, tt.policy.Over(tt.rec, end), tt.name)
		assert.Zero(t, tt.policy.Over(tt.rec, end.Add(-1)), tt.name)
	}
}

func TestReasons(t *testing.T) {
	assert.Equal(t, "none", session.Reason(0).String())
	assert.Equal(t, "none", session.Reason(200).String())
	seen := map[string]bool{}
	for r := session.Malformed; r <= session.NoMiddleware; r++ {
		assert.NotEqual(t, "none", r.String())
		assert.False(t, seen[r.String()], "labels are different")
		seen[r.String()] = true
		assert.ErrorIs(t, r, r)
		assert.Equal(t, r, session.ReasonOf(r))
	}
	assert.Equal(t, session.Reason(0), session.ReasonOf(nil))
	assert.Equal(t, session.Unavailable, session.ReasonOf(assert.AnError), "who gives no reason could not tell")
}
