package vxlan

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/hyperfib/hyperfib/internal/rtnl"
)

// model is an obvious model of the kernel's table, with its rules for writes.
type model struct{ table }

func (k *model) carryOut(w write) error {
	switch p, there := k.macs[w.MAC]; {
	case w.MAC.IsZero() && w.op == opAdd:
		k.flood[w.VTEP] = ours
	case w.MAC.IsZero() && w.op == opDelete:
		delete(k.flood, w.VTEP)
	case w.op == opAdd && there:
		return unix.EEXIST
	case w.op == opDelete && (!there || p.vtep != w.VTEP):
		return unix.ENOENT
	case w.op == opDelete:
		delete(k.macs, w.MAC)
	case w.op == opAdd || w.op == opReplace:
		k.macs[w.MAC] = destination{w.VTEP, ours}
	default:
		return fmt.Errorf("write %v", w)
	}
	return nil
}

func randomTable(r *rand.Rand, origins int) table {
	t := newTable()
	for range r.IntN(5) {
		t.flood[netip.AddrFrom4([4]byte{10, 0, 0, byte(r.IntN(5))})] = origin(r.IntN(origins))
	}
	for range r.IntN(5) {
		t.macs[MAC{2, 5: byte(r.IntN(5))}] = destination{netip.AddrFrom4([4]byte{10, 0, 0, byte(r.IntN(5))}), origin(r.IntN(origins))}
	}
	return t
}

// Whatever is wanted and whatever is there: after the writes everything wanted is
// there unless a foreign entry is in the way, nothing of ours is left over, what is
// foreign is as it was, and a second look finds nothing to do.
func TestDiff(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 20000 {
		want, have := randomTable(r, 1), model{randomTable(r, 3)}
		before := model{newTable()}
		for v, o := range have.flood {
			before.flood[v] = o
		}
		for m, p := range have.macs {
			before.macs[m] = p
		}
		writes, _ := diff(7, &want, &have.table)
		for _, w := range writes {
			if w.op == opBlocked {
				if before.macs[w.MAC].origin != foreign {
					t.Fatalf("blocked by our own: %v", w)
				}
				continue
			}
			if err := have.carryOut(w); err != nil {
				t.Fatalf("want %v, have %v: %v %v: %v", want, before, w.op, w.Entry, err)
			}
		}
		check(t, &want, &before.table, &have.table)
		again, _ := diff(7, &want, &have.table)
		if slices.ContainsFunc(again, func(w write) bool { return w.op != opBlocked }) {
			t.Fatalf("a second look: %v", again)
		}
	}
}

func check(t *testing.T, want, before, after *table) {
	t.Helper()
	for v := range want.flood {
		if _, ok := after.flood[v]; !ok {
			t.Fatalf("flood %v is missing", v)
		}
	}
	for v, o := range after.flood {
		if _, ok := want.flood[v]; !ok && o == ours {
			t.Fatalf("flood %v is left over", v)
		}
	}
	for m, p := range want.macs {
		b := before.macs[m]
		if blocked := b.vtep.IsValid() && b.origin == foreign && b.vtep != p.vtep; !blocked && after.macs[m].vtep != p.vtep {
			t.Fatalf("%v is at %v", m, after.macs[m])
		}
	}
	for m, p := range before.macs {
		if p.origin == foreign && after.macs[m] != p {
			t.Fatalf("foreign %v became %v", p, after.macs[m])
		}
	}
	for v, o := range before.flood {
		if _, ok := after.flood[v]; o != ours && !ok {
			t.Fatalf("foreign flood %v is gone", v)
		}
	}
}

func TestMessage(t *testing.T) {
	if native != binary.NativeEndian || native.Uint16([]byte{1, 0}) != 1 {
		t.Skip("the golden bytes are little-endian")
	}
	e := Entry{IfIndex: 5, MAC: MAC{0x50, 0x54, 0x33, 0, 0, 7}, VTEP: netip.MustParseAddr("172.22.2.2")}
	got := hex.EncodeToString(appendWrite(nil, write{op: opAdd, Entry: e}, 9, DefaultProtocol))
	// length, RTM_NEWNEIGH, REQUEST|EXCL|CREATE, sequence, port; AF_BRIDGE, link, NOARP|REACHABLE,
	// SELF|EXT_LEARNED; NDA_LLADDR; NDA_DST
	want := "30000000" + "1c00" + "0106" + "09000000" + "00000000" + "07000000" + "05000000" + "4200" + "12" + "00" +
		"0a000200" + "505433000007" + "0000" + "08000100" + "ac160202"
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	for _, w := range []write{{op: opReplace, Entry: e}, {op: opDelete, Entry: e}, {op: opAdd, Entry: Entry{IfIndex: 5, VTEP: netip.MustParseAddr("2001:db8::1")}}} {
		b := appendWrite(nil, w, 1, DefaultProtocol)
		d, ok := parseEntry(b[rtnl.SizeHeader:], DefaultProtocol)
		if !ok || d.Entry != w.Entry || d.origin != ours || !d.plain {
			t.Errorf("%v: %+v, %v", w, d, ok)
		}
	}
}

func TestOwner(t *testing.T) {
	for _, tc := range []struct {
		state uint16
		flags uint8
		plain bool
		want  origin
	}{
		{rtnl.NUD_NOARP | rtnl.NUD_REACHABLE, rtnl.NTF_SELF | rtnl.NTF_EXT_LEARNED, true, ours},
		{rtnl.NUD_NOARP | rtnl.NUD_REACHABLE, rtnl.NTF_SELF | rtnl.NTF_EXT_LEARNED, false, foreign}, // another port or VNI: not our way to write
		{rtnl.NUD_PERMANENT, rtnl.NTF_SELF, true, foreign},
		{rtnl.NUD_REACHABLE, rtnl.NTF_SELF, true, learned},
	} {
		if got := originOf(tc.state, tc.flags, tc.plain); got != tc.want {
			t.Errorf("%+v: %v", tc, got)
		}
	}
}

func TestDeviceCheck(t *testing.T) {
	good := Device{Interface: "vx1", VNI: 1, Local: netip.MustParseAddr("10.0.0.1")}
	if err := good.Check(); err != nil {
		t.Error(err)
	}
	for name, change := range map[string]func(*Device){
		"no name":   func(d *Device) { d.Interface = "" },
		"long name": func(d *Device) { d.Interface = "sixteen octets.." },
		"VNI":       func(d *Device) { d.VNI = 1 << 24 },
		"no local":  func(d *Device) { d.Local = netip.Addr{} },
		"group":     func(d *Device) { d.Local = netip.MustParseAddr("239.0.0.1") },
	} {
		d := good
		change(&d)
		if d.Check() == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if GuestMTU(1550, good.Local) != 1500 || GuestMTU(1570, netip.MustParseAddr("2001:db8::1")) != 1500 {
		t.Error("room")
	}
}

func TestErrorText(t *testing.T) {
	e := &Error{Op: "add", Entry: Entry{IfIndex: 5, VTEP: netip.MustParseAddr("10.0.0.1")}, Text: "why", Err: unix.EINVAL}
	if got := e.Error(); got != "vxlan: add 00:00:00:00:00:00 dev 5 dst 10.0.0.1: invalid argument: why" || !errors.Is(e, unix.EINVAL) {
		t.Error(got)
	}
	e = &Error{Op: "create device", Interface: "vx1", Err: ErrForeign}
	if got := e.Error(); !strings.HasPrefix(got, "vxlan: create device vx1: ") {
		t.Error(got)
	}
	for o := opNone; o <= opBlocked; o++ {
		if o.String() == "" {
			t.Error("op without a name")
		}
	}
}

// FuzzMessages feeds the parsers of what the kernel says.
func FuzzMessages(f *testing.F) {
	e := Entry{IfIndex: 5, MAC: MAC{0x50, 0x54, 0x33, 0, 0, 7}, VTEP: netip.MustParseAddr("172.22.2.2")}
	f.Add(appendWrite(nil, write{op: opAdd, Entry: e}, 9, DefaultProtocol)[rtnl.SizeHeader:])
	f.Add(appendWrite(nil, write{op: opAdd, Entry: Entry{IfIndex: 5, MAC: e.MAC, Table: TableNeighbors, Addr: e.VTEP}}, 9, DefaultProtocol)[rtnl.SizeHeader:])
	f.Add(rtnl.AppendUint32(appendWrite(nil, write{op: opAdd, Entry: Entry{IfIndex: 5, MAC: e.MAC, Table: TableBridge}}, 9, DefaultProtocol)[rtnl.SizeHeader:], rtnl.NDA_MASTER, 6))
	d := Device{Interface: "vx1", VNI: 1, Local: netip.MustParseAddr("10.0.0.1")}
	f.Add(encodeDevice(&d, 0))
	f.Fuzz(func(t *testing.T, data []byte) {
		if d, ok := parseEntry(data, DefaultProtocol); ok && d.origin == ours && d.Table != TableBridge { // which has its bridge only when it is read
			again, ok := parseEntry(appendWrite(nil, write{op: opAdd, Entry: d.Entry}, 1, DefaultProtocol)[rtnl.SizeHeader:], DefaultProtocol)
			if !ok || again.MAC != d.MAC || again.VTEP != d.VTEP.Unmap() || again.Addr != d.Addr {
				t.Fatalf("%+v, then %+v", d, again)
			}
		}
		_, _ = parseDevice(data)
		_, _ = parseNSID(data)
	})
}

// What this process wrote stays ours in the next dump even without the kernel's mark, unless it
// goes elsewhere by now, or has a port of its own.
func TestMerge(t *testing.T) {
	a, b := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
	m := MAC{2, 1}
	before := newTable()
	before.flood[a], before.macs[m] = ours, destination{a, ours}
	for _, tc := range []struct {
		dumped
		want origin
	}{
		{dumped{Entry: Entry{MAC: m, VTEP: a}, origin: foreign, plain: true}, ours},
		{dumped{Entry: Entry{MAC: m, VTEP: b}, origin: foreign, plain: true}, foreign},
		{dumped{Entry: Entry{MAC: m, VTEP: a}, origin: foreign, plain: false}, foreign},
		{dumped{Entry: Entry{MAC: m, VTEP: a}, origin: learned, plain: true}, learned},
		{dumped{Entry: Entry{MAC: MAC{2, 2}, VTEP: a}, origin: foreign, plain: true}, foreign},
		{dumped{Entry: Entry{VTEP: a}, origin: foreign, plain: true}, ours},
		{dumped{Entry: Entry{VTEP: b}, origin: foreign, plain: true}, foreign},
		{dumped{Entry: Entry{VTEP: a}, origin: foreign, plain: false}, foreign},
	} {
		got := merge([]dumped{tc.dumped}, &before)
		if o := got.macs[tc.MAC].origin; !tc.MAC.IsZero() && o != tc.want || tc.MAC.IsZero() && got.flood[tc.VTEP] != tc.want {
			t.Errorf("%+v: %+v", tc, got)
		}
	}
}

// A device whose attributes are cut short is an error wherever that is.
func TestDeviceMalformed(t *testing.T) {
	whole := encodeDevice(&vx100, 0)
	if d, err := parseDevice(whole); err != nil || d.VNI != 100 || d.kind != "vxlan" {
		t.Fatal(d, err)
	}
	data := appendData(nil, &vx100)
	data[0] = 2 // shorter than its own header
	b := rtnl.Nest(ifinfo(1, 0, 0), rtnl.IFLA_LINKINFO)
	at := len(b) - 4
	b = rtnl.AppendString(b, rtnl.IFLA_INFO_KIND, "vxlan")
	b = rtnl.AppendBytes(b, rtnl.IFLA_INFO_DATA, data)
	native.PutUint16(b[at:], uint16(len(b)-at))
	if d, err := parseDevice(b); !errors.Is(err, rtnl.ErrMalformed) {
		t.Error(d, err)
	}
}
