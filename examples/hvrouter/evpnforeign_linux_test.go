package main

import (
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/hyperfib/hyperfib/internal/testing/nstest"
)

// TestEVPNForeign: another program changes one thing of an overlay at a time.
func TestEVPNForeign(t *testing.T) {
	l := newOverlayLAN(t)
	one, two := l.hypervisor(1), l.hypervisor(2)
	vm1, vm2 := l.guest(1), l.guest(2)
	vm1.plug(one.hv)
	vm2.plug(two.hv)
	established(one)
	established(two)
	vm1.reaches(t, 2)
	overlayForeign(t, one, vm1)
	overlayDisplaced(t, one, vm2)
	overlayStranger(t, one, vm2)
	overlayFlooded(t, one)
	overlayTaken(t, one)
	vm1.reaches(t, 2)
}

// overlayTaken: a hypervisor on which an overlay's device cannot be made says so for as long as that lasts.
func overlayTaken(t *testing.T, h *host) {
	h.hv.IP("link set vx100 name vxother")
	h.healthIs("overlay vx100: vxlan: create device vx100: file exists", 2)
	h.hv.IP("link del vxother")
	h.healthIs("healthy", 0)
	const restored = "event=overlay-restored"
	before := strings.Count(h.logged(), restored)
	h.hv.IP("link del vx100")
	nstest.Wait(t, 10*time.Second, "the event of a device that was deleted", func() bool { return strings.Count(h.logged(), restored) > before })
	h.healthIs("healthy", 0)
	if strings.Contains(h.logged(), "vxlan: dump") {
		t.Error("a device that was deleted is an error of its entries")
	}
}

// healthIs waits until "show health" says want, and exits with code.
func (h *host) healthIs(want string, code int) {
	h.t.Helper()
	var out []byte
	defer func() {
		if h.t.Failed() {
			h.t.Logf("want %q in\n%s", want, out)
		}
	}()
	nstest.Wait(h.t, 30*time.Second, fmt.Sprint("health ", want), func() bool {
		cmd := h.command("show", "health", "-api", h.path("api.sock"))
		out, _ = cmd.Output()
		return cmd.ProcessState.ExitCode() == code && strings.Contains(string(out), want)
	})
}

// overlayForeign: what another program takes away, one thing alone, is put back, an event and counted.
func overlayForeign(t *testing.T, h *host, v *vm) {
	for _, test := range []struct{ does, reads, want, event, metric string }{
		{"fdb del " + v.mac() + " dev vm1.x master", "fdb get " + v.mac() + " br br100", "sticky", "forwarding entry " + v.mac() + " of vm1.x", `hvrouter_repairs_total{kind="forwarding"} 1`},
		{"link set dev vx100 neigh_suppress off", "-d link show dev vx100", "neigh_suppress on", "neigh_suppress of vx100", `hvrouter_repairs_total{kind="overlay"} 1`},
	} {
		read := func() string {
			out, _ := h.hv.Command("bridge", strings.Fields(test.reads)...).Output()
			return string(out)
		}
		nstest.Wait(t, 10*time.Second, test.reads+" before", func() bool { return strings.Contains(read(), test.want) })
		h.hv.Exec("bridge", strings.Fields(test.does)...)
		nstest.Wait(t, 10*time.Second, "the repair after "+test.does, func() bool {
			return strings.Contains(read(), test.want) && strings.Contains(h.logged(), `key="`+test.event+`"`) && strings.Contains(h.cli("metrics"), test.metric)
		})
	}
}

// overlayDisplaced: an entry of another program in the place of ours stays, and the hypervisor is not healthy until it is gone.
func overlayDisplaced(t *testing.T, h *host, other *vm) {
	for _, test := range []struct{ at, what, ours string }{
		{"dev vx100 dst 172.22.2.77 self", "forwarding " + other.mac() + " dev vx100: it is in the place of ours, dst 172.22.2.2", other.mac() + " dst 172.22.2.2 self extern_learn"},
		{"dev vm1.x master", "forwarding " + other.mac() + " dev vx100 master: it is in the place of ours", other.mac() + " extern_learn master br100"}, // the host takes its frames in
		{"dev vm1.x master static", "forwarding " + other.mac() + " dev vx100 master: it is in the place of ours", other.mac() + " extern_learn master br100"},
		{"dev vx100 master permanent", "forwarding " + other.mac() + " dev vx100 master: it is in the place of ours", other.mac() + " extern_learn master br100"},
		{"dev br100 self permanent", "forwarding " + other.mac() + " dev vx100 master: it is in the place of ours", other.mac() + " extern_learn master br100"},
	} {
		h.healthIs("healthy", 0)
		h.hv.Exec("bridge", append([]string{"fdb", "replace", other.mac()}, strings.Fields(test.at)...)...)
		h.healthIs(test.what, 1)
		if out := h.cli("metrics"); !strings.Contains(out, `hvrouter_foreign_objects{kind="forwarding"} 1`) {
			t.Errorf("%s is not counted:\n%s", test.at, out)
		}
		h.hv.Exec("bridge", append([]string{"fdb", "del", other.mac()}, strings.Fields(test.at)...)...)
		h.healthIs("healthy", 0)
		nstest.Wait(t, 30*time.Second, "ours back", func() bool {
			return strings.Contains(h.hv.Exec("bridge", "fdb", "show", "dev", "vx100"), test.ours)
		})
	}
}

// overlayFlooded: a destination of the flood list that another program has added, before a start of the daemon or while it
// runs, is named until it is gone.
func overlayFlooded(t *testing.T, h *host) {
	const his = "00:00:00:00:00:00 dev vx100 dst 172.22.2.77"
	h.hv.Exec("bridge", strings.Fields("fdb append "+his)...)
	h.healthIs("forwarding "+his, 1)
	explain := h.command("explain", "ff:ff:ff:ff:ff:ff", "vni", "100", "-api", h.path("api.sock"))
	if out, _ := explain.Output(); explain.ProcessState.ExitCode() != 1 || !strings.Contains(string(out), "to VTEP 172.22.2.77, which another program has put into the flood list") {
		t.Errorf("explain: exit %d\n%s", explain.ProcessState.ExitCode(), out)
	}
	h.kill(syscall.SIGKILL)
	h.run()
	h.healthIs("forwarding "+his, 1)
	h.hv.Exec("bridge", strings.Fields("fdb del "+his)...)
	h.healthIs("healthy", 0)
}

// overlayStranger: explain of an address whose neighbour another program has made says so first, and where both MACs are.
func overlayStranger(t *testing.T, h *host, other *vm) {
	h.hv.IP("neigh replace 192.168.5.2 lladdr 02:00:00:00:00:77 dev br100 nud noarp extern_learn protocol zebra")
	var out []byte
	defer func() {
		h.hv.IP("neigh del 192.168.5.2 dev br100")
		if t.Failed() {
			t.Logf("explain:\n%s", out)
		}
	}()
	nstest.Wait(t, 10*time.Second, "explain naming the stranger's neighbour", func() bool {
		cmd := h.command("explain", "192.168.5.2", "vni", "100", "-api", h.path("api.sock"))
		out, _ = cmd.Output()
		const want = "DIFFERENCE: neighbour 192.168.5.2 on br100 is at 02:00:00:00:00:77, want 02:00:00:00:00:02\nvx100: 192.168.5.2 is at 02:00:00:00:00:77 by the neighbours of br100\n"
		return cmd.ProcessState.ExitCode() == 1 && strings.HasPrefix(string(out), want) && strings.Count(string(out), "is at 02:00:00:00:00:77, want") == 1 &&
			strings.Contains(string(out), "frames for 02:00:00:00:00:77 are flooded") && strings.Contains(string(out), "frames for "+other.mac()+" go to vx100")
	})
}
