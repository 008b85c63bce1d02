package session_test

import (
	"testing"
	"time"

	"github.com/cloakroom-go/cloakroom/session"
	"github.com/stretchr/testify/assert"
)

var start = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func TestPolicyDefaults(t *testing.T) {
	const day = 24 * time.Hour
	tests := []struct {
		name     string
		in, want session.Policy
	}{
		{"zero", session.Policy{}, session.Policy{20 * time.Minute, 12 * time.Hour, time.Minute}},
		{"short idle", session.Policy{IdleTimeout: time.Minute}, session.Policy{time.Minute, 12 * time.Hour, 15 * time.Second}},
		{"short life", session.Policy{Lifetime: 5 * time.Minute}, session.Policy{5 * time.Minute, 5 * time.Minute, time.Minute}},
		{"long idle", session.Policy{IdleTimeout: 2 * day}, session.Policy{2 * day, 2 * day, time.Minute}},
		{"AAL1", session.AAL1(), session.Policy{30 * day, 30 * day, time.Minute}},
		{"AAL2", session.AAL2(), session.Policy{time.Hour, day, time.Minute}},
		{"AAL3", session.AAL3(), session.Policy{15 * time.Minute, 12 * time.Hour, time.Minute}},
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
		{"negative idle", session.Policy{IdleTimeout: -1}, "IdleTimeout -1ns: must be at least 1s"},
		{"tiny life", session.Policy{Lifetime: time.Millisecond}, "Lifetime 1ms: must be at least 1s"},
		{"idle beyond life", session.Policy{IdleTimeout: time.Hour, Lifetime: time.Minute}, "longer than Lifetime"},
		{"rare touch", session.Policy{IdleTimeout: time.Minute, TouchEvery: 16 * time.Second}, "a quarter of IdleTimeout"},
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
		{"shorter lifetime, from the login", session.Policy{Lifetime: 11 * time.Hour}.WithDefaults(), &login, 12 * time.Hour, session.LifetimeOver},
	}
	for _, tt := range tests {
		assert.Equal(t, tt.want, tt.policy.Over(tt.rec, start.Add(tt.after)), tt.name)
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
