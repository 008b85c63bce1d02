package session

// With and Without are for the tests of Values.
func (v Values) With(name, json string) Values { return v.with(name, json) }
func (v Values) Without(name string) Values    { return v.without(name) }

// PhaseOf returns how far the request of c has come.
func PhaseOf(c Control) Phase { return c.s.phase }
