// Package reqcopy makes up for a request having been copied. Whoever wraps a
// handler and adds to the context of its request passes on a copy, and what the
// handler sets is then on the copy alone. [Back] gives it back.
package reqcopy

import (
	"net/http"
	"strings"
)

// Back sets on original what net/http has set on its copy while a handler had
// it. The server looks there for a multipart form, to remove its temporary
// files, and handlers further out, such as loggers, for the pattern that has
// matched. Call it when the handler has returned or panicked.
func Back(original, handled *http.Request) {
	if handled.MultipartForm != nil {
		original.MultipartForm = handled.MultipartForm
	}
	if handled.Form != nil {
		original.Form = handled.Form
	}
	if handled.PostForm != nil {
		original.PostForm = handled.PostForm
	}
	if handled.Pattern == original.Pattern {
		return // none has matched, or one further out, on original itself
	}
	original.Pattern = handled.Pattern
	pathValues(original, handled)
}

// pathValues sets the values of the pattern's wildcards, which net/http has no
// list of.
func pathValues(original, handled *http.Request) {
	for rest := handled.Pattern; rest != ""; {
		_, rest, _ = strings.Cut(rest, "{")
		var wildcard string
		wildcard, rest, _ = strings.Cut(rest, "}")
		name, _, _ := strings.Cut(strings.TrimSuffix(wildcard, "..."), ":") // chi writes {name:regexp}
		if value := handled.PathValue(name); value != "" {
			original.SetPathValue(name, value)
		}
	}
}
