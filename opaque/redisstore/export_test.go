package redisstore

// Rights returns the rights that the user of c needs, as ACL SETUSER takes
// them.
func Rights(c Config) string { return line(c.rights()) }
