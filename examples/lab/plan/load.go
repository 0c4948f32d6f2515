package plan

import (
	"fmt"
	"net"
	"net/netip"
)

// LoadRange holds the addresses of the guests that a run may have besides the four;
// like [Subnet4], it is unreachable where nobody has them.
var LoadRange = netip.MustParsePrefix("203.0.112.0/20")

// MaxPerHV is how many of them a hypervisor may have.
const MaxPerHV = 1000

// LoadName is the node that stands in for all the further guests of hypervisor n.
func LoadName(n int) string { return fmt.Sprintf("load%d", n) }

// Load lists the guests that hypervisor n has besides those of [Lab.GuestsOf]. They
// have addresses and neighbours, and no namespace of their own.
func (l Lab) Load(n int) []Guest {
	out := make([]Guest, 0, l.PerHV)
	for i := 1; i <= l.PerHV; i++ {
		out = append(out, Guest{N: 1000*n + i, Name: fmt.Sprintf("c%d-%d", n, i), HV: n,
			MAC:     net.HardwareAddr{0x50, 0x54, 0x33, byte(n), byte(i >> 8), byte(i)},
			IPv4:    v4(203, 0, 112+4*n+i>>8, i),
			Prefix6: l.load6(n, i)})
	}
	return out
}

// AllOf returns every guest of hypervisor n.
func (l Lab) AllOf(n int) []Guest { return append(l.GuestsOf(n), l.Load(n)...) }

// Unreachable lists what nobody is asked for unless there is a guest that has it.
func (l Lab) Unreachable() []netip.Prefix {
	if l.PerHV == 0 {
		return []netip.Prefix{Subnet4}
	}
	return []netip.Prefix{Subnet4, LoadRange}
}

func (l Lab) load6(n, i int) netip.Prefix {
	a := Shared6.Addr().As16()
	if l.Is("guests", GuestsHost) {
		a[13], a[14], a[15] = byte(n), byte(i>>8), byte(i)
		return netip.PrefixFrom(netip.AddrFrom16(a), 128)
	}
	a[6], a[7] = byte(0x80+n<<4+i>>8), byte(i)
	return netip.PrefixFrom(netip.AddrFrom16(a), 64)
}
