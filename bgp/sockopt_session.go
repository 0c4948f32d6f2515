package bgp

import (
	"net"
	"syscall"
	"time"

	"github.com/hyperfib/hyperfib/internal/sock"
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

// setSessionTTL sets the TTL of a connection that has become a session; 0 leaves it.
func setSessionTTL(nc net.Conn, ttl int) {
	sc, ok := nc.(syscall.Conn)
	if !ok || ttl == 0 {
		return
	}
	if raw, err := sc.SyscallConn(); err == nil {
		ipv6 := addrPort(nc.RemoteAddr()).Addr().Is6()
		_ = rawControl(raw, func(fd int) error { return sock.SetTTL(fd, ipv6, ttl) })
	}
}
