package bgp

import (
	"net"
	"syscall"
	"time"
)

// setTimeout sets TCP's timeouts from the hold time of its session. Connections that are not
// the kernel's do without.
func setTimeout(nc net.Conn, hold time.Duration) {
	sc, ok := nc.(syscall.Conn)
	if !ok || hold == 0 {
		return
	}
	if raw, err := sc.SyscallConn(); err == nil {
		_ = rawControl(raw, func(fd int) error { return setUserTimeout(fd, hold) })
	}
}
