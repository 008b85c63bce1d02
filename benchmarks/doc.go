// Package benchmarks measures Cloakroom beside other session libraries, in one
// run on one machine. "make bench-peers" runs it, and writes the tables of
// docs/benchmarks.md.
//
// A request goes through the whole middleware of each library, with a cookie
// that the client keeps, and a context that can be cancelled, as a server makes
// it. Each client has a session of its own, in which somebody is logged in,
// with three values. The name of a benchmark says what is measured, for
// benchstat -col /peer:
//
//	BenchmarkRedis/case=read/clients=64/peer=scs-go-redis
//
// Each peer gets the settings with which it is fastest, as long as it does the
// same work:
//
//   - Sessions end after 20 minutes without activity, or after 12 hours. scs
//     then writes the session in each request; ours writes once a minute, so
//     there is also the case "touch", in which ours writes in each request. In
//     gorilla/sessions the handler has to save; "read" doesn't, so the session
//     has no idle timeout, and "touch" does.
//   - A login in scs renews the token, as its documentation tells.
//   - A cookie of gorilla/sessions is signed and encrypted, as our tokens are.
//   - Pools have a connection for each client of Redis, and 16 for a database,
//     and keep them open. redistore's own pool would test a connection with
//     PING before each use; the one here doesn't.
//   - Servers run on the same machine, and don't wait for the disk, which would
//     hide what the libraries cost: Redis without persistence, PostgreSQL with
//     fsync=off, MariaDB with innodb_flush_log_at_trx_commit=0, SQLite with
//     synchronous=OFF. For MariaDB, interpolateParams saves scs two round
//     trips.
//   - A bare GET or SELECT is that of one item of ours, with a deadline as our
//     middleware has it; the SELECT is prepared.
//
// Tests check that every peer does what is measured. Those that use go-redis
// need the tag goredis, which make bench-peers sets: it takes a minute to
// compile with the race detector.
//
// What a peer doesn't do is no subject here, but costs it nothing either:
// docs/benchmarks.md has the list.
package benchmarks
