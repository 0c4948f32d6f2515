package vxlan

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"github.com/hyperfib/hyperfib/internal/rtnl"
)

// port makes vx100 a port of a bridge; it returns the indexes of both.
func port(t *testing.T, k *fake, f *FDB) (device, bridge int) {
	t.Helper()
	bridge = k.other("br100", "bridge")
	d := vx100
	d.Bridge = bridge
	return ensure(t, f, d), bridge
}

// bridged puts an entry into a bridge, as net/bridge does when it learns or is told by hand, and notifies of it.
func (k *fake) bridgeHas(bridge, port int, mac MAC, state uint16, flags uint8) {
	k.mu.Lock()
	defer k.mu.Unlock()
	l := k.byIndex(bridge)
	l.bridged = slices.DeleteFunc(l.bridged, func(e fakeEntry) bool { return e.MAC == mac })
	e := fakeEntry{Entry: Entry{IfIndex: port, MAC: mac, Table: TableBridge}, state: state, flags: flags}
	l.bridged = append(l.bridged, e)
	k.tellAll(0, e.bridgeMessage(rtnl.RTM_NEWNEIGH, 0, 0, bridge))
}

// neighborIs puts a neighbour, and notifies of it.
func (k *fake) neighborIs(link int, addr netip.Addr, mac MAC, state uint16, flags, protocol uint8) {
	k.mu.Lock()
	defer k.mu.Unlock()
	l := k.byIndex(link)
	l.neighbors = slices.DeleteFunc(l.neighbors, func(n fakeNeighbor) bool { return n.Addr == addr })
	n := fakeNeighbor{Entry{IfIndex: link, Addr: addr, MAC: mac, Table: TableNeighbors}, state, flags, protocol}
	l.neighbors = append(l.neighbors, n)
	k.tellAll(0, n.message(rtnl.RTM_NEWNEIGH, 0, 0))
}

func (k *fake) written() (n int) {
	k.mu.Lock()
	defer k.mu.Unlock()
	n, k.changes = k.changes, 0
	return n
}

func TestFakeSegment(t *testing.T) { synctest.Test(t, fakeSegment) }

func fakeSegment(t *testing.T) {
	k := newFake()
	f, end := k.running(t, Config{})
	link, bridge := port(t, k, f)
	guests := k.other("port", "veth")
	k.enslave("port", bridge)
	a, b := addrOf("172.22.2.2"), addrOf("172.22.2.3")
	m1, m2 := MAC{0x50, 1}, MAC{0x50, 2}
	i1, i2 := addrOf("192.168.5.1"), addrOf("2001:db8::2")
	s := Segment{Device: link, Flood: []netip.Addr{a}, MACs: map[MAC]netip.Addr{m1: a, m2: b}, Interface: bridge, Neighbors: map[netip.Addr]MAC{i1: m1, i2: m2}}
	w := f.Watch()
	if err := f.SetSegment(s); err != nil {
		t.Fatal(err)
	}
	flush(t, f, Result{Added: 7})
	reconcile(t, f, Result{Kept: 7})
	if n := k.written(); n != 7 {
		t.Errorf("%d changes", n)
	}
	expect(t, w, "synced", "00:00:00:00:00:00 dev 3 dst 172.22.2.2 installed", "50:01:00:00:00:00 dev 3 dst 172.22.2.2 installed", "50:02:00:00:00:00 dev 3 dst 172.22.2.3 installed",
		"50:01:00:00:00:00 dev 3 master installed", "50:02:00:00:00:00 dev 3 master installed", "192.168.5.1 dev 2 lladdr 50:01:00:00:00:00 installed", "2001:db8::2 dev 2 lladdr 50:02:00:00:00:00 installed")
	// A MAC goes to another VTEP, an address to another MAC.
	s.MACs[m1], s.Neighbors[i1] = b, m2
	for range 2 {
		if err := f.SetSegment(s); err != nil {
			t.Fatal(err)
		}
	}
	flush(t, f, Result{Replaced: 2})
	expect(t, w, "50:01:00:00:00:00 dev 3 dst 172.22.2.3 installed", "192.168.5.1 dev 2 lladdr 50:02:00:00:00:00 installed")
	// What is learned elsewhere, or deleted, is put back.
	k.bridgeHas(bridge, guests, m1, rtnl.NUD_REACHABLE, 0)
	k.neighborIs(bridge, i1, m1, rtnl.NUD_STALE, 0, 0)
	k.neighborIs(bridge, i2, m2, rtnl.NUD_STALE, rtnl.NTF_EXT_LEARNED, DefaultProtocol) // somebody changes its state
	sleep(time.Second)
	expect(t, w, "50:01:00:00:00:00 dev 3 master installed, repaired 1 times", "192.168.5.1 dev 2 lladdr 50:02:00:00:00:00 installed, repaired 1 times", "2001:db8::2 dev 2 lladdr 50:02:00:00:00:00 installed, repaired 1 times")
	if n := k.written(); n != 5 {
		t.Errorf("%d changes", n)
	}
	// What an operator has made is left alone, and is in the way until it is gone.
	m3, i3 := MAC{0x50, 3}, addrOf("192.168.5.3")
	k.bridgeHas(bridge, guests, m3, rtnl.NUD_NOARP, 0)
	k.neighborIs(bridge, i3, m1, rtnl.NUD_PERMANENT, 0, 0)
	synctest.Wait()
	f.SetMAC(link, m3, a)
	f.SetNeighbor(bridge, i3, m3)
	if r, err := f.Flush(t.Context()); !errors.Is(err, ErrForeign) || r != (Result{Added: 1}) {
		t.Errorf("%+v, %v", r, err)
	}
	const inTheWay = ": an entry that is not ours is in the way"
	expect(t, w, "50:03:00:00:00:00 dev 3 dst 172.22.2.2 installed", "50:03:00:00:00:00 dev 3 master foreign: vxlan: add 50:03:00:00:00:00 dev 3 master"+inTheWay,
		"192.168.5.3 dev 2 lladdr 50:03:00:00:00:00 foreign: vxlan: add 192.168.5.3 dev 2 lladdr 50:03:00:00:00:00"+inTheWay)
	k.bridgeHas(bridge, guests, m3, rtnl.NUD_REACHABLE, 0)
	k.neighborIs(bridge, i3, m1, rtnl.NUD_STALE, 0, 0)
	sleep(time.Second)
	expect(t, w, "50:03:00:00:00:00 dev 3 master installed", "192.168.5.3 dev 2 lladdr 50:03:00:00:00:00 installed")
	// No port any more: the neighbours stay; a port again.
	k.enslave("vx100", 0)
	sleep(time.Second)
	expect(t, w, "50:01:00:00:00:00 dev 3 master removed", "50:02:00:00:00:00 dev 3 master removed", "50:03:00:00:00:00 dev 3 master removed")
	k.enslave("vx100", bridge)
	sleep(time.Second)
	expect(t, w, "50:01:00:00:00:00 dev 3 master installed", "50:02:00:00:00:00 dev 3 master installed", "50:03:00:00:00:00 dev 3 master installed")
	if got := f.Entries(link); len(got) != 7 || got[6] != (Entry{IfIndex: link, MAC: m3, Table: TableBridge}) {
		t.Errorf("%v", got)
	}
	if got := f.Entries(bridge); len(got) != 3 || got[0] != (Entry{IfIndex: bridge, Addr: i1, MAC: m2, Table: TableNeighbors}) {
		t.Errorf("%v", got)
	}
	k.written()
	if err := end(); err != nil {
		t.Error(err)
	}
	// The next process finds it as it shall be.
	g, _ := k.running(t, Config{})
	s.MACs[m3], s.Neighbors[i3] = a, m3
	if err := g.SetSegment(s); err != nil {
		t.Fatal(err)
	}
	flush(t, g, Result{Kept: 10})
	if n := k.written(); n != 0 {
		t.Errorf("%d changes", n)
	}
	if err := g.SetSegment(Segment{Device: link, Interface: bridge}); err != nil {
		t.Fatal(err)
	}
	flush(t, g, Result{Deleted: 10})
	reconcile(t, g, Result{})
}

// What cannot be is refused, and nothing has changed.
func TestSegmentInvalid(t *testing.T) {
	f, err := New(Config{})
	if err != nil {
		t.Fatal(err)
	}
	a, m := addrOf("172.22.2.2"), MAC{2, 1}
	for i, err := range []error{
		f.SetSegment(Segment{}),
		f.SetSegment(Segment{Device: 2, Flood: []netip.Addr{{}}}),
		f.SetSegment(Segment{Device: 2, MACs: map[MAC]netip.Addr{m: {}}}),
		f.SetSegment(Segment{Device: 2, MACs: map[MAC]netip.Addr{{}: a}}),
		f.SetSegment(Segment{Device: 2, Interface: -1}),
		f.SetSegment(Segment{Device: 2, Neighbors: map[netip.Addr]MAC{a: m}}),
		f.SetSegment(Segment{Device: 2, Interface: 3, Neighbors: map[netip.Addr]MAC{a: {}}}),
		f.SetNeighbor(0, a, m), f.SetNeighbor(2, netip.Addr{}, m), f.SetNeighbor(2, addrOf("fe80::1%x"), m), f.SetNeighbor(2, addrOf("ff02::1"), m), f.SetNeighbor(2, addrOf("0.0.0.0"), m),
		f.SetNeighbor(2, a, MAC{1}), f.DeleteNeighbor(0, a),
	} {
		if !errors.Is(err, ErrInvalid) {
			t.Errorf("%d: %v", i, err)
		}
	}
	if got := f.Entries(2); got != nil {
		t.Errorf("%v", got)
	}
}

// Before the sweep, what an earlier process has left stays, unless it is deleted by name or in the way.
func TestFakeSweep(t *testing.T) { synctest.Test(t, fakeSweep) }

func fakeSweep(t *testing.T) {
	k := newFake()
	f, end := k.running(t, Config{})
	link, bridge := port(t, k, f)
	a, b := addrOf("172.22.2.2"), addrOf("172.22.2.3")
	mac := func(i int) MAC { return MAC{2, byte(i)} }
	addr := func(i int) netip.Addr { return netip.AddrFrom4([4]byte{192, 168, 5, byte(i)}) }
	s := Segment{Device: link, Interface: bridge, Flood: []netip.Addr{a, b}, MACs: map[MAC]netip.Addr{}, Neighbors: map[netip.Addr]MAC{}}
	for i := range 4 {
		s.MACs[mac(i)], s.Neighbors[addr(i)] = a, mac(i)
	}
	if err := f.SetSegment(s); err != nil {
		t.Fatal(err)
	}
	flush(t, f, Result{Added: 14})
	if err := end(); err != nil {
		t.Error(err)
	}
	g, _ := k.running(t, Config{DeferSweep: true})
	w := g.Watch()
	g.SetMAC(link, mac(0), a)
	g.SetMAC(link, mac(1), b) // has moved
	g.SetMAC(link, mac(2), a)
	g.DeleteMAC(link, mac(2)) // learned and withdrawn
	g.SetNeighbor(bridge, addr(0), mac(0))
	g.SetNeighbor(bridge, addr(1), mac(2)) // has another MAC
	g.DeleteNeighbor(bridge, addr(2))      // by name
	g.SetFlood(link, []netip.Addr{b})
	flush(t, g, Result{Kept: 5, Replaced: 2, Deleted: 3})
	reconcile(t, g, Result{Kept: 7})
	stale := 0
	for _, e := range events(t, w) {
		if e.State == StateStale {
			stale++
		}
	}
	if stale != 4 { // a in the flood list, the last MAC in both tables, and its neighbour
		t.Errorf("%d stale", stale)
	}
	g.DeleteMAC(link, mac(0)) // ours, and not any more
	flush(t, g, Result{Deleted: 2})
	g.Sweep()
	g.Sweep()
	flush(t, g, Result{Deleted: 4})
	reconcile(t, g, Result{Kept: 5})
	for _, d := range g.core.devices {
		if len(d.released) != 0 {
			t.Errorf("%v", d.released)
		}
	}
}

// What is desired follows the name of its interface, and a device that comes and goes all the time is written ever more slowly.
func TestFakeFollow(t *testing.T) { synctest.Test(t, fakeFollow) }

func fakeFollow(t *testing.T) {
	k := newFake()
	f, _ := k.running(t, Config{})
	link, bridge := port(t, k, f)
	a, m, i := addrOf("172.22.2.2"), MAC{0x50, 1}, addrOf("192.168.5.1")
	s := Segment{Device: link, Interface: bridge, MACs: map[MAC]netip.Addr{m: a}, Neighbors: map[netip.Addr]MAC{i: m}}
	if err := f.SetSegment(s); err != nil {
		t.Fatal(err)
	}
	flush(t, f, Result{Added: 3})
	w := f.Watch()
	events(t, w)
	// again makes the device anew, as another program does it.
	again := func(vni uint32) int {
		o, err := openKernel(Config{}, k.open)
		if err != nil {
			t.Fatal(err)
		}
		defer o.conn.Close()
		d := vx100
		d.VNI, d.Bridge = vni, bridge
		_ = o.remove("vx100", func(int) {})
		index, _, err := o.ensure(&d, func(int) {})
		if err != nil {
			t.Fatal(err)
		}
		return index
	}
	k.mu.Lock()
	k.unlink(link)
	k.mu.Unlock()
	sleep(time.Minute)
	const gone = "table dev 3: vxlan: dump 00:00:00:00:00:00 dev 3: no such device"
	expect(t, w, gone)
	other := again(101) // the name, and another segment
	sleep(time.Minute)
	expect(t, w)
	link2 := again(100)
	sleep(30 * time.Millisecond)
	has := func(link int) bool {
		return k.has(Entry{IfIndex: link, MAC: m, VTEP: a}) && k.has(Entry{IfIndex: link, MAC: m, Table: TableBridge})
	}
	if k.has(Entry{IfIndex: other, MAC: m, VTEP: a}) || !has(link2) {
		t.Errorf("not on %d: %v", link2, f.Entries(link))
	}
	expect(t, w, "50:01:00:00:00:00 dev 3 master removed", "50:01:00:00:00:00 dev 3 removed", "table dev 3", "50:01:00:00:00:00 dev 5 dst 172.22.2.2 installed", "50:01:00:00:00:00 dev 5 master installed")
	// The caller speaks of the index that it knows, or of the one in the event.
	f.SetMAC(link, MAC{0x50, 2}, a)
	f.SetMAC(link2, MAC{0x50, 3}, a)
	flush(t, f, Result{Added: 4})
	// The bridge goes, with its neighbours, and comes back.
	k.mu.Lock()
	k.unlink(bridge)
	k.mu.Unlock()
	sleep(time.Minute)
	bridge2 := k.other("br100", "bridge")
	k.mu.Lock()
	k.tellLink(k.byIndex(bridge2), rtnl.RTM_NEWLINK)
	k.mu.Unlock()
	k.enslave("vx100", bridge2)
	sleep(time.Second)
	if !has(link2) || !k.has(Entry{IfIndex: bridge2, Addr: i, MAC: m, Table: TableNeighbors}) {
		t.Errorf("not on %d: %v", bridge2, f.Entries(bridge))
	}
	bridge = bridge2
	// Nothing is notified: the next comparison finds it.
	k.muted = true
	link3 := again(100)
	reconcile(t, f, Result{Kept: 1, Added: 6})
	k.muted = false
	// It comes and goes 100 times in 10 s.
	k.written()
	for range 100 {
		link3 = again(100)
		sleep(100 * time.Millisecond)
	}
	if n := k.written(); n > 25*6 {
		t.Errorf("%d changes", n)
	}
	sleep(time.Minute)
	if !has(link3) || len(f.core.aliases) > 4 || len(f.core.devices) != 2 || len(f.core.ports) != 1 {
		t.Errorf("on %d: %v; %d aliases, %d devices, %d bridges", link3, f.Entries(link), len(f.core.aliases), len(f.core.devices), len(f.core.ports))
	}
	// The caller finds the new device itself.
	k.muted = true
	link4 := again(100)
	f.SetMAC(link4, m, a)
	if r, err := f.Flush(t.Context()); err != nil || r.Added != 2 {
		t.Errorf("%+v, %v", r, err)
	}
	reconcile(t, f, Result{Kept: 3})
	if err := errors.Join(f.Forget(link4), f.Forget(bridge)); err != nil || len(f.core.devices) != 0 || len(f.core.ports) != 0 || len(f.core.brakes) != 0 {
		t.Errorf("%v, %d devices, %d bridges, %d brakes", err, len(f.core.devices), len(f.core.ports), len(f.core.brakes))
	}
}

// TestFakeSegmentRandom: whatever we want, others do and the kernel refuses or does not tell: when that is over, one Reconcile makes all
// tables what an obvious model says, and the next writes nothing.
func TestFakeSegmentRandom(t *testing.T) {
	for seed := range uint64(300) {
		synctest.Test(t, func(t *testing.T) { fakeSegmentRandom(t, seed) })
	}
}

func fakeSegmentRandom(t *testing.T, seed uint64) {
	r := rand.New(rand.NewPCG(seed, 2))
	k := newFake()
	f, end := k.running(t, Config{DeferSweep: seed%2 == 0})
	link, bridge := port(t, k, f)
	guests := k.other("port", "veth")
	k.enslave("port", bridge)
	mac := func() MAC { return MAC{2, byte(1 + r.IntN(4))} }
	addr := func() netip.Addr { return netip.AddrFrom4([4]byte{192, 168, 5, byte(1 + r.IntN(4))}) }
	vtep := func() netip.Addr { return netip.AddrFrom4([4]byte{10, 0, 0, byte(1 + r.IntN(3))}) }
	macs, neighbors := map[MAC]netip.Addr{}, map[netip.Addr]MAC{}
	// The model: what others have made by hand. It stays, whatever is desired.
	static, permanent := map[MAC]bool{}, map[netip.Addr]MAC{}
	for range 60 {
		switch m, a := mac(), addr(); r.IntN(14) {
		case 0, 1:
			macs[m] = vtep()
			f.SetMAC(link, m, macs[m])
		case 2:
			delete(macs, m)
			f.DeleteMAC(link, m)
		case 3, 4:
			neighbors[a] = m
			f.SetNeighbor(bridge, a, m)
		case 5:
			delete(neighbors, a)
			f.DeleteNeighbor(bridge, a)
		case 6:
			if err := f.SetSegment(Segment{Device: link, MACs: macs, Interface: bridge, Neighbors: neighbors}); err != nil {
				t.Fatal(err)
			}
		case 7:
			k.mu.Lock()
			k.refuse, k.lost = map[MAC]unix.Errno{m: unix.ENOSPC}, r.IntN(2)
			k.mu.Unlock()
			_, _ = f.Flush(t.Context())
			k.mu.Lock()
			k.refuse, k.lost, k.muted = map[MAC]unix.Errno{}, 0, r.IntN(3) == 0
			k.mu.Unlock()
		case 8:
			_, _ = f.Reconcile(t.Context())
		case 9: // the bridge learns
			if !static[m] {
				k.bridgeHas(bridge, guests, m, rtnl.NUD_REACHABLE, 0)
			}
		case 10: // the kernel asks
			if permanent[a] == (MAC{}) {
				k.neighborIs(bridge, a, m, rtnl.NUD_STALE, 0, 0)
			}
		case 11: // by hand: of what is desired, it is seen in time
			k.bridgeHas(bridge, guests, m, rtnl.NUD_NOARP, 0)
			static[m] = true
			if k.muted {
				_, _ = f.Reconcile(t.Context())
			}
			synctest.Wait()
		case 12:
			k.neighborIs(bridge, a, m, rtnl.NUD_PERMANENT, 0, 0)
			permanent[a] = m
			if k.muted {
				_, _ = f.Reconcile(t.Context())
			}
			synctest.Wait()
		case 13:
			sleep(time.Duration(r.IntN(300)) * time.Millisecond)
		}
	}
	f.Sweep()
	_, _ = f.Reconcile(t.Context())
	k.written()
	_, _ = f.Reconcile(t.Context())
	if n := k.written(); n != 0 {
		t.Fatalf("seed %d: %d changes without a difference", seed, n)
	}
	have := k.byIndex(bridge)
	for _, e := range have.bridged {
		switch _, wanted := macs[e.MAC]; {
		case static[e.MAC] != (e.IfIndex == guests && e.state == rtnl.NUD_NOARP):
			t.Fatalf("seed %d: %+v, by hand: %v", seed, e, static[e.MAC])
		case wanted != (e.IfIndex == link) && !static[e.MAC] && (wanted || e.IfIndex == link):
			t.Fatalf("seed %d: %+v, wanted: %v", seed, e, wanted)
		}
	}
	for m, v := range macs {
		if !k.has(Entry{IfIndex: link, MAC: m, VTEP: v}) || !static[m] && !k.has(Entry{IfIndex: link, MAC: m, Table: TableBridge}) {
			t.Fatalf("seed %d: %v is missing", seed, m)
		}
	}
	if n := len(k.byIndex(link).entries); n != len(macs) {
		t.Fatalf("seed %d: %d entries, want %d", seed, n, len(macs))
	}
	for _, n := range have.neighbors {
		want := fakeNeighbor{Entry{IfIndex: bridge, Addr: n.Addr, MAC: neighbors[n.Addr], Table: TableNeighbors}, rtnl.NUD_NOARP, rtnl.NTF_EXT_LEARNED, DefaultProtocol}
		if by, ok := permanent[n.Addr]; ok {
			want.MAC, want.state, want.flags, want.protocol = by, rtnl.NUD_PERMANENT, 0, 0
			n.flags, n.protocol = 0, 0
		}
		if wanted := want.MAC != (MAC{}); wanted && n != want || !wanted && n.protocol == DefaultProtocol {
			t.Fatalf("seed %d: %+v, want %+v", seed, n, want)
		}
	}
	for a, m := range neighbors {
		if permanent[a] == (MAC{}) && !k.has(Entry{IfIndex: bridge, Addr: a, MAC: m, Table: TableNeighbors}) {
			t.Fatalf("seed %d: %v is missing", seed, a)
		}
	}
	if err := end(); err != nil {
		t.Error(err)
	}
}

// The messages for a bridge and for neighbours, and how they are read back.
func TestSegmentMessages(t *testing.T) {
	if native != binary.NativeEndian || native.Uint16([]byte{1, 0}) != 1 {
		t.Skip("the golden bytes are little-endian")
	}
	m := MAC{0x50, 0x54, 0x33, 0, 0, 7}
	inBridge := Entry{IfIndex: 5, MAC: m, Table: TableBridge}
	four, six := Entry{IfIndex: 5, Addr: addrOf("192.168.5.1"), MAC: m, Table: TableNeighbors}, Entry{IfIndex: 5, Addr: addrOf("2001:db8::1"), MAC: m, Table: TableNeighbors}
	for _, tc := range []struct {
		write
		want string
	}{
		// length, type, flags, sequence, port; family, interface, state, flags; attributes
		{write{op: opAdd, Entry: inBridge}, "28000000" + "1c00" + "0105" + "09000000" + "00000000" + "07000000" + "05000000" + "0200" + "14" + "00" + "0a000200" + "505433000007" + "0000"},
		{write{op: opDelete, Entry: inBridge}, "28000000" + "1d00" + "0100" + "09000000" + "00000000" + "07000000" + "05000000" + "0200" + "14" + "00" + "0a000200" + "505433000007" + "0000"},
		{write{op: opAdd, Entry: four}, "38000000" + "1c00" + "0106" + "09000000" + "00000000" + "02000000" + "05000000" + "4000" + "10" + "00" + "08000100" + "c0a80501" + "0a000200" + "505433000007" + "0000" + "05000c00" + "c9000000"},
		{write{op: opReplace, Entry: six}, "44000000" + "1c00" + "0105" + "09000000" + "00000000" + "0a000000" + "05000000" + "4000" + "10" + "00" + "14000100" + "20010db8000000000000000000000001" + "0a000200" + "505433000007" + "0000" + "05000c00" + "c9000000"},
		{write{op: opDelete, Entry: four}, "24000000" + "1d00" + "0100" + "09000000" + "00000000" + "02000000" + "05000000" + "4000" + "10" + "00" + "08000100" + "c0a80501"},
	} {
		b := appendWrite(nil, tc.write, 9, DefaultProtocol)
		if got := hex.EncodeToString(b); got != tc.want {
			t.Errorf("%v %v:\ngot  %s\nwant %s", tc.op, tc.Entry, got, tc.want)
		}
		if d, ok := parseEntry(b[rtnl.SizeHeader:], DefaultProtocol); tc.Table == TableNeighbors && tc.op != opDelete && (!ok || d != (dumped{Entry: tc.Entry, origin: ours, plain: true})) {
			t.Errorf("%+v, %v", d, ok)
		}
	}
	read := func(family byte, state uint16, flags uint8, attributes ...byte) (dumped, bool) {
		b := native.AppendUint32([]byte{family, 0, 0, 0}, 5)
		return parseEntry(append(append(native.AppendUint16(b, state), flags, 0), attributes...), DefaultProtocol)
	}
	lladdr := rtnl.AppendBytes(nil, rtnl.NDA_LLADDR, m[:])
	in := rtnl.AppendUint32(lladdr, rtnl.NDA_MASTER, 9)
	for _, tc := range []struct {
		state  uint16
		flags  uint8
		origin origin
	}{{rtnl.NUD_REACHABLE, rtnl.NTF_EXT_LEARNED, ours}, {rtnl.NUD_REACHABLE, 0, learned}, {rtnl.NUD_STALE, 0, learned}, {rtnl.NUD_NOARP, 0, foreign}, {rtnl.NUD_PERMANENT, 0, foreign}, {rtnl.NUD_NOARP, rtnl.NTF_EXT_LEARNED, foreign}} {
		if d, ok := read(rtnl.AF_BRIDGE, tc.state, tc.flags, in...); !ok || d != (dumped{Entry: inBridge, origin: tc.origin, plain: true, master: 9, local: tc.state == rtnl.NUD_PERMANENT}) {
			t.Errorf("%+v: %+v, %v", tc, d, ok)
		}
	}
	dst := rtnl.AppendAddr(nil, rtnl.NDA_DST, four.Addr)
	for _, tc := range []struct {
		state  uint16
		flags  uint8
		by     uint8
		origin origin
	}{{rtnl.NUD_NOARP, rtnl.NTF_EXT_LEARNED, DefaultProtocol, ours}, {rtnl.NUD_STALE, rtnl.NTF_EXT_LEARNED, DefaultProtocol, ours}, {rtnl.NUD_NOARP, rtnl.NTF_EXT_LEARNED, 11, foreign},
		{rtnl.NUD_PERMANENT, 0, DefaultProtocol, foreign}, {rtnl.NUD_NOARP, 0, 0, foreign}, {rtnl.NUD_REACHABLE, 0, 0, learned}, {rtnl.NUD_FAILED, 0, 0, learned}} {
		if d, ok := read(rtnl.AF_INET, tc.state, tc.flags, rtnl.AppendUint8(slices.Clone(dst), rtnl.NDA_PROTOCOL, tc.by)...); !ok || d.origin != tc.origin || d.Addr != four.Addr || d.plain != (tc.state == rtnl.NUD_NOARP) {
			t.Errorf("%+v: %+v, %v", tc, d, ok)
		}
	}
	for what, ok := range map[string]bool{
		"a VLAN's": second(read(rtnl.AF_BRIDGE, rtnl.NUD_REACHABLE, 0, rtnl.AppendBytes(slices.Clone(in), rtnl.NDA_VLAN, []byte{1, 0})...)),
		"no MAC":   second(read(rtnl.AF_BRIDGE, rtnl.NUD_REACHABLE, 0, in[len(lladdr):]...)), "a proxy": second(read(rtnl.AF_INET, 0, rtnl.NTF_PROXY, dst...)),
		"no address": second(read(rtnl.AF_INET, rtnl.NUD_NOARP, 0, lladdr...)), "cut short": second(read(rtnl.AF_INET, rtnl.NUD_NOARP, 0, dst[:6]...)), "of MPLS": second(read(28, rtnl.NUD_NOARP, 0, dst...)),
	} {
		if ok {
			t.Errorf("%s is an entry", what)
		}
	}
	for tb := TableDevice; tb <= TableNeighbors; tb++ {
		if tb.String() == "" {
			t.Error("a table without a name")
		}
	}
}

func second(_ dumped, ok bool) bool { return ok }

// A notification about an interface that is older than what was read of it is none of a change; one that is true is another
// chance for what was refused.
func TestFakeLinkNotification(t *testing.T) { synctest.Test(t, fakeLinkNotification) }

func fakeLinkNotification(t *testing.T) {
	k := newFake()
	f, _ := k.running(t, Config{AuditRound: -1})
	link, bridge := port(t, k, f)
	a, m, n := addrOf("172.22.2.2"), MAC{0x50, 1}, MAC{0x50, 2}
	f.SetMAC(link, m, a)
	f.SetNeighbor(bridge, addrOf("192.168.5.1"), m)
	flush(t, f, Result{Added: 3})
	gone := func() bool { return !k.has(Entry{IfIndex: link, MAC: m, VTEP: a}) }
	tell := func(up bool) {
		k.mu.Lock()
		defer k.mu.Unlock()
		l := k.byIndex(link)
		before := l.up
		l.up = up
		k.tellLink(l, rtnl.RTM_NEWLINK)
		l.up = before
	}
	k.mu.Lock()
	k.byIndex(link).entries = nil // and nothing is notified
	k.mu.Unlock()
	tell(false)
	tell(true)
	sleep(time.Minute)
	if !gone() {
		t.Error("compared because of a notification that was late")
	}
	// It goes down, and something is refused until it is up.
	k.mu.Lock()
	k.byIndex(link).up = false
	k.refuse[n] = unix.ENETDOWN
	k.mu.Unlock()
	tell(false)
	sleep(time.Second)
	if gone() {
		t.Error("not compared")
	}
	f.SetMAC(link, n, a)
	if _, err := f.Flush(t.Context()); !errors.Is(err, unix.ENETDOWN) {
		t.Error(err)
	}
	sleep(time.Minute) // now attempts are 30 s apart
	k.mu.Lock()
	k.byIndex(link).up = true
	clear(k.refuse)
	k.mu.Unlock()
	tell(true)
	sleep(30 * time.Millisecond)
	if !k.has(Entry{IfIndex: link, MAC: n, VTEP: a}) {
		t.Error("not tried again when it came up")
	}
}

// An interface that was read while it was no port, and is one again by the time that the reading is over, is read again.
func TestFakePortMeanwhile(t *testing.T) { synctest.Test(t, fakePortMeanwhile) }

func fakePortMeanwhile(t *testing.T) {
	k := newFake()
	f, _ := k.running(t, Config{AuditRound: -1})
	link, bridge := port(t, k, f)
	a, m := addrOf("172.22.2.2"), MAC{0x50, 1}
	f.SetMAC(link, m, a)
	flush(t, f, Result{Added: 2})
	k.mu.Lock()
	k.done[rtnl.RTM_GETLINK] = func() { // it looks whether there is something to compare
		k.mu.Lock()
		defer k.mu.Unlock()
		k.done[rtnl.RTM_GETLINK] = func() {
			k.enslave("vx100", bridge)
			sleep(time.Millisecond) // it is notified
		}
	}
	k.mu.Unlock()
	k.enslave("vx100", 0)
	sleep(time.Second)
	if !k.has(Entry{IfIndex: link, MAC: m, Table: TableBridge}) {
		t.Error("it was forgotten that it is a port again")
	}
}

// A MAC goes from one device of a bridge to another, whichever is written first; and a device that is gone when it is written
// to is one failure, not one for each entry.
func TestFakeTwoDevices(t *testing.T) { synctest.Test(t, fakeTwoDevices) }

func fakeTwoDevices(t *testing.T) {
	k := newFake()
	f, _ := k.running(t, Config{AuditRound: -1})
	one, bridge := port(t, k, f)
	d := vx100
	d.Interface, d.VNI, d.Bridge = "vx101", 101, bridge
	two := ensure(t, f, d)
	a, m := addrOf("172.22.2.2"), MAC{0x50, 1}
	f.SetMAC(one, m, a)
	flush(t, f, Result{Added: 2})
	f.SetMAC(two, m, a)
	flush(t, f, Result{Added: 1, Replaced: 1})
	sleep(time.Millisecond) // the kernel's word that the bridge has it elsewhere is read
	f.DeleteMAC(one, m)
	flush(t, f, Result{Deleted: 2})
	if !k.has(Entry{IfIndex: two, MAC: m, Table: TableBridge}) || k.has(Entry{IfIndex: one, MAC: m, VTEP: a}) {
		t.Error("it has not moved")
	}
	w := f.Watch()
	events(t, w)
	k.mu.Lock()
	k.muted = true
	k.unlink(two)
	k.mu.Unlock()
	f.SetMAC(two, MAC{0x50, 2}, a)
	if _, err := f.Flush(t.Context()); !errors.Is(err, unix.ENODEV) {
		t.Error(err)
	}
	for _, e := range events(t, w) {
		if e.State == StateFailed || e.Kind == EventTable && !errors.Is(e.Err, unix.ENODEV) {
			t.Errorf("%v", e)
		}
	}
}

// TestFakeGone: what was in the way has gone, and nobody has read that yet: the kernel is asked before anything is said to be
// in the way.
func TestFakeGone(t *testing.T) { synctest.Test(t, fakeGone) }

func fakeGone(t *testing.T) {
	k := newFake()
	f, end := k.running(t, Config{})
	link, bridge := port(t, k, f)
	guests := k.other("port", "veth")
	k.enslave("port", bridge)
	m := MAC{0x50, 1}
	if err := f.SetSegment(Segment{Device: link, Interface: bridge}); err != nil {
		t.Fatal(err)
	}
	flush(t, f, Result{})
	k.bridgeHas(bridge, guests, m, rtnl.NUD_NOARP, 0)
	synctest.Wait()
	k.stall(true)
	k.bridgeHas(bridge, guests, m, rtnl.NUD_REACHABLE, 0)
	if err := f.SetMAC(link, m, addrOf("172.22.2.2")); err != nil {
		t.Fatal(err)
	}
	flush(t, f, Result{Added: 1, Replaced: 1})
	k.stall(false)
	if err := end(); err != nil {
		t.Error(err)
	}
}

// TestLeavesWhileRead: a device that leaves its bridge while its tables are read has its own entries all the same.
func TestLeavesWhileRead(t *testing.T) {
	k := newFake()
	f, _ := k.running(t, Config{})
	link, _ := port(t, k, f)
	if err := f.SetMAC(link, macOf(t, "02:00:00:00:00:01"), addrOf("172.22.2.2")); err != nil {
		t.Fatal(err)
	}
	flush(t, f, Result{Added: 2})
	conn, err := openKernel(Config{}, k.open)
	if err != nil {
		t.Fatal(err)
	}
	k.mu.Lock()
	k.done[rtnl.RTM_GETLINK] = func() { k.enslave("vx100", 0) }
	k.mu.Unlock()
	s, err := conn.read(link, reading{forwards: true})
	if err != nil || s.link.bridge() != 0 || len(s.entries) != 1 || s.entries[0].Table != TableDevice {
		t.Errorf("port of %d, %+v, %v", s.link.bridge(), s.entries, err)
	}
}
