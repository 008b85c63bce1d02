// Command echo is a site with echo. The middleware is around the Echo, so that
// its error handler answers through it too.
package main

import (
	"fmt"
	"net/http"

	"github.com/gorilla/websocket"
	"github.com/labstack/echo/v5"
	echomiddleware "github.com/labstack/echo/v5/middleware"

	"github.com/cloakroom-go/cloakroom/interop/frameworks/site"
	"github.com/cloakroom-go/cloakroom/middleware"
)

func main() { site.Serve(routes) }

func routes(m *middleware.Middleware) http.Handler {
	e := echo.New()
	e.Use(echomiddleware.Recover())
	e.GET("/", home)
	e.POST("/login", login)
	e.POST("/logout", logout)
	e.GET("/stream", stream)
	e.GET("/ws", socket)
	return m.Handler(e)
}

func home(c *echo.Context) error {
	text, err := site.Home(c.Request().Context())
	if err != nil {
		return err
	}
	return c.String(http.StatusOK, text)
}

func login(c *echo.Context) error {
	if err := site.LogIn(c.Request().Context(), c.FormValue("user")); err != nil {
		return err
	}
	return c.Redirect(http.StatusSeeOther, "/")
}

func logout(c *echo.Context) error {
	if err := site.LogOut(c.Request().Context()); err != nil {
		return err
	}
	return c.Redirect(http.StatusSeeOther, "/")
}

func stream(c *echo.Context) error {
	if err := site.Mark(c.Request().Context()); err != nil {
		return err
	}
	w := c.Response()
	w.Header().Set(echo.HeaderContentType, "text/event-stream")
	for {
		text, err := site.Next(c.Request().Context())
		if err != nil {
			return nil // the response has begun, or nobody reads it
		}
		if _, err := fmt.Fprintf(w, "data: %s\n\n", text); err != nil {
			return nil
		}
		if err := http.NewResponseController(w).Flush(); err != nil {
			return nil
		}
	}
}

func socket(c *echo.Context) error {
	var upgrader websocket.Upgrader // the zero one checks that Origin is the host of the request
	conn, err := upgrader.Upgrade(c.Response(), c.Request(), nil)
	if err != nil {
		return nil // Upgrade has answered
	}
	defer conn.Close()
	for {
		if _, _, err := conn.ReadMessage(); err != nil {
			return nil
		}
		text, err := site.Answer(c.Request().Context())
		if err != nil {
			reason := websocket.FormatCloseMessage(websocket.ClosePolicyViolation, "the session has ended")
			_ = conn.WriteMessage(websocket.CloseMessage, reason)
			return nil
		}
		if err := conn.WriteMessage(websocket.TextMessage, []byte(text)); err != nil {
			return nil
		}
	}
}
