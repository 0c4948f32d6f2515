package bfd

import (
	"fmt"
	"net"
	"os"

	"golang.org/x/sys/unix"
)

// sameExecutable reports whether the process that listens at the other end of c runs the
// same executable file as this one. A file that was replaced by rename(2) is another one,
// and /proc/PID/exe still leads to the one that runs.
//
// unix(7): SO_PEERCRED of a socket that has connected returns the credentials of the
// process that called listen(2). A successor calls it again, see systemHost.listener.
func sameExecutable(c *net.UnixConn) bool {
	raw, err := c.SyscallConn()
	if err != nil {
		return false
	}
	var peer *unix.Ucred
	if e := raw.Control(func(fd uintptr) { peer, err = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) }); e != nil || err != nil {
		return false
	}
	own, err := os.Stat("/proc/self/exe")
	if err != nil {
		return false
	}
	other, err := os.Stat(fmt.Sprintf("/proc/%d/exe", peer.Pid)) // 0, and no such file, in another PID namespace
	return err == nil && os.SameFile(own, other)
}
