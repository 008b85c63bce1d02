// Package importing reads keys that other programs made: PEM, JWK and
// encrypted JWK. [Command] is keygen import, and [Thumbprint] prints RFC
// 7638 thumbprints.
package importing

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/cloakroom-go/cloakroom/cmd/keygen/internal/tool"
	"github.com/cloakroom-go/cloakroom/internal/jose"
	"github.com/cloakroom-go/cloakroom/internal/keyset"
	"github.com/cloakroom-go/cloakroom/internal/rotation"
)

// importFlags are the flags of import.
type importFlags struct {
	path                          string // the argument; - is standard input
	alg, kid, publishAt           string
	verifyOnly, external, newFile bool
	secret                        tool.SecretFlags // of the file to import
	next                          tool.SecretFlags // of the key file that --new makes
	publish                       time.Time        // what publishAt says
	encrypted                     bool             // the file to import is
}

const importHelp = `Import brings in the keys of a file, or, with -, of standard input:

  PEM       PKCS #8, SEC 1 and PKCS #1 private keys, SPKI and PKCS #1 public
            keys, several in one file too
  JWK       one key, or a JWK Set, of which --kid picks one key
  JWE       an encrypted JWK or JWK Set (RFC 7517, Section 7) in the compact
            form, with PBES2-*, A128KW, A192KW, A256KW or dir: say where its
            passphrase or key is with --import-passphrase-file,
            --import-kek-file or the like

Other encrypted files, and keys in OpenSSH's own format, are refused; the error
names the command that converts them. All keys are imported, or none.

The algorithm is the JWK's alg, or the only one for this kind of key, or ES256
for a P-256 key. An RSA key needs --alg PS256 or RS256, a symmetric one --alg
HS256, dir or A256KW. A key that is too weak is refused, and so is a secret that
somebody typed. The ID of a key is its RFC 7638 thumbprint, or random if it is
symmetric; a kid that it had before is replaced, and tokens that name the old
one are not accepted.

What becomes of a key:

  by default      it is published now, or at --publish-at, and signs when all
                  others of its use have; keygen promote lets it sign earlier
  --verify-only   it verifies, or decrypts, the tokens of another system for as
                  long as tokens live by the policy, and never signs: the
                  private half of a signature key stays out of the file
  --external      a public key whose private half is in a KMS: as by default,
                  and the application gives a crypto.Signer for it
  --new           there is no key file yet, and import makes it: the first key
                  of each use signs at once, and the next one, or a new standby,
                  follows after a rotation period. Use it to move an application
                  here with its present key

Exit codes: 0 done, 1 the file has no keys, 3 refused: a key is weak or is
there already, or it is not safe yet (the text says when it is), 4 the
passphrase or key for a file is wrong, 5 another process has locked the key
file: try again, 8 no such kid, or a file is missing.`

// Command returns keygen import.
func Command(t *tool.Tool) *cobra.Command {
	var o importFlags
	cmd := &cobra.Command{
		Use:   "import FILE|-",
		Short: "Import keys from other systems",
		Long:  importHelp,
		Example: `  keygen import old-rsa.pem --alg RS256
  keygen import - --verify-only < partner-public.pem
  keygen import backup.jwe --import-passphrase-file passphrase.txt --kid 2026-05
  keygen import --new signing.pem && keygen add --alg dir`,
		Args: tool.One("a file with keys, or - for standard input"),
	}
	f := cmd.Flags()
	f.StringVar(&o.alg, "alg", "", "ES256, EdDSA, PS256, RS256, HS256; dir, A256KW, ECDH-ES+A256KW")
	f.StringVar(&o.kid, "kid", "", "only the key of a JWK Set that has this `kid`")
	f.StringVar(&o.publishAt, "publish-at", "", "`time` at which the keys are published; default now")
	f.BoolVar(&o.verifyOnly, "verify-only", false, "the keys verify or decrypt, and never sign or encrypt")
	f.BoolVar(&o.external, "external", false, "public keys whose private halves are in a KMS")
	f.BoolVar(&o.newFile, "new", false, "make the key file, with these keys as the first")
	o.secret.Add(f, "import-")
	o.next.Add(f, "new-")
	cmd.RunE = t.Do(func(ctx context.Context, args []string) error {
		o.path = args[0]
		return importKeys(t, ctx, &o)
	})
	return cmd
}

// wrongUse and refuse return the errors for exit codes 2 and 3.
func wrongUse(format string, args ...any) error { return tool.Refuse(tool.ExitUsage, format, args...) }
func refuse(format string, args ...any) error   { return tool.Refuse(tool.ExitRefused, format, args...) }

// resolve checks the flags that only make sense together, or not together.
func (o *importFlags) resolve(t *tool.Tool) (err error) {
	if o.publish, err = tool.ParseTime(o.publishAt, t.Now); err != nil {
		return wrongUse("--publish-at: %w", err)
	}
	o.alg = jose.CanonicalAlg(o.alg)
	current, next := t.Secret.Given(), o.next.Given()
	const contradict = "%s and %s contradict each other: %s"
	switch {
	case o.alg != "" && keyset.Algorithm(o.alg).Use() == "":
		return wrongUse("--alg %q: use ES256, EdDSA, PS256, RS256 or HS256 to sign, "+
			"dir, A256KW or ECDH-ES+A256KW to encrypt", o.alg)
	case o.verifyOnly && o.external:
		return wrongUse(contradict, "--verify-only", "--external", "the one never signs, the other does")
	case o.newFile && o.verifyOnly:
		return wrongUse(contradict, "--new", "--verify-only", "a new key file needs keys that sign")
	case o.newFile && o.publishAt != "":
		return wrongUse(contradict, "--new", "--publish-at", "the first keys sign immediately")
	case o.newFile && len(current) > 0:
		return wrongUse("%s is for a key file that is there; use --new-%s", current[0], current[0][2:])
	case !o.newFile && len(next) > 0:
		return wrongUse("%s goes with --new; use --%s for the key file that is there", next[0], next[0][len("--new-"):])
	}
	fromStandardInput := []bool{t.Secret.StandardInput(), o.secret.StandardInput(), o.next.StandardInput()}
	return tool.OnlyOnce(append(fromStandardInput, o.path == "-")...)
}

func importKeys(t *tool.Tool, ctx context.Context, o *importFlags) error {
	if err := errors.Join(o.resolve(t), t.MayWrite()); err != nil {
		return err
	}
	all, err := candidates(t, o)
	if err != nil {
		return err
	}
	bring := importInto
	if o.newFile {
		bring = importNew
	}
	before, after, err := bring(t, ctx, all, o)
	if err != nil {
		return err
	}
	told := []importedKey{}
	for _, c := range all {
		told = append(told, describe(t, c, after.Key(c.key.ID())))
	}
	if o.newFile {
		t.AdviseAlgorithms(after)
	}
	if !o.encrypted {
		warnSource(t, o.path, all)
	}
	return t.PrintChanges(before, after, map[string]any{"imported": told})
}

// importInto adds the keys to the key file. It compares them with those of the
// file under its lock, so that two imports of one key don't both add it.
func importInto(
	t *tool.Tool, ctx context.Context, all []*candidate, o *importFlags,
) (before, after *keyset.Set, err error) {
	step := rotation.All(additions(all, o)...).OnlyIf(func(set *keyset.Set) error { return refuseKnown(all, set) })
	before, after, err = t.Take(ctx, step)
	if _, missing := os.Stat(t.Path()); err != nil && errors.Is(missing, fs.ErrNotExist) {
		err = fmt.Errorf("%w; or make one of these keys: keygen import --new", err)
	}
	return before, after, err
}

// additions returns the steps that add the keys. Each key signs after those
// before it.
func additions(all []*candidate, o *importFlags) (steps []rotation.Step) {
	for _, c := range all {
		how := rotation.AddOptions{PublishAt: o.publish, VerifyOnly: o.verifyOnly, Make: c.key.WithDates}
		steps = append(steps, rotation.Add(c.key.Algorithm(), how))
	}
	return steps
}

// importNew makes the key file.
func importNew(
	t *tool.Tool, ctx context.Context, all []*candidate, o *importFlags,
) (before, after *keyset.Set, err error) {
	after, err = firstKeys(all, t.Now)
	if err != nil {
		return nil, nil, err
	}
	return new(keyset.Set), after, t.Create(ctx, &o.next, after)
}

// firstKeys returns the keys of a new file. The first key of each use signs
// immediately, and the others follow it. If there is only one, a new standby
// follows, unless the key is in a KMS: only the KMS can make a standby there.
func firstKeys(all []*candidate, now time.Time) (*keyset.Set, error) {
	set, next := new(keyset.Set), []rotation.Step(nil)
	for _, use := range keyset.Uses() {
		ofUse := slices.DeleteFunc(slices.Clone(all), func(c *candidate) bool { return c.key.Use() != use })
		if len(ofUse) == 0 {
			continue
		}
		first := ofUse[0]
		k, err := first.key.WithDates(firstDates(now))
		if err == nil {
			err = set.Add(k)
		}
		if err != nil {
			return nil, err
		}
		next = append(next, additions(ofUse[1:], &importFlags{})...)
		if len(ofUse) == 1 && first.key.HasPrivate() {
			next = append(next, rotation.Add(first.key.Algorithm(), rotation.AddOptions{}))
		}
	}
	return rotation.All(next...).Try(set, now)
}

// firstDates returns the dates of a key that may have signed elsewhere, and
// signs here for a rotation period. It begins a clock_skew ago, as the keys of
// keygen init do, so that instances whose clock is behind can sign immediately.
func firstDates(now time.Time) keyset.Dates {
	p := keyset.Policy{}.WithDefaults()
	since := now.Add(-p.ClockSkew)
	until := since.Add(p.RotationPeriod)
	return keyset.Dates{
		Created: now, PublishAt: since, SignFrom: since, SignUntil: until, VerifyUntil: until.Add(p.VerifyOnly()),
	}
}
