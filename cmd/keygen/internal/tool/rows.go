package tool

import (
	"cmp"
	"encoding/json"
	"time"

	"github.com/cloakroom-go/cloakroom/internal/keyset"
	"github.com/cloakroom-go/cloakroom/internal/span"
)

// A KeyRow describes a key in tables and in JSON.
type KeyRow struct {
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

// RowOf describes a key of set.
func RowOf(k *keyset.Key, set *keyset.Set, now time.Time) KeyRow {
	d := k.Dates()
	used, _ := set.Signs(k.Use(), now)
	r := KeyRow{
		ID: k.ID(), Use: k.Use(), Algorithm: k.Algorithm(), State: k.State(now).String(),
		InUse: used != nil && used.ID() == k.ID(), Private: k.HasPrivate(), Pruned: set.Key(k.ID()) == nil,
		Created: Date(d.Created), PublishAt: Date(d.PublishAt), SignFrom: Date(d.SignFrom),
		SignUntil: Date(d.SignUntil), VerifyUntil: Date(d.VerifyUntil),
	}
	if at, reason, ok := k.Revoked(); ok {
		r.RevokedAt, r.Reason = Date(at), reason
	}
	return r
}

// Date prints an instant; the zero time as "".
func Date(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}

// reach says how long it takes until every instance has read a written file.
func reach(set *keyset.Set) string { return span.Format(set.Policy().Spread()) }

// List prints keys of set, which may be pruned ones.
func (t *Tool) List(set *keyset.Set, all []*keyset.Key) error {
	list := []KeyRow{}
	for _, k := range all {
		list = append(list, RowOf(k, set, t.Now))
	}
	if t.Format == "json" {
		return t.PrintSet(set, map[string]any{"keys": list})
	}
	w := NewTable(t.Stdout)
	w.Row("KID", "USE", "ALG", t.paint("STATE"), "IN USE", "SIGNS FROM", "SIGNS UNTIL", "VERIFIES UNTIL")
	for _, r := range list {
		used := map[bool]string{true: "yes", false: "no"}[r.InUse]
		w.Row(r.ID, r.Use, r.Algorithm, t.paint(r.State), used, Dash(r.SignFrom), Dash(r.SignUntil), Dash(r.VerifyUntil))
	}
	return w.Flush()
}

// paint colours the name of a state. All colours take the same number of bytes,
// because tabwriter aligns columns by bytes.
func (t *Tool) paint(state string) painted {
	if !t.Colored() {
		return painted(state)
	}
	code := map[string]string{
		"active": "32", "pending": "36", "retiring": "33", "revoked": "31", "expired": "90", "staged": "90", "STATE": "01",
	}[state]
	return painted("\x1b[" + code + "m" + state + "\x1b[0m")
}

// Dash returns s, or "-" for nothing.
func Dash(s string) string { return cmp.Or(s, "-") }
