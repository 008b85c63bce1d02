//go:build !unix

package durable

import "os"

const lockFlags = os.O_RDWR

// syncDir does nothing: directories can't be synced on this system.
func syncDir(*os.File) error { return nil }
