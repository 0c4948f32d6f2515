package vxlan

import (
	"errors"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/hyperfib/hyperfib/internal/testing/nstest"
)

// A foreign entry that came in since the last look is not taken over.
func TestForeignCameIn(t *testing.T) {
	ns, f := host(t)
	link := ensure(t, f, vx100)
	f.SetMAC(link, macOf(t, "02:00:00:00:00:01"), addrOf("172.22.2.2"))
	flush(t, f, Result{Added: 1}) // now the table has been read
	bridge(ns, "fdb add 02:00:00:00:00:99 dev vx100 dst 172.22.2.9")
	f.SetMAC(link, macOf(t, "02:00:00:00:00:99"), addrOf("172.22.2.2"))
	if _, err := f.Flush(t.Context()); !errors.Is(err, ErrForeign) || !errors.Is(err, unix.EEXIST) {
		t.Error(err)
	}
}

// TestForeignFlood: what another program adds to a flood list is left alone, and named until it is gone. The kernel takes our mark
// from the whole list for it: ours stays ours.
func TestForeignFlood(t *testing.T) {
	ns, f := host(t)
	link := ensure(t, f, vx100)
	ours, his, early := addrOf("172.22.2.2"), addrOf("172.22.2.9"), addrOf("172.22.2.8")
	bridge(ns, "fdb append 00:00:00:00:00:00 dev vx100 dst 172.22.2.8")
	f.SetFlood(link, []netip.Addr{ours})
	flush(t, f, Result{Added: 1, Foreign: 1})
	is := func(want ...netip.Addr) func() bool {
		return func() bool {
			var got []netip.Addr
			for _, e := range f.Foreign() {
				if e.IfIndex != link || !e.MAC.IsZero() {
					t.Errorf("%v", e)
				}
				got = append(got, e.VTEP)
			}
			return slices.Equal(got, want)
		}
	}
	if !is(early)() {
		t.Errorf("with one that was there before: %v", f.Foreign())
	}
	bridge(ns, "fdb append 00:00:00:00:00:00 dev vx100 dst 172.22.2.9")
	nstest.Wait(t, 5*time.Second, "both", is(early, his))
	reconcile(t, f, Result{Kept: 1, Foreign: 2})
	if !is(early, his)() {
		t.Errorf("after a comparison: %v", f.Foreign())
	}
	bridge(ns, "fdb del 00:00:00:00:00:00 dev vx100 dst 172.22.2.8")
	nstest.Wait(t, 5*time.Second, "the other alone", is(his))
	f.SetFlood(link, nil)
	flush(t, f, Result{Deleted: 1})
	f.SetFlood(link, []netip.Addr{his})
	if !is()() {
		t.Errorf("once it is wanted: %v", f.Foreign())
	}
}

// The kernel has been asked to send to an address, and has an entry of that which nobody is told of: it is no foreign one. One that an
// operator has made meanwhile is.
func TestNeighborCameIn(t *testing.T) {
	ns, f := host(t)
	ns.IP("link add name br0 type bridge")
	ns.IP("addr add 192.168.5.254/24 dev br0")
	ns.IP("addr add 2001:db8:5::fe/64 dev br0 nodad")
	for _, family := range []string{"ipv4", "ipv6"} {
		ns.Sysctl("net/"+family+"/neigh/br0/mcast_solicit", "0")
	}
	ns.IP("link set br0 up")
	link, err := strconv.Atoi(strings.TrimSpace(ns.Exec("cat", "/sys/class/net/br0/ifindex")))
	if err != nil {
		t.Fatal(err)
	}
	m := macOf(t, "02:00:00:00:00:01")
	if err := f.SetNeighbor(link, addrOf("192.168.5.9"), m); err != nil {
		t.Fatal(err)
	}
	flush(t, f, Result{Added: 1}) // now the table has been read
	for _, a := range []string{"192.168.5.1", "2001:db8:5::1"} {
		ns.Command("ping", "-n", "-c", "1", "-W", "0.1", a).Run()
		if out := ns.IP("neigh show " + a); !strings.Contains(out, "FAILED") {
			t.Fatalf("%s: %s", a, out)
		}
		if err := f.SetNeighbor(link, addrOf(a), m); err != nil {
			t.Fatal(err)
		}
	}
	flush(t, f, Result{Added: 2})
	if out := ns.IP("neigh show dev br0 nud noarp"); strings.Count(out, m.String()) != 3 {
		t.Error(out)
	}
}

// What the kernel says in words reaches the caller, for entries and for devices.
func TestKernelText(t *testing.T) {
	ns, f := host(t)
	link := ensure(t, f, vx100)
	vtep := addrOf("172.22.2.2")
	f.SetFlood(link, []netip.Addr{vtep, addrOf("172.22.2.3")})
	f.SetMAC(link, macOf(t, "50:54:33:00:00:0f"), vtep)
	flush(t, f, Result{Added: 3})
	flood := Entry{IfIndex: link, VTEP: vtep}
	failed, err := opened(t, ns).write([]write{{op: opReplace, Entry: flood}, {op: opDelete, Entry: Entry{IfIndex: link, MAC: MAC{2}, VTEP: vtep}}})
	if err != nil || len(failed) != 1 || !strings.Contains(failed[0].Error(), "Cannot replace non-unicast") {
		t.Errorf("%v, %v", failed, err)
	}
	d := vx100
	d.Interface, d.VNI, d.Bridge = "vx101", 101, 9999
	if _, _, err := f.Ensure(t.Context(), d); err == nil || !strings.HasPrefix(err.Error(), "vxlan: create device vx101: ") {
		t.Error(err)
	}
	d = vx100
	d.Interface = "vx102" // the same VNI and port again
	var e *Error
	if _, _, err := f.Ensure(t.Context(), d); !errors.As(err, &e) || e.Text == "" {
		t.Errorf("%v, in words %q", err, e.Text)
	}

	got := f.Entries(link)
	if len(got) != 3 || got[0] != flood || got[2].MAC != macOf(t, "50:54:33:00:00:0f") || f.Entries(99) != nil {
		t.Errorf("%v", got)
	}
	// A device that is gone is an error until it is forgotten.
	if err := opened(t, ns).deleteLink(link); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Reconcile(t.Context()); !errors.Is(err, unix.ENODEV) {
		t.Error(err)
	}
	f.Forget(link)
	reconcile(t, f, Result{})
}
