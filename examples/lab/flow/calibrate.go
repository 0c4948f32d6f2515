package flow

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/hyperfib/hyperfib/internal/netns"
)

// Counter reads how many packets went one of two ways so far.
type Counter func() (a, b uint64, err error)

// Choose finds source ports for a path so that the equal-cost hash on the way
// sends half of the flows one way and half the other: it sends a small burst
// from each candidate and looks which counter moved. It returns ports of way a
// first, each half long. The index must be that of the path in the list later
// given to [Start], because it decides the destination port.
func Choose(p Path, index, half int, count Counter) ([]uint16, error) {
	var a, b []uint16
	const burst, tries = 12, 200
	for port := uint16(20000); port < 20000+tries && len(a)+len(b) < 2*half; port++ {
		pathA, pathB, err := probe(p, index, port, burst, count)
		switch {
		case err != nil:
			return nil, err
		case pathA == pathB:
			return nil, fmt.Errorf("%s: packets went neither way, or both", p.Name)
		case pathA && len(a) < half:
			a = append(a, port)
		case pathB && len(b) < half:
			b = append(b, port)
		}
	}
	if len(a) < half || len(b) < half {
		return nil, fmt.Errorf("%s: of %d source ports %d and %d took the two ways", p.Name, tries, len(a), len(b))
	}
	return append(a, b...), nil
}

// probe sends a burst and says which counters moved by at least as much. The
// routing protocols' own packets are far fewer in that time.
func probe(p Path, index int, port uint16, burst uint64, count Counter) (pathA, pathB bool, err error) {
	a0, b0, err := count()
	if err != nil {
		return false, false, err
	}
	err = netns.Do(p.FromNS, func() error {
		c, err := open(netip.AddrPortFrom(p.Src, port))
		if err != nil {
			return err
		}
		to := netip.AddrPortFrom(p.Dst, Port+uint16(index))
		for range burst {
			if err := insist(c, to); err != nil {
				return errors.Join(err, c.Close())
			}
		}
		return c.Close()
	})
	if err != nil {
		return false, false, fmt.Errorf("%s: %w", p.Name, err)
	}
	for wait := 0; wait < 20; wait++ {
		a1, b1, err := count()
		if err != nil {
			return false, false, err
		}
		if a1-a0 >= burst || b1-b0 >= burst {
			return a1-a0 >= burst, b1-b0 >= burst, nil
		}
		time.Sleep(time.Millisecond)
	}
	return false, false, nil
}

// insist sends a packet, again if the guest's kernel does not take it at once: a
// guest whose router has just changed may need a moment.
func insist(c *net.UDPConn, to netip.AddrPort) (err error) {
	for range 10 {
		if _, err = c.WriteToUDPAddrPort(make([]byte, octets), to); err == nil {
			return nil
		}
		time.Sleep(20 * time.Millisecond)
	}
	return err
}
