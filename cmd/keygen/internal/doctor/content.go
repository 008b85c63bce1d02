package doctor

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"time"

	"github.com/cloakroom-go/cloakroom/cmd/keygen/internal/tool"
	"github.com/cloakroom-go/cloakroom/internal/keyset"
	"github.com/cloakroom-go/cloakroom/internal/span"
)

// secretGiven reports whether the flags have the passphrase or the key of the
// file.
func (d *doctor) secretGiven() bool { return len(d.Tool.Secret.Given()) > 0 }

// lookProtection says whether the file is encrypted, and what opens it.
func (d *doctor) lookProtection() tool.Finding {
	data, err := readStart(d.target)
	if err != nil {
		return problem("encryption", "this process (user %d) can't read the file; run it as the file's owner: %v",
			d.user, err)
	}
	under := encryptedUnder(data)
	d.locked = under != ""
	flag := "--passphrase-file, --passphrase-env or --passphrase-fd"
	if under == "a key" {
		flag = "--kek-file, --kek-env or --kek-fd"
	}
	switch {
	case !d.locked:
		return ok("encryption", "none: who can read the file, or a backup of it, has the keys; "+
			"keygen encrypt changes that")
	case !d.secretGiven():
		return warning("encryption", "under %s: every command needs %s; without it the content was not looked at",
			under, flag)
	}
	return ok("encryption", "under %s: every command needs %s", under, flag)
}

// readStart reads as much of a file as a key file can have.
func readStart(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, 2*keyset.MaxWritten))
}

// encryptedUnder says what a key file is encrypted under; "" for nothing. It
// believes what the header says: this is only for the advice.
func encryptedUnder(data []byte) string {
	data = bytes.TrimSpace(data)
	if !keyset.IsEncrypted(data) {
		return ""
	}
	head, _, _ := bytes.Cut(data, []byte("."))
	raw, err := base64.RawURLEncoding.DecodeString(string(head))
	var header struct{ Alg string }
	if err == nil {
		err = json.Unmarshal(raw, &header)
	}
	switch {
	case err != nil:
		return "something unknown"
	case strings.HasPrefix(header.Alg, "PBES2"):
		return "a passphrase"
	}
	return "a key"
}

// at returns the file at a path, with the secret that was given. The backup has
// the same secret, unless the secret was changed since.
func (d *doctor) at(path string) keyset.File {
	f := d.secret
	f.Path = path
	return f
}

// lookContent reads the file as an application does.
func (d *doctor) lookContent() {
	if d.locked && !d.secretGiven() {
		return
	}
	set, err := d.at(d.Path()).Read()
	d.damaged = errors.Is(err, keyset.ErrInvalidFile)
	switch {
	case errors.Is(err, keyset.ErrUnsafeFile):
		d.note(warning("content", "not looked at, because the file is not safe"))
	case errors.Is(err, fs.ErrPermission): // lookProtection said it
	case err != nil:
		d.note(problem("content", "%v", err))
	default:
		d.set = set
		d.note(ok("content", "generation %d; keys: %d, and notes of %d that were pruned",
			set.Generation(), len(set.Keys()), len(set.Pruned())))
	}
}

// lookClock compares the clock with what the file knows. Dates decide which key
// signs.
func (d *doctor) lookClock() {
	skew := keyset.Policy{}.WithDefaults().ClockSkew
	var made time.Time
	var id string
	if d.set != nil {
		skew = d.set.Policy().ClockSkew
		for _, k := range d.set.Keys() {
			if c := k.Dates().Created; c.After(made) {
				made, id = c, k.ID()
			}
		}
	}
	d.note(judgeClock(d.Now, skew, d.info.ModTime(), made, id))
}

func judgeClock(now time.Time, skew time.Duration, written, made time.Time, id string) tool.Finding {
	stamp := now.Format(time.RFC3339)
	later := func(at time.Time) string {
		return fmt.Sprintf("at %s, %s later", tool.Date(at), span.Format(at.Sub(now).Truncate(time.Second)))
	}
	switch {
	case now.Year() < 2026: // no release of this program is older
		return problem("clock", "%s: it was never set, or has lost the time", stamp)
	case made.After(now.Add(skew)):
		return problem("clock", "%s, and key %s was made %s: this clock, or that of the machine that made it, is wrong",
			stamp, id, later(made))
	case written.After(now.Add(skew)):
		return problem("clock", "%s, and the file was written %s: this clock, or that of the machine that wrote it, is wrong",
			stamp, later(written))
	}
	return ok("clock", "%s, after all that the file knows", stamp)
}
