package claims_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/internal/claims"
	"github.com/cloakroom-go/cloakroom/session"
)

var now = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func good() *claims.Claims {
	return &claims.Claims{Issuer: "app", Audience: "orders", JTI: "j", ClientID: "shop", Record: session.Record{
		ID: "x", Version: 2, Generation: 3, Lineage: "l", Subject: "alice", CreatedAt: now, AuthenticatedAt: now, SeenAt: now,
		IdleDeadline: now.Add(time.Minute), Deadline: now.Add(time.Hour), Since: now, Persistent: true,
		Tags: []session.LoginTag{{1}, session.Tag("tenant", "acme")}, AMR: []string{"pwd", `o"p`},
		Values: session.NewValues(map[string]string{"a": "1"}),
	}}
}

func TestRoundTrip(t *testing.T) {
	for _, kind := range []claims.Kind{claims.Session, claims.Service} {
		require.Equal(t, kind, claims.KindOf(kind.Typ()))
		text := good().Encode(kind)
		got, err := claims.Decode(text, kind)
		require.NoError(t, err)
		require.Equal(t, string(text), string(got.Encode(kind)))
		require.Equal(t, []string{"app", "orders", "j", "x", "alice"},
			[]string{got.Issuer, got.Audience, got.JTI, got.ID, got.Subject})
		require.Equal(t, good().AMR, got.AMR)
		require.Equal(t, good().Tags, got.Tags)
		require.Equal(t, kind == claims.Session, got.Persistent && got.Values.Len() == 1 && got.Version == 2)
	}
	require.Zero(t, claims.KindOf("JWT"))
}

// The form of service tokens is for programs that others have written.
func TestServiceForm(t *testing.T) {
	require.Equal(t, "at+jwt", claims.Service.Typ())
	c := good()
	c.AuthenticatedAt, c.Since, c.Tags = now.Add(678*time.Millisecond), now.Add(789*time.Millisecond), nil
	c.AMR = nil
	require.Equal(t, `{"iss":"app","aud":"orders","sub":"alice","client_id":"shop",`+
		`"auth_time":1767323045,"sid":"x","gen":3,"jti":"j","iat":1767323045,"exp":1767323105,`+
		`"since":1767323045789}`, string(c.Encode(claims.Service)))
	got, err := claims.Decode(c.Encode(claims.Service), claims.Service)
	require.NoError(t, err)
	require.Equal(t, c.Since.UTC(), got.CountsFrom().UTC())
	require.Equal(t, now, got.AuthenticatedAt.UTC())

	c.Since = time.Time{} // the session counts from its login
	c.Tags, c.AMR = []session.LoginTag{{1}}, []string{"pwd", "otp"}
	require.Contains(t, string(c.Encode(claims.Service)), `,"amr":["pwd","otp"],"tg":"`)
	got, err = claims.Decode(c.Encode(claims.Service), claims.Service)
	require.NoError(t, err)
	require.Equal(t, c.AuthenticatedAt.UTC(), got.CountsFrom().UTC())
	require.Equal(t, c.Tags, got.Tags, "so that the end of all sessions with a tag reaches services")

	for _, since := range []string{"0", "-1", "1.5", "1e3", `"1"`, "null", "253402300800000", "18446744073709551616"} {
		text := strings.Replace(string(c.Encode(claims.Service)), "1767323045678", since, 1)
		_, err := claims.Decode([]byte(text), claims.Service)
		require.EqualError(t, err, "of the wrong type: since", since)
	}
	for _, amr := range []string{"null", "1", `"pwd"`, "[]", `[""]`, "[1]", `["pwd",null]`, `{"pwd":1}`} {
		text := strings.Replace(string(c.Encode(claims.Service)), `["pwd","otp"]`, amr, 1)
		_, err := claims.Decode([]byte(text), claims.Service)
		require.EqualError(t, err, "of the wrong type: amr", amr)
	}
}

// Further claims come last, sorted by name. No kind of token has their names.
func TestFurther(t *testing.T) {
	c := good()
	c.Further = map[string]json.RawMessage{"z": json.RawMessage("1"), `a"b`: json.RawMessage(`{"x":[]}`)}
	require.True(t, strings.HasSuffix(string(c.Encode(claims.Service)), `","a\"b":{"x":[]},"z":1}`))
	require.NotContains(t, string(c.Encode(claims.Session)), `"z"`)
	for _, name := range strings.Fields("iss aud sub client_id auth_time sid gen jti iat exp nbf lin ver crt dl prs snc " +
		"since amr tg data events") {
		require.True(t, claims.Reserved(name), name)
	}
	for _, name := range strings.Fields("acr scope roles groups Sub ISS azp act") {
		require.False(t, claims.Reserved(name), name)
	}
}

// A token may live for 15 minutes from when it was made, 5 s after its iat.
func TestServiceLifetime(t *testing.T) {
	c := good()
	c.SeenAt = now.Add(-claims.Backdated)
	require.Equal(t, now, c.MadeAt(claims.Service))
	for life, want := range map[time.Duration]bool{15 * time.Minute: true, 15*time.Minute + time.Second: false} {
		c.IdleDeadline = now.Add(life)
		err := claims.Check(c, claims.Service, claims.Want{Issuer: "app", Audience: "orders", Now: now})
		require.Equal(t, want, err == nil, life)
	}
}

func TestDecodeNamesWhatIsWrong(t *testing.T) {
	for _, tt := range []struct {
		payload string
		kind    claims.Kind
		want    string
	}{
		{`[]`, claims.Service, "jose: not a JSON object"},
		{`{}`, claims.Service,
			"missing: iss, aud, sub, client_id, sid, gen, jti, iat, exp, since"},
		{`{}`, claims.Session, "missing: iss, aud, sid, gen, jti, iat, exp, lin, ver, crt, dl, data"},
		{
			`{"exp":1,"iat":"x","gen":0,"sid":"","jti":"","sub":"","aud":[],"iss":1,"dl":"not a service's","x":1}`,
			claims.Service,
			"missing: client_id, since; empty: sid, jti, sub; of the wrong type: iat, gen, aud, iss",
		},
		{`{"iss":"","aud":[""],"sid":"x","gen":1,"jti":"x","iat":1,"exp":1,"sub":"alice","client_id":"app","since":1}`,
			claims.Service,
			"sub and auth_time go together, and one of them is missing"},
		{`{"iss":1}`, claims.Service,
			"missing: aud, sub, client_id, sid, gen, jti, iat, exp, since; of the wrong type: iss"},
	} {
		_, err := claims.Decode([]byte(tt.payload), tt.kind)
		require.EqualError(t, err, tt.want)
	}
}

// Check names the first rule that is broken, in the order of Rules.
func TestCheck(t *testing.T) {
	want := claims.Want{Issuer: "app", Audience: "orders", Now: now}
	for _, kind := range []claims.Kind{claims.Session, claims.Service} {
		require.NoError(t, claims.Check(good(), kind, want))
		c := good()
		c.Issuer, c.Audience, c.SeenAt, c.NotBefore = "x", "x", now.Add(time.Hour), now.Add(time.Hour)
		c.IdleDeadline, c.Deadline = now.Add(-time.Hour), now.Add(-2*time.Hour)
		strict := want
		strict.Sealing = true
		for _, r := range claims.Rules(kind) {
			broken := r.Name != "lifetime" || kind == claims.Session // it is no longer than it may be
			require.Equal(t, broken, !r.Meets(c, strict), r.Name)
			require.True(t, r.Meets(good(), want), r.Name)
		}
		require.ErrorIs(t, claims.Check(c, kind, strict), claims.ErrWrongIssuer)
		c.Issuer = "app"
		require.ErrorIs(t, claims.Check(c, kind, strict), claims.ErrWrongAudience)
	}
}

// A session token that is over opens: its record says that it is.
func TestCheckLeavesTheEndToSessions(t *testing.T) {
	late := claims.Want{Issuer: "app", Audience: "orders", Now: now.Add(2 * time.Hour)}
	require.NoError(t, claims.Check(good(), claims.Session, late))
	require.ErrorIs(t, claims.Check(good(), claims.Service, late), claims.ErrExpired)
	require.Equal(t, session.LifetimeOver, session.ReasonOf(claims.ErrExpired))
}

func TestLeeway(t *testing.T) {
	for _, tt := range []struct {
		kind         claims.Kind
		asked, clock time.Duration
		early, late  time.Duration
	}{
		{claims.Service, 0, time.Hour, 10 * time.Second, 10 * time.Second},
		{claims.Session, 0, time.Second, time.Minute, 0},
		{claims.Session, 0, time.Hour, time.Hour, 0},
		{claims.Service, time.Second, 0, time.Second, time.Second},
		{claims.Service, -1, 0, 0, 0},
		{claims.Session, -1, time.Hour, 0, 0},
	} {
		early, late := claims.Leeway(tt.kind, tt.asked, tt.clock)
		require.Equal(t, []time.Duration{tt.early, tt.late}, []time.Duration{early, late}, "%+v", tt)
	}
}
