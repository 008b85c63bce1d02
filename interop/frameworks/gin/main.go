// Command gin is a site with gin. The middleware is around the engine, not in
// it: see docs/frameworks.md.
package main

import (
	"fmt"
	"io"
	"net/http"

	"github.com/gin-gonic/gin"
	"github.com/gorilla/websocket"

	"github.com/cloakroom-go/cloakroom/interop/frameworks/site"
	"github.com/cloakroom-go/cloakroom/middleware"
)

func main() { site.Serve(routes) }

func routes(m *middleware.Middleware) http.Handler {
	r := gin.New()
	r.Use(gin.Logger(), gin.Recovery())
	r.GET("/", home)
	r.POST("/login", login)
	r.POST("/logout", logout)
	r.GET("/stream", stream)
	r.GET("/ws", func(c *gin.Context) { socket(c.Writer, c.Request) })
	return m.Handler(r)
}

func home(c *gin.Context) {
	text, err := site.Home(c.Request.Context())
	if err != nil {
		_ = c.AbortWithError(http.StatusInternalServerError, err)
		return
	}
	c.String(http.StatusOK, "%s", text)
}

func login(c *gin.Context) {
	if err := site.LogIn(c.Request.Context(), c.PostForm("user")); err != nil {
		_ = c.AbortWithError(http.StatusInternalServerError, err)
		return
	}
	c.Redirect(http.StatusSeeOther, "/")
}

func logout(c *gin.Context) {
	if err := site.LogOut(c.Request.Context()); err != nil {
		_ = c.AbortWithError(http.StatusInternalServerError, err)
		return
	}
	c.Redirect(http.StatusSeeOther, "/")
}

func stream(c *gin.Context) {
	if err := site.Mark(c.Request.Context()); err != nil {
		_ = c.AbortWithError(http.StatusInternalServerError, err)
		return
	}
	c.Header("Content-Type", "text/event-stream")
	c.Stream(func(w io.Writer) bool {
		text, err := site.Next(c.Request.Context())
		if err == nil {
			_, err = fmt.Fprintf(w, "data: %s\n\n", text)
		}
		return err == nil
	})
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
