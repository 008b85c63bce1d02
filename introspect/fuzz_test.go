package introspect_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/cloakroom-go/cloakroom/internal/apptest"
	"github.com/cloakroom-go/cloakroom/session"
)

// FuzzHandler sends forms that hold no good credential: none is active, and the
// answer is one of those that Handler names.
func FuzzHandler(f *testing.F) {
	d := newDesk(f, "auto")
	over := apptest.Begin(f, d.m, "alice")
	service := d.serviceToken(f, over, "orders")
	apptest.Visit(d.m, over, logout)
	for _, form := range []string{
		"token=" + over, "token=" + service, "token=" + apptest.UnknownID(), "token=a.b.c", "token=a.b.c.d.e", "token=",
		"token=a&token=b", "token=a&client_id=orders", "token=a&client_secret=x", "token=%00%ff", "a=b;token=c", "",
		"token=crd1_" + strings.Repeat("A", 144),
	} {
		f.Add(form)
	}
	f.Fuzz(func(t *testing.T, form string) {
		r := httptest.NewRequest(http.MethodPost, "/introspect", strings.NewReader(form))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.SetBasicAuth("orders", ordersSecret)
		w := httptest.NewRecorder()
		d.handler.ServeHTTP(w, r)
		switch body := w.Body.String(); {
		case w.Code == http.StatusOK && body == `{"active":false}`:
		case w.Code == http.StatusBadRequest && strings.HasPrefix(body, `{"error":"invalid_request"`):
		case w.Code == http.StatusUnauthorized && body == `{"error":"invalid_client"}`:
		default:
			t.Fatalf("%q: %d %s", form, w.Code, body)
		}
	})
}

// FuzzReply lets an endpoint send anything: whom it lets in has the right
// audience and a subject.
func FuzzReply(f *testing.F) {
	for _, body := range []string{
		`{"active":true,"sub":"alice","aud":"orders"}`, `{"active":true,"sub":"alice","aud":["a","orders"],"exp":1e9}`,
		`{"active":false}`, `{"active":true,"active":false}`, `[]`, `{}`, ``, `null`, "\xff", `{"active":true,"aud":[[]]}`,
	} {
		f.Add(body)
	}
	f.Fuzz(func(t *testing.T, body string) {
		client, _ := newClient(t, says(http.StatusOK, "application/json", body))
		caller, err := client.Introspect(t.Context(), "x")
		if (caller == nil) != (err != nil) || err == nil && (caller.Subject == "" || !strings.Contains(body, "true")) {
			t.Fatalf("%q: %v, %v", body, caller, err)
		}
		if err != nil && session.ReasonOf(err) == 0 {
			t.Fatal("an error without a reason")
		}
	})
}
