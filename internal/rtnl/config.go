package rtnl

import "time"

// Config says which socket Open makes.
type Config struct {
	// NetNS is the network namespace by path, for example "/run/netns/red"; "" is that
	// of the calling thread.
	NetNS string
	// ReceiveBuffer is the size of the receive buffer in octets of kernel memory: it is
	// that large if the process has CAP_NET_ADMIN, and as large as the kernel allows
	// (net.core.rmem_max) otherwise. 0 leaves the kernel's default.
	ReceiveBuffer int
	// Timeout is how long Wait waits; 0: for ever.
	Timeout time.Duration
}
