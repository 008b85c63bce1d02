// Package doctor is keygen doctor: it looks for what is wrong around a key
// file. [Command] makes the command.
package doctor

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/cloakroom-go/cloakroom/cmd/keygen/internal/tool"
	"github.com/cloakroom-go/cloakroom/internal/durable"
	"github.com/cloakroom-go/cloakroom/internal/keyset"
)

// Command returns keygen doctor.
func Command(t *tool.Tool) *cobra.Command {
	return &cobra.Command{
		Use:   "doctor",
		Short: "Check the surroundings of the key file",
		Long: `Doctor checks the surroundings of the key file: which file is used, links, owners
and modes, the lock, leftovers of a crash, the backup, the encryption, what the
file system can do, and the clock. Run it as the user of the application. For the
keys themselves: keygen check.

To try the file system it makes a directory beside the key file, and removes it
again; with --dry-run it only looks.

To restore a backup, copy it to the place of the key file, with mode 0600, run
keygen rotate --if-due, and then restart every instance: those that run refuse a
file of an earlier generation. Keys that were revoked after the backup was made
are valid in it: revoke them again before the restart.

Each finding is ok, a warning, or a problem: something that makes the file unsafe
or unusable. Exit codes: 0 no problem, 3 a problem, 4 the key file is damaged or
the passphrase or key for it is wrong, 8 there is no key file.`,
		Example: `  sudo -u app keygen doctor --keyset /etc/app/keys.json
  keygen doctor --dry-run --json`,
		Args: tool.NoArgs,
		RunE: t.Do(func(ctx context.Context, _ []string) error {
			d := &doctor{
				Tool: t, user: os.Geteuid(), trials: trials(), single: durable.IsMountPoint,
				secret: keyset.File{InsecureGroupReadable: t.GroupRead},
			}
			if err := t.Secret.Read(t, &d.secret); err != nil {
				return err
			}
			d.examine(ctx)
			if err := d.report(); err != nil {
				return err
			}
			return d.verdict()
		}),
	}
}

// A doctor looks at one key file.
type doctor struct {
	*tool.Tool
	tool.Findings
	user   int                    // who runs it; -1 where users have no numbers
	secret keyset.File            // passphrase or key, and who may read it, as the flags say
	trials []trial                // of the file system
	single func(path string) bool // whether path is a mount point
	target string                 // the key file, links followed
	info   fs.FileInfo            // of target
	set    *keyset.Set            // nil if it can't be read
	locked bool                   // the file is encrypted

	mounted  bool // by Kubernetes, or as a single file
	readOnly bool // the file system of the directory is
	writable bool // by this user: the directory, so that a change can happen here
	damaged  bool
	missing  bool
}

func (d *doctor) examine(ctx context.Context) {
	d.note(d.lookWhich())
	if !d.lookWhere() {
		return
	}
	d.lookFile()
	d.tryDirectory(ctx)
	d.lookDirectories()
	d.note(d.lookLock(ctx))
	d.lookLeftovers()
	d.note(d.lookProtection())
	d.lookContent()
	d.lookBackup()
	d.lookClock()
}

func (d *doctor) note(findings ...tool.Finding) { d.Findings = append(d.Findings, findings...) }

func ok(check, format string, args ...any) tool.Finding {
	return tool.Found(tool.OK, check, format, args...)
}

func warning(check, format string, args ...any) tool.Finding {
	return tool.Found(tool.Warning, check, format, args...)
}

func problem(check, format string, args ...any) tool.Finding {
	return tool.Found(tool.Problem, check, format, args...)
}

func (d *doctor) report() error {
	if d.Format == "json" {
		return d.PrintJSON(map[string]any{"keyset": d.Path(), "findings": d.Findings})
	}
	return d.Print(d.Tool)
}

func (d *doctor) verdict() error {
	problems, warnings := d.Count(tool.Problem), d.Count(tool.Warning)
	switch {
	case d.missing:
		return tool.Refuse(tool.ExitNotFound, "no key file at %s", d.Path())
	case d.damaged:
		return tool.Refuse(tool.ExitDamaged, "the key file can't be used; problems: %d, warnings: %d", problems, warnings)
	case problems > 0:
		return tool.Refuse(tool.ExitRefused, "problems: %d, warnings: %d", problems, warnings)
	}
	d.Note("no problem; warnings: %d; for the keys themselves: keygen check", warnings)
	return nil
}

// lookWhich says which file is meant, and why.
func (d *doctor) lookWhich() tool.Finding {
	path, err := filepath.Abs(d.Path())
	if err != nil {
		path = d.Path()
	}
	env := os.Getenv("CLOAKROOM_KEYSET")
	switch {
	case d.Keyset != "" && env != "" && env != d.Keyset:
		return warning("keyset", "%s, from --keyset; without the flag it would be %s, from CLOAKROOM_KEYSET", path, env)
	case d.Keyset != "":
		return ok("keyset", "%s, from --keyset", path)
	case env != "":
		return ok("keyset", "%s, from CLOAKROOM_KEYSET", path)
	}
	return ok("keyset", "%s, since neither --keyset nor CLOAKROOM_KEYSET says otherwise", path)
}

// lookWhere follows links. It reports whether there is a file to look at.
func (d *doctor) lookWhere() bool {
	path := d.Path()
	link, err := os.Lstat(path)
	if err == nil {
		d.target, err = filepath.EvalSymlinks(path)
	}
	if err == nil {
		d.info, err = os.Stat(d.target)
	}
	isLink := link != nil && link.Mode()&fs.ModeSymlink != 0
	d.missing = errors.Is(err, fs.ErrNotExist)
	d.damaged = err == nil && !d.info.Mode().IsRegular()
	switch {
	case d.missing && isLink:
		d.note(problem("file", "a link that leads nowhere: remove it, or bring the file back"))
	case d.missing:
		d.note(problem("file", "there is none; make one with: keygen init --keyset %s", path))
	case err != nil:
		d.note(problem("file", "it can't be looked at: %v", err))
	case d.info.IsDir():
		d.note(problem("file", "a directory; name the file in it"))
	case d.damaged:
		d.note(problem("file", "neither a regular file nor a link to one"))
	default:
		d.note(d.lookLink(path, isLink))
		return true
	}
	return false
}

// lookLink says where the file is. Kubernetes mounts a Secret as links into a
// directory ..data, which is itself a link that each new Secret swaps.
func (d *doctor) lookLink(path string, isLink bool) tool.Finding {
	to, err := os.Readlink(path)
	isSecret := strings.HasPrefix(to, "..data"+string(filepath.Separator))
	isSingle := d.single(d.target)
	d.mounted = isSingle || isSecret
	switch {
	case isSingle:
		return warning("file", "%s is mounted as a single file: this system keeps the file that was there at its start, "+
			"whatever replaces it outside, and nothing can be written here; mount the directory that it is in", d.target)
	case !isLink || err != nil:
		return ok("file", "a regular file")
	case isSecret:
		return ok("file", "a link to %s, as Kubernetes mounts a Secret, and there to %s; "+
			"a new Secret swaps the link, and applications that watch the file follow", to, d.target)
	}
	return ok("file", "a link to %s; the lock and the backup are beside that file", d.target)
}

// lookFile checks who can use the file, as keyset.File does.
func (d *doctor) lookFile() {
	d.note(judgeOwner(d.info, d.user), judgeMode(d.Path(), d.info.Mode().Perm(), d.mounted, d.GroupRead))
	size := d.info.Size()
	if size > keyset.MaxWritten/2 { // early enough to prune before a change fails
		d.note(warning("size", "%d bytes; a key file of more than %d can't be written: keygen prune",
			size, keyset.MaxWritten))
		return
	}
	d.note(ok("size", "%d bytes", size))
}

func judgeOwner(info fs.FileInfo, user int) tool.Finding {
	owner, known := tool.OwnerOf(info)
	switch {
	case !known:
		return ok("owner", "this system does not say")
	case owner == user:
		return ok("owner", "user %d, who runs this", owner)
	case owner == 0:
		return ok("owner", "root; this runs as user %d", user)
	}
	return problem("owner", "user %d, and this runs as user %d: run it, and the application, as the owner, "+
		"or chown the file", owner, user)
}

// judgeMode judges the mode of a file; group says that its group may read it.
func judgeMode(path string, mode fs.FileMode, mounted, group bool) tool.Finding {
	others := mode & 0o077
	who := "others can use it"
	if others == 0o040 {
		who = "its group can read it, and sign"
	}
	switch {
	case !tool.HasModes:
		return ok("mode", "this system has none: see who else can read the file")
	case others == 0:
		return ok("mode", "%04o", mode)
	case group && others == 0o040:
		return ok("mode", "%04o: %s; --insecure-group-readable accepts that", mode, who)
	case mounted:
		return problem("mode", "%04o: %s; mount the Secret with defaultMode 0400, or with 0440, "+
			"an fsGroup of the application's own, and keys.insecure_group_readable", mode, who)
	}
	return problem("mode", "%04o: %s; run: chmod 600 %s; if somebody has read it, "+
		"the keys are no longer secret: keygen revoke --all", mode, who, path)
}
