package edge

import (
	"context"
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/hyperfib/hyperfib/examples/hvrouter/config"
	"github.com/hyperfib/hyperfib/examples/hvrouter/overlay"
	"github.com/hyperfib/hyperfib/fib"
	"github.com/hyperfib/hyperfib/internal/testing/nstest"
)

const keptConfig = `
edge: {gateway4: 203.0.113.254}
overlays: [{name: vx7, vni: 7, bridge: br7, local: 172.22.2.1, peers: [172.22.2.2]}, {name: vx8, vni: 8, bridge: br8, local: 172.22.2.1, peers: [172.22.2.2]}]
guests: [{name: vm1, mac: "50:54:33:00:00:07", ipv4: [203.0.113.1]}]
`

// keptTest is an overlay with EVPN and a guest, and one without, that stand.
func keptTest(t *testing.T) *edgeTest {
	c := parse(t, keptConfig)
	c.Overlays[0].EVPN, c.Overlays[0].Peers = &config.EVPN{}, nil
	e := newEdgeTest(t, c)
	e.hv.IP("addr add 172.22.2.1/32 dev lo")
	for _, port := range []string{"vm1.vx", "vm2.vx"} {
		e.hv.IP("link add " + port + " type veth peer name " + port + "p")
		e.hv.IP("link set " + port + "p up")
	}
	d := &overlay.Desired{Settled: true, Ports: map[overlay.MAC]string{{2, 5: 1}: "vm1.vx"}}
	stand := e.Overlays(c, func(name string) (fib.Link, bool) {
		if e.hv.Command("ip", "link", "show", name).Run() != nil {
			return fib.Link{}, false
		}
		return fib.Link{IfIndex: index(e.hv, name).Index, Interface: name}, true
	}, nil, func(name string) Content {
		if name == "vx7" {
			return Content{Ports: []string{"vm1.vx", "vm2.vx"}, EVPN: d}
		}
		return Content{}
	})
	if want := map[string]error{"vx7": nil, "vx8": nil}; !maps.Equal(stand, want) {
		t.Fatalf("how the overlays stand: %v", stand)
	}
	return e
}

func (e *edgeTest) repaired(_ context.Context, r Repair) {
	e.note(strings.TrimSpace(fmt.Sprint("repair ", r.Kind, " ", r.Op, " ", r.Key, " ", r.Difference)))
}

// foreign are changes by another program, each of one thing, and the repair that it is to have.
var foreign = []struct{ does, reads, want, repair string }{
	{"bridge fdb del 02:00:00:00:00:01 dev vm1.vx master", "bridge fdb get 02:00:00:00:00:01 br br7", "dev vm1.vx sticky master br7 static", "forwarding add forwarding entry 02:00:00:00:00:01 of vm1.vx"},
	{"bridge fdb replace 02:00:00:00:00:01 dev vx7 master static", "bridge fdb get 02:00:00:00:00:01 br br7", "dev vm1.vx sticky master br7 static", "forwarding replace forwarding entry 02:00:00:00:00:01 of vm1.vx"},
	{"bridge fdb replace 02:00:00:00:00:01 dev vm2.vx master", "bridge fdb get 02:00:00:00:00:01 br br7", "dev vm1.vx sticky master br7 static", "forwarding replace forwarding entry 02:00:00:00:00:01 of vm1.vx"},
	{"ip link set br7 arp off", "ip link show br7", "!NOARP", "overlay set arp of br7"},
	{"ip link set br8 arp on", "ip link show br8", "NOARP", "overlay set arp of br8"},
	{"ip link set br7 address 02:00:00:00:00:99", "ip link show br7", "!02:00:00:00:00:99", "overlay set address of br7"},
	{"ip link set br7 type bridge mcast_snooping 1", "ip -d link show br7", "mcast_snooping 0 ", "overlay set mcast_snooping of br7"},
	{"bridge link set dev vx7 learning on", "bridge -d link show dev vx7", "learning off", "overlay set learning of vx7"},
	{"bridge link set dev vx8 learning off", "bridge -d link show dev vx8", "learning on", "overlay set learning of vx8"},
	{"bridge link set dev vm1.vx learning on", "bridge -d link show dev vm1.vx", "learning off", "overlay set learning of vm1.vx"},
	{"ip link set dev vx7 type bridge_slave learning on", "bridge -d link show dev vx7", "learning off", "overlay set learning of vx7"},
	{"bridge link set dev vx7 neigh_suppress off", "bridge -d link show dev vx7", "neigh_suppress on", "overlay set neigh_suppress of vx7"},
	{"bridge link set dev vx7 isolated on", "bridge -d link show dev vx7", "isolated off", "overlay set isolated of vx7"},
	{"bridge link set dev vx7 flood off", "bridge -d link show dev vx7", " flood on", "overlay set flood of vx7"},
	{"bridge link set dev vx7 mcast_flood off", "bridge -d link show dev vx7", "mcast_flood on", "overlay set mcast_flood of vx7"},
	{"bridge link set dev vx7 bcast_flood off", "bridge -d link show dev vx7", "bcast_flood on", "overlay set bcast_flood of vx7"},
	{"bridge link set dev vx7 locked on", "bridge -d link show dev vx7", "locked off", "overlay set locked of vx7"},
	{"bridge link set dev vx7 state 0", "bridge -d link show dev vx7", "state forwarding", "overlay set state of vx7"},
	{"bridge link set dev vm2.vx state 0", "bridge -d link show dev vm2.vx", "!state blocking", "overlay set state of vm2.vx"},
	{"ip link set br7 mtu 1300", "ip link show br7", "mtu 1500", "overlay set mtu of br7"}, // from now on it does not follow that of its ports (BROPT_MTU_SET_BY_USER)
	{"ip link set vx7 mtu 1300", "ip link show vx7", "mtu 1500", "overlay set mtu of vx7"},
	{"ip link set vx7 address 02:00:00:00:00:99", "ip link show vx7", "!02:00:00:00:00:99", "overlay set address of vx7"},
	{"ip link set vx7 type vxlan local 172.22.2.9", "ip -d link show vx7", "local 172.22.2.1 ", "overlay set local of vx7"},
	{"ip link set vx7 type vxlan ttl 1", "ip -d link show vx7", "ttl 255", "overlay set ttl of vx7"},
	{"ip link set vx8 type vxlan nolearning", "ip -d link show vx8", "!nolearning", "overlay set learning of VTEPs of vx8"},
}

// has waits until a command says, or with ! does not say, what is wanted.
func (e *edgeTest) has(command, want string) {
	e.t.Helper()
	not := strings.HasPrefix(want, "!")
	var out string
	defer func() {
		if e.t.Failed() {
			e.t.Logf("%s: want %q in\n%s", command, want, out)
		}
	}()
	words := strings.Fields(command)
	nstest.Wait(e.t, 20*time.Second, command+": "+want, func() bool {
		b, _ := e.hv.Command(words[0], words[1:]...).Output()
		out = string(b)
		return out != "" && strings.Contains(out, strings.TrimPrefix(want, "!")) != not
	})
}

// TestOverlayKept: what another program changes of an overlay, one thing at a time, is put back because the kernel notifies
// it, and nothing else is.
func TestOverlayKept(t *testing.T) {
	e := keptTest(t)
	expected := map[string]int{}
	for _, f := range foreign {
		e.has(f.reads, f.want)
		words := strings.Fields(f.does)
		e.hv.Exec(words[0], words[1:]...)
		expected["repair "+f.repair]++
		nstest.Wait(t, 20*time.Second, "the repair after "+f.does, func() bool {
			e.mu.Lock()
			defer e.mu.Unlock()
			return e.heard["repair "+f.repair] >= expected["repair "+f.repair]
		})
		e.has(f.reads, f.want)
	}
	br8 := index(e.hv, "br8").Index // of its bound older tools know nothing
	if err := e.links.set(br8, settings{learnsAtMost: {low: 7}}); err != nil {
		t.Fatal(err)
	}
	expected["repair overlay set fdb_max_learned of br8"]++
	nstest.Wait(t, 20*time.Second, "the bound back", func() bool {
		l, err := e.links.read(br8)
		return err == nil && l.settings[learnsAtMost].low == mostLearned
	})
	nstest.Wait(t, 20*time.Second, "its repair", func() bool {
		e.mu.Lock()
		defer e.mu.Unlock()
		return e.heard["repair overlay set fdb_max_learned of br8"] == 1
	})
	// A port that leaves its bridge and is back has lost everything.
	e.hv.IP("link set vm1.vx nomaster")
	e.hv.IP("link set vm1.vx master br7")
	e.has("bridge fdb get 02:00:00:00:00:01 br br7", "dev vm1.vx sticky master br7 static")
	e.has("bridge -d link show dev vm1.vx", "learning off")
	e.mu.Lock()
	defer e.mu.Unlock()
	for what, n := range e.heard {
		if strings.HasPrefix(what, "repair ") && n != expected[what] && !strings.HasSuffix(what, "vm1.vx") {
			t.Errorf("%d times %s, want %d", n, what, expected[what])
		}
	}
}

// TestOverlayAudited: what the kernel does not notify is found by reading it again, and is a difference.
func TestOverlayAudited(t *testing.T) {
	e := keptTest(t)
	for _, group := range []uint32{unix.RTNLGRP_LINK, unix.RTNLGRP_NEIGH} {
		if err := e.kept.monitor.LeaveGroup(group); err != nil {
			t.Fatal(err)
		}
	}
	e.has("bridge fdb get 02:00:00:00:00:01 br br7", "dev vm1.vx sticky")
	for _, f := range []struct{ does, reads, want, repair string }{
		{"bridge fdb del 02:00:00:00:00:01 dev vm1.vx master", "bridge fdb get 02:00:00:00:00:01 br br7", "dev vm1.vx sticky", "forwarding add forwarding entry 02:00:00:00:00:01 of vm1.vx missing"},
		{"bridge fdb replace 02:00:00:00:00:01 dev vx7 master static", "bridge fdb get 02:00:00:00:00:01 br br7", "dev vm1.vx sticky", "forwarding replace forwarding entry 02:00:00:00:00:01 of vm1.vx changed"},
		{"bridge link set dev vx7 isolated on", "bridge -d link show dev vx7", "isolated off", "overlay set isolated of vx7 changed"},
		{"ip link set br7 arp off", "ip link show br7", "!NOARP", "overlay set arp of br7 changed"},
	} {
		e.hears("repair "+f.repair, func() {
			words := strings.Fields(f.does)
			_ = e.hv.Command(words[0], words[1:]...).Run()
		})
		e.has(f.reads, f.want)
	}
}
