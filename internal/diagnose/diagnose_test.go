package diagnose_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/internal/diagnose"
)

// Each row is a token, and the check that says what is remarkable about it.
func TestDiagnose(t *testing.T) {
	d := newDesk(t)
	ours := diagnose.Want{Issuer: "https://app.example", Audience: "https://orders.example"}
	app := diagnose.Want{Issuer: "https://app.example", Audience: "https://app.example"}
	unix := func(d time.Duration) int64 { return start.Add(d).Unix() }
	good := d.service("active", time.Second, nil)
	cookie := d.session("active", "enc", time.Second, nil)
	tests := []struct {
		name    string
		token   string
		want    diagnose.Want
		verdict diagnose.Verdict
		kind    string
		check   string
		is      diagnose.Result
		text    string
	}{
		{"service token", good, ours, diagnose.Good, "service", "signature", diagnose.Passed, "made with this key"},
		{"session token", cookie, app, diagnose.Good, "session", "decryption", diagnose.Passed, "opens it"},
		{"wrapped key", d.session("active", "wrap", 0, nil), app, diagnose.Good, "session", "encryption_algorithm",
			diagnose.Passed, "A256KW with A256GCM"},
		{"nothing to compare", good, diagnose.Want{}, diagnose.Good, "service", "audience", diagnose.Skipped,
			`says "https://orders.example", and nothing was given`},
		{"revocations", good, ours, diagnose.Good, "service", "revocation", diagnose.Skipped, "only the application knows"},

		{"empty", "", ours, diagnose.Bad, "unknown", "form", diagnose.Failed, "it is empty"},
		{"three dots", "a.b.c.d", ours, diagnose.Bad, "unknown", "form", diagnose.Failed,
			"it has 4, a signed token 3 and an encrypted one 5"},
		{"wrapped line", good[:40] + "\n" + good[40:], ours, diagnose.Bad, "unknown", "form", diagnose.Failed, "white space"},
		{"space in an encrypted one", cookie + " ", ours, diagnose.Bad, "unknown", "form", diagnose.Failed, "white space"},
		{"Bearer", "bearer " + good, ours, diagnose.Bad, "unknown", "form", diagnose.Failed, "leave out the word Bearer"},
		{"cookie", "__Host-session=" + cookie, app, diagnose.Bad, "unknown", "form", diagnose.Failed,
			"leave out the name of the cookie"},
		{"quoted", `"` + good + `"`, ours, diagnose.Bad, "unknown", "form", diagnose.Failed, "quotes"},
		{"percent", strings.Replace(good, ".", "%2e", 1), ours, diagnose.Bad, "unknown", "form", diagnose.Failed,
			"percent-encoded"},
		{"padded", good + "==", ours, diagnose.Bad, "unknown", "form", diagnose.Failed, "padding"},
		{"too long", strings.Repeat("a", 1<<15), ours, diagnose.Bad, "unknown", "form", diagnose.Failed, "too long"},
		{"alg none", d.sign("active", object{"alg": "none"}, serviceClaims(start)), ours, diagnose.Bad, "unknown", "form",
			diagnose.Failed, "alg is not a signature algorithm"},
		{"crit", d.sign("active", object{"crit": []string{"exp"}}, serviceClaims(start)), ours, diagnose.Bad, "unknown",
			"form", diagnose.Failed, "header member crit is not allowed"},
		{"no kid", d.sign("active", object{"kid": nil}, serviceClaims(start)), ours, diagnose.Bad, "unknown", "form",
			diagnose.Failed, "without kid"},
		{"after a bad form", "x", ours, diagnose.Bad, "unknown", "signature", diagnose.Skipped, "the form is no token's"},

		{"encrypted something", d.seal("enc", "hello", "JWT"), app, diagnose.Bad, "unknown", "inner_form", diagnose.Failed,
			"wrong number of segments"},
		{"after that", d.seal("enc", "hello", "JWT"), app, diagnose.Bad, "unknown", "key", diagnose.Skipped,
			"no signed token in the encryption"},
		{"encrypted without cty", d.seal("enc", d.session("active", "", 0, nil), ""), app, diagnose.Bad, "session", "form",
			diagnose.Failed, `cty of the encryption is "", and must be "JWT"`},
		{"unknown encryption key", d.session("active", "strange enc", 0, nil), app, diagnose.Bad, "unknown",
			"encryption_key", diagnose.Failed, "there is no key " + d.all["strange enc"].ID()},
		{"not decrypted", d.session("active", "strange enc", 0, nil), app, diagnose.Bad, "unknown", "decryption",
			diagnose.Skipped, "the key is not known"},
		{"nothing known", d.session("active", "strange enc", 0, nil), app, diagnose.Bad, "unknown", "claims",
			diagnose.Skipped, "can't be decrypted"},
		{"altered ciphertext", altered(cookie, 3), app, diagnose.Bad, "unknown", "decryption", diagnose.Failed, "altered"},
		{"expired encryption key", d.session("active", "enc expired", 10*aDay, object{"dl": unix(0)}), app, diagnose.Bad,
			"session", "encryption_key", diagnose.Failed,
			"expired at 2026-01-01T03:04:05Z, 24 hours ago; it was active when the token was issued"},
		{"it opens all the same", d.session("active", "enc expired", 10*aDay, nil), app, diagnose.Bad, "session",
			"decryption", diagnose.Passed, "opens it"},
		{"revoked encryption key", d.session("active", "enc revoked", aDay, nil), app, diagnose.Bad, "unknown",
			"encryption_key", diagnose.Failed, `was revoked at 2026-01-02T01:04:05Z, 2 hours ago, reason "", and was pruned`},
		{"nothing is left of it", d.session("active", "enc revoked", aDay, nil), app, diagnose.Bad, "unknown", "decryption",
			diagnose.Failed, "private half of the key is not here"},
		{"encryption with typ", relabel(cookie, object{"typ": "JWT"}), app, diagnose.Bad, "unknown", "form", diagnose.Failed,
			`has the typ "JWT", and must have none`},
		{"opened by the wrong key", relabel(d.session("active", "wrap", 0, nil), object{"kid": d.all["enc"].ID()}), app,
			diagnose.Bad, "unknown", "encryption_algorithm", diagnose.Failed,
			"says alg A256KW and enc A256GCM, and the key is for dir"},
		{"not opened", relabel(d.session("active", "wrap", 0, nil), object{"kid": d.all["enc"].ID()}), app, diagnose.Bad,
			"unknown", "decryption", diagnose.Skipped, "not made for this key"},
		{"opened by a signature key", relabel(cookie, object{"kid": d.all["active"].ID()}), app, diagnose.Bad, "unknown",
			"encryption_algorithm", diagnose.Failed, "the key is for ES256"},
		{"signed with an encryption key's ID", d.sign("active", object{"kid": d.all["enc"].ID()}, serviceClaims(start)),
			ours, diagnose.Bad, "service", "algorithm", diagnose.Failed, "says ES256, and the key is for dir"},

		{"other type", d.sign("active", object{"typ": "x+jwt"}, serviceClaims(start)), ours, diagnose.Bad, "unknown",
			"type", diagnose.Failed, `typ is "x+jwt": neither`},
		{"no type", d.sign("active", object{"typ": nil}, serviceClaims(start)), ours, diagnose.Bad, "unknown", "type",
			diagnose.Failed, `typ is ""`},
		{"claims of another type", d.sign("active", object{"typ": "x+jwt"}, serviceClaims(start)), ours, diagnose.Bad,
			"unknown", "claims", diagnose.Skipped, "no token of this module"},
		{"signature of another type", d.sign("active", object{"typ": "x+jwt"}, serviceClaims(start)), ours, diagnose.Bad,
			"unknown", "signature", diagnose.Passed, ""},
		{"with cty", d.sign("active", object{"cty": "JWT"}, serviceClaims(start)), ours, diagnose.Bad, "service", "type",
			diagnose.Failed, `has the cty "JWT"`},
		{"encrypted service token", d.seal("enc", good, "JWT"), ours, diagnose.Bad, "service", "type", diagnose.Failed,
			"never encrypted"},

		{"unknown key", d.service("stranger", 0, nil), ours, diagnose.Bad, "service", "key", diagnose.Failed,
			"there is no key " + d.all["stranger"].ID() + " here"},
		{"signature of an unknown key", d.service("stranger", 0, nil), ours, diagnose.Bad, "service", "signature",
			diagnose.Skipped, "not known"},
		{"algorithm of an unknown key", d.service("stranger", 0, nil), ours, diagnose.Bad, "service", "algorithm",
			diagnose.Skipped, "not known"},
		{"claims of an unknown key", d.service("stranger", 0, nil), ours, diagnose.Bad, "service", "expiry", diagnose.Passed,
			"expires at 2026-01-02T03:05:05Z, 60 seconds from now"},
		{"pending key", d.service("pending", 0, nil), ours, diagnose.Good, "service", "key", diagnose.Warning,
			"is pending; the token was issued at 2026-01-02T03:04:05Z, when the key was pending still: it signs only from " +
				"2026-01-22T03:04:05Z on"},
		{"clock a little ahead", d.service("soon", 0, nil), ours, diagnose.Good, "service", "key", diagnose.Passed,
			"when the key was pending: it became active 25 seconds later, which clocks may differ by"},
		{"staged key", d.service("staged", 0, nil), ours, diagnose.Bad, "service", "key", diagnose.Failed,
			"is staged, and known to verifiers only from 2026-01-03T03:04:05Z on"},
		{"active key, pending then", d.service("active", 8*aDay+time.Hour, object{"exp": unix(60 * time.Second)}), ours,
			diagnose.Bad, "service", "key", diagnose.Warning,
			"is active; the token was issued at 2025-12-25T02:04:05Z, when the key was pending still"},
		{"active key, staged then", d.service("active", 20*aDay, object{"exp": unix(60 * time.Second)}), ours, diagnose.Bad,
			"service", "key", diagnose.Warning, "when the key was staged still"},
		{"retiring key", d.session("retiring", "enc", 9*aDay, object{"exp": unix(time.Minute), "dl": unix(time.Minute)}),
			app, diagnose.Good, "session", "key", diagnose.Passed, "is retiring; it was active when the token was issued"},
		{"in its grace", d.session("retiring", "enc", 8*aDay-time.Hour,
			object{"exp": unix(time.Second), "dl": unix(time.Minute)}), app, diagnose.Good, "session", "key", diagnose.Passed,
			"when the key was retiring, in its grace"},
		{"after its grace", d.service("retiring", 0, nil), ours, diagnose.Good, "service", "key", diagnose.Warning,
			"when the key was retiring already: it signed until 2025-12-25T03:04:05Z"},
		{"expired key", d.service("expired", 9*aDay, nil), ours, diagnose.Bad, "service", "key", diagnose.Failed,
			"expired at 2026-01-01T03:04:05Z, 24 hours ago; it was active"},
		{"made with an expired key", d.service("expired", 0, nil), ours, diagnose.Bad, "service", "key", diagnose.Failed,
			"when the key was expired already"},
		{"its signature", d.service("expired", 9*aDay, nil), ours, diagnose.Bad, "service", "signature", diagnose.Passed, ""},
		{"pruned key", d.service("pruned", 9*aDay, nil), ours, diagnose.Bad, "service", "key", diagnose.Failed,
			"24 hours ago, and was pruned; it was active"},
		{"signature of a pruned key", d.service("pruned", 9*aDay, nil), ours, diagnose.Bad, "service", "signature",
			diagnose.Skipped, "only a note"},
		{"revoked key", d.service("revoked", 3*time.Hour, nil), ours, diagnose.Bad, "service", "key", diagnose.Failed,
			`was revoked at 2026-01-02T01:04:05Z, 2 hours ago, reason "key_compromise"; it was active`},
		{"made with a revoked key", d.service("revoked", time.Hour, nil), ours, diagnose.Bad, "service", "key",
			diagnose.Failed, "when the key was revoked already"},

		{"algorithm confusion", d.sign("active", object{"alg": "HS256"}, serviceClaims(start)), ours, diagnose.Bad,
			"service", "algorithm", diagnose.Failed, "says HS256, and the key is for ES256"},
		{"its signature is not looked at", d.sign("active", object{"alg": "HS256"}, serviceClaims(start)), ours,
			diagnose.Bad, "service", "signature", diagnose.Skipped, "the algorithm is not the key's"},
		{"another's signature", d.sign("active", object{"kid": d.all["retiring"].ID()}, serviceClaims(start)), ours,
			diagnose.Bad, "service", "signature", diagnose.Failed, "altered or forged"},
		{"altered signature", altered(good, 2), ours, diagnose.Bad, "service", "signature", diagnose.Failed,
			"altered or forged"},

		{"claims missing", d.service("active", 0, object{"jti": nil, "exp": nil}), ours, diagnose.Bad, "service", "claims",
			diagnose.Failed, "missing: jti, exp"},
		{"session claims missing", d.sign("hmac", object{"typ": "cloakroom+jwt"}, serviceClaims(start)), app, diagnose.Bad,
			"session", "claims", diagnose.Failed, "missing: lin, ver, crt, dl, data"},
		{"claims wrong", d.service("active", 0, object{"iat": "now", "gen": 0}), ours, diagnose.Bad, "service", "claims",
			diagnose.Failed, "of the wrong type: gen, iat"},
		{"two audiences", d.service("active", 0, object{"aud": []string{"a", "b"}}), ours, diagnose.Bad, "service", "claims",
			diagnose.Failed, "of the wrong type: aud"},
		{"subject without login", d.service("active", 0, object{"auth_time": nil}), ours, diagnose.Bad, "service", "claims",
			diagnose.Failed, "sub and auth_time go together"},
		{"nobody", d.service("active", 0, object{"sub": nil, "auth_time": nil}), ours, diagnose.Bad, "service", "claims",
			diagnose.Failed, "missing: sub"},
		{"no session ID", d.service("active", 0, object{"sid": ""}), ours, diagnose.Bad, "service", "claims",
			diagnose.Failed, "empty: sid"},
		{"claims are a list", d.sign("active", nil, nil), ours, diagnose.Bad, "service", "claims", diagnose.Failed,
			"not a JSON object"},
		{"no times without claims", d.service("active", 0, object{"exp": nil}), ours, diagnose.Bad, "service", "expiry",
			diagnose.Skipped, "claims can't be read"},
		{"unknown claims", d.service("active", 0, object{"scope": "x"}), ours, diagnose.Good, "service", "claims",
			diagnose.Passed, ""},

		{"issuer", good, diagnose.Want{Issuer: "https://other.example"}, diagnose.Bad, "service", "issuer", diagnose.Failed,
			`says "https://app.example", and the issuer that was expected is "https://other.example"`},
		{"slash", good, diagnose.Want{Issuer: "https://app.example/"}, diagnose.Bad, "service", "issuer", diagnose.Failed,
			"slash at the end"},
		{"audience", good, app, diagnose.Bad, "service", "audience", diagnose.Failed,
			`and the audience that was expected is "https://app.example"`},
		{"case", good, diagnose.Want{Audience: "https://Orders.example"}, diagnose.Bad, "service", "audience",
			diagnose.Failed, "upper and lower case"},
		{"odd issuer", d.service("active", 0, object{"iss": "a\u202eb\x1b" + strings.Repeat("x", 300)}), ours, diagnose.Bad,
			"service", "issuer", diagnose.Failed, `"a\u202eb\x1bxxx`},
		{"long issuer", d.service("active", 0, object{"iss": strings.Repeat("x", 300)}), ours, diagnose.Bad, "service",
			"issuer", diagnose.Failed, `x" and 44 bytes more`},

		{"expired", d.service("active", 63*time.Second+12*time.Second, nil), ours, diagnose.OutOfTime, "service", "expiry",
			diagnose.Failed, "expired at 2026-01-02T03:03:50Z, 15 seconds ago; a leeway of 16s would accept it; clocks may " +
				"differ by 1m (clock_skew"},
		{"within the leeway", d.service("active", 65*time.Second, nil), ours, diagnose.Good, "service", "expiry",
			diagnose.Passed, "5 seconds ago, within the leeway of 10s"},
		{"no leeway", d.service("active", 65*time.Second, nil), diagnose.Want{Leeway: -1}, diagnose.OutOfTime, "service",
			"expiry", diagnose.Failed, "a leeway of 6s"},
		{"more leeway", d.service("active", 75*time.Second, nil), diagnose.Want{Leeway: time.Minute}, diagnose.Good,
			"service", "expiry", diagnose.Passed, "within the leeway of 1m"},
		{"long ago", d.service("active", 3*aDay, nil), ours, diagnose.OutOfTime, "service", "expiry", diagnose.Failed,
			"2 days ago; no leeway would accept it (verifiers grant at most 5m"},
		{"at exp", d.session("active", "enc", time.Minute, nil), app, diagnose.OutOfTime, "session", "expiry",
			diagnose.Failed, "expired at 2026-01-02T03:04:05Z, now; session tokens are granted no leeway; clocks"},
		{"session with leeway", d.session("active", "enc", time.Minute, nil), diagnose.Want{Leeway: time.Second},
			diagnose.Good, "session", "expiry", diagnose.Passed, "within the leeway of 1s"},
		{"expired and altered", altered(d.service("active", 3*aDay, nil), 2), ours, diagnose.Bad, "service", "expiry",
			diagnose.Failed, "2 days ago"},
		{"too early", d.service("active", -11*time.Second, nil), ours, diagnose.OutOfTime, "service", "issued_at",
			diagnose.Failed, "issued at 2026-01-02T03:04:16Z, 11 seconds from now: the clock of who issued it is ahead of " +
				"this one; a leeway of 12s would"},
		{"a little early", d.service("active", -10*time.Second, nil), ours, diagnose.Good, "service", "issued_at",
			diagnose.Passed, "within the leeway of 10s"},
		{"session too early", d.session("active", "enc", -61*time.Second, nil), app, diagnose.OutOfTime, "session",
			"issued_at", diagnose.Failed, "session tokens are granted a leeway of 1m"},
		{"session a little early", d.session("active", "enc", -time.Minute, nil), app, diagnose.Good, "session", "issued_at",
			diagnose.Passed, "within the leeway of 1m"},
		{"not before", d.service("active", 0, object{"nbf": unix(time.Hour)}), ours, diagnose.OutOfTime, "service",
			"not_before", diagnose.Failed, "60 minutes from now"},
		{"nbf has come", d.service("active", 0, object{"nbf": unix(0)}), ours, diagnose.Good, "service", "not_before",
			diagnose.Passed, "now"},

		{"lives too long", d.service("active", 0, object{"exp": unix(15*time.Minute + 6*time.Second)}), ours, diagnose.Bad,
			"service", "lifetime", diagnose.Failed, "exp is 15m6s after iat, and a service token's is at most 15m5s after"},
		{"longest life", d.service("active", 0, object{"exp": unix(15 * time.Minute)}), ours, diagnose.Good, "service",
			"lifetime", diagnose.Passed, "15m after iat; token_life of the policy is 1d"},
		{"over the policy", d.session("active", "enc", 0, object{"exp": unix(25 * time.Hour), "dl": unix(30 * time.Hour)}),
			app, diagnose.Good, "session", "lifetime", diagnose.Warning, "token_life of the policy is 1d: keys may stop"},
		{"over the deadline", d.session("active", "enc", 0, object{"exp": unix(2 * time.Hour)}), app, diagnose.Bad,
			"session", "lifetime", diagnose.Failed, "from iat to dl"},
		{"over before it began", d.session("active", "enc", 0, object{"exp": unix(-time.Hour)}), app, diagnose.Bad,
			"session", "lifetime", diagnose.Failed, "from iat to dl"},
		{"outlives its key", d.session("retiring", "enc", 0,
			object{"exp": unix(24 * time.Hour), "dl": unix(24 * time.Hour)}), app, diagnose.Good, "session", "lifetime",
			diagnose.Warning, "but the key verifies no token after 2026-01-03T03:02:05Z"},
		{"deadline", d.session("active", "enc", time.Hour, nil), app, diagnose.OutOfTime, "session", "deadline",
			diagnose.Failed, "the session ended at 2026-01-02T03:04:05Z, now"},
		{"before the deadline", cookie, app, diagnose.Good, "session", "deadline", diagnose.Passed,
			"the session ends at the latest at 2026-01-02T04:04:04Z, 59 minutes from now"},
		{"signed only", d.session("active", "", 0, nil), app, diagnose.Bad, "session", "encryption", diagnose.Failed,
			"signed only, though session tokens are encrypted since 2025-11-25T03:04:05Z"},
		{"signed only, long ago", d.session("retiring", "", 39*aDay,
			object{"exp": unix(1 * time.Hour), "dl": unix(time.Hour)}), app, diagnose.Good, "session", "encryption",
			diagnose.Passed, "older than the first encryption key"},

		{"signed only, as the first that was to be encrypted",
			d.session("retiring", "", 38*aDay, object{"exp": unix(1 * time.Hour), "dl": unix(time.Hour)}), app, diagnose.Bad,
			"session", "encryption", diagnose.Failed, "signed only, though"},

		{"logged in", cookie, app, diagnose.Good, "session", "login", diagnose.Passed,
			"logged in at 2026-01-02T03:04:04Z, 1 second ago"},
		{"login of a service token", d.service("active", 0, object{"amr": []string{"pwd", "otp"}, "since": unix(0) * 1000,
			"tg": "AAAAAAAAAAAAAAAAAAAAAA"}), ours, diagnose.Good, "service", "login", diagnose.Passed,
			"logged in at 2026-01-02T03:04:05Z, now; 2 methods (amr); 1 tag (tg)"},
		{"login that counts from later", d.service("active", 0, object{"since": unix(-time.Second)*1000 - 1}), ours,
			diagnose.Good, "service", "login", diagnose.Passed, "now, and counts from 2026-01-02T03:04:03Z"},
		{"client", d.service("active", 0, object{"client_id": "shop\n"}), ours, diagnose.Good, "service", "claims",
			diagnose.Passed, `all there; the client is "shop\n"`},
		{"not logged in", d.session("active", "enc", 0, object{"sub": nil, "auth_time": nil}), app, diagnose.Good, "session",
			"login", diagnose.Passed, "nobody"},
		{"login to come", d.session("active", "enc", 0, object{"auth_time": json.RawMessage("1800000000.000")}), app,
			diagnose.Good, "session", "login", diagnose.Warning, "ahead of this one"},
		{"session values", d.session("active", "enc", 0, object{"data": object{"a": 1, "card": "4711"}}), app, diagnose.Good,
			"session", "session_values", diagnose.Passed, "2, 21 bytes"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := diagnose.Token(t.Context(), d.ring, tt.token, tt.want, start)
			assert.Equal(t, tt.verdict, got.Verdict, "%+v", got.Checks)
			assert.Equal(t, tt.kind, got.Kind)
			c := find(got, tt.check)
			require.NotNil(t, c)
			assert.Equal(t, tt.is, c.Result)
			assert.Contains(t, c.Text, tt.text)
		})
	}
}
