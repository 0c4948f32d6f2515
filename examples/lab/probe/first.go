package probe

import (
	"net/netip"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/hyperfib/hyperfib/internal/netns"
)

// First begins to wait, on a link of a namespace, for an IPv6 packet from an address that is a router
// advertisement, TCP or UDP: what a routing daemon sends by itself, and the kernel does not. What it returns says when
// the packet came, and the zero time if none did within the limit.
func First(ns, link string, from netip.Addr, limit time.Duration) (func() (time.Time, error), error) {
	type answer struct {
		at  time.Time
		err error
	}
	open := make(chan error)
	done := make(chan answer, 1)
	go func() {
		var a answer
		a.err = netns.Do(ns, func() error {
			fd, err := packetSocket(link, unix.ETH_P_IPV6)
			open <- err
			if err != nil {
				return err
			}
			defer unix.Close(fd)
			return read(fd, limit, func(b []byte) bool {
				if !fromDaemon(b, from) {
					return false
				}
				a.at = time.Now()
				return true
			})
		})
		done <- a
	}()
	if err := <-open; err != nil {
		return nil, err
	}
	return func() (time.Time, error) {
		a := <-done
		return a.at, a.err
	}, nil
}

// fromDaemon looks at an Ethernet frame with an IPv6 packet.
func fromDaemon(b []byte, from netip.Addr) bool {
	const ether, header = 14, 40
	if len(b) <= ether+header || !slices.Equal(b[ether+8:ether+24], from.AsSlice()) {
		return false
	}
	switch b[ether+6] {
	case unix.IPPROTO_TCP, unix.IPPROTO_UDP:
		return true
	case unix.IPPROTO_ICMPV6:
		return b[ether+header] == 134 // router advertisement
	}
	return false
}
