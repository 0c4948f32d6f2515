package bgp

import (
	"net"
	"syscall"
	"time"

	"github.com/hyperfib/hyperfib/internal/sock"
)

// A peer that has gone while we wait for its OPEN is noticed by TCP alone: there is no KEEPALIVE before
// OpenConfirm, nothing is to be sent again, and the hold timer has 4 minutes (RFC 4271, Section 8.2.2). So
// TCP asks the peer until the session is Established.
const (
	// probeInterval is how long a connection has been silent when TCP asks, and the time between
	// questions. A peer that has forgotten the connection answers with a reset.
	probeInterval = 5 * time.Second
	// probeTime is how long nothing may be heard: the connection ends with ETIMEDOUT then. A way that
	// is back sooner costs nothing.
	probeTime = 20 * time.Second
)

// setProbes has TCP ask the peer of a connection that is no session yet whether it is still there.
func setProbes(nc net.Conn) {
	setKeepAlive(nc, net.KeepAliveConfig{Enable: true, Idle: probeInterval, Interval: probeInterval, Count: int(probeTime / probeInterval)})
	setTimeout(nc, probeTime)
}

// endProbes takes setProbes back: a session has KEEPALIVEs of its own (RFC 4271, Section 4.4). With a hold
// time TCP gives up after twice as much, so that the hold timer, which can say why, decides first; without
// one, 0, when the system's limit says so.
func endProbes(nc net.Conn, hold time.Duration) {
	setKeepAlive(nc, net.KeepAliveConfig{})
	setTimeout(nc, 2*hold)
}

// setKeepAlive sets TCP's keepalives. Connections that have none do without.
func setKeepAlive(nc net.Conn, c net.KeepAliveConfig) {
	if k, ok := nc.(interface {
		SetKeepAliveConfig(net.KeepAliveConfig) error
	}); ok {
		_ = k.SetKeepAliveConfig(c)
	}
}

// setTimeout bounds how long the peer may acknowledge nothing; 0 is the system's limit. Connections that
// are not the kernel's do without.
func setTimeout(nc net.Conn, d time.Duration) {
	sc, ok := nc.(syscall.Conn)
	if !ok {
		return
	}
	if raw, err := sc.SyscallConn(); err == nil {
		_ = rawControl(raw, func(fd int) error { return setUserTimeout(fd, d) })
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
