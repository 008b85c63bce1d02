package main

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/cloakroom-go/cloakroom/internal/keyset"
	"github.com/cloakroom-go/cloakroom/internal/secret"
	"github.com/cloakroom-go/cloakroom/internal/span"
)

func (t *tool) listCommand() *cobra.Command {
	var all bool
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the keys and their states",
		Long: `List shows each key with its use, its algorithm, its state and the instants at
which that changes:

  staged    not published yet: does nothing
  pending   published, verifies and decrypts
  active    signs and encrypts too
  retiring  verifies and decrypts
  expired   does nothing any more
  revoked   does nothing any more, whatever its dates say`,
		Args: noArgs,
	}
	cmd.Flags().BoolVar(&all, "all", false, "also what is remembered of keys that were pruned")
	cmd.RunE = t.do(tables(), func(context.Context, []string) error {
		set, err := t.read()
		if err != nil {
			return err
		}
		if all {
			return t.listKeys(set, append(set.Keys(), set.Pruned()...))
		}
		return t.list(set)
	})
	return cmd
}

func (t *tool) showCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "show KID",
		Short: "Show one key, without its private half",
		Long: `Show shows one key, without its private half. The beginning of a key ID is
enough. Write "show -- KID" if the ID begins with a dash.`,
		Args:              oneKID,
		ValidArgsFunction: t.completeKID,
		RunE: t.do(tables(), func(_ context.Context, args []string) error {
			set, err := t.read()
			if err != nil {
				return err
			}
			k, err := findIn(append(set.Keys(), set.Pruned()...), args[0])
			if err != nil {
				return err
			}
			return t.show(set, k)
		}),
	}
}

// minPrefix is how many characters of a key ID a command needs that changes the key: one letter too few, or the
// wrong one, must not revoke a key.
const minPrefix = 6

// pick finds the key that a command is to change: id is its ID, or begins it with minPrefix characters or more.
func pick(set *keyset.Set, id string) (*keyset.Key, error) {
	whole := func(k *keyset.Key) bool { return k.ID() == id }
	if len(id) < minPrefix && !slices.ContainsFunc(append(set.Keys(), set.Pruned()...), whole) {
		return nil, refuse(exitUsage, "%q is too short for the ID of a key that is to change: at least its first %d characters are needed; see keygen list", id, minPrefix)
	}
	return find(set, id)
}

// find finds the key whose ID is, or begins with, id.
// One that was pruned is named, with what became of it.
func find(set *keyset.Set, id string) (found *keyset.Key, err error) {
	found, err = findIn(set.Keys(), id)
	if err == nil || exitCode(err) != exitNotFound {
		return found, err
	}
	if gone, _ := findIn(set.Pruned(), id); gone != nil {
		if at, reason, revoked := gone.Revoked(); revoked {
			return nil, refuse(exitRefused, "key %s was revoked already, at %s: %s", gone.ID(), date(at), cell(reason))
		}
		return nil, refuse(exitRefused, "key %s has expired and was pruned; see keygen list --all", gone.ID())
	}
	return nil, err
}

func findIn(all []*keyset.Key, id string) (found *keyset.Key, err error) {
	if id == "" {
		return nil, refuse(exitUsage, "the key ID is empty; see keygen list")
	}
	if secret.IsContent(id) {
		return nil, refuse(exitUsage, "the argument is the ID of a key, and not what a file with keys holds; see keygen list")
	}
	for _, k := range all {
		if k.ID() == id {
			return k, nil
		}
	}
	for _, k := range all {
		if !strings.HasPrefix(k.ID(), id) {
			continue
		}
		if found != nil {
			return nil, refuse(exitUsage, "several keys begin with %q; write more of it", id)
		}
		found = k
	}
	if found == nil {
		return nil, refuse(exitNotFound, "no key %q; see keygen list", id)
	}
	return found, nil
}

// A row is what is shown of a key.
type row struct {
	ID          string           `json:"kid"`
	Use         keyset.Use       `json:"use"`
	Algorithm   keyset.Algorithm `json:"alg"`
	State       string           `json:"state"`
	InUse       bool             `json:"in_use"`  // it signs or encrypts new tokens now
	Private     bool             `json:"private"` // the file has its private half
	Pruned      bool             `json:"pruned,omitempty"`
	Created     string           `json:"created,omitempty"`
	PublishAt   string           `json:"publish_at,omitempty"`
	SignFrom    string           `json:"sign_from,omitempty"`
	SignUntil   string           `json:"sign_until,omitempty"`
	VerifyUntil string           `json:"verify_until,omitempty"`
	RevokedAt   string           `json:"revoked_at,omitempty"`
	Reason      string           `json:"revocation_reason,omitempty"`
	JWK         json.RawMessage  `json:"jwk,omitempty"`
}

// inUse are the IDs of the keys that sign and encrypt now.
func inUse(set *keyset.Set, now time.Time) map[string]bool {
	used := make(map[string]bool)
	for _, use := range [...]keyset.Use{keyset.Signature, keyset.Encryption} {
		if k, _ := set.Signs(use, now); k != nil {
			used[k.ID()] = true
		}
	}
	return used
}

func rowOf(k *keyset.Key, set *keyset.Set, used map[string]bool, now time.Time) row {
	d := k.Dates()
	r := row{
		ID: k.ID(), Use: k.Use(), Algorithm: k.Algorithm(), State: k.State(now).String(), InUse: used[k.ID()], Private: k.HasPrivate(), Pruned: set.Key(k.ID()) == nil,
		Created: date(d.Created), PublishAt: date(d.PublishAt), SignFrom: date(d.SignFrom), SignUntil: date(d.SignUntil), VerifyUntil: date(d.VerifyUntil),
	}
	if at, reason, ok := k.Revoked(); ok {
		r.RevokedAt, r.Reason = date(at), reason
	}
	return r
}

func date(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}

// reach is how long it takes until every instance goes by a file that was written.
func reach(set *keyset.Set) string { return span.Format(set.Policy().Spread()) }

func (t *tool) list(set *keyset.Set) error { return t.listKeys(set, set.Keys()) }

func (t *tool) listKeys(set *keyset.Set, all []*keyset.Key) error {
	used := inUse(set, t.now)
	list := []row{}
	for _, k := range all {
		list = append(list, rowOf(k, set, used, t.now))
	}
	if t.format == "json" {
		return t.printJSON(map[string]any{"keyset": t.path(), "generation": set.Generation(), "keys": list})
	}
	w := newTable(t.stdout)
	w.row("KID", "USE", "ALG", t.paint("STATE"), "IN USE", "SIGNS FROM", "SIGNS UNTIL", "VERIFIES UNTIL")
	for _, r := range list {
		u := "no"
		if r.InUse {
			u = "yes"
		}
		w.row(r.ID, r.Use, r.Algorithm, t.paint(r.State), u, dash(r.SignFrom), dash(r.SignUntil), dash(r.VerifyUntil))
	}
	return w.Flush()
}

// paint colours the name of a state. All get the same number of bytes, so that columns stay aligned.
func (t *tool) paint(state string) painted {
	if !t.colored() {
		return painted(state)
	}
	code := map[string]string{"active": "32", "pending": "36", "retiring": "33", "revoked": "31", "expired": "90", "staged": "90", "STATE": "01"}[state]
	return painted("\x1b[" + code + "m" + state + "\x1b[0m")
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

func (t *tool) show(set *keyset.Set, k *keyset.Key) error {
	used := inUse(set, t.now)
	r := rowOf(k, set, used, t.now)
	jwk, err := publicJWK(k)
	if err != nil {
		return err
	}
	r.JWK = jwk
	if t.format == "json" {
		return t.printJSON(r)
	}
	half := fmt.Sprint(r.Private)
	if k.External() {
		half = "elsewhere"
	}
	w := newTable(t.stdout)
	for _, line := range [][2]string{
		{"kid", r.ID}, {"use", string(r.Use)}, {"alg", string(r.Algorithm)}, {"state", r.State}, {"in use", fmt.Sprint(r.InUse)}, {"private half", half},
		{"created", dash(r.Created)}, {"published from", dash(r.PublishAt)}, {"signs from", dash(r.SignFrom)}, {"signs until", dash(r.SignUntil)}, {"verifies until", dash(r.VerifyUntil)},
		{"revoked", strings.TrimSpace(dash(r.RevokedAt) + " " + r.Reason)}, {"public key", dash(string(r.JWK))},
	} {
		w.row(line[0], line[1])
	}
	return w.Flush()
}
