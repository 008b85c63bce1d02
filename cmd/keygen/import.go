package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/cloakroom-go/cloakroom/internal/jose"
	"github.com/cloakroom-go/cloakroom/internal/keyset"
	"github.com/cloakroom-go/cloakroom/internal/rotation"
)

// importFlags are the flags of import.
type importFlags struct {
	alg, kid, publishAt           string
	verifyOnly, external, newFile bool
	secret                        secretFlags // of the file to import
	next                          secretFlags // of the key file that --new makes
	publish                       time.Time   // what publishAt says
	encrypted                     bool        // the file to import is
}

const importHelp = `Import brings in the keys of a file, or, with -, of standard input:

  PEM       PKCS #8, SEC 1 and PKCS #1 private keys, SPKI and PKCS #1 public
            keys, several in one file too
  JWK       one key, or a JWK Set, of which --kid picks one key
  JWE       an encrypted JWK or JWK Set (RFC 7517, Section 7) in the compact
            form, with PBES2-*, A128KW, A192KW, A256KW or dir: say where its
            passphrase or key is with --import-passphrase-file,
            --import-kek-file or the like

What else is encrypted, and keys in OpenSSH's own format, are refused with the
command that helps. All keys come in, or none.

The algorithm is the JWK's alg, or the only one for this kind of key, or ES256
for a P-256 key. An RSA key needs --alg PS256 or RS256, a symmetric one --alg
HS256, dir or A256KW. A key that is too weak is refused, and so is a secret that
somebody typed. The ID of a key is its RFC 7638 thumbprint, or random if it is
symmetric; a kid that it had elsewhere is replaced, and tokens that name the old
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
                  follows after a rotation period. So an application moves here
                  with the key that it has

Exit codes: 0 done, 1 this is no file with keys, 3 refused: a key is weak or is
there already, or by the timing (the text has the earliest safe instant), 4 the
passphrase or key for a file is wrong, 5 another process has locked the key
file: try again, 8 no such kid, or a file is missing.`

func (t *tool) importCommand() *cobra.Command {
	var o importFlags
	cmd := &cobra.Command{
		Use:   "import FILE|-",
		Short: "Bring keys in from elsewhere",
		Long:  importHelp,
		Example: `  keygen import old-rsa.pem --alg RS256
  keygen import - --verify-only < partner-public.pem
  keygen import backup.jwe --import-passphrase-file passphrase.txt --kid 2026-05
  keygen import --new signing.pem && keygen add --alg dir`,
		Args: one("a file with keys, or - for standard input"),
	}
	f := cmd.Flags()
	f.StringVar(&o.alg, "alg", "", "ES256, EdDSA, PS256, RS256, HS256; dir, A256KW, ECDH-ES+A256KW")
	f.StringVar(&o.kid, "kid", "", "only the key of a JWK Set that has this `kid`")
	f.StringVar(&o.publishAt, "publish-at", "", "`time` at which the keys become known; default now")
	f.BoolVar(&o.verifyOnly, "verify-only", false, "the keys verify or decrypt, and never sign or encrypt")
	f.BoolVar(&o.external, "external", false, "public keys whose private halves are in a KMS")
	f.BoolVar(&o.newFile, "new", false, "make the key file, with these keys as the first")
	o.secret.add(f, "import-")
	o.next.add(f, "new-")
	cmd.RunE = t.do(tables(), func(ctx context.Context, args []string) error { return t.importKeys(ctx, args[0], &o) })
	return cmd
}

// resolve checks the flags that only make sense together, or not together.
func (o *importFlags) resolve(t *tool) (err error) {
	if o.publish, err = parseTime(o.publishAt, t.now); err != nil {
		return refuse(exitUsage, "--publish-at: %w", err)
	}
	o.alg = jose.CanonicalAlg(o.alg)
	current, next := t.secret.given(), o.next.given()
	switch {
	case o.alg != "" && keyset.Algorithm(o.alg).Use() == "":
		return refuse(exitUsage, "--alg %q: use ES256, EdDSA, PS256, RS256 or HS256 to sign, dir, A256KW or ECDH-ES+A256KW to encrypt", o.alg)
	case o.verifyOnly && o.external:
		return refuse(exitUsage, "--verify-only and --external contradict each other: the one never signs, the other does")
	case o.newFile && o.verifyOnly:
		return refuse(exitUsage, "--new and --verify-only contradict each other: a new key file needs keys that sign")
	case o.newFile && o.publishAt != "":
		return refuse(exitUsage, "--new and --publish-at contradict each other: the first keys sign at once")
	case o.newFile && len(current) > 0:
		return refuse(exitUsage, "%s is for a key file that is there; use --new-%s", current[0], current[0][2:])
	case !o.newFile && len(next) > 0:
		return refuse(exitUsage, "%s goes with --new; use --%s for the key file that is there", next[0], next[0][len("--new-"):])
	}
	return nil
}

func (t *tool) importKeys(ctx context.Context, path string, o *importFlags) error {
	if err := errors.Join(o.resolve(t), t.mayWrite()); err != nil {
		return err
	}
	if err := onlyOnce(path == "-", t.secret.standardInput(), o.secret.standardInput(), o.next.standardInput()); err != nil {
		return err
	}
	all, err := t.candidates(path, o)
	if err != nil {
		return err
	}
	move := t.importInto
	if o.newFile {
		move = t.importNew
	}
	before, after, err := move(ctx, all, o)
	if err != nil {
		return err
	}
	told := []imported{}
	for _, c := range all {
		told = append(told, t.tell(c, after.Key(c.id)))
	}
	if o.newFile {
		t.adviseAlgorithms(after)
	}
	if !o.encrypted {
		t.warnSource(path, all)
	}
	return t.printChanges(before, after, map[string]any{"imported": told})
}

// importInto adds the keys to the key file.
func (t *tool) importInto(ctx context.Context, all []*candidate, o *importFlags) (before, after *keyset.Set, err error) {
	file, err := t.file()
	if err != nil {
		return nil, nil, err
	}
	add := func(set *keyset.Set) (err error) {
		before = set.Clone()
		if err := refuseKnown(all, set, file); err != nil {
			return err
		}
		after, err = takeAll(set, t.now, additions(all, o))
		return err
	}
	if t.dryRun {
		set, err := file.Read()
		if err == nil {
			err = add(set)
		}
		return before, after, hintNew(err)
	}
	ctx, cancel := t.lockContext(ctx)
	defer cancel()
	err = file.Update(ctx, func(set *keyset.Set) error {
		err := add(set)
		if err == nil {
			*set, after = *after, set // set gets its generation when it is written
		}
		return err
	})
	return before, after, hintNew(err)
}

// additions are the steps that add the keys, each after those before it.
func additions(all []*candidate, o *importFlags) (steps []rotation.Step) {
	for _, c := range all {
		steps = append(steps, rotation.Add(c.algorithm, rotation.AddOptions{PublishAt: o.publish, VerifyOnly: o.verifyOnly, Make: c.make}))
	}
	return steps
}

// takeAll takes one step after the other, and returns what they have made of the set.
func takeAll(set *keyset.Set, now time.Time, steps []rotation.Step) (*keyset.Set, error) {
	for _, step := range steps {
		next, err := step.Try(set, now)
		if err != nil {
			return nil, err
		}
		set = next
	}
	return set, nil
}

// importNew makes the key file.
func (t *tool) importNew(ctx context.Context, all []*candidate, o *importFlags) (before, after *keyset.Set, err error) {
	file := keyset.File{Path: t.path()}
	if err := checkNew(file.Path); err != nil {
		return nil, nil, err
	}
	t.warnDirectories(file.Path)
	if err := t.newSecret(&o.next, &file); err != nil {
		return nil, nil, err
	}
	after, err = firstKeys(all, t.now)
	if err != nil || t.dryRun {
		return new(keyset.Set), after, err
	}
	ctx, cancel := t.lockContext(ctx)
	defer cancel()
	if err := file.Create(ctx, after); err != nil {
		return nil, nil, err
	}
	t.noteSecret(file)
	return new(keyset.Set), after, nil
}

// firstKeys returns the keys of a new file: the first of each use signs since just now, and the others after it.
func firstKeys(all []*candidate, now time.Time) (*keyset.Set, error) {
	set := new(keyset.Set)
	first, count := make(map[keyset.Use]*candidate), make(map[keyset.Use]int)
	var rest []*candidate
	for _, c := range all {
		use := c.algorithm.Use()
		if count[use]++; count[use] > 1 {
			rest = append(rest, c)
			continue
		}
		k, err := c.make(firstDates(now))
		if err != nil {
			return nil, err
		}
		if err := set.Add(k); err != nil {
			return nil, err
		}
		first[use] = c
	}
	steps := additions(rest, &importFlags{})
	for _, use := range [...]keyset.Use{keyset.Signature, keyset.Encryption} {
		if c := first[use]; count[use] == 1 && c.private { // the standby of a key in a KMS is made there
			steps = append(steps, rotation.Add(c.algorithm, rotation.AddOptions{}))
		}
	}
	return takeAll(set, now, steps)
}

// firstDates are those of a key that has signed elsewhere, or may, and goes on here for a rotation period. As in a
// new file, instances whose clock is behind can sign at once.
func firstDates(now time.Time) keyset.Dates {
	p := keyset.Policy{}.WithDefaults()
	since := now.Add(-p.ClockSkew)
	until := since.Add(p.RotationPeriod)
	return keyset.Dates{Created: now, PublishAt: since, SignFrom: since, SignUntil: until, VerifyUntil: until.Add(p.VerifyOnly())}
}

// hintNew tells somebody who has no key file of --new.
func hintNew(err error) error {
	if err == nil || exitCode(err) != exitNotFound {
		return err
	}
	return fmt.Errorf("%w; or make one of these keys: keygen import --new", err)
}
