// Package devices keeps which sessions a subject has, so that an application
// can show its users "your devices" and end one of them, and can limit how many
// sessions a subject has at once.
//
// A [Registry] does that, for sessions of both forms. Package config makes one
// when the config has devices, and then App.Devices is ready for use:
//
//	list, err := app.Devices.List(ctx, subject)     // the newest activity first
//	err = app.Devices.End(ctx, subject, list[0].ID) // the session with this ID
//
// To end all sessions of a subject, or all others, use the revocation list:
// with a registry it also ends them in the store.
//
// Every call names the subject. The ID of a session of somebody else finds
// nothing. Sessions in which nobody is logged in are not kept here.
//
// An [Index] keeps the entries: [Memory] for one process, and the stores for
// Redis and SQL for several. The index has the SHA-256 of each subject, not the
// subject itself. Someone who can read it can still find out whether a subject
// that they know has sessions. User agents and addresses are kept only if
// [Config.Client] returns them. They are encrypted under [Config.Secrets],
// which only a Memory may lack.
package devices
