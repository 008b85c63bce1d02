package main

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"
	"unicode/utf16"

	"github.com/spf13/cobra"

	"github.com/cloakroom-go/cloakroom/keys"
)

func (t *tool) formatFlags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&t.format, "format", "table", "table or json")
	cmd.Flags().BoolVar(&t.json, "json", false, "same as --format json")
}

func (t *tool) checkFormat() error {
	if t.json {
		t.format = "json"
	}
	if t.format != "table" && t.format != "json" {
		return refuse(exitUsage, "--format %q: use table or json", t.format)
	}
	return nil
}

func (t *tool) listCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the keys and their states",
		Args:  cobra.NoArgs,
		RunE: t.do(func(context.Context, []string) error {
			if err := t.checkFormat(); err != nil {
				return err
			}
			set, err := keys.ReadFile(t.path())
			if err != nil {
				return err
			}
			return t.list(set)
		}),
	}
	t.formatFlags(cmd)
	return cmd
}

func (t *tool) showCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "show KID",
		Short: "Show one key, without its private half",
		Long: `Show shows one key, without its private half. The beginning of a key ID is
enough. Write "show -- KID" if the ID begins with a dash.`,
		Args: cobra.ExactArgs(1),
		RunE: t.do(func(_ context.Context, args []string) error {
			if err := t.checkFormat(); err != nil {
				return err
			}
			set, err := keys.ReadFile(t.path())
			if err != nil {
				return err
			}
			k, err := pick(set, args[0])
			if err != nil {
				return err
			}
			return t.show(set, k)
		}),
	}
	t.formatFlags(cmd)
	return cmd
}

// pick finds the key whose ID is, or begins with, id.
func pick(set *keys.Set, id string) (found *keys.Key, err error) {
	if k := set.Key(id); k != nil {
		return k, nil
	}
	for _, k := range set.Keys() {
		if !strings.HasPrefix(k.ID(), id) {
			continue
		}
		if found != nil {
			return nil, refuse(exitNotFound, "several keys begin with %q; write more of it", id)
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
	ID          string          `json:"kid"`
	Use         keys.Use        `json:"use"`
	Algorithm   keys.Algorithm  `json:"alg"`
	State       string          `json:"state"`
	InUse       bool            `json:"in_use"`  // it signs or encrypts new tokens now
	Private     bool            `json:"private"` // the file has its private half
	Created     string          `json:"created,omitempty"`
	PublishAt   string          `json:"publish_at,omitempty"`
	SignFrom    string          `json:"sign_from,omitempty"`
	SignUntil   string          `json:"sign_until,omitempty"`
	VerifyUntil string          `json:"verify_until,omitempty"`
	RevokedAt   string          `json:"revoked_at,omitempty"`
	Reason      string          `json:"revocation_reason,omitempty"`
	JWK         json.RawMessage `json:"jwk,omitempty"`
}

func rows(set *keys.Set, now time.Time) ([]row, error) {
	ring, err := keys.NewRing(set.Keys()...)
	if err != nil {
		return nil, err
	}
	inUse := map[string]bool{}
	if k, err := ring.Signer(now); err == nil {
		inUse[k.ID()] = true
	}
	if k, err := ring.Sealer(now); err == nil && k != nil {
		inUse[k.ID()] = true
	}
	list := []row{}
	for _, k := range set.Keys() {
		d := k.Dates()
		r := row{
			ID: k.ID(), Use: k.Use(), Algorithm: k.Algorithm(), State: k.State(now).String(), InUse: inUse[k.ID()], Private: k.HasPrivate(),
			Created: date(d.Created), PublishAt: date(d.PublishAt), SignFrom: date(d.SignFrom), SignUntil: date(d.SignUntil), VerifyUntil: date(d.VerifyUntil),
		}
		if at, reason, ok := k.Revoked(); ok {
			r.RevokedAt, r.Reason = date(at), reason
		}
		list = append(list, r)
	}
	return list, nil
}

func date(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}

func (t *tool) list(set *keys.Set) error {
	list, err := rows(set, time.Now())
	if err != nil {
		return err
	}
	if t.format == "json" {
		return t.printJSON(map[string]any{"keyset": t.path(), "generation": set.Generation(), "keys": list})
	}
	w := tabwriter.NewWriter(t.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "KID\tUSE\tALG\tSTATE\tIN USE\tSIGNS FROM\tSIGNS UNTIL\tVERIFIES UNTIL")
	for _, r := range list {
		used := "no"
		if r.InUse {
			used = "yes"
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", r.ID, r.Use, r.Algorithm, r.State, used, or(r.SignFrom), or(r.SignUntil), or(r.VerifyUntil))
	}
	return w.Flush()
}

func or(date string) string {
	if date == "" {
		return "-"
	}
	return date
}

func (t *tool) show(set *keys.Set, k *keys.Key) error {
	now := time.Now()
	list, err := rows(set, now)
	if err != nil {
		return err
	}
	var r row
	for _, r = range list {
		if r.ID == k.ID() {
			break
		}
	}
	if r.JWK, err = publicJWK(k); err != nil {
		return err
	}
	if t.format == "json" {
		return t.printJSON(r)
	}
	w := tabwriter.NewWriter(t.stdout, 0, 0, 2, ' ', 0)
	for _, line := range [][2]string{
		{"kid", r.ID}, {"use", string(r.Use)}, {"alg", string(r.Algorithm)}, {"state", r.State}, {"in use", fmt.Sprint(r.InUse)}, {"private half", fmt.Sprint(r.Private)},
		{"created", or(r.Created)}, {"published from", or(r.PublishAt)}, {"signs from", or(r.SignFrom)}, {"signs until", or(r.SignUntil)}, {"verifies until", or(r.VerifyUntil)},
		{"revoked", strings.TrimSpace(or(r.RevokedAt) + " " + r.Reason)}, {"public key", or(string(r.JWK))},
	} {
		fmt.Fprintf(w, "%s\t%s\n", line[0], line[1])
	}
	return w.Flush()
}

// printJSON prints v, with everything escaped that could steer a terminal: a
// token holds what strangers wrote.
func (t *tool) printJSON(v any) error {
	text, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	var out strings.Builder
	for _, r := range string(text) {
		switch {
		case r == '\n' || unicode.IsPrint(r):
			out.WriteRune(r)
		case r < 1<<16:
			fmt.Fprintf(&out, `\u%04x`, r)
		default:
			high, low := utf16.EncodeRune(r)
			fmt.Fprintf(&out, `\u%04x\u%04x`, high, low)
		}
	}
	_, err = fmt.Fprintln(t.stdout, out.String())
	return err
}
