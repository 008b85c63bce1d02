// Command servemux is a site with http.ServeMux.
package main

import (
	"fmt"
	"net/http"

	"github.com/coder/websocket"

	"github.com/cloakroom-go/cloakroom/interop/frameworks/site"
	"github.com/cloakroom-go/cloakroom/middleware"
)

func main() { site.Serve(routes) }

func routes(m *middleware.Middleware) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", home)
	mux.HandleFunc("POST /login", login)
	mux.HandleFunc("POST /logout", logout)
	mux.HandleFunc("GET /stream", stream)
	mux.HandleFunc("GET /ws", socket)
	return m.Handler(mux)
}

func home(w http.ResponseWriter, r *http.Request) {
	text, err := site.Home(r.Context())
	if err != nil {
		http.Error(w, "try again", http.StatusInternalServerError)
		return
	}
	fmt.Fprint(w, text)
}

func login(w http.ResponseWriter, r *http.Request) {
	if err := site.LogIn(r.Context(), r.FormValue("user")); err != nil {
		http.Error(w, "try again", http.StatusInternalServerError)
		return
	}
	http.Redirect(w, r, "/", http.StatusSeeOther)
}

func logout(w http.ResponseWriter, r *http.Request) {
	if err := site.LogOut(r.Context()); err != nil {
		http.Error(w, "try again", http.StatusInternalServerError)
		return
	}
	http.Redirect(w, r, "/", http.StatusSeeOther)
}

func stream(w http.ResponseWriter, r *http.Request) {
	if err := site.Mark(r.Context()); err != nil {
		http.Error(w, "try again", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/event-stream")
	for {
		text, err := site.Next(r.Context())
		if err != nil {
			return
		}
		fmt.Fprintf(w, "data: %s\n\n", text)
		if err := http.NewResponseController(w).Flush(); err != nil {
			return
		}
	}
}

func socket(w http.ResponseWriter, r *http.Request) {
	conn, err := websocket.Accept(w, r, nil)
	if err != nil {
		return // Accept has answered
	}
	defer conn.CloseNow()
	for {
		if _, _, err := conn.Read(r.Context()); err != nil {
			return
		}
		text, err := site.Answer(r.Context())
		if err != nil {
			_ = conn.Close(websocket.StatusPolicyViolation, "the session has ended")
			return
		}
		if err := conn.Write(r.Context(), websocket.MessageText, []byte(text)); err != nil {
			return
		}
	}
}
