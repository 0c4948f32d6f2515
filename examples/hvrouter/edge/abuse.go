package edge

import (
	"github.com/hyperfib/hyperfib/arp"
	"github.com/hyperfib/hyperfib/examples/hvrouter/dhcp"
	"github.com/hyperfib/hyperfib/examples/hvrouter/guest"
	"github.com/hyperfib/hyperfib/ndp"
)

// Abuse is what a guest said in one protocol that was of no use, since it is served.
type Abuse struct {
	Protocol string            // arp, nd or dhcp
	Refused  map[string]uint64 // messages, by reason; a reason without any is there, too
	Silenced uint64            // how often the guest was not heard for a while
}

// Abuse returns the counters of a guest that is served: of each protocol in which it is.
func (e *Edge) Abuse(p guest.Port) (list []Abuse) {
	link := p.Link.IfIndex
	if s, ok := e.responder.GuestStats(link); ok {
		list = append(list, Abuse{"arp", map[string]uint64{"spoofed": s[arp.VerdictSpoofed], "limited": s[arp.VerdictLimited],
			"unallocated": s[arp.VerdictUnallocated]}, e.arp.Silenced(link)})
	}
	if s, ok := e.proxy.GuestStats(link); ok {
		list = append(list, Abuse{"nd", map[string]uint64{"spoofed": s[ndp.VerdictSpoofed], "limited": s[ndp.VerdictLimited],
			"unallocated": s[ndp.VerdictUnallocated], "malformed": s[ndp.VerdictMalformed]}, e.nd.Silenced(link)})
	}
	if e.dhcp == nil {
		return list
	}
	if s, ok := e.dhcp.Refusals(link); ok {
		a := Abuse{"dhcp", map[string]uint64{}, e.dhcp.Silenced(link)}
		for why, n := range s {
			a.Refused[dhcp.Refusal(why).String()] = n
		}
		list = append(list, a)
	}
	return list
}

// Strays counts what is no guest's, or not known to be one's.
type Strays struct {
	// Malformed are packets of guests that the filters of the sockets let through, by protocol:
	// arp and nd.
	Malformed map[string]uint64
	// DHCPAnswers are answers of DHCP servers, or of who pretends to be one, that were dropped,
	// by the reason: unasked, stranger, astray.
	DHCPAnswers map[string]uint64
}

// Strays returns the counters, since Open, or since DHCP is served to any guest.
func (e *Edge) Strays() Strays {
	s := Strays{Malformed: map[string]uint64{"arp": e.arp.Malformed(), "nd": e.nd.Invalid()}, DHCPAnswers: map[string]uint64{}}
	if e.dhcp != nil {
		n := e.dhcp.Stats()
		s.DHCPAnswers = map[string]uint64{dhcp.Unasked.String(): n.Unasked, dhcp.Stranger.String(): n.Strangers, dhcp.Astray.String(): n.Astray}
	}
	return s
}
