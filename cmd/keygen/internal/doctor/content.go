package doctor

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"strings"
	"time"

	"github.com/cloakroom-go/cloakroom/cmd/keygen/internal/tool"
	"github.com/cloakroom-go/cloakroom/internal/keyset"
	"github.com/cloakroom-go/cloakroom/internal/span"
)

// secretGiven reports whether the flags have the passphrase or the key of the file.
func (d *doctor) secretGiven() bool { return len(d.Tool.Secret.Given()) > 0 }

// lookProtection says whether the file is encrypted, and what opens it.
func (d *doctor) lookProtection() {
	data, err := readStart(d.target)
	if err != nil {
		d.Add(tool.Problem, "encryption", "this process (user %d) can't read the file; run it as the file's owner: %v", d.user, err)
		return
	}
	under := encryptedUnder(data)
	d.locked = under != ""
	flag := "--passphrase-file, --passphrase-env or --passphrase-fd"
	if under == "a key" {
		flag = "--kek-file, --kek-env or --kek-fd"
	}
	switch {
	case !d.locked:
		d.Add(tool.OK, "encryption", "none: who can read the file, or a backup of it, has the keys; keygen encrypt changes that")
	case !d.secretGiven():
		d.Add(tool.Warning, "encryption", "under %s: every command needs %s; without it the content was not looked at", under, flag)
	default:
		d.Add(tool.OK, "encryption", "under %s: every command needs %s", under, flag)
	}
}

// readStart reads as much of a file as a key file can have.
func readStart(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, 2*maxKeyFile))
}

// encryptedUnder says what a key file is encrypted under; "" for nothing. It
// believes what the header says: this is for the advice alone.
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

// at is the file at a path, with the secret that was given.
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
	switch {
	case errors.Is(err, keyset.ErrUnsafeFile):
		d.Add(tool.Warning, "content", "not looked at, because the file is not safe")
	case errors.Is(err, keyset.ErrInvalidFile):
		d.damaged = true
		d.Add(tool.Problem, "content", "%v", err)
	case errors.Is(err, fs.ErrPermission): // said already
	case err != nil:
		d.Add(tool.Problem, "content", "%v", err)
	default:
		d.set = set
		d.Add(tool.OK, "content", "generation %d; keys: %d, and notes of %d that were pruned", set.Generation(), len(set.Keys()), len(set.Pruned()))
	}
}

// lookClock compares the clock with what the file knows. Dates decide which key signs.
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
	d.Findings = append(d.Findings, judgeClock(d.Now, skew, d.info.ModTime(), made, id))
}

func judgeClock(now time.Time, skew time.Duration, written, made time.Time, id string) tool.Finding {
	stamp := now.Format(time.RFC3339)
	switch {
	case now.Year() < 2026:
		return tool.Found(tool.Problem, "clock", "%s: it was never set, or has lost the time", stamp)
	case made.After(now.Add(skew)):
		return tool.Found(tool.Problem, "clock", "%s, and key %s was made at %s, %s later: this clock, or that of the machine that made it, is wrong", stamp, id, tool.Date(made), span.Format(made.Sub(now).Truncate(time.Second)))
	case written.After(now.Add(skew)):
		return tool.Found(tool.Problem, "clock", "%s, and the file was written at %s, %s later: this clock, or that of the machine that wrote it, is wrong", stamp, tool.Date(written), span.Format(written.Sub(now).Truncate(time.Second)))
	}
	return tool.Found(tool.OK, "clock", "%s, after all that the file knows", stamp)
}
