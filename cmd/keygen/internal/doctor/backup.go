package doctor

import (
	"errors"
	"io/fs"
	"os"
	"strings"

	"github.com/cloakroom-go/cloakroom/cmd/keygen/internal/tool"
	"github.com/cloakroom-go/cloakroom/internal/keyset"
)

// lookBackup checks the file that was replaced last. It holds older keys, and
// is as secret as the key file.
func (d *doctor) lookBackup() {
	name := d.target + ".bak"
	info, err := os.Lstat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		d.note(ok("backup", "none beside the file: keygen keeps the previous one with each change"))
	case err != nil:
		d.note(warning("backup", "it can't be looked at: %v", err))
	case info.IsDir() && d.writable:
		d.note(problem("backup", "%s is a directory: the next change fails, "+
			"since it keeps the previous file under that name; remove it", name))
	case !info.Mode().IsRegular():
		d.note(warning("backup", "%s is not a regular file: keygen did not make it; remove it", name))
	default:
		owner, mode := judgeOwner(info, d.user), judgeMode(name, info.Mode().Perm(), false, d.GroupRead)
		switch {
		case owner.Severity != tool.OK:
			d.note(problem("backup", "belongs to %s", owner.Text))
		case mode.Severity != tool.OK:
			d.note(problem("backup", "mode %s", mode.Text))
		default:
			d.lookOldKeys(name, tool.Date(info.ModTime()))
		}
	}
}

func (d *doctor) lookOldKeys(name, written string) {
	data, err := readStart(name)
	if err != nil {
		d.note(warning("backup", "it can't be read: %v", err))
		return
	}
	if d.locked && encryptedUnder(data) == "" { // keygen encrypt removes it: it was copied here
		d.note(problem("backup", "it is not encrypted, and the key file is: it gives the keys away; run: rm %s", name))
		return
	}
	if d.locked && !d.secretGiven() {
		d.note(ok("backup", "encrypted too; written at %s", written))
		return
	}
	old, err := d.at(name).Read()
	if err != nil { // without err's text, which would name the backup of the backup
		d.note(warning("backup", "it could not be restored: it is damaged, was edited, or is encrypted under something else"))
		return
	}
	d.note(ok("backup", "generation %d, written at %s; keys: %d", old.Generation(), written, len(old.Keys())))
	if d.set != nil {
		d.compareOld(name, old)
	}
}

// compareOld says what the file that was replaced last would bring back.
func (d *doctor) compareOld(name string, old *keyset.Set) {
	if d.set.Generation() < old.Generation() {
		d.note(warning("backup", "it is newer than the key file, which has generation %d: "+
			"an older key file was restored, and keys that were revoked may be back", d.set.Generation()))
	}
	revoked, private := make(map[string]bool), make(map[string]bool)
	for _, k := range append(d.set.Keys(), d.set.Pruned()...) {
		revoked[k.ID()], private[k.ID()] = k.IsRevoked(), k.HasPrivate()
	}
	var revived, erased []string
	for _, k := range old.Keys() {
		switch id := k.ID(); {
		case revoked[id] && !k.IsRevoked():
			revived = append(revived, id)
		case k.HasPrivate() && !private[id]:
			erased = append(erased, id)
		}
	}
	if revived != nil {
		d.note(warning("backup", "keys that the key file has revoked are valid in it: %s; "+
			"whoever restores it trusts their tokens again; run: rm %s", strings.Join(revived, ", "), name))
	}
	if erased != nil {
		d.note(warning("backup", "it still has the private halves that were erased from the key file of %s; "+
			"the next change replaces it; or run: rm %s", strings.Join(erased, ", "), name))
	}
}
