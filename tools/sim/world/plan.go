package world

import (
	"fmt"
	"net/netip"
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

	// Strict has BGP sessions wait for BFD, on both sides.
	Strict bool

	// Sessions is which sessions a hypervisor has: "" is drawn by the seed.
	Sessions Sessions

	Begin time.Duration // when the world begins, as its clock says

	// Audit is how often each daemon reads its kernel again. 0 is as in production: sysctls and proxy
	// entries every 5 s, all else every 30 s.
	Audit time.Duration

	// Faults is how many faults Draw draws for each minute, on average; 0: 3.1.
	Faults float64

	Theme string // of the faults that are drawn: see Themes; empty: all

	// EveryPacket simulates each BFD packet and KEEPALIVE. Without it, the packets of sessions
	// of which both ends are Up and the way between them is clean are skipped: the trace is the
	// same.
	EveryPacket bool

	// EveryFlow looks at each flow after every change. Without it, only those are looked at of which
	// the path depends on what has changed: the trace is the same.
	EveryFlow bool

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
	if c.Sessions == "" {
		list := sessionsOf
		if l := sessionsOfTheme[c.Theme]; l != nil {
			list = l
		}
		c.Sessions = list[mix(c.Seed, 0x5e55, 0)%uint64(len(list))]
		if c.Sessions == SessionsShared && c.Hosts > mostProbed {
			c.Sessions = SessionsBoth
		}
	}
	return c
}

// Sessions is which BGP sessions a hypervisor has.
type Sessions string

const (
	SessionsIPv4   Sessions = "ipv4"   // one for each network, of IPv4 alone: guests have no IPv6
	SessionsBoth   Sessions = "both"   // one for each network; the public ones carry both families
	SessionsIPv6   Sessions = "ipv6"   // for public networks one of each family
	SessionsShared Sessions = "shared" // one for each fabric, of both domains and families
)

// mostProbed is how many hypervisors a reflector answers probes of: 1024 addresses.
const mostProbed = 1000

// sessionsOf are the worlds that a seed draws from.
var sessionsOf = []Sessions{SessionsIPv4, SessionsBoth, SessionsBoth, SessionsIPv6, SessionsShared}

// strict returns the mode of BFD strict mode.
func (c Config) strict() string {
	if c.Strict {
		return "on"
	}
	return "off"
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

// address6 is address for IPv6.
func address6(network, n int) netip.Addr {
	if n == 0 {
		n = 0xfffe
	}
	return netip.AddrFrom16([16]byte{0: 0xfd, 7: byte(network), 14: byte(n >> 8), 15: byte(n)})
}

// loopbackOf returns the private address of host n.
func loopbackOf(n int) netip.Addr { return netip.AddrFrom4([4]byte{172, 31, byte(n >> 8), byte(n)}) }

// guestAddress returns the address of guest n, from 1.
func guestAddress(n int) netip.Addr {
	return netip.AddrFrom4([4]byte{100, byte(64 + n>>16), byte(n >> 8), byte(n)})
}

// guestPrefix6 returns what guest n has of IPv6: every other one a /64, the others one address.
func guestPrefix6(n int) netip.Prefix {
	p := netip.PrefixFrom(guestAddress6(n), 128)
	if n%2 == 0 {
		p = netip.PrefixFrom(p.Addr(), 64).Masked()
	}
	return p
}

// guestAddress6 returns an address of guest n.
func guestAddress6(n int) netip.Addr {
	return netip.AddrFrom16([16]byte{0: 0x20, 1: 0x01, 2: 0x0d, 3: 0xb8, 5: byte(n >> 16), 6: byte(n >> 8), 7: byte(n), 15: 1})
}

// guestSubnet is what the guests believe that they share.
var guestSubnet = netip.MustParsePrefix("100.64.0.0/10")

// linkLocal is the address that follows from the MAC of a guest (RFC 4291, Appendix A).
func linkLocal(n int) netip.Addr {
	return netip.AddrFrom16([16]byte{0: 0xfe, 1: 0x80, 9: 1, 11: 0xff, 12: 0xfe, 13: byte(n >> 16), 14: byte(n >> 8), 15: byte(n)})
}

// mac is the MAC of a guest.
func mac(n int) string { return fmt.Sprintf("02:01:00:%02x:%02x:%02x", n>>16&255, n>>8&255, n&255) }

// entry returns guest n in the words of the inventory.
func (c Config) entry(n int) string {
	text := fmt.Sprintf("name: %s\ninterface: %s\nmac: \"%s\"\nipv4: [%v]\n", guestName(n), guestName(n), mac(n), guestAddress(n))
	if c.Sessions != SessionsIPv4 {
		text += fmt.Sprintf("ipv6: [\"%v\"]\n", guestPrefix6(n))
	}
	return text
}

func guestName(n int) string { return fmt.Sprintf("g%d", n) }
func hostName(n int) string  { return fmt.Sprintf("h%d", n) }
