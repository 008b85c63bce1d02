package backchannel_test

import (
	"log"
	"net/http"

	"github.com/cloakroom-go/cloakroom/backchannel"
	"github.com/cloakroom-go/cloakroom/config"
	"github.com/cloakroom-go/cloakroom/keys"
	"github.com/cloakroom-go/cloakroom/session"
)

// A logout at the provider ends the sessions here. The URL of the handler is
// the backchannel_logout_uri that is registered at the provider.
func Example() {
	app, err := config.Config{Keys: config.KeysConfig{File: "keys.json"}}.Build(config.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer app.Close()
	const issuer = "https://id.example"
	set, err := keys.NewRemote(keys.RemoteConfig{URL: issuer + "/jwks"}) // jwks_uri of the provider
	if err != nil {
		log.Fatal(err)
	}
	defer set.Close()
	logouts, err := backchannel.NewHandler(backchannel.Config{
		Issuer: issuer, Keys: set, ClientID: "app-17", Revocations: app.Revocations,
	})
	if err != nil {
		log.Fatal(err)
	}
	http.Handle("/backchannel-logout", logouts) // no session is needed

	http.Handle("/callback", app.Middleware.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		subject, sid := verifiedIDToken(r) // by the library for OpenID Connect
		err := session.From(r.Context()).Login("id:"+subject, backchannel.Tags(issuer, subject, sid)...)
		if err != nil {
			http.Error(w, "try again", http.StatusInternalServerError)
			return
		}
		http.Redirect(w, r, "/", http.StatusSeeOther)
	})))
}

func verifiedIDToken(*http.Request) (subject, sid string) { return "248289761001", "08a5019c" }
