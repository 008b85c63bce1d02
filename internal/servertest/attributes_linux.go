package servertest

import "syscall"

// attributes also lets the system kill the server with the test, whose own
// clean-up does not run after a timeout or a crash.
func attributes(as *syscall.Credential) *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Credential: as, Pdeathsig: syscall.SIGKILL}
}
