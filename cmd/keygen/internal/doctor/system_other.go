//go:build !unix

package doctor

// mayWrite can't tell: only trying does.
func mayWrite(string) error { return nil }

func isReadOnly(error) bool { return false }

// syncDirectory does nothing, as package durable: this system has no such thing.
func syncDirectory(string) error { return nil }
