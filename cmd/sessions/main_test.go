package main

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/config"
	"github.com/cloakroom-go/cloakroom/revocation"
	"github.com/cloakroom-go/cloakroom/session"
)

// everywhere runs a test over each store and in each mode.
func everywhere(t *testing.T, test func(t *testing.T, w *world)) {
	for name, start := range map[string]func(testing.TB) string{"sqlite": sqlite, "redis": redis} {
		for _, mode := range []config.Mode{config.Opaque, config.Stateless} {
			t.Run(name+"/"+string(mode), func(t *testing.T) { test(t, newWorld(t, mode, start(t), withDevices)) })
		}
	}
}

// What the tool ends has ended in the application that runs over the same
// store, and nothing else has. No output has anything that opens a session.
func TestEnd(t *testing.T) {
	everywhere(t, func(t *testing.T, w *world) {
		desk, phone, other := w.login("alice"), w.login("alice"), w.login("bob")
		require.ElementsMatch(t, w.listed("alice"), w.json(exitOK, "list", "alice").ids())
		require.Empty(t, w.json(exitOK, "list", "nobody").ids())
		text, _ := w.sessions(exitOK, "list", "alice")
		require.Contains(t, text, w.idOf(desk))
		require.Contains(t, text, "192.0.2.1  Browser\n")

		id := w.idOf(desk)
		_, talk := w.sessions(exitNotFound, "end", "bob", id)
		require.Contains(t, talk, "sessions: bob has no session with this ID")
		w.sessions(exitNotFound, "end", "bob", id, "--dry-run")
		l := w.json(exitOK, "end", "alice", id, "--dry-run")
		require.True(t, l.DryRun)
		require.Equal(t, []string{id}, l.ids())
		require.Equal(t, "alice", w.subjectOf(desk))
		require.Len(t, w.listed("alice"), 2)

		require.Equal(t, []string{id}, w.json(exitOK, "end", "alice", id).ids())
		w.ended(desk)
		w.sessions(exitNotFound, "end", "alice", id)
		require.Equal(t, "alice", w.subjectOf(phone))
		require.Equal(t, w.listed("alice"), w.json(exitOK, "list", "alice").ids())

		require.Equal(t, w.listed("alice"), w.json(exitOK, "end-subject", "alice", "--dry-run").ids())
		require.Equal(t, "alice", w.subjectOf(phone))
		_, talk = w.sessions(exitOK, "end-subject", "alice")
		require.Equal(t, "sessions: ended all sessions of alice: 1\n", talk)
		w.ended(phone)
		require.Empty(t, w.listed("alice"))
		require.Equal(t, "bob", w.subjectOf(other))
		w.secrets(desk, phone, other)
	})
}

// secrets fails if the tool has printed a credential or the secret of the
// store.
func (w *world) secrets(cookies ...*http.Cookie) {
	said := strings.Join(w.said, "\n")
	require.NotContains(w.t, said, w.secret)
	for _, cookie := range cookies {
		require.NotContains(w.t, said, cookie.Value)
	}
}

// The ends that name no subject hold as well, and need a yes where they concern
// everybody.
func TestEndOfMany(t *testing.T) {
	everywhere(t, func(t *testing.T, w *world) {
		tagged, other := w.login("alice", session.Tag("idp", "confidential")), w.login("bob")
		_, talk := w.sessions(exitOK, "end-tag", "idp", "confidential", "--dry-run")
		require.Equal(t, "sessions: would end all sessions with this tag of kind idp; their number is not known\n", talk)
		w.sessions(exitOK, "end-tag", "idp", "another")
		require.Equal(t, "alice", w.subjectOf(tagged))
		require.Equal(t, listing{TagKind: "idp"}, w.json(exitOK, "end-tag", "idp", "confidential"))
		w.ended(tagged)
		require.Equal(t, "bob", w.subjectOf(other))
		require.NotContains(t, strings.Join(w.said, ""), "confidential")

		_, talk = w.sessions(exitRefused, "end-all")
		require.Contains(t, talk, "there is no terminal to ask at; add --yes")
		require.Equal(t, listing{DryRun: true, All: true}, w.json(exitOK, "end-all", "--dry-run"))
		require.Equal(t, "bob", w.subjectOf(other))
		require.Equal(t, listing{All: true}, w.json(exitOK, "end-all", "--yes"))
		w.ended(other)
		require.Equal(t, "bob", w.subjectOf(w.login("bob")))

		var f figures
		stdout, _ := w.sessions(exitOK, "stats", "--format", "json")
		require.NoError(t, json.Unmarshal([]byte(stdout), &f))
		require.GreaterOrEqual(t, f.Groups, 3) // two tags, and everybody
		require.Less(t, f.Staleness, 5.0)
		stdout, _ = w.sessions(exitOK, "stats")
		require.Contains(t, stdout, "ended groups    3\n")
		w.secrets(tagged, other)
	})
}

// At a terminal, only yes ends everything.
func TestConfirm(t *testing.T) {
	w := newWorld(t, config.Opaque, sqlite(t))
	cookie := w.login("alice")
	for _, answer := range []string{"no\n", "y\n", "\n", ""} {
		_, talk := runTool(t, exitRefused, &tool{asks: true, stdin: strings.NewReader(answer)}, "end-all", "--config", w.path)
		require.Contains(t, talk, "sessions: this ends every session of everybody in sqlite:")
		require.Contains(t, talk, "not confirmed; nothing has ended")
	}
	require.Equal(t, "alice", w.subjectOf(cookie))
	runTool(t, exitOK, &tool{asks: true, stdin: strings.NewReader("yes\n")}, "end-all", "--config", w.path)
	w.ended(cookie)
	require.False(t, isTerminal(strings.NewReader("")))
}

// Without lists of sessions, all of a subject end all the same.
func TestWithoutDevices(t *testing.T) {
	w := newWorld(t, config.Stateless, sqlite(t), "revocations: {insecure_serve_stale: true}")
	cookie := w.login("alice")
	for _, args := range [][]string{{"list", "alice"}, {"end", "alice", w.idOf(cookie)}} {
		_, talk := w.sessions(exitRefused, args...)
		require.Contains(t, talk, "doesn't have devices.enabled")
	}
	require.Nil(t, w.json(exitOK, "end-subject", "alice", "--dry-run").Sessions)
	require.Equal(t, "alice", w.subjectOf(cookie))
	_, talk := w.sessions(exitOK, "end-subject", "alice")
	require.Contains(t, talk, "their number is not known")
	w.ended(cookie)
}

// With another secret, sessions are listed, and an end works, but the details
// are not shown.
func TestWrongSecret(t *testing.T) {
	w := newWorld(t, config.Opaque, redis(t), withDevices)
	cookie := w.login("alice")
	t.Setenv("ANOTHER", strings.Repeat("ab", 32))
	environ := []string{"CLOAKROOM_STORE_SECRET_ENV=ANOTHER"}
	document, err := os.ReadFile(w.path)
	require.NoError(t, err)
	before, after, _ := strings.Cut(string(document), ", secret_file:")
	_, after, _ = strings.Cut(after, "}")
	require.NoError(t, os.WriteFile(w.path, []byte(before+"}"+after), 0o600))
	stdout, talk := runTool(t, exitOK, &tool{environ: environ}, "list", "alice", "--config", w.path)
	require.Contains(t, stdout, w.idOf(cookie))
	require.NotContains(t, stdout, "Browser")
	require.Contains(t, talk, "the details of 1 sessions can't be decrypted")
	runTool(t, exitOK, &tool{environ: environ}, "end", "alice", w.idOf(cookie), "--config", w.path)
	w.ended(cookie)
}

// The exit code and the text say what is wrong, and what to do.
func TestRefusals(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	file := func(name, text string, mode os.FileMode) string {
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
		require.NoError(t, os.Chmod(path, mode))
		return path
	}
	open, empty := file("open", strings.Repeat("ab", 32), 0o644), file("empty.db", "", 0o600)
	for _, row := range []struct {
		args, environ string
		code          int
		want          string
	}{
		{"", "", exitOK, ""},
		{"nonsense", "", exitUsage, `unknown command "nonsense"`},
		{"help nonsense", "", exitUsage, `unknown command "nonsense"`},
		{"list", "", exitUsage, "list needs the SUBJECT"},
		{"list a b", "", exitUsage, "list takes 1 arguments, and there are 2"},
		{"end alice", "", exitUsage, "end needs the ID of the session: see sessions list"},
		{"end-tag idp", "", exitUsage, "end-tag needs the VALUE"},
		{"end-all x", "", exitUsage, "end-all takes no arguments"},
		{"stats --nonsense", "", exitUsage, "unknown flag: --nonsense"},
		{"stats --format xml", "", exitUsage, `--format "xml": use text or json`},
		{"stats --timeout 0s", "", exitUsage, "--timeout 0s: give the store some time"},
		{"stats --config none.yaml", "", exitNotFound, "none.yaml"},
		{"stats --config open", "", exitRefused, "config: "},
		{"stats", "CLOAKROOM_NONSENSE=1", exitRefused, "CLOAKROOM_NONSENSE"},
		{"stats", "", exitRefused, "there is no cloakroom.yaml here"},
		{"stats", "", exitRefused, `"store.url": names no store outside of the application`},
		{"stats", "CLOAKROOM_STORE_URL=memory:", exitRefused, "only the application can list and end the sessions in its memory"},
		{"stats", "CLOAKROOM_STORE_URL=memcache://127.0.0.1", exitRefused, "names Memcached, which can't list sessions"},
		{"stats", "CLOAKROOM_STORE_URL=sqlite:none.db", exitNotFound, "the application makes it"},
		{"stats", "CLOAKROOM_STORE_URL=sqlite:" + empty, exitError, "which makes the tables"},
		{"stats", "CLOAKROOM_STORE_URL=redis://u:hunter2@127.0.0.1:1", exitError, "127.0.0.1:1"},
		{"stats", "CLOAKROOM_STORE_URL=redis://h CLOAKROOM_REVOCATIONS_INSECURE_VOLATILE=true", exitRefused, "only the application can end its sessions"},
		{"list alice", "CLOAKROOM_STORE_URL=redis://h CLOAKROOM_STORE_PASSWORD_FILE=" + open, exitRefused, "devices.enabled"},
		{"stats", "CLOAKROOM_STORE_URL=redis://h CLOAKROOM_STORE_PASSWORD_FILE=" + open, exitRefused, "run: chmod 600"},
	} {
		t.Run(row.args+" "+row.environ, func(t *testing.T) {
			tool := &tool{stdin: strings.NewReader(""), environ: strings.Fields(row.environ)}
			stdout, talk := runTool(t, row.code, tool, strings.Fields(row.args)...)
			require.Contains(t, talk, row.want)
			require.NotContains(t, talk, "hunter2")
			require.Equal(t, row.code == exitOK, stdout != "")
			if row.code == exitUsage {
				require.Contains(t, talk, `Run "sessions help`)
			}
		})
	}
	require.NoFileExists(t, filepath.Join(dir, "none.db"))
	_, talk := runTool(t, exitUsage, &tool{}, "list", "")
	require.Contains(t, talk, "list: an argument is empty")
}

// With a store that can't be written, or a list that fails, nothing is said to
// have ended.
func TestEndInDoubt(t *testing.T) {
	isolated := &tool{environ: []string{"CLOAKROOM_STORE_URL=" + redisWith(t, "--min-replicas-to-write", "1")}}
	for _, command := range []string{"end-subject alice", "end-tag a b", "end-all --yes", "stats"} {
		stdout, talk := runTool(t, exitError, isolated, strings.Fields(command)...)
		require.Empty(t, stdout)
		require.Contains(t, talk, "nothing was done, because the store can't tell what has ended")
		require.Contains(t, talk, "NOREPLICAS")
	}
	app := &config.App{Revocations: new(revocation.List)} // which fails
	failing := &tool{stdout: io.Discard, stderr: io.Discard}
	err := failing.endAllOf(t.Context(), app, "alice")
	require.ErrorContains(t, err, "sessions may go on, because the store may not have taken their end")
	require.Equal(t, exitError, exitCode(err))
	require.Equal(t, exitNotFound, exitCode(inDoubt(session.NotFound)))
}

// Every example can be run as it stands, and help fits a terminal.
func TestHelp(t *testing.T) {
	commands := (&tool{}).root(io.Discard).Commands()
	require.NotEmpty(t, commands)
	for _, cmd := range commands {
		if cmd.Name() == "help" {
			continue
		}
		t.Run(cmd.Name(), func(t *testing.T) {
			help, talk := runTool(t, exitOK, &tool{}, "help", cmd.Name())
			require.Empty(t, talk)
			for line := range strings.Lines(cmd.Long) {
				require.LessOrEqual(t, len(strings.TrimSpace(line)), 80, line)
			}
			words := strings.Fields(cmd.Example)
			require.NotEmpty(t, words)
			require.Contains(t, help, cmd.Example)
			found, rest, err := (&tool{}).root(io.Discard).Find(words[1:])
			require.NoError(t, err)
			require.Equal(t, cmd.Name(), found.Name())
			require.NoError(t, found.ParseFlags(rest))
			require.NoError(t, found.ValidateArgs(found.Flags().Args()))
		})
	}
}

// What can't be printed is no success, and what a store holds can't steer a
// terminal.
func TestPrint(t *testing.T) {
	require.Equal(t, exitError, (&tool{stdout: broken{}, stderr: io.Discard}).run([]string{"help"}))
	var out strings.Builder
	tool := &tool{stdout: &out, format: "text"}
	hostile := listing{Sessions: []row{{ID: "a\x1b[2J\nb\u202e", Remembered: true}}}
	require.NoError(t, tool.print(hostile))
	require.Contains(t, out.String(), `a\u001b[2J\u000ab\u202e  -     -          yes         -        -`+"\n")
	tool.format = "json"
	require.NoError(t, tool.print(hostile))
	require.NotContains(t, out.String(), "\x1b")
	require.NotContains(t, out.String(), "\u202e")
}

// broken is an output that takes nothing.
type broken struct{}

func (broken) Write([]byte) (int, error) { return 0, errors.New("no space left") }
