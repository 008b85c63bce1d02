// Package config makes the sessions of an application from its configuration.
//
// Write it as YAML or JSON and read it with [Load] or [Parse]; lay environment
// variables over it with [FromEnv]; or make a [Config] a named field of the
// application's own struct, such as Sessions, and decode that with
// encoding/json, gopkg.in/yaml.v3 or goccy/go-yaml: it decodes itself just as
// strictly.
//
//	mode: stateless
//	keys:
//	  file: /etc/app/keys.json
//	session:
//	  idle_timeout: 20m
//	  lifetime: 12h
//
// Every field can be left out; its documentation names the default. Nothing is
// guessed: an unknown or repeated field, an empty value, a number without a
// unit and two fields that contradict each other are errors. Each error names
// its field and says what to write instead. All of them are reported at once.
//
// [Config.Build] makes the middleware, with the keys, stores and lists that it
// needs:
//
//	app, err := cfg.Build(config.Options{})
//	…
//	defer app.Close()
//	http.ListenAndServeTLS(addr, cert, key, app.Middleware.Handler(mux))
//
// Sessions that are not stateless are in the memory of the process, unless
// store.url names another store. The application says which kinds of store an
// operator can choose from, because each is a module of its own:
//
//	store:
//	  url: rediss://app@cache.example:6380/0
//	  password_env: REDIS_PASSWORD
//
//	cfg.Build(config.Options{Stores: []opaque.Opener{redisstore.Opener()}})
//
// # Environment
//
// The variable of a field is CLOAKROOM_ and its path in capitals, joined by
// underscores: session.idle_timeout is CLOAKROOM_SESSION_IDLE_TIMEOUT. Commas
// separate the elements of a list of texts. A list of mappings is written as in
// a document, in YAML or JSON:
//
//	CLOAKROOM_SERVICES_CLIENTS='[{id: orders, secret_file: orders.secret}]'
//
// One variable has another name: keys.file is CLOAKROOM_KEYSET, which keygen
// reads too.
//
// Other variables that begin with CLOAKROOM_ are errors, with two exceptions.
// Kubernetes sets some in the containers of a namespace with a Service named
// "cloakroom": CLOAKROOM_SERVICE_HOST, CLOAKROOM_SERVICE_PORT,
// CLOAKROOM_SERVICE_PORT_HTTP, CLOAKROOM_PORT, CLOAKROOM_PORT_8080_TCP_ADDR and
// similar ones. CLOAKROOM_SOAK is for the tests of this module.
package config

// Config is everything about sessions that an operator may want to set. The
// zero Config holds the defaults; modes stateless and auto need Keys.File too.
// It holds no secrets, except a password in Store.URL, which is never printed:
// the keys stay in their file.
type Config struct {
	_ [0]func() // no unkeyed literals, no comparison

	// Mode is the form in which sessions are kept: [Stateless], [Opaque] or
	// [Auto]. Empty means Stateless. A change of mode logs nobody out; see
	// AcceptOtherForm.
	Mode Mode `yaml:"mode,omitempty" json:"mode,omitzero"`

	// Issuer is the iss claim of session tokens, and of the service tokens that
	// go to other services. Empty means "cloakroom". Before the first service
	// verifies tokens, make it the application's https URL: clients that configure
	// themselves need that (RFC 8414, Section 2). A later change ends all tokens.
	Issuer string `yaml:"issuer,omitempty" json:"issuer,omitzero"`

	// ClientID is the client_id claim of service tokens: a name of the
	// application. Empty means the issuer.
	ClientID string `yaml:"client_id,omitempty" json:"client_id,omitzero"`

	// Audience is the aud claim of session tokens. Applications that share keys
	// but not sessions need different ones. No other service may have that name.
	// Empty means the issuer.
	Audience string `yaml:"audience,omitempty" json:"audience,omitzero"`

	// Keys says where the keys of session tokens are.
	Keys KeysConfig `yaml:"keys,omitempty" json:"keys,omitzero"`

	// Session says how long sessions live.
	Session SessionConfig `yaml:"session,omitempty" json:"session,omitzero"`

	// Cookie is the cookie that carries the credential.
	Cookie CookieConfig `yaml:"cookie,omitempty" json:"cookie,omitzero"`

	// CrossOrigin says which pages of other origins may act for a visitor.
	CrossOrigin CrossOriginConfig `yaml:"cross_origin,omitempty" json:"cross_origin,omitzero"`

	// AcceptOtherForm says whether a session in the form that Mode does not
	// write is still accepted, and moved to the new form when it is next saved.
	// Nil means yes; mode opaque can accept tokens only if Keys.File is set. Set
	// it to false once the last session from before a change of mode has ended.
	// Mode auto writes both forms.
	AcceptOtherForm *bool `yaml:"accept_other_form,omitempty" json:"accept_other_form,omitzero"`

	// Store says where the sessions that are not stateless are kept. It has no
	// effect on a store that the application passes in.
	Store StoreConfig `yaml:"store,omitempty" json:"store,omitzero"`

	// Revocations says where the list of sessions that ended early is kept.
	Revocations RevocationsConfig `yaml:"revocations,omitempty" json:"revocations,omitzero"`

	// Devices says whether the sessions of each subject are listed, and how many
	// there may be.
	Devices DevicesConfig `yaml:"devices,omitempty" json:"devices,omitzero"`

	// Services says which other services may ask about sessions.
	Services ServicesConfig `yaml:"services,omitempty" json:"services,omitzero"`

	// TokenMemory bounds the memory that keeps verified tokens and the newest
	// record of each session, in bytes. 0 means 64 MiB.
	TokenMemory Size `yaml:"token_memory,omitempty" json:"token_memory,omitzero"`

	// Timeout is how long a request waits for the store to open its session, and
	// again to save or end it. A save goes on when the client has closed the
	// connection. 0 means 2 seconds.
	Timeout Duration `yaml:"timeout,omitempty" json:"timeout,omitzero"`
}

// A Mode is a form in which sessions are kept.
type Mode string

// The modes.
const (
	Stateless Mode = "stateless" // in signed, optionally encrypted tokens
	Opaque    Mode = "opaque"    // on the server, under opaque credentials
	Auto      Mode = "auto"      // stateless while they fit into the cookie, otherwise opaque
)

// A KeysConfig says where the keys of session tokens are.
type KeysConfig struct {
	// File is the key file: keygen init makes it, or the application with Create.
	// Modes stateless and auto need it. A relative path starts at the working
	// directory.
	File string `yaml:"file,omitempty" json:"file,omitzero" env:"KEYSET"`

	// PassphraseFile or KEKFile is the file with the passphrase, or with the key
	// of 32 bytes, that File is encrypted under; PassphraseEnv or KEKEnv is the
	// name of an environment variable with it. At most one of them; none for a
	// File that is not encrypted.
	PassphraseFile string `yaml:"passphrase_file,omitempty" json:"passphrase_file,omitzero"`
	PassphraseEnv  string `yaml:"passphrase_env,omitempty" json:"passphrase_env,omitzero"` // see PassphraseFile
	KEKFile        string `yaml:"kek_file,omitempty" json:"kek_file,omitzero"`             // see PassphraseFile
	KEKEnv         string `yaml:"kek_env,omitempty" json:"kek_env,omitzero"`               // see PassphraseFile

	// Reload is how often to look whether File has changed. 0 means as often as
	// the policy in it says. A longer time is refused, because a key could sign
	// before this instance knows it (keygen policy --reload-interval).
	Reload Duration `yaml:"reload,omitempty" json:"reload,omitzero"`

	// Create makes File if there is none when the application starts, as keygen
	// init does by default. File must then be on storage that outlives the process
	// and that all instances share. Otherwise each instance would make keys of its
	// own, and refuse the tokens of the others.
	Create bool `yaml:"create,omitempty" json:"create,omitzero"`

	// Rotate keeps the keys in rotation from within this process, which must be
	// able to write File and its directory. Several instances that share the file
	// may all do so. Leave it out if keygen rotates them, or if File is mounted
	// read-only.
	Rotate bool `yaml:"rotate,omitempty" json:"rotate,omitzero"`

	// InsecureGroupReadable accepts a File that its group can read, as Kubernetes
	// mounts secrets. Everybody in the group can then make sessions.
	InsecureGroupReadable bool `yaml:"insecure_group_readable,omitempty" json:"insecure_group_readable,omitzero"`
}

// A SessionConfig says how long sessions live.
type SessionConfig struct {
	// Preset is an authentication assurance level of NIST SP 800-63B-4: "aal1",
	// "aal2" or "aal3". Times below that are not set come from it; times that are
	// set may only be shorter. Empty means no preset.
	Preset string `yaml:"preset,omitempty" json:"preset,omitzero"`

	// IdleTimeout ends a session that has had no request for this long. 0 means 20
	// minutes. If it is longer than 12 hours, a Lifetime is required.
	IdleTimeout Duration `yaml:"idle_timeout,omitempty" json:"idle_timeout,omitzero"`

	// Lifetime ends a session this long after its start or last login, even if it
	// is in use. 0 means 12 hours.
	Lifetime Duration `yaml:"lifetime,omitempty" json:"lifetime,omitzero"`

	// RememberedIdleTimeout and RememberedLifetime replace IdleTimeout and
	// Lifetime for the sessions that the application remembers
	// (session.Session.Remember). 0 means 14 days and 30 days, or the ordinary
	// limit if that is longer.
	//
	// In modes stateless and auto, a token must not outlive the trust in its key.
	// So the 14 days are shortened to the token_life in the policy of the keys,
	// which is 24 hours by default. A RememberedIdleTimeout that is longer is an
	// error until the policy allows it (keygen policy --token-life 14d).
	RememberedIdleTimeout Duration `yaml:"remembered_idle_timeout,omitempty" json:"remembered_idle_timeout,omitzero"`

	RememberedLifetime Duration `yaml:"remembered_lifetime,omitempty" json:"remembered_lifetime,omitzero"` // see above

	// TouchEvery is how old the recorded activity may become, at most a quarter of
	// IdleTimeout. 0 means 1 minute, or that quarter if it is less.
	TouchEvery Duration `yaml:"touch_every,omitempty" json:"touch_every,omitzero"`

	// Persistent makes new sessions remembered ones: the browser keeps their
	// cookies when it is closed. With Remember the application can decide it for
	// each session. If Persistent and IdleTimeout or Lifetime are set, the
	// remembered one must be set too.
	Persistent bool `yaml:"persistent,omitempty" json:"persistent,omitzero"`
}

// A CookieConfig is about the cookie that carries the credential. The cookie is
// always HttpOnly.
type CookieConfig struct {
	// Name is the cookie's name. Empty means "__Host-session". A cookie with this
	// prefix can't have Domain, Path or InsecureAllowHTTP: they need another name.
	Name string `yaml:"name,omitempty" json:"name,omitzero"`

	// Path limits the cookie to a part of the site. It begins with a slash: with
	// "/app" the cookie is sent to /app and everything below it. Empty means "/".
	Path string `yaml:"path,omitempty" json:"path,omitzero"`

	// Domain sends the cookie to this domain and all hosts below it. Each of them
	// can read and replace it. Empty means only the application's host. Browsers
	// drop the cookie, and nobody can log in, if the application's host is not in
	// the domain; Build can't notice that, since it does not know the host. They
	// also drop it for public suffixes, below which anybody can register. Those of
	// one label, such as "com", are errors; longer ones, such as "co.uk", are not
	// noticed.
	Domain string `yaml:"domain,omitempty" json:"domain,omitzero"`

	// SameSite is "lax", "strict" or "none". Empty means "lax".
	SameSite string `yaml:"same_site,omitempty" json:"same_site,omitzero"`

	// Partitioned gives each site that embeds the application in a frame a
	// session of its own (CHIPS).
	Partitioned bool `yaml:"partitioned,omitempty" json:"partitioned,omitzero"`

	// InsecureAllowHTTP drops the Secure attribute: anybody on the network can
	// read the cookie. It is for development without TLS, and needs a Name without
	// prefix.
	InsecureAllowHTTP bool `yaml:"insecure_allow_http,omitempty" json:"insecure_allow_http,omitzero"`
}

// A CrossOriginConfig says which pages of other origins may act for a visitor.
type CrossOriginConfig struct {
	// Trusted lists origins, such as "https://partner.example", whose pages may
	// send unsafe requests (POST and the like) with the visitor's session, and
	// open WebSockets. Empty means none; pages of the application's own origin
	// always may. It can't be combined with Options.CrossOrigin.
	Trusted []string `yaml:"trusted,omitempty" json:"trusted,omitzero"`
}

// A StoreConfig says where the sessions that are not stateless are kept, and
// how many of them this process keeps in its memory.
type StoreConfig struct {
	// URL names the store, as in "rediss://app@cache.example:6380/0". Its scheme
	// is redis, rediss, postgres, mysql, sqlite or memcache, or one of another
	// opener in Options.Stores. The documentation of the opener has the form and
	// the parameters. Empty means "memory:", the memory of this process. The App
	// closes the store.
	//
	// The password of the user belongs in a file or a variable of its own. In
	// the URL, where its special characters must be escaped, it is accepted too,
	// but not from a document that everybody can read.
	URL StoreURL `yaml:"url,omitempty" json:"url,omitzero"`

	// PasswordFile is the file with the password of the user in URL, or
	// PasswordEnv is the name of an environment variable with it. At most one of
	// them. Only the owner and the group of the file may be able to read it.
	PasswordFile string `yaml:"password_file,omitempty" json:"password_file,omitzero"`
	PasswordEnv  string `yaml:"password_env,omitempty" json:"password_env,omitzero"` // see PasswordFile

	// SecretFile is the file with the secret that keeps those who can write to
	// the store from making sessions, or SecretEnv is the name of an environment
	// variable with it. A store outside of this process needs exactly one of
	// these, and every process with the store the same. The secret is 32 random
	// bytes in base64 or hexadecimal. While it changes there are several,
	// separated by line breaks or spaces: the first encrypts, all of them decrypt.
	// Only the owner and the group of the file may be able to read it.
	SecretFile string `yaml:"secret_file,omitempty" json:"secret_file,omitzero"`
	SecretEnv  string `yaml:"secret_env,omitempty" json:"secret_env,omitzero"` // see SecretFile

	// MaxSessions is how many sessions are kept in the memory of this process.
	// New ones beyond it are refused. 0 means 1,000,000. MaxSessions, MaxBytes
	// and AnonymousPercent can't be combined with the URL of another store.
	MaxSessions int `yaml:"max_sessions,omitempty" json:"max_sessions,omitzero"`

	// MaxBytes is how much memory sessions may take. New ones beyond it are
	// refused. 0 means 1 GiB.
	MaxBytes Size `yaml:"max_bytes,omitempty" json:"max_bytes,omitzero"`

	// AnonymousPercent is how much of both limits the sessions without a subject
	// may take. Anybody can make those, so the rest is kept for visitors who log
	// in. 0 means 75: 750,000 sessions and 768 MiB. 100 means no separate limit.
	AnonymousPercent int `yaml:"anonymous_percent,omitempty" json:"anonymous_percent,omitzero"`

	// Linger is how long an expired session is kept, so that a visitor who comes
	// back late can be told that it has expired. 0 means 10 minutes in memory, and
	// 2 minutes in another store. Memcached always keeps it for 2 minutes.
	Linger Duration `yaml:"linger,omitempty" json:"linger,omitzero"`
}

// A RevocationsConfig says where the list of sessions that ended early is kept.
type RevocationsConfig struct {
	// File is the journal, which one process at a time may use. Empty means
	// revocations.journal beside the key file. Without a key file either, the list
	// is only in memory: that is enough for mode opaque with the store in memory,
	// and an error with a store that outlives the process.
	//
	// A store that is a [revocation.Log], such as Redis or a SQL database, keeps
	// the list, and Empty means no journal. Name one if that store forgets
	// everything when it restarts, and all instances may restart with it.
	File string `yaml:"file,omitempty" json:"file,omitzero"`

	// Wait is how long the start waits for another process that still has File
	// open. If the old and the new process of one host overlap in a deployment,
	// make it longer than the old one takes to shut down. 0 means 10 seconds.
	Wait Duration `yaml:"wait,omitempty" json:"wait,omitzero"`

	// MaxStaleness is how long an instance may go without hearing what has ended
	// on the others. After that it answers 503 to visitors whose session is in a
	// token, and their cookie stays. It has an effect with a store that several
	// instances share: [revocation.Config] explains it. 0 means 5 minutes; at
	// least 2 seconds.
	MaxStaleness Duration `yaml:"max_staleness,omitempty" json:"max_staleness,omitzero"`

	// InsecureServeStale lets such an instance go on: sessions in tokens that have
	// ended on other instances then open there.
	InsecureServeStale bool `yaml:"insecure_serve_stale,omitempty" json:"insecure_serve_stale,omitzero"`

	// SingleInstance says that this is the only process that makes tokens for
	// these sessions, also during a deployment. Then an end is remembered for an
	// idle timeout, and not until the session's deadline, so the list is much
	// shorter. If it is set although another process makes tokens, a token that
	// the other one makes after the end opens the session again.
	SingleInstance bool `yaml:"single_instance,omitempty" json:"single_instance,omitzero"`

	// MaxEntries bounds the list, which takes 55 bytes of memory for each entry.
	// Ends of sessions in which nobody logged in may take a quarter of it; beyond
	// that the oldest of them are forgotten. When the list is 90 % full, new
	// stateless sessions of visitors who have not logged in are refused. 0 means
	// 2,000,000; at least 10,000.
	MaxEntries int `yaml:"max_entries,omitempty" json:"max_entries,omitzero"`

	// InsecureVolatile keeps the list in memory only: after a restart, tokens
	// that were logged out are valid again until they expire.
	InsecureVolatile bool `yaml:"insecure_volatile,omitempty" json:"insecure_volatile,omitzero"`

	// Skew is how much the clocks of the instances may differ. When all sessions
	// of a subject are ended, sessions that began up to Skew later end too. 0
	// means one clock, or 5 seconds with a store that is a [revocation.Log]. If
	// that is on a server, the clock here is compared with the server's: the
	// application's log says if they differ by more than half of Skew, and
	// [App.Ready] fails if they differ by more than Skew.
	Skew Duration `yaml:"skew,omitempty" json:"skew,omitzero"`
}

// A DevicesConfig says whether the application can list the sessions of a
// subject (App.Devices), and how many a subject may have.
type DevicesConfig struct {
	// Enabled lists the sessions in which somebody is logged in. The index is in
	// the store that Store.URL names, or that the application passes in: Redis and
	// SQL can have it, Memcached can't. A login and a renewal then take one more
	// round trip to Redis, or one more transaction in a SQL database. In memory
	// the index is lost when the process restarts. A stateless session is listed
	// again after at most half an idle timeout of activity.
	Enabled bool `yaml:"enabled,omitempty" json:"enabled,omitzero"`

	// Limit is how many sessions a subject may have at once, at most 1,000. With
	// one more login, the session whose last activity is the oldest ends. 0 means
	// 100. Options.SessionLimit can give each subject a limit of its own. Limit
	// and RefuseNew need Enabled.
	Limit int `yaml:"limit,omitempty" json:"limit,omitzero"`

	// RefuseNew refuses the login instead, with session.TooMany.
	RefuseNew bool `yaml:"refuse_new,omitempty" json:"refuse_new,omitzero"`
}

// A ServicesConfig says which other services may ask the application about
// sessions: App.Introspection answers who a credential belongs to, and
// App.Ended what has ended.
type ServicesConfig struct {
	// Clients are these services. They prove who they are with HTTP Basic, by ID
	// and secret. Empty means that nobody may ask.
	Clients []ServiceClient `yaml:"clients,omitempty" json:"clients,omitzero"`
}

// A ServiceClient is a service that may ask. It needs a secret.
type ServiceClient struct {
	// ID names the service: up to 256 letters, digits and "-._~". Required, and
	// another one for each.
	ID string `yaml:"id,omitempty" json:"id,omitzero"`

	// Audience is aud of the service tokens that the service may ask about. Empty
	// means the ID. It can't be the audience of session tokens.
	Audience string `yaml:"audience,omitempty" json:"audience,omitzero"`

	// SecretFile is the file with the secret, or SecretEnv is the name of an
	// environment variable with it. Exactly one of them. The secret is 32 random
	// bytes in base64 or hexadecimal; the service sends that text. While it
	// changes there are several, separated by line breaks or spaces, and all are
	// accepted. Only the owner and the group of the file may be able to read it.
	SecretFile string `yaml:"secret_file,omitempty" json:"secret_file,omitzero"`
	SecretEnv  string `yaml:"secret_env,omitempty" json:"secret_env,omitzero"` // see SecretFile
}
