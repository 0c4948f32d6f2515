package netns

import (
	"cmp"
	"fmt"
	"net"
	"net/netip"

	"github.com/jsimonetti/rtnetlink/v2"
	"golang.org/x/sys/unix"

	"github.com/hyperfib/hyperfib/internal/netns"
)

// Neighbour is an entry of the kernel's neighbour table.
type Neighbour struct {
	IfIndex int
	Addr    netip.Addr
	MAC     net.HardwareAddr // nil: not known
	State   string           // as iproute2 names it, in small letters
	Router  bool             // it says so itself (NTF_ROUTER)
}

var nudStates = map[uint16]string{
	unix.NUD_INCOMPLETE: "incomplete", unix.NUD_REACHABLE: "reachable", unix.NUD_STALE: "stale", unix.NUD_DELAY: "delay",
	unix.NUD_PROBE: "probe", unix.NUD_FAILED: "failed", unix.NUD_PERMANENT: "permanent",
}

// nudState names a state of linux/neighbour.h as iproute2 does, in small letters.
func nudState(state uint16) string {
	return cmp.Or(nudStates[state], fmt.Sprintf("%#x", state))
}

// readNeighbours reads the neighbour tables of the namespace at a path, without groups and the
// like.
func readNeighbours(path string) (out []Neighbour, err error) {
	err = netns.Do(path, func() error {
		conn, err := rtnetlink.Dial(nil)
		if err != nil {
			return err
		}
		defer conn.Close()
		list, err := conn.Neigh.List()
		for _, m := range list {
			if m.Attributes == nil || m.State&unix.NUD_NOARP != 0 || m.State == unix.NUD_NONE {
				continue
			}
			if a, ok := netip.AddrFromSlice(m.Attributes.Address); ok {
				out = append(out, Neighbour{int(m.Index), a.Unmap(), m.Attributes.LLAddress, nudState(m.State), m.Flags&unix.NTF_ROUTER != 0})
			}
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("neighbours: %w", err)
	}
	return out, nil
}
