package bgp

import (
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hyperfib/hyperfib/bgp/bgptest"
	"github.com/hyperfib/hyperfib/bgp/evpn"
	"github.com/hyperfib/hyperfib/bgp/rib"
	"github.com/hyperfib/hyperfib/bgp/wire"
)

// guestRoute is the MAC/IP route of guest i, with a route target.
func guestRoute(tb testing.TB, i int, target wire.ExtCommunity) rib.LocalPath {
	tb.Helper()
	r := evpn.Route{Type: evpn.TypeMACIP, MAC: evpn.MAC{2, 0, 0, 0, 0, byte(i)}, Label: 100}
	octets, err := r.AppendBinary(nil)
	if err != nil {
		tb.Fatal(err)
	}
	return rib.LocalPath{EVPN: octets, Attrs: wire.PathAttrs{ExtCommunities: []wire.ExtCommunity{target}}}
}

// guests returns the guests whose routes a speaker has from others.
func (n *node) guests() string {
	var list []string
	for c := range n.Table().All(wire.L2VPNEVPN) {
		for _, p := range c.Paths {
			if !p.Local {
				r, err := evpn.Parse(p.Attrs.EVPN(c.Key).Octets)
				if err != nil {
					n.t.Fatal(err)
				}
				list = append(list, fmt.Sprint(r.MAC[5]))
			}
		}
	}
	slices.Sort(list)
	return strings.Join(list, " ")
}

// TestRouteTargetConstraint: through a reflector, a client gets the routes that it wants, as long as it wants them,
// also after it has restarted.
func TestRouteTargetConstraint(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const red, green = wire.ExtCommunity(0x0002fde800000064), wire.ExtCommunity(0x0002fde8000000c8)
		fams := []wire.Family{wire.L2VPNEVPN, wire.RTConstrain}
		gr := GracefulRestart{Enabled: true}
		n := &bgptest.Network{}
		hub, from := run(t, n, addr1, Config{GracefulRestart: gr}), run(t, n, addr2, Config{GracefulRestart: gr})
		all := wire.Membership{}
		if err := hub.Table().Originate(rib.LocalPath{Membership: &all}); err != nil {
			t.Fatal(err)
		}
		for _, addr := range []netip.Addr{addr2, addr3} {
			hub.peer(PeerConfig{Addr: addr, Passive: true, RouteReflectorClient: true, Families: fams})
		}
		from.peer(PeerConfig{Addr: addr1, Families: fams})
		for i, target := range []wire.ExtCommunity{red, green, red} {
			if err := from.Table().Originate(guestRoute(t, i+1, target)); err != nil {
				t.Fatal(err)
			}
		}
		client := run(t, n, addr3, Config{GracefulRestart: gr})
		wants := wire.NewMembership(65000, red)
		if err := client.Table().Originate(rib.LocalPath{Membership: &wants}); err != nil {
			t.Fatal(err)
		}
		client.peer(PeerConfig{Addr: addr1, Families: fams})
		settle(5 * time.Second)
		if got := hub.guests(); got != "1 2 3" {
			t.Errorf("the reflector has %q", got)
		}
		if got := client.guests(); got != "1 3" {
			t.Errorf("the client has %q", got)
		}
		if got := from.guests(); got != "" {
			t.Errorf("who wants nothing has %q", got)
		}
		also := wire.NewMembership(65000, green)
		if err := client.Table().Originate(rib.LocalPath{Membership: &also}); err != nil {
			t.Fatal(err)
		}
		client.Table().WithdrawMembership(wants, 0)
		settle(5 * time.Second)
		if got := client.guests(); got != "2" {
			t.Errorf("with another tenant the client has %q", got)
		}
		n.Reset(everybody, everybody)
		settle(time.Minute)
		if got := client.guests() + ", " + hub.guests(); got != "2, 1 2 3" {
			t.Errorf("after a reset client and reflector have %q", got)
		}
	})
}

// TestMembershipWait: a peer that does not say that it has said all that it wants is waited for, and then gets what
// it has said that it wants.
func TestMembershipWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const red = wire.ExtCommunity(0x0002fde800000064)
		n := &bgptest.Network{}
		a := run(t, n, addr1, Config{})
		a.peer(PeerConfig{Addr: addr2, Passive: true, RouteReflectorClient: true, Families: []wire.Family{wire.L2VPNEVPN, wire.RTConstrain}})
		for i, target := range []wire.ExtCommunity{red, red + 1} {
			if err := a.Table().Originate(guestRoute(t, i+1, target)); err != nil {
				t.Fatal(err)
			}
		}
		conn, err := n.Dialer(addr2)(t.Context(), netip.AddrPort{}, netip.AddrPortFrom(addr1, Port))
		if err != nil {
			t.Fatal(err)
		}
		go func() { _, _ = io.Copy(io.Discard, conn) }()
		defer conn.Close()
		send := func(b []byte) {
			t.Helper()
			if _, err := conn.Write(b); err != nil {
				t.Fatal(err)
			}
		}
		o := wire.Open{AS: 65000, HoldTime: 90 * time.Second, ID: addr2, Capabilities: wire.Capabilities{Families: []wire.Family{wire.L2VPNEVPN, wire.RTConstrain}, AS4: true}}
		send(o.Append(nil))
		send(wire.AppendKeepalive(nil))
		settle(time.Second)
		build := wire.Builder{AS4: true}
		build.Reach(nil, wire.RTConstrain, (&wire.PathAttrs{}).Append(nil), wire.NextHop{Addr: addr2})
		build.AddKeyed(wire.NewMembership(65000, red).AppendKey(nil), nil, 0)
		send(build.Finish())
		sent := func() uint64 {
			var k uint64
			all, err := a.AllAdvertised(key2, wire.L2VPNEVPN)
			if err != nil {
				t.Fatal(err)
			}
			for range all {
				k++
			}
			return k
		}
		for range 3 {
			settle(19 * time.Second)
			send(wire.AppendKeepalive(nil))
			if k := sent(); k != 0 {
				t.Fatalf("%d routes sent before it was time", k)
			}
		}
		settle(5 * time.Second)
		if k := sent(); k != 1 {
			t.Errorf("%d routes sent", k)
		}
	})
}

// TestMembershipsComplete: a router that has restarted says what it wants, and that this is all, before it has anything
// else to say and while it waits for its peer, which may wait for that. It sends what it originates whatever the peer asks
// for, and waits for the routes of the peer alone.
func TestMembershipsComplete(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const red = wire.ExtCommunity(0x0002fde800000064)
		fams := []wire.Family{wire.L2VPNEVPN, wire.RTConstrain}
		n := &bgptest.Network{}
		a := run(t, n, addr1, Config{GracefulRestart: GracefulRestart{Enabled: true, Restarting: true, ForwardingPreserved: true}})
		if err := a.Table().Originate(guestRoute(t, 1, red)); err != nil {
			t.Fatal(err)
		}
		wants := wire.NewMembership(65000, red)
		if err := a.Table().Originate(rib.LocalPath{Membership: &wants}); err != nil {
			t.Fatal(err)
		}
		a.peer(PeerConfig{Addr: addr2, Passive: true, Families: fams, IgnoreMemberships: true})
		conn, err := n.Dialer(addr2)(t.Context(), netip.AddrPort{}, netip.AddrPortFrom(addr1, Port))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		var mu sync.Mutex
		var heard []string
		go func() {
			for {
				header := make([]byte, wire.HeaderLen)
				if _, err := io.ReadFull(conn, header); err != nil {
					return
				}
				body := make([]byte, int(header[16])<<8+int(header[17])-wire.HeaderLen)
				if _, err := io.ReadFull(conn, body); err != nil {
					return
				}
				if header[18] != byte(wire.TypeUpdate) {
					continue
				}
				u, err := wire.ParseUpdate(body, wire.Options{AS4: true, IBGP: true})
				word := fmt.Sprint(u.MPReach.Family, err)
				if f, ok := u.EndOfRIB(); ok {
					word = fmt.Sprintf("End-of-RIB %v", f)
				} else if err == nil {
					word = u.MPReach.Family.String()
				}
				mu.Lock()
				heard = append(heard, word)
				mu.Unlock()
			}
		}()
		send := func(b []byte) {
			t.Helper()
			if _, err := conn.Write(b); err != nil {
				t.Fatal(err)
			}
		}
		expect := func(what string, want ...string) {
			t.Helper()
			settle(time.Second)
			mu.Lock()
			defer mu.Unlock()
			if !slices.Equal(heard, want) {
				t.Errorf("%s: heard %q, want %q", what, heard, want)
			}
			heard = nil
		}
		o := wire.Open{AS: 65000, HoldTime: 90 * time.Second, ID: addr2, Capabilities: wire.Capabilities{Families: fams, AS4: true,
			GracefulRestart: &wire.GracefulRestart{Time: time.Minute}}}
		send(o.Append(nil))
		send(wire.AppendKeepalive(nil))
		expect("with the session", "rt-constrain", "evpn")
		a.MembershipsComplete()
		a.MembershipsComplete()
		expect("with all memberships", "End-of-RIB rt-constrain")
		if !a.Restarting() {
			t.Error("it waits no more")
		}
		send(wire.AppendEndOfRIB(nil, wire.L2VPNEVPN))
		expect("what the peer asks for is not waited for")
		if a.Restarting() {
			t.Error("it still waits")
		}
		a.InventoryComplete()
		expect("with everything", "End-of-RIB evpn")
	})
}
