package tool

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/cloakroom-go/cloakroom/internal/keyset"
)

// defaultLockTimeout is longer than any keygen holds the lock: a change takes
// about a second, with PBKDF2 for a file under a passphrase.
const defaultLockTimeout = 10 * time.Second

// Create writes a new key file, encrypted under what flags name. A dry run only
// checks whether it could.
func (t *Tool) Create(ctx context.Context, flags *SecretFlags, set *keyset.Set) error {
	file := keyset.File{Path: t.Path()}
	if err := flags.Read(t, &file); err != nil {
		return err
	}
	if err := errors.Join(checkNew(file.Path), t.MayWrite()); err != nil {
		return err
	}
	t.WarnDirectories(file.Path)
	if t.DryRun {
		return nil
	}
	ctx, cancel := t.LockContext(ctx)
	defer cancel()
	if err := file.Create(ctx, set); err != nil {
		return err
	}
	t.NoteSecret(file)
	return nil
}

// checkNew refuses a path where there is something already, or whose directory
// does not exist.
func checkNew(path string) error {
	info, err := os.Lstat(path)
	_, broken := os.Stat(path)
	switch {
	case err == nil && info.IsDir():
		return Refuse(ExitRefused, "%s is a directory; name the file in it", path)
	case err == nil && errors.Is(broken, fs.ErrNotExist):
		return Refuse(ExitRefused, "%s is a link that leads nowhere; name the file itself, or remove the link", path)
	case err == nil:
		return Refuse(ExitRefused, "there is a key file already, and it was not touched; "+
			"choose another path, or remove %s yourself", path)
	}
	dir := filepath.Dir(path)
	if info, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) || err == nil && !info.IsDir() {
		return Refuse(ExitNotFound, "there is no directory %s; make it first, as the user of the application: "+
			"mkdir -m 700 %s", dir, dir)
	}
	return nil
}

// AdviseAlgorithms says what the algorithms of a new key file rule out.
func (t *Tool) AdviseAlgorithms(set *keyset.Set) {
	encrypts := false
	for _, k := range set.Keys() {
		if k.Algorithm() == keyset.HS256 && k.State(t.Now) == keyset.Active {
			t.Note("an HS256 key has no public half: no other service can verify tokens")
		}
		encrypts = encrypts || k.Use() == keyset.Encryption
	}
	if !encrypts {
		t.Note("without an encryption key, clients can read what is in their session tokens")
	}
	if t.DryRun {
		return
	}
	t.Note("run keygen rotate --if-due every day, or let the application do it (keys.rotate in its config)")
}

// LockContext limits how long a command waits for the lock of the key file.
func (t *Tool) LockContext(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, t.lockTimeout)
}
