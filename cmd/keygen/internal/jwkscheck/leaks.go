package jwkscheck

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/cloakroom-go/cloakroom/cmd/keygen/internal/tool"
)

// judgeLeaks is the alarm. It says which keys, and nothing of what they are.
func (c *jwksCheck) judgeLeaks() {
	leaked := c.leaked()
	kids := slices.Sorted(maps.Keys(leaked))
	ours := slices.DeleteFunc(slices.Clone(kids), func(kid string) bool { return c.set == nil || c.set.Key(kid) == nil })
	for _, kid := range kids {
		command := "revoke it"
		if len(ours) == 1 && ours[0] == kid { // the ID of a stranger must not get into a shell
			command = fmt.Sprintf("run: keygen revoke %s --reason key_compromise", kid)
		}
		c.Add(tool.Problem, "private_key", "ALARM: key %q is served with its PRIVATE half (%s): everybody can make tokens; take the set down, and %s", kid, leaked[kid], command)
	}
	if len(ours) > 1 { // the standby, which would sign next, may be among them
		c.Add(tool.Problem, "private_key", "%d keys of the key file are burnt; when the set is down, run once: keygen revoke --all --reason key_compromise", len(ours))
	}
}

// leaked are the private members of the keys that have some in an answer, by kid.
func (c *jwksCheck) leaked() map[string]string {
	found := make(map[string]string)
	for _, a := range c.answers {
		for _, m := range a.members {
			if len(m.leaks) > 0 {
				found[m.Kid] = strings.Join(m.leaks, ", ")
			}
		}
	}
	return found
}

func (c *jwksCheck) leaks() bool {
	return slices.ContainsFunc(c.Findings, func(f tool.Finding) bool { return f.Check == "private_key" })
}
