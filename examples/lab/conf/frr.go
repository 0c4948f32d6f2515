package conf

import (
	"fmt"
	"net/netip"

	"github.com/hyperfib/hyperfib/examples/lab/plan"
)

// domain is what a reflector process serves: its address and its clients, for
// each family.
type domain struct {
	id       netip.Addr
	families []served
}

type served struct {
	family  int
	local   netip.Addr
	clients netip.Prefix
	each    []netip.Addr // the clients one by one, for peers without ranges
}

func domainOf(f plan.Fabric, private bool) domain {
	if private {
		s := served{family: 4, local: plan.RRPrivate4(f), clients: plan.Private4(f)}
		for n := 1; n <= plan.HVs; n++ {
			s.each = append(s.each, plan.HVPrivate4(n, f))
		}
		return domain{plan.RRPrivate4(f), []served{s}}
	}
	four := served{4, plan.RRPublic4(f), plan.Public4(f), []netip.Addr{plan.EdgePublic4(f)}}
	six := served{6, plan.RRPublic6(f), plan.Public6(f), []netip.Addr{plan.EdgePublic6(f)}}
	for n := 1; n <= plan.HVs; n++ {
		four.each = append(four.each, plan.HVPublic4(n, f))
		six.each = append(six.each, plan.HVPublic6(n, f))
	}
	return domain{plan.RRPublic4(f), []served{four, six}}
}

// FrrBgpd is FRR's bgpd as a reflector: a table-map keeps what it reflects out of its own
// kernel. BFD needs zebra and bfdd beside it. Each client is named: when one of a listen
// range connects again before bgpd has done with its former session, bgpd 8.4.4 may end
// BFD with that, for as long as BGP is up. Quagga has neither BFD nor ADD-PATH nor IPv6.
func FrrBgpd(f plan.Fabric, private, quagga bool, t Timing) string {
	var w writer
	d := domainOf(f, private)
	if quagga {
		d.families = d.families[:1]
	}
	if quagga {
		w.comment("!", fmt.Sprintf(timersOnly, "hold time and the restart time"))
	} else {
		w.comment("!", keepsStale)
	}
	w.line("router bgp %d\n bgp router-id %s\n bgp cluster-id %s", plan.AS, d.id, d.id)
	w.line(" no bgp default ipv4-unicast\n no bgp network import-check\n bgp graceful-restart")
	for _, s := range d.families {
		w.line(" neighbor clients%d peer-group\n neighbor clients%d remote-as %d", s.family, s.family, plan.AS)
		w.line(" neighbor clients%d ttl-security hops 1\n neighbor clients%d passive", s.family, s.family)
		if !quagga {
			w.line(" neighbor clients%d bfd\n neighbor clients%d bfd profile lab", s.family, s.family)
		}
		for _, client := range s.each {
			w.line(" neighbor %s peer-group clients%d", client, s.family)
		}
	}
	for _, s := range d.families {
		w.line(" address-family ipv%d unicast", s.family)
		if !private || !t.EVPN() { // the next hops of EVPN are loopbacks: it reflects what it can reach
			w.line("  table-map none")
		}
		groups := []int{s.family}
		if s.family == 6 && len(hvCarries(t)) > 1 {
			groups = families
		}
		for _, g := range groups {
			w.line("  neighbor clients%d activate\n  neighbor clients%d route-reflector-client", g, g)
			if !quagga {
				w.line("  neighbor clients%d addpath-tx-all-paths", g)
			}
		}
		w.line(" exit-address-family")
	}
	if private && t.EVPN() {
		w.line(" address-family l2vpn evpn\n  neighbor clients4 activate\n  neighbor clients4 route-reflector-client\n exit-address-family")
	}
	w.line("exit\nroute-map none deny 10\nexit")
	return w.String()
}

// FrrBfdd is FRR's bfdd beside it; it also answers those who probe it.
func FrrBfdd(f plan.Fabric, private bool, t Timing) string {
	var w writer
	frrProfile(&w, t)
	for _, p := range probesOf(f, private, t) {
		w.line(" peer %s local-address %s interface %s\n  profile lab\n exit", p.peer, p.local, p.device)
	}
	w.line("exit")
	return w.String()
}

// frrProfile begins bfdd's configuration with the lab's times.
func frrProfile(w *writer, t Timing) {
	w.line("bfd\n profile lab\n  transmit-interval %d\n  receive-interval %d\n  detect-multiplier %d\n exit",
		t.BFD.Milliseconds(), t.BFD.Milliseconds(), t.Multiplier)
}
