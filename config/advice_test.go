package config_test

import (
	"log/slog"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/config"
)

// buildYAML builds a document in mode opaque, if it can be read.
func buildYAML(t *testing.T, document string) error {
	c, err := config.Parse([]byte(document))
	if err != nil {
		return err
	}
	if c.Mode == "" {
		c.Mode = config.Opaque
	}
	app, err := c.Build(config.Options{Logger: slog.New(slog.DiscardHandler)})
	if err == nil {
		require.NoError(t, app.Close())
	}
	return err
}

// Who does what an error says gets an application. Where it leaves a choice,
// each is tried.
func TestAdviceIsAccepted(t *testing.T) {
	for _, row := range []struct {
		name, in, advice string
		then             []string
	}{
		{"idle beyond the lifetime", "session: {idle_timeout: 30d}", `30d is longer than the lifetime of 12h: shorten it, or set session.lifetime to 30d or more`, []string{"session: {idle_timeout: 30d, lifetime: 30d}", "session: {idle_timeout: 12h}"}},
		{"remembered idle beyond the lifetime", "session: {remembered_idle_timeout: 60d}", `60d is longer than the lifetime of 30d: shorten it, or set session.remembered_lifetime to 60d or more`, []string{"session: {remembered_idle_timeout: 60d, remembered_lifetime: 60d}", "session: {remembered_idle_timeout: 30d}"}},
		{"remembered for less", "session: {lifetime: 2d, remembered_lifetime: 1d}", `1d is shorter than the ordinary lifetime of 2d: set it to that or more`, []string{"session: {lifetime: 2d, remembered_lifetime: 2d}"}},
		{"persistent", "session: {persistent: true, idle_timeout: 1h}", `"session.remembered_idle_timeout": is missing: with session.persistent, new sessions are remembered, and not under session.idle_timeout: set it`, []string{"session: {persistent: true, idle_timeout: 1h, remembered_idle_timeout: 1h}"}},
		{"touched too seldom", "session: {touch_every: 10m}", `10m is not between 0 and 5m, a quarter of the idle timeout: set it to that or less`, []string{"session: {touch_every: 5m}", "session: {touch_every: 1s}"}},
		{"too short", "session: {lifetime: 500ms, idle_timeout: 1s}", `500ms is too short: at least 1s`, []string{"session: {lifetime: 1s, idle_timeout: 1s}"}},
		{"zero", "session: {idle_timeout: 0}", `leave the field out for its default`, []string{"session: {}"}},
		{"zero bytes", "store: {max_bytes: 0B}", `leave the field out for its default`, []string{"store: {}"}},
		{"longer than a preset", "session: {preset: aal3, lifetime: 1d}", `shorten it or drop the preset`, []string{"session: {preset: aal3, lifetime: 12h}", "session: {lifetime: 1d}"}},
		{"path", "cookie: {name: sid, path: app}", `write "/app"`, []string{"cookie: {name: sid, path: /app}"}},
		{"path and the default name", "cookie: {path: /app}", `set cookie.name to __Secure-session, or leave the path out`, []string{"cookie: {path: /app, name: __Secure-session}", "cookie: {}"}},
		{"domain and the default name", "cookie: {domain: shop.example}", `set cookie.name to __Secure-session, or leave the domain out`, []string{"cookie: {domain: shop.example, name: __Secure-session}"}},
		{"domain of one label", "cookie: {domain: com, name: sid}", `write your own, as in shop.example, or leave it out`, []string{"cookie: {domain: shop.example, name: sid}", "cookie: {name: sid}"}},
		{"prefix", "cookie: {name: __host-sid}", `begins as browsers' prefix __Host- does: write it in that case`, []string{"cookie: {name: __Host-sid}"}},
		{"HTTP", "cookie: {insecure_allow_http: true}", `set cookie.name to session`, []string{"cookie: {insecure_allow_http: true, name: session}"}},
		{"HTTP, and from other sites", "cookie: {insecure_allow_http: true, name: sid, same_site: none}", `can't be None together with cookie.insecure_allow_http: browsers want Secure with it; leave one of the two out`, []string{"cookie: {insecure_allow_http: true, name: sid}", "cookie: {same_site: none}"}},
		{"HTTP, and partitioned", "cookie: {insecure_allow_http: true, name: sid, partitioned: true}", `leave one of the two out`, []string{"cookie: {insecure_allow_http: true, name: sid}", "cookie: {partitioned: true}"}},
		{"not Secure", "cookie: {secure: false}", `remove it: the cookie is Secure unless "cookie.insecure_allow_http" is true`, []string{"cookie: {}", "cookie: {insecure_allow_http: true, name: session}"}},
		{"rotation without a file", "keys: {rotate: true}", `name it, or leave this out`, []string{"keys: {}"}},
		{"tokens without a file", "accept_other_form: true", `name the key file, or leave it out`, []string{"{}"}},
		{"without a file", "mode: stateless", `or choose mode opaque`, []string{"mode: opaque"}},
		{"an origin as no browser writes it", "cross_origin: {trusted: ['HTTPS://A.example:443']}", `write https://a.example`, []string{"cross_origin: {trusted: ['https://a.example']}"}},
		{"two lists", "revocations: {file: x, insecure_volatile: true}", `keep one of them`, []string{"revocations: {insecure_volatile: true}"}},
		{"a bool in quotes", `session: {persistent: "true"}`, `must be true or false without quotes`, []string{"session: {persistent: true}", "session: {persistent: false}"}},
		{"a text without quotes", `issuer: 5`, `put it in quotes`, []string{`issuer: "5"`}},
		{"empty", `issuer:`, `give it a value, or leave it out for its default`, []string{"issuer: shop", "{}"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			require.ErrorContains(t, buildYAML(t, row.in), row.advice)
			for _, then := range row.then {
				require.NoError(t, buildYAML(t, then), then)
			}
		})
	}
}

// Where an error lists what to write, each is accepted, and where it asks
// whether a name was meant, that name exists.
func TestListedAdviceIsAccepted(t *testing.T) {
	write := regexp.MustCompile(`; write (?:it like )?(.+)$`)
	meant := regexp.MustCompile(`did you mean "(.+)"\?`)
	tried := 0
	for _, field := range []string{"timeout", "token_memory", "keys.reload", "store.max_bytes"} {
		for _, value := range []string{"20", "1.5", "-5", "0", "1e3", "Inf", "0x10", "64MB", "5 min",
			"99999999999999999999"} {
			section, name, nested := strings.Cut(field, ".")
			document := func(value string) []byte {
				if nested {
					return []byte(section + ": {" + name + `: "` + value + `"}`)
				}
				return []byte(field + `: "` + value + `"`)
			}
			_, err := config.Parse(document(value))
			require.Error(t, err, "%s", document(value))
			if list := write.FindStringSubmatch(err.Error()); list != nil {
				for alternative := range strings.SplitSeq(strings.ReplaceAll(list[1], " or ", ", "), ", ") {
					_, err := config.Parse(document(alternative))
					require.NoError(t, err)
					tried++
				}
			}
		}
	}
	for _, name := range []string{"mod", "cookie: {samesite", "cookie: {max_age", "session: {timeout", "session: {ttl",
		"keys: {fil"} {
		_, err := config.Parse([]byte(name + ": x" + strings.Repeat("}", strings.Count(name, "{"))))
		require.Error(t, err)
		like := meant.FindStringSubmatch(err.Error())
		require.NotNil(t, like, err)
		require.Contains(t, wholeYAML, like[1][strings.LastIndex(like[1], ".")+1:]+":")
		tried++
	}
	require.Greater(t, tried, 50)
}
