package servertest

import "syscall"

// attributes also lets the system kill the server with the test, whose own
// clean-up does not run after a timeout or a crash.
func attributes(as *syscall.Credential) *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Credential: as, Pdeathsig: syscall.SIGKILL}
}

// awaitStopped waits until a child has stopped, which its threads do one after
// the other. Unlike wait4, waitid does not take the exit status from the
// exec.Cmd if the child ends instead.
func awaitStopped(pid int) {
	const idPID = 1 // P_PID
	for {
		_, _, errno := syscall.Syscall6(syscall.SYS_WAITID, idPID, uintptr(pid), 0, syscall.WSTOPPED, 0, 0)
		if errno != syscall.EINTR {
			return
		}
	}
}
