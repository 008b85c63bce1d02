// Package reqcopy copies back what a handler has set on its request. A
// middleware that adds to the context passes on a copy of the request, and the
// original lacks what the handler sets on the copy. Use [Back] after the
// handler.
package reqcopy

import (
	"net/http"
	"strings"
)

// Back sets on original what net/http has set on its copy, handled. The server
// needs the multipart form, to remove its temporary files. Handlers further
// out, such as loggers, need the pattern that has matched. Call Back when the
// handler has returned or panicked.
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
		return // none has matched, or a handler further out has set it on original
	}
	original.Pattern = handled.Pattern
	pathValues(original, handled)
}

// pathValues sets the values of the pattern's wildcards. It finds their names
// in the pattern, since net/http has no list of them.
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
