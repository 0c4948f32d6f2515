// Package plan is the lab on paper: which nodes there are, on which fabric,
// with which addresses, and which guest lives where. It is pure; everything
// else in the lab (namespaces, configurations, golden tables, probes) is derived
// from it, so that an address is written down once.
package plan

import (
	"fmt"
	"net"
	"net/netip"

	"github.com/hyperfib/hyperfib/internal/enum"
)

// Numbers that every node shares.
const (
	AS           = 65000
	TablePublic  = 90
	TablePrivate = 20
	TableLocal   = 100 // local-out: what the hypervisor itself may reach
	LastResort   = 4294967294
	GuestMetric  = 10
	HVs          = 3
	VNI          = 100
	MarkMask     = 0xff // of firewall marks; a domain's mark is its table's number
)

// Fabric is one of the two independent layer 2 networks. Each carries a public
// and a private network.
type Fabric int

// The two fabrics. Reflector RR1 sits on A, RR2 on B.
const (
	A Fabric = iota
	B
)

// Fabrics lists both fabrics in order.
var Fabrics = []Fabric{A, B}

// String returns the letter of the fabric in upper case.
func (f Fabric) String() string { return enum.String("Fabric", []string{"A", "B"}, f) }

// Public is the name of the interface that a node has on the public network of
// the fabric, for example "a.public".
func (f Fabric) Public() string { return string(rune('a'+int(f))) + ".public" }

// Private is the name of the interface that a node has on the private network
// of the fabric.
func (f Fabric) Private() string { return string(rune('a'+int(f))) + ".private" }

// Addresses of the edge router's loopback: "the internet" that guests reach.
var (
	Internet4 = netip.MustParseAddr("8.8.8.8")
	Internet6 = netip.MustParseAddr("2001:4860:4860::8888")
)

// The subnet that all guests believe to share, and its gateway.
var (
	Subnet4  = netip.MustParsePrefix("203.0.113.0/24")
	Gateway4 = netip.MustParseAddr("203.0.113.254")
	Gateway6 = netip.MustParseAddr("fe80::1")
	// GatewayMAC is the same on every hypervisor, so that a guest that moves finds
	// everybody where they were.
	GatewayMAC = net.HardwareAddr{2, 0, 0, 0, 0, 0xfe}
)

// Additional addresses: one announced by two guests, one translated to VM4's.
var (
	Anycast4    = netip.MustParseAddr("203.0.113.10")
	Anycast6    = netip.MustParsePrefix("2001:db8:cb00:710a::/64")
	AnycastHost = netip.MustParseAddr("2001:db8:cb00:710a::1")
	Transparent = netip.MustParseAddr("203.0.113.11")
	// Ghost is inside the guests' subnet and nobody has it.
	Ghost = netip.MustParseAddr("203.0.113.77")
	// Ghost6 is the same of [Shared6].
	Ghost6 = netip.MustParseAddr("2001:db8:cb00:7100::77")
)

// HVName is the node name of hypervisor n (1 to [HVs]).
func HVName(n int) string { return fmt.Sprintf("hv%d", n) }

// RRName is the node name of the reflector on a fabric.
func RRName(f Fabric) string { return fmt.Sprintf("rr%d", int(f)+1) }

// EdgeName is the node name of the edge router.
const EdgeName = "internet"

// RouterID is 0.0.1.n for hypervisor n.
func RouterID(n int) netip.Addr { return netip.AddrFrom4([4]byte{0, 0, 1, byte(n)}) }

// Loopback is the private address of hypervisor n, also its VTEP.
func Loopback(n int) netip.Addr { return netip.AddrFrom4([4]byte{172, 22, 2, byte(n)}) }

// HVPublic4 is hypervisor n's address on a fabric's public network.
func HVPublic4(n int, f Fabric) netip.Addr { return v4(198, 51, 100, 100*(int(f)+1)+n) }

// HVPrivate4 is hypervisor n's address on a fabric's private network.
func HVPrivate4(n int, f Fabric) netip.Addr { return v4(172, 22, 15, 100*(int(f)+1)+n) }

// HVPublic6 is hypervisor n's IPv6 address on a fabric's public network.
func HVPublic6(n int, f Fabric) netip.Addr { return fabric6(f, byte(n)) }

// RRPublic4 is the address of the fabric's reflector on its public network.
func RRPublic4(f Fabric) netip.Addr { return v4(198, 51, 100, 100*(int(f)+1)+26) }

// RRPrivate4 is the address of the fabric's reflector on its private network.
func RRPrivate4(f Fabric) netip.Addr { return v4(172, 22, 15, 100*(int(f)+1)+26) }

// RRPublic6 is the IPv6 address of the fabric's reflector.
func RRPublic6(f Fabric) netip.Addr { return fabric6(f, 0x26) }

// EdgePublic4 is the edge router's address on a fabric's public network.
func EdgePublic4(f Fabric) netip.Addr {
	if f == A {
		return v4(198, 51, 100, 1)
	}
	return v4(198, 51, 100, 254)
}

// EdgePublic6 is the edge router's IPv6 address on a fabric.
func EdgePublic6(f Fabric) netip.Addr { return fabric6(f, 0xff) }

// EdgeRouterID is the edge router's BGP identifier.
func EdgeRouterID() netip.Addr { return v4(0, 0, 0, 3) }

// OnPublic4 and friends add the length of the network to an address.
func OnPublic4(a netip.Addr) netip.Prefix { return netip.PrefixFrom(a, 25) }

// OnPublic6 adds the length of the public IPv6 network.
func OnPublic6(a netip.Addr) netip.Prefix { return netip.PrefixFrom(a, 120) }

// Public4 is the public IPv4 network of a fabric, Private4 the private one.
func Public4(f Fabric) netip.Prefix { return OnPublic4(HVPublic4(1, f)).Masked() }

// Private4 is the private network of a fabric.
func Private4(f Fabric) netip.Prefix { return OnPublic4(HVPrivate4(1, f)).Masked() }

// Public6 is the public IPv6 network of a fabric.
func Public6(f Fabric) netip.Prefix { return OnPublic6(HVPublic6(1, f)).Masked() }

// BulkRange holds the prefixes that the edge router may announce in bulk, to see
// how the lab does with a large table.
var BulkRange = netip.MustParsePrefix("10.0.0.0/8")

// Bulk is the i-th of these, from 0 to 2^20-1.
func Bulk(i int) netip.Prefix {
	i <<= 4
	return netip.PrefixFrom(v4(10, i>>16, i>>8, i), 28)
}

func v4(a, b, c, d int) netip.Addr {
	return netip.AddrFrom4([4]byte{byte(a), byte(b), byte(c), byte(d)})
}

func fabric6(f Fabric, host byte) netip.Addr {
	return netip.AddrFrom16([16]byte{0x20, 0x01, 0x0d, 0xb8, 0xc6, 0x33, 0x64, byte(f), 15: host})
}
