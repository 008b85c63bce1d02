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
	for _, part := range [...]struct {
		section string
		object  json.RawMessage
	}{{"encryption", c.Encryption}, {"header", c.Header}, {"claims", c.Claims}} {
		for _, r := range membersOf(part.section, part.object) {
			w.Row(r[0], r[1], r[2])
		}
	}
	return w.Flush()
}

// membersOf returns the rows of an object of a token: section, name, value. The
// values of the session are a section of their own behind it.
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

// valueOf returns a value for people: a text without its quotes, except in the
// values of the session, which show their types.
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
