package main

import (
	"encoding/binary"
	"flag"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/hyperfib/hyperfib/examples/hvrouter/api"
	"github.com/hyperfib/hyperfib/internal/testing/nstest"
)

var guestMoves = flag.Int("moves", 20, "how often TestEVPNMoves moves its guest")

// TestEVPNMoves: one guest moves again and again between two hypervisors, whose two interfaces are there all the time, by
// `guest move -up` at the target and then `-down` at the source. Each time the kernels of the source and of a third
// hypervisor have it behind the target, and in the end nothing of any move is left. How long that took is printed, and judged
// by nobody; -moves has another number.
func TestEVPNMoves(t *testing.T) {
	l := newOverlayLAN(t)
	sides := []*host{l.hypervisor(1), l.hypervisor(2)}
	other := l.hypervisor(3)
	vm3 := l.guest(3)
	vm3.plug(other.hv)
	v := l.guest(1)
	addTo(sides[1], v)
	sides[1].cli("guest", "move", "vm1", "-down")
	l.guest(1).plug(sides[1].hv)
	v.plug(sides[0].hv)
	for _, h := range append(sides, other) {
		established(h)
		h.wait("the sweep", func() bool { return strings.Contains(h.logged(), "event=swept") })
	}
	mac, _ := net.ParseMAC(v.mac())
	watch := []*forwarding{watchForwarding(t, sides[0].hv, mac), watchForwarding(t, sides[1].hv, mac), watchForwarding(t, other.hv, mac)}
	at := func(h *host, to int) bool {
		return slices.Contains(entries(h.hv, "vx100", "br100"), fmt.Sprintf("%s dst 172.22.2.%d self extern_learn static", v.mac(), to))
	}
	other.wait("the guest is at the first", func() bool { return at(other, 1) })

	var all []time.Duration
	for n := range *guestMoves {
		from, to := sides[n%2], sides[(n+1)%2]
		vtep := netip.AddrFrom4([4]byte{172, 22, 2, byte((n+1)%2 + 1)})
		for _, w := range watch {
			w.flush()
		}
		began := time.Now()
		moveGuest(to, "vm1", false)
		for _, w := range []*forwarding{watch[n%2], watch[2]} {
			if !w.behind(vtep) {
				t.Fatalf("move %d: a kernel has no entry towards %v", n+1, vtep)
			}
		}
		all = append(all, time.Since(began))
		moveGuest(from, "vm1", true)
	}
	slices.Sort(all)
	t.Logf("%d moves, from the command at the target to the last other kernel: median %v, 99 of 100 in %v, all in %v", len(all), all[len(all)/2], all[len(all)*99/100], all[len(all)-1])

	last := *guestMoves%2 + 1 // where it is
	has(t, other, strings.ReplaceAll(`
00:00:00:00:00:00 dst 172.22.2.1 self extern_learn static
00:00:00:00:00:00 dst 172.22.2.2 self extern_learn static
02:00:00:00:00:01 dst 172.22.2.LAST self extern_learn static
02:00:00:00:00:01 extern_learn master br100
192.168.5.1 lladdr 02:00:00:00:00:01 extern_learn NOARP proto 201
192.168.5.3 lladdr 02:00:00:00:00:03 extern_learn NOARP proto 201
2001:db8:5::1 lladdr 02:00:00:00:00:01 extern_learn NOARP proto 201
2001:db8:5::3 lladdr 02:00:00:00:00:03 extern_learn NOARP proto 201`, "LAST", fmt.Sprint(last)))
	for i, h := range sides {
		var out string
		h.wait("nothing that is stale", func() bool {
			out = strings.Join(entries(h.hv, "vx100", "br100"), "\n")
			return strings.Contains(out, v.mac()+" dst") == (i+1 != last) && strings.Count(out, "lladdr "+v.mac()) == 2
		})
		if n := strings.Count(h.logged(), "event=evpn-duplicate"); n > 0 {
			t.Errorf("%d duplicates reported", n)
		}
	}
	if out := other.cli("show", "evpn", "-mac", v.mac()); strings.Count(out, " used") != 3 || strings.Count(out, fmt.Sprint("172.22.2.", last)) < 3 {
		t.Errorf("routes of it:\n%s", out)
	}
}

// moveGuest is `guest move`, without a process of its own, which takes longer than the move.
func moveGuest(h *host, name string, down bool) {
	h.t.Helper()
	if err := api.NewClient(h.path("api.sock")).Send(h.t.Context(), "POST", "/v1/guests/"+name, fmt.Appendf(nil, `{"down":%v}`, down)); err != nil {
		h.t.Fatal(err)
	}
}

// forwarding hears what the kernel of a namespace notifies of the forwarding entries of a MAC.
type forwarding struct {
	fd  int
	mac net.HardwareAddr
	buf []byte
}

func watchForwarding(t *testing.T, ns *nstest.NS, mac net.HardwareAddr) *forwarding {
	f := &forwarding{fd: -1, mac: mac, buf: make([]byte, 64<<10)}
	ns.Do(func() (err error) {
		f.fd, err = unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE)
		return err
	})
	t.Cleanup(func() { unix.Close(f.fd) })
	if err := unix.Bind(f.fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: 1 << (unix.RTNLGRP_NEIGH - 1)}); err != nil {
		t.Fatal(err)
	}
	if err := unix.SetsockoptTimeval(f.fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 20}); err != nil {
		t.Fatal(err)
	}
	return f
}

// flush forgets what was notified until now.
func (f *forwarding) flush() {
	for {
		if _, _, err := unix.Recvfrom(f.fd, f.buf, unix.MSG_DONTWAIT); err != nil {
			return
		}
	}
}

// behind waits until an entry for the MAC is notified that leads to a VTEP.
func (f *forwarding) behind(vtep netip.Addr) bool {
	return f.notified(func(_ int, attrs map[uint16][]byte) bool { return slices.Equal(attrs[unix.NDA_DST], vtep.AsSlice()) })
}

// at waits until an entry of the bridge for the MAC is notified that leads to a port.
func (f *forwarding) at(port int) bool {
	return f.notified(func(i int, attrs map[uint16][]byte) bool { return i == port && attrs[unix.NDA_MASTER] != nil })
}

// notified waits until an entry for the MAC is notified that is wanted, by its interface and attributes.
func (f *forwarding) notified(wanted func(port int, attrs map[uint16][]byte) bool) bool {
	for {
		n, _, err := unix.Recvfrom(f.fd, f.buf, 0)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return false
		}
		for b := f.buf[:n]; len(b) >= unix.SizeofNlMsghdr+unix.SizeofNdMsg; {
			size := int(binary.NativeEndian.Uint32(b))
			if binary.NativeEndian.Uint16(b[4:]) == unix.RTM_NEWNEIGH && b[unix.SizeofNlMsghdr] == unix.AF_BRIDGE {
				attrs := attributes(b[unix.SizeofNlMsghdr+unix.SizeofNdMsg : size])
				if slices.Equal(attrs[unix.NDA_LLADDR], f.mac) && wanted(int(binary.NativeEndian.Uint32(b[unix.SizeofNlMsghdr+4:])), attrs) {
					return true
				}
			}
			b = b[min(len(b), (size+3)&^3):]
		}
	}
}

// attributes are those of a message of rtnetlink, by type.
func attributes(b []byte) map[uint16][]byte {
	all := map[uint16][]byte{}
	for len(b) >= unix.SizeofRtAttr {
		size := int(binary.NativeEndian.Uint16(b))
		all[binary.NativeEndian.Uint16(b[2:])] = b[unix.SizeofRtAttr:size]
		b = b[min(len(b), (size+3)&^3):]
	}
	return all
}
