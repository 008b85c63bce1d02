package doctor

import (
	"errors"
	"io/fs"
	"os"
	"slices"
	"strings"

	"github.com/cloakroom-go/cloakroom/cmd/keygen/internal/tool"
	"github.com/cloakroom-go/cloakroom/internal/keyset"
)

// lookBackup checks the file that was replaced last. It holds older keys, and is as secret as the file.
func (d *doctor) lookBackup() {
	name := d.target + ".bak"
	info, err := os.Lstat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		d.Add(tool.OK, "backup", "none beside the file: keygen keeps the previous one with each change")
		return
	case err != nil:
		d.Add(tool.Warning, "backup", "it can't be looked at: %v", err)
		return
	case info.IsDir() && d.writable:
		d.Add(tool.Problem, "backup", "%s is a directory: the next change fails, since it keeps the previous file under that name; remove it", name)
		return
	case !info.Mode().IsRegular():
		d.Add(tool.Warning, "backup", "%s is no regular file: keygen did not make it; remove it", name)
		return
	}
	if f := judgeOwner(info, d.user); f.Severity != tool.OK {
		d.Add(tool.Problem, "backup", "belongs to %s", f.Text)
		return
	}
	if f := judgeMode(name, info.Mode().Perm(), false, d.GroupRead); f.Severity != tool.OK {
		d.Add(tool.Problem, "backup", "mode %s", f.Text)
		return
	}
	d.lookOldKeys(name, info)
}

func (d *doctor) lookOldKeys(name string, info fs.FileInfo) {
	data, err := readStart(name)
	if err != nil {
		d.Add(tool.Warning, "backup", "it can't be read: %v", err)
		return
	}
	if d.locked && encryptedUnder(data) == "" {
		d.Add(tool.Problem, "backup", "it is not encrypted, and the key file is: it gives the keys away; run: rm %s", name)
		return
	}
	if d.locked && !d.secretGiven() {
		d.Add(tool.OK, "backup", "encrypted too; written at %s", tool.Date(info.ModTime()))
		return
	}
	old, err := d.at(name).Read()
	if err != nil { // not its text: it would name the backup of the backup
		d.Add(tool.Warning, "backup", "it could not be restored: it is damaged, was edited, or is encrypted under something else")
		return
	}
	d.Add(tool.OK, "backup", "generation %d, written at %s; keys: %d", old.Generation(), tool.Date(info.ModTime()), len(old.Keys()))
	if d.set != nil {
		d.compareOld(name, old)
	}
}

// compareOld says what the file that was replaced last would bring back.
func (d *doctor) compareOld(name string, old *keyset.Set) {
	if d.set.Generation() < old.Generation() {
		d.Add(tool.Warning, "backup", "it is newer than the key file, which has generation %d: an older key file was restored, and keys that were revoked may be back", d.set.Generation())
	}
	back := revived(old, d.set)
	if back != nil {
		d.Add(tool.Warning, "backup", "in it, keys are good that the key file has revoked: %s; whoever restores it trusts their tokens again; run: rm %s", strings.Join(back, ", "), name)
	}
	dead := slices.DeleteFunc(buried(old, d.set), func(id string) bool { return slices.Contains(back, id) })
	if len(dead) > 0 {
		d.Add(tool.Warning, "backup", "it still has the private halves that were erased from the key file of %s; the next change replaces it; or run: rm %s", strings.Join(dead, ", "), name)
	}
}

// buried are the IDs of the keys whose private half old has and set has not.
func buried(old, set *keyset.Set) (ids []string) {
	for _, k := range old.Keys() {
		if now := set.Key(k.ID()); k.HasPrivate() && (now == nil || !now.HasPrivate()) {
			ids = append(ids, k.ID())
		}
	}
	return ids
}

// revived are the IDs of the keys that set has revoked, and may have pruned, and old has not.
func revived(old, set *keyset.Set) (ids []string) {
	for _, k := range append(set.Keys(), set.Pruned()...) {
		if was := old.Key(k.ID()); k.IsRevoked() && was != nil && !was.IsRevoked() {
			ids = append(ids, k.ID())
		}
	}
	return ids
}
