package main

import (
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/hyperfib/hyperfib/examples/hvrouter/api"
	"github.com/hyperfib/hyperfib/internal/testing/nstest"
)

// TestGuestMoveStays: a guest of the file that is moved away stays away, over reloads of every kind and kill -9, although it
// is still here: the target keeps its MAC and its address. There the file has it down, and what was said stays as well.
func TestGuestMoveStays(t *testing.T) {
	l := newOverlayLAN(t)
	source, target, other := l.hypervisor(1), l.hypervisor(2), l.hypervisor(3)
	config := func(h *host, no int, guests string) {
		head, _, _ := strings.Cut(strings.ReplaceAll(evpnConfig, "NO", fmt.Sprint(no)), "guests:\n  -")
		h.write("hv.yaml", head+"guests:\n"+guests)
	}
	const vm1 = `  - {name: NAME, interface: vm1, ipv4: [203.0.113.1], down: DOWN, overlays: [{overlay: vx100, interface: vm1.x, mac: "02:00:00:00:00:01", ipv4: [192.168.5.1], ipv6: ["2001:db8:5::1"]}]}` + "\n"
	const vm9 = "  - {name: vm9, ipv4: [203.0.113.9]}\n"
	is := func(name, down string) string { return strings.NewReplacer("NAME", name, "DOWN", down).Replace(vm1) }
	config(source, 1, is("vm1", "false"))
	config(target, 2, is("dup", "true"))
	before, after := l.guest(1), l.guest(1)
	for h, v := range map[*host]*vm{source: before, target: after} {
		v.plug(h.hv)
		h.hv.IP("link add name vm1 type veth peer name eth1 netns " + v.Name)
		v.IP("link set eth1 up")
	}
	for _, h := range []*host{source, target, other} {
		established(h)
	}
	source.cli("reload")
	target.cli("reload")
	at := func(no int) func() bool {
		fdb, via := fmt.Sprintf("02:00:00:00:00:01 dst 172.22.2.%d self extern_learn static", no), fmt.Sprintf("203.0.113.1 via 172.22.15.%d ", no)
		return func() bool {
			all := strings.Join(entries(other.hv, "vx100", "br100"), "\n")
			return strings.Count(all, "02:00:00:00:00:01 dst") == 1 && strings.Contains(all, fdb) && strings.HasPrefix(other.routes("route show table 20 203.0.113.1"), via)
		}
	}
	other.wait("the guest is the source's", at(1))

	source.cli("guest", "move", "vm1", "-down")
	target.cli("guest", "move", "dup", "-up")
	other.wait("the guest is the target's", at(2))
	gone := other.hv.Command("ip", "monitor", "route")
	var changes strings.Builder
	gone.Stdout = &changes
	if err := gone.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { gone.Process.Kill(); gone.Wait() }()
	claims := strings.Count(source.logged(), "event=evpn-claimed")
	down := func(h *host, name string) (g api.Guest) {
		t.Helper()
		var all []api.Guest
		if err := h.ask("/v1/guests", &all); err != nil {
			t.Fatal(err)
		}
		for _, g := range all {
			if g.Name == name {
				return g
			}
		}
		t.Fatalf("there is no %s", name)
		return g
	}
	still := func(when string) {
		t.Helper()
		time.Sleep(300 * time.Millisecond) // longer than a route of the source takes
		if g := down(source, "vm1"); !g.Down || g.DownBy != "guest move" || g.Moved.IsZero() {
			t.Errorf("%s: source: down %v by %s since %v", when, g.Down, g.DownBy, g.Moved)
		}
		if g := down(target, "dup"); g.Down || g.Moved.IsZero() {
			t.Errorf("%s: target: down %v by %s", when, g.Down, g.DownBy)
		}
		if !at(2)() {
			t.Errorf("%s: the guest is not the target's: %q, %s", when, entries(other.hv, "vx100", "br100"), other.routes("route show table 20"))
		}
		if n := strings.Count(source.logged(), "event=evpn-claimed"); n != claims {
			t.Errorf("%s: the source has taken the MAC", when)
		}
	}
	still("moved")
	if out := source.cli("show", "guests"); !strings.Contains(out, "down by guest move, ") {
		t.Errorf("show guests: %s", out)
	}
	if out := source.cli("show", "health"); !strings.Contains(out, "moved-down") {
		t.Errorf("health: %s", out)
	}
	stays := "guest vm1: `guest move -down`, since "
	for _, command := range [][]string{{"diff", source.path("hv.yaml")}, {"reload", "-dry-run"}, {"reload"}} {
		if out := source.cli(command...); !strings.HasPrefix(out, stays) || !strings.HasSuffix(out, ", stays\n") {
			t.Errorf("%v: %q", command, out)
		}
	}
	target.cli("reload")
	still("reload")
	for _, h := range []*host{source, target} {
		n := strings.Count(h.logged(), "event=reloaded")
		h.cmd.Process.Signal(syscall.SIGHUP)
		h.wait("SIGHUP", func() bool { return strings.Count(h.logged(), "event=reloaded") > n })
	}
	still("SIGHUP")

	// A reload that has no such guest, and is rolled back.
	config(source, 1, vm9)
	if out := source.cli("reload", "-confirm", "1m", source.path("hv.yaml")); !strings.Contains(out, ": the file has no such guest") {
		t.Errorf("reload -confirm: %s", out)
	}
	source.cli("reload", "cancel")
	config(source, 1, is("vm1", "false"))
	still("rolled back")
	config(source, 1, is("vm1", "false")+vm9)
	source.cli("reload", "-confirm", "1m")
	source.cli("reload", "confirm")
	still("confirmed")

	again := func(h *host, s syscall.Signal) {
		t.Helper()
		n := strings.Count(h.logged(), "event=swept")
		h.kill(s)
		h.run()
		established(h)
		nstest.Wait(t, 60*time.Second, "the sweep", func() bool { return strings.Count(h.logged(), "event=swept") > n })
	}
	again(source, syscall.SIGKILL)
	still("kill -9 of the source")
	again(target, syscall.SIGKILL)
	still("kill -9 of the target")
	again(source, syscall.SIGTERM)
	still("restart")
	if s := changes.String(); strings.Contains(s, "203.0.113.1 ") {
		t.Errorf("routes of others have changed:\n%s", s)
	}

	// The file says where the guest is now: that counts, and goes on to.
	config(source, 1, is("vm1", "true"))
	if out := source.cli("reload"); !strings.Contains(out, stays) || !strings.Contains(out, "ends: the file says something else by now") {
		t.Errorf("reload: %s", out)
	}
	if g := down(source, "vm1"); !g.Down || g.DownBy != "config" || !g.Moved.IsZero() {
		t.Errorf("by the file: down %v by %s since %v", g.Down, g.DownBy, g.Moved)
	}
	config(source, 1, is("vm1", "false"))
	source.cli("reload")
	if g := down(source, "vm1"); g.Down {
		t.Error("the file has it up")
	}
}
