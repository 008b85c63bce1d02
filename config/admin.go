package config

import (
	"errors"

	"github.com/cloakroom-go/cloakroom/keys"
)

// BuildAdmin makes an App for a program beside the application, such as a
// command of its operator, which lists sessions and ends them. c is the Config
// of the application. The App has its Store, its Revocations and, if
// Devices.Enabled is set, its Devices, and nothing else: Middleware and Issuer
// are nil, and there are no keys.
//
// BuildAdmin opens no key file and no journal, and changes nothing in the
// store. So it does not notice a secret that is not the one of the application:
// Devices then lists sessions without their details.
//
// What the program ends has ended on the instances of the application when they
// have read the log in the store, which takes about a second. So the store must
// be a [revocation.Log] outside of this process, and InsecureVolatile must not
// be set. BuildAdmin reports every mistake at once.
func (c Config) BuildAdmin(o Options) (*App, error) {
	b := c.builder(o)
	b.app.Keys = &keys.Ring{}
	b.Keys, b.Revocations.File = KeysConfig{}, ""
	switch {
	case b.Revocations.InsecureVolatile:
		b.fail("revocations.insecure_volatile", errors.New("is set: the application does not read what others end, "+
			"so only the application can end its sessions"))
	case b.o.Store == nil && !b.Config.Store.URL.isServer():
		b.fail("store.url", errors.New("names no store outside of the application: only the application can list "+
			"and end the sessions in its memory; name the store here if the application sets Options.Store"))
	default:
		b.openAdmin()
	}
	return b.finish()
}

func (b *builder) openAdmin() {
	b.openStore()
	switch {
	case b.app.Store == nil: // it was reported
	case b.log() == nil:
		b.fail("store.url", errors.New("names a store without a log of what has ended, so only the application can end "+
			"sessions in it; Redis, PostgreSQL, MySQL, MariaDB and SQLite have one"))
	default:
		b.openRevocations()
		b.makeDevices()
	}
}
