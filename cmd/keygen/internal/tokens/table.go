package tokens

import (
	"bytes"
	"encoding/json"

	"github.com/cloakroom-go/cloakroom/cmd/keygen/internal/tool"
	"github.com/cloakroom-go/cloakroom/internal/jose"
)

// printContents prints what a token says, as JSON or as a table.
func printContents(t *tool.Tool, c contents) error {
	if t.Format == "json" {
		return t.PrintJSON(c)
	}
	w := tool.NewTable(t.Stdout)
	w.Row("SECTION", "NAME", "VALUE")
	for _, r := range c.rows() {
		w.Row(r[0], r[1], r[2])
	}
	return w.Flush()
}

// rows are those of the table: section, name, value.
func (c *contents) rows() (rows [][3]string) {
	rows = append(rows, membersOf("encryption", c.Encryption)...)
	rows = append(rows, membersOf("header", c.Header)...)
	return append(rows, membersOf("claims", c.Claims)...)
}

// membersOf are the rows of an object of a token. The session's values are a
// section of their own, behind it.
func membersOf(section string, object json.RawMessage) (rows [][3]string) {
	var values [][3]string
	err := jose.Object(object, func(name string, value []byte) error {
		if section == "claims" && name == "data" {
			values = membersOf("data", value)
			return nil
		}
		rows = append(rows, [3]string{section, name, valueOf(section, value)})
		return nil
	})
	if err != nil && object != nil {
		return [][3]string{{section, "-", compact(object)}}
	}
	return append(rows, values...)
}

// valueOf is a value for people: a text stands there as it is, unless it is one
// of the session's values, of which one wants to see the type.
func valueOf(section string, value []byte) string {
	if text, err := jose.String(value); err == nil && text != "" && section != "data" {
		return text
	}
	return compact(value)
}

// compact is JSON without white space.
func compact(value []byte) string {
	var out bytes.Buffer
	if err := json.Compact(&out, value); err != nil {
		return string(value)
	}
	return out.String()
}
