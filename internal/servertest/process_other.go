//go:build unix && !linux

package servertest

import "syscall"

func attributes(as *syscall.Credential) *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Credential: as}
}

// awaitStopped does nothing: the signal may reach the child a little later.
func awaitStopped(int) {}
