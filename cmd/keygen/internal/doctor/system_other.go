//go:build !unix

package doctor

import "context"

// mayWrite can't tell: only trying does.
func mayWrite(string) error { return nil }

func isReadOnly(error) bool { return false }

// tryDirectorySync does nothing, as package durable: this system has no fsync
// of directories.
func tryDirectorySync(context.Context, string) error { return nil }
