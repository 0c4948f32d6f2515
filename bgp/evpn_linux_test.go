package bgp

import (
	"bytes"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hyperfib/hyperfib/bgp/evpn"
	"github.com/hyperfib/hyperfib/bgp/rib"
	"github.com/hyperfib/hyperfib/bgp/wire"
	"github.com/hyperfib/hyperfib/internal/testing/nstest"
)

const frrEVPN = `
router bgp 65000
 bgp router-id ROUTERID
 no bgp default ipv4-unicast
 bgp graceful-restart
 bgp graceful-restart preserve-fw-state
 neighbor 10.77.0.1 remote-as 65000
 neighbor 10.77.0.1 timers connect 1
 neighbor 10.77.0.1 timers delayopen 1
 address-family l2vpn evpn
  neighbor 10.77.0.1 activate
  advertise-all-vni
 exit-address-family
`

const gobgpEVPN = `
[[neighbors]]
 [neighbors.config]
  peer-as = 65000
  neighbor-address = "10.77.0.1"
 [neighbors.timers.config]
  connect-retry = 1
 [[neighbors.afi-safis]]
  [neighbors.afi-safis.config]
   afi-safi-name = "l2vpn-evpn"
`

// vtep gives a namespace a VXLAN device with VNI 100 in a bridge, and a guest's port.
func vtep(f *program, local string) {
	for _, c := range []string{
		"link add br100 type bridge",
		"link add vxlan100 type vxlan id 100 dstport 4789 local " + local + " nolearning",
		"link set vxlan100 master br100 up",
		"link set br100 up",
		"link add guest1 type veth peer name guest1p",
		"link set guest1 master br100 up",
		"link set guest1p up",
	} {
		f.ns.IP(c)
	}
}

// TestReflectEVPN reflects EVPN between FRR and GoBGP: types 1 to 5 arrive as they were sent, what is
// withdrawn goes, and FRR's routes outlive FRR. They are offered route target constraint, and do not take it.
func TestReflectEVPN(t *testing.T) {
	l := newLAN(t)
	r := startReal(t, l.hub, Config{GracefulRestart: GracefulRestart{Enabled: true}})
	clients(r, func(c *PeerConfig) {
		c.Families, c.AddPathSend, c.AddPathReceive, c.IPv6NextHop = []wire.Family{wire.L2VPNEVPN, wire.RTConstrain}, nil, nil, false
	})
	f := startFRR(l, 3, frrEVPN)
	vtep(f.program, "10.77.0.3")
	g := startGoBGP(l, 4, gobgpEVPN)
	r.waitState("10.77.0.3", Established)
	r.waitState("10.77.0.4", Established)

	// FRR's guest, and its end of the tunnel, at GoBGP.
	f.ns.Exec("bridge", "fdb", "replace", "52:54:00:00:00:01", "dev", "guest1", "master", "static", "sticky")
	f.ns.Exec("ip", "neigh", "replace", "192.0.2.1", "lladdr", "52:54:00:00:00:01", "dev", "br100", "nud", "permanent")
	ribOf := func() string { return g.gobgp("global", "rib", "-a", "evpn") }
	line := func(route string) string { // GoBGP's line of a route, without its age
		for s := range strings.Lines(ribOf()) {
			if strings.Contains(s, route) {
				w := strings.Fields(s)
				return strings.Join(w, " ")
			}
		}
		return ""
	}
	const guest = "[type:macadv][rd:10.77.0.3:2][etag:0][mac:52:54:00:00:00:01][ip:192.0.2.1]"
	waitText(t, "FRR's guest at GoBGP", guest, ribOf)
	waitText(t, "FRR's MAC address at GoBGP", "[mac:52:54:00:00:00:01][ip:<nil>]", ribOf)
	waitText(t, "FRR's end of the tunnel at GoBGP", "[type:multicast][rd:10.77.0.3:2][etag:0][ip:10.77.0.3]", ribOf)
	for route, want := range map[string][]string{
		guest:                               {"[100]", " 10.77.0.3 ", "[65000:100]", "[VXLAN]", "{Originator: 10.77.0.3}", "{ClusterList: [10.77.0.1]}", "[ESI: single-homed]"},
		"[mac:52:54:00:00:00:01][ip:<nil>]": {"[100]", " 10.77.0.3 ", "[mac-mobility: 0, sticky]"},
		"[type:multicast][rd:10.77.0.3:2]":  {" 10.77.0.3 ", "{Pmsi: type: ingress-repl, label: 100, tunnel-id: 10.77.0.3}"},
	} {
		for _, w := range want {
			if got := line(route); !strings.Contains(got, w) {
				t.Errorf("GoBGP has %s, without %s", got, w)
			}
		}
	}

	// GoBGP's routes at FRR, under the names that we have for them, and in FRR's kernel.
	for _, c := range []string{
		"macadv 52:54:00:00:00:09 192.0.2.9 etag 0 label 100 rd 10.77.0.4:2 rt 65000:100 encap vxlan",
		"macadv 52:54:00:00:00:0a 2001:db8::a etag 0 label 100 rd 10.77.0.4:2 rt 65000:100 encap vxlan",
		"macadv 52:54:00:00:00:0b 0.0.0.0 etag 0 label 100 rd 10.77.0.4:2 rt 65000:100 encap vxlan",
		"multicast 10.77.0.4 etag 0 rd 10.77.0.4:2 rt 65000:100 encap vxlan pmsi ingress-repl 100 10.77.0.4",
		"prefix 203.0.113.0/24 gw 0.0.0.0 etag 0 label 300 rd 10.77.0.4:3 rt 65000:300 encap vxlan router-mac 52:54:00:aa:bb:cc",
		"a-d esi LACP aa:bb:cc:dd:ee:ff 100 etag 0 label 100 rd 10.77.0.4:2 rt 65000:100 encap vxlan",
		"esi 10.77.0.4 esi LACP aa:bb:cc:dd:ee:ff 100 rd 10.77.0.4:4 rt 65000:100 encap vxlan",
	} {
		if out := g.gobgp(append(strings.Fields("global rib add -a evpn"), strings.Fields(c)...)...); strings.TrimSpace(out) != "" {
			t.Fatal(c, out)
		}
	}
	nstest.Wait(t, nstest.Patience, "GoBGP's routes in our table", func() bool { return len(routesFrom(r.Table(), "10.77.0.4")) == 7 })
	for _, x := range routesFrom(r.Table(), "10.77.0.4") {
		if x.Type != evpn.TypeEthernetAD { // FRR adds what is not in the NLRI to its name
			f.waitFor("GoBGP's route at FRR", "show bgp l2vpn evpn", x.String())
		}
	}
	f.waitFor("labels and targets at FRR", "show bgp l2vpn evpn route type macip", "RT:65000:100 ET:8")
	f.waitFor("the router's MAC at FRR", "show bgp l2vpn evpn route type prefix", "Rmac:52:54:00:aa:bb:cc")
	f.waitFor("GoBGP's segment at FRR", "show bgp l2vpn evpn route type es", "[4]:[01:aa:bb:cc:dd:ee:ff:00:64:00]:[32]:[10.77.0.4]")
	fdb := func() string { return f.ns.Exec("bridge", "fdb", "show", "dev", "vxlan100") }
	waitText(t, "GoBGP's guest in FRR's kernel", "52:54:00:00:00:09 dst 10.77.0.4", fdb)
	waitText(t, "GoBGP's tunnel in FRR's kernel", "00:00:00:00:00:00 dst 10.77.0.4", fdb)

	// What we send is what we have been sent, octet for octet.
	for _, to := range []string{"10.77.0.3", "10.77.0.4"} {
		from := map[string]string{"10.77.0.3": "10.77.0.4", "10.77.0.4": "10.77.0.3"}[to]
		sent := 0
		for _, a := range r.advertised(to, wire.L2VPNEVPN) {
			p := r.Table().LookupEVPN(a.Key)
			if len(p) != 1 || p[0].Peer.String() != from || !bytes.Equal(a.Attrs.EVPN(a.Key).Octets, p[0].Attrs.EVPN(a.Key).Octets) || a.Attrs.NextHop() != p[0].NextHop {
				t.Errorf("to %s: %x of %+v", to, a.Attrs.EVPN(a.Key).Octets, p)
			}
			sent++
		}
		if want := len(routesFrom(r.Table(), from)); sent != want || want == 0 {
			t.Errorf("%d of %d routes went to %s", sent, want, to)
		}
	}

	// Withdrawals.
	g.gobgp(strings.Fields("global rib del -a evpn macadv 52:54:00:00:00:09 192.0.2.9 etag 0 label 100 rd 10.77.0.4:2 rt 65000:100 encap vxlan")...)
	nstest.Wait(t, nstest.Patience, "FRR without GoBGP's guest", func() bool {
		return !strings.Contains(fdb(), "52:54:00:00:00:09") && !strings.Contains(f.vtysh("show bgp l2vpn evpn"), "52:54:00:00:00:09")
	})
	f.ns.Exec("ip", "neigh", "del", "192.0.2.1", "dev", "br100")
	nstest.Wait(t, nstest.Patience, "GoBGP without FRR's address", func() bool { return line(guest) == "" })
	if line("[mac:52:54:00:00:00:01][ip:<nil>]") == "" {
		t.Error("the MAC address is gone with the IP address")
	}

	// FRR is killed, and is back: nobody hears that its routes were gone.
	w := r.Table().Watch(rib.WatchConfig{Families: wire.Families(wire.L2VPNEVPN)})
	defer w.Close()
	had := routesFrom(r.Table(), "10.77.0.3")
	key := PeerKey{Addr: netip.MustParseAddr("10.77.0.3")}
	phase := func(want RestartStatus) {
		t.Helper()
		nstest.Wait(t, 30*time.Second, "phase "+want.String(), func() bool {
			st, err := r.Peer(key)
			return err == nil && st.Restart == want
		})
	}
	f.kill()
	phase(RestartWaiting)
	for range had {
		if line("[type:multicast][rd:10.77.0.3:2]") == "" {
			t.Error("GoBGP has lost a route of FRR")
		}
	}
	f.start()
	r.waitState("10.77.0.3", Established)
	phase(RestartNone)
	f.waitFor("GoBGP's routes at FRR again", "show bgp l2vpn evpn", "52:54:00:00:00:0b")
	waitText(t, "FRR's MAC address at GoBGP again", "[mac:52:54:00:00:00:01][ip:<nil>]", ribOf)
	changes := make([]rib.Change, 64)
	for n := w.Next(changes); n > 0; n = w.Next(changes) {
		for _, c := range changes[:n] {
			if !c.Converged && len(c.Paths) == 0 {
				t.Errorf("the route %x was gone", c.Key)
			}
		}
	}
	if now := routesFrom(r.Table(), "10.77.0.3"); len(now) != len(had) {
		t.Errorf("FRR had %v, now %v", had, now)
	}
}

// routesFrom returns the EVPN routes of a peer that are in a table.
func routesFrom(t *rib.Table, peer string) (list []*evpn.Route) {
	for c := range t.All(wire.L2VPNEVPN) {
		for _, p := range c.Paths {
			if p.Peer.String() != peer {
				continue
			}
			r, err := evpn.Parse(p.Attrs.EVPN(c.Key).Octets)
			if err != nil {
				panic(err)
			}
			list = append(list, &r)
		}
	}
	return list
}

// advertised returns what a peer is sent of a family.
func (r *real) advertised(addr string, f wire.Family) (list []rib.Advert) {
	r.tb.Helper()
	all, err := r.AllAdvertised(PeerKey{Addr: netip.MustParseAddr(addr)}, f)
	if err != nil {
		r.tb.Fatal(err)
	}
	return slices.Collect(all)
}
