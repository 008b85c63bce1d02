// Command gorilla is a site with gorilla/mux and gorilla/websocket.
package main

import (
	"fmt"
	"net/http"

	"github.com/gorilla/mux"
	"github.com/gorilla/websocket"

	"github.com/cloakroom-go/cloakroom/interop/frameworks/site"
	"github.com/cloakroom-go/cloakroom/middleware"
)

func main() { site.Serve(routes) }

func routes(m *middleware.Middleware) http.Handler {
	r := mux.NewRouter()
	r.Use(m.Handler)
	r.HandleFunc("/", home).Methods("GET")
	r.HandleFunc("/login", login).Methods("POST")
	r.HandleFunc("/logout", logout).Methods("POST")
	r.HandleFunc("/stream", stream).Methods("GET")
	r.HandleFunc("/ws", socket).Methods("GET")
	return r
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
	var upgrader websocket.Upgrader // the zero one checks that Origin is the host of the request
	conn, err := upgrader.Upgrade(w, r, nil)
	if err != nil {
		return // Upgrade has answered
	}
	defer conn.Close()
	for {
		if _, _, err := conn.ReadMessage(); err != nil {
			return
		}
		text, err := site.Answer(r.Context())
		if err != nil {
			reason := websocket.FormatCloseMessage(websocket.ClosePolicyViolation, "the session has ended")
			_ = conn.WriteMessage(websocket.CloseMessage, reason)
			return
		}
		if err := conn.WriteMessage(websocket.TextMessage, []byte(text)); err != nil {
			return
		}
	}
}
