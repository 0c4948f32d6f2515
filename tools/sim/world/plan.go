package world

import (
	"fmt"
	"net/netip"
	"strings"
	"time"
)

// Config is the size and the timing of a world.
type Config struct {
	Seed   uint64 // decides everything that is not said
	Hosts  int    // hypervisors
	Guests int    // of each of them, to begin with

	BFD        time.Duration // interval of BFD, 300 ms if 0
	Multiplier int           // of BFD, 3 if 0
	Hold       time.Duration // hold time of BGP, 90 s if 0

	Begin time.Duration // when the world begins, as its clock says

	// EveryPacket simulates each BFD packet and KEEPALIVE. Without it, the packets of sessions
	// of which both ends are Up and the way between them is clean are skipped: the trace is the
	// same.
	EveryPacket bool

	// StopAtFirst ends the play of a scenario with the first violation.
	StopAtFirst bool

	// Trace is given every line of what happens; nil: nobody reads it.
	Trace func(line string)
}

func (c Config) withDefaults() Config {
	if c.BFD == 0 {
		c.BFD = 300 * time.Millisecond
	}
	if c.Multiplier == 0 {
		c.Multiplier = 3
	}
	if c.Hold == 0 {
		c.Hold = 90 * time.Second
	}
	return c
}

// detection is the longest that BFD takes to notice a silent failure.
func (c Config) detection() time.Duration { return time.Duration(c.Multiplier) * c.BFD }

// The four networks. A fabric is two of them over the same cables: a public one, of the guests'
// domain, and a private one, of the hypervisors' own.
var networks = []struct {
	name, fabric, domain, link string
}{
	{"A.public", "A", "public", "a.public"},
	{"B.public", "B", "public", "b.public"},
	{"A.private", "A", "private", "a.private"},
	{"B.private", "B", "private", "b.private"},
}

// The first interface index of a hypervisor's uplinks, of its loopback and of its guests.
const (
	firstUplink = 10
	loopback    = 20
	firstGuest  = 100
)

// guestTable is the routing table of the guests' domain.
const guestTable = 90

const autonomousSystem = 65000

// address returns the address of host n in a network, of which the reflector is host 0.
func address(network, n int) netip.Addr {
	if n == 0 {
		n = 0xfffe
	}
	return netip.AddrFrom4([4]byte{10, byte(network), byte(n >> 8), byte(n)})
}

// loopbackOf returns the private address of host n.
func loopbackOf(n int) netip.Addr { return netip.AddrFrom4([4]byte{172, 31, byte(n >> 8), byte(n)}) }

// guestAddress returns the address of guest n, from 1.
func guestAddress(n int) netip.Addr {
	return netip.AddrFrom4([4]byte{100, byte(64 + n>>16), byte(n >> 8), byte(n)})
}

// guestSubnet is what the guests believe that they share.
var guestSubnet = netip.MustParsePrefix("100.64.0.0/10")

// yaml returns the configuration of host n.
func (c Config) yaml(n int, more string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "router-id: 0.0.%d.%d\nas: %d\napi: /run/hvrouter.sock\n", n>>8, n&255, autonomousSystem)
	fmt.Fprintf(&b, "loopback: {interface: loopback, address: %v/32}\n", loopbackOf(n))
	fmt.Fprintf(&b, "bfd: {interval: %v, multiplier: %d, process: separate, realtime: \"off\"}\n", c.BFD, c.Multiplier)
	fmt.Fprintf(&b, "bgp:\n  hold-time: %v\n  add-path: true\n  graceful-restart: {time: 120s, deferral: 30s}\n", c.Hold)
	b.WriteString("domains:\n")
	for _, d := range []string{"public", "private"} {
		switch d {
		case "public":
			fmt.Fprintf(&b, "  - name: public\n    table: 90\n    guests: true\n    unreachable: [%v]\n", guestSubnet)
		default:
			b.WriteString("  - name: private\n    table: 20\n    loopback: true\n")
		}
		b.WriteString("    reflectors:\n")
		for i, net := range networks {
			if net.domain == d {
				fmt.Fprintf(&b, "      - {fabric: %s, interface: %s, local: \"%v\", peer: \"%v\", bfd: \"on\"}\n", net.fabric, net.link, address(i, n), address(i, 0))
			}
		}
	}
	b.WriteString("local-out: {table: 100, domains: [private], last-resort: unreachable}\n")
	fmt.Fprintf(&b, "edge: {gateway4: 100.127.255.254, prefix-length4: %d, mac: 02:00:00:00:00:fe}\n", guestSubnet.Bits())
	b.WriteString(more)
	return b.String()
}

// mac is the MAC of a guest.
func mac(n int) string { return fmt.Sprintf("02:01:00:%02x:%02x:%02x", n>>16&255, n>>8&255, n&255) }

// entry returns guest n in the words of the inventory.
func entry(n int) string {
	return fmt.Sprintf("name: %s\ninterface: %s\nmac: \"%s\"\nipv4: [%v]\n", guestName(n), guestName(n), mac(n), guestAddress(n))
}

func guestName(n int) string { return fmt.Sprintf("g%d", n) }
func hostName(n int) string  { return fmt.Sprintf("h%d", n) }
