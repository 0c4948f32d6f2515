package rib

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/hyperfib/hyperfib/bgp/wire"
)

// macRoute is the type 2 route of guest i, with a label.
func macRoute(i int, label uint32) []byte {
	b, err := hex.DecodeString("022100010aff00020002" + "00000000000000000000" + "00000000" + "30" + fmt.Sprintf("5254%08x", i) + "00" + fmt.Sprintf("%06x", label))
	if err != nil {
		panic(err)
	}
	return b
}

func keyOf2(octets []byte) []byte { return wire.EVPN{Octets: octets}.AppendKey(nil) }

// evpnUpdate announces routes, or withdraws them if attrs is nil, and parses what a peer would receive.
func evpnUpdate(tb testing.TB, attrs wire.Attrs, nh wire.NextHop, addPath bool, id uint32, routes ...[]byte) *wire.Update {
	tb.Helper()
	b := wire.Builder{AS4: true, Max: wire.MaxExtendedLen}
	opt := wire.Options{AS4: true, IBGP: true}
	if addPath {
		b.AddPath, opt.AddPath = wire.Families(families[:]...), wire.Families(families[:]...)
	}
	if attrs != nil {
		b.Reach(nil, wire.L2VPNEVPN, attrs, nh)
	} else {
		b.Unreach(nil, wire.L2VPNEVPN)
	}
	for _, r := range routes {
		e := wire.EVPN{Octets: r}
		if !b.AddKeyed(e.AppendKey(nil), e.AppendRest(nil), id) {
			tb.Fatal("no room")
		}
	}
	u, err := wire.ParseUpdate(b.Finish()[wire.HeaderLen:], opt)
	if err != nil {
		tb.Fatal(err)
	}
	return &u
}

// twin is one of two tables with the same history, in two families.
type twin struct {
	tb   testing.TB
	fam  wire.Family
	t    *Table
	ins  []*In
	outs []*Out
	at   []map[string]string // what each peer holds: guest and path identifier -> attributes
	eor  []int
}

const twinPeers = 5

func newTwin(tb testing.TB, fam wire.Family, limits [twinPeers]PrefixLimit) *twin {
	t, err := New(Config{AS: 65000, RouterID: ip("10.0.0.99"), ClusterID: ip("10.0.0.99")})
	if err != nil {
		tb.Fatal(err)
	}
	t.limits.backlog, t.limits.batch, t.limits.list = 2000, 600, 6 // so that peers fall behind, and lists become indexes
	x := &twin{tb: tb, fam: fam, t: t, outs: make([]*Out, twinPeers), eor: make([]int, twinPeers)}
	for i := range twinPeers {
		addr := netip.AddrFrom4([4]byte{10, 0, 1, byte(i)})
		in, err := t.NewIn(PeerConfig{Addr: addr, AS: 65000, RouterID: addr, Client: i < 3, Limits: map[wire.Family]PrefixLimit{fam: limits[i]}, Import: refuse5})
		if err != nil {
			tb.Fatal(err)
		}
		x.ins = append(x.ins, in)
		x.at = append(x.at, nil)
	}
	return x
}

// refuse5 refuses one variant, so that there is something that counts without being there.
func refuse5(r *Route) Verdict {
	if r.HasCommunity(5) {
		return VerdictReject
	}
	return VerdictNext
}

func (x *twin) addPath(i int) bool { return i%2 == 1 }

func (x *twin) open(i int) {
	c := OutConfig{Families: wire.Families(x.fam), AS4: true, NextHop6: via("2001:db8::99"), LongLived: true}
	if x.addPath(i) {
		c.AddPath = c.Families
	}
	if i == 3 {
		c.AddPathLimit = 2
	}
	out, err := x.ins[i].NewOut(c)
	if err != nil {
		x.tb.Fatal(err)
	}
	x.outs[i], x.at[i], x.eor[i] = out, map[string]string{}, 0
}

// variant is one of few sets of attributes; it is also the label of EVPN routes.
func variant(v int) wire.Attrs {
	a := wire.PathAttrs{LocalPref: ptr(uint32(100 + v%2)), Communities: []wire.Community{wire.Community(v)}}
	if v%3 == 0 {
		a.MED = ptr(uint32(v))
	}
	if v == 7 {
		a.Communities = append(a.Communities, wire.CommunityNoLLGR)
	}
	return a.Append(nil)
}

func (x *twin) update(i int, announce bool, v int, id uint32, guests []int) *wire.Update {
	nh := via(fmt.Sprintf("2001:db8::%d", 1+v%3))
	if !x.addPath(i) {
		id = 0
	}
	if x.fam == wire.L2VPNEVPN {
		var routes [][]byte
		for _, g := range guests {
			routes = append(routes, macRoute(g, uint32(v)))
		}
		attrs := variant(v)
		if !announce {
			attrs = nil
		}
		return evpnUpdate(x.tb, attrs, nh, x.addPath(i), id, routes...)
	}
	b := wire.Builder{AS4: true, AddPath: wire.Families(families[:]...)}
	if announce {
		b.Reach(nil, x.fam, variant(v), nh)
	} else {
		b.Unreach(nil, x.fam)
	}
	for _, g := range guests {
		b.Add(wire.NLRI{Prefix: guest6(g), PathID: id})
	}
	u, err := wire.ParseUpdate(b.Finish()[wire.HeaderLen:], wire.Options{AS4: true, IBGP: true, AddPath: wire.Families(families[:]...)})
	if err != nil {
		x.tb.Fatal(err)
	}
	return &u
}

func guest6(g int) netip.Prefix {
	a := [16]byte{0x20, 1, 0x0d, 0xb8, 0, 5}
	binary.BigEndian.PutUint32(a[12:], uint32(g))
	return netip.PrefixFrom(netip.AddrFrom16(a), 128)
}

// drain has a peer read at most some messages.
func (x *twin) drain(i, most int) {
	out := x.outs[i]
	if out == nil {
		return
	}
	buf := make([]byte, 4096)
	for ; most > 0; most-- {
		n := out.Fill(buf)
		if n == 0 {
			return
		}
		for b := buf[:n]; len(b) > 0; {
			h, err := wire.ParseHeader(b, 4096)
			if err != nil {
				x.tb.Fatal(err)
			}
			x.take(i, b[wire.HeaderLen:h.Len], h.Type)
			b = b[h.Len:]
		}
	}
}

func (x *twin) take(i int, body []byte, typ wire.MessageType) {
	if typ != wire.TypeUpdate {
		return // markers of a refresh
	}
	opt := wire.Options{AS4: true, IBGP: true}
	if x.addPath(i) {
		opt.AddPath = wire.Families(x.fam)
	}
	u, err := wire.ParseUpdate(body, opt)
	if err != nil {
		x.tb.Fatal(err)
	}
	if f, ok := u.EndOfRIB(); ok && f == x.fam {
		x.eor[i]++
	}
	text := fmt.Sprintf("%x via %v", u.AppendAttrs(nil), u.MPNextHop.Addr)
	put := func(guest uint32, id uint32, announce bool) {
		k := fmt.Sprintf("%d#%d", guest, id)
		if announce {
			x.at[i][k] = text
		} else {
			delete(x.at[i], k)
		}
	}
	for n := range u.MPUnreach.All() {
		a := n.Prefix.Addr().As16()
		put(binary.BigEndian.Uint32(a[12:]), n.PathID, false)
	}
	for n := range u.MPReach.All() {
		a := n.Prefix.Addr().As16()
		put(binary.BigEndian.Uint32(a[12:]), n.PathID, true)
	}
	for n := range u.MPUnreach.EVPN() {
		put(binary.BigEndian.Uint32(n.Octets[27:]), n.PathID, false)
	}
	for n := range u.MPReach.EVPN() {
		put(binary.BigEndian.Uint32(n.Octets[27:]), n.PathID, true)
		label := uint32(n.Octets[32])<<16 | uint32(n.Octets[33])<<8 | uint32(n.Octets[34])
		if !wire.Attrs(u.AppendAttrs(nil)).Communities().Contains(wire.Community(label)) {
			x.tb.Errorf("route %x has the attributes %x of another", n.Octets, u.AppendAttrs(nil))
		}
	}
}

// TestEVPNAsUnicast: whatever happens, what becomes of EVPN routes is what becomes of prefixes: each
// peer has the same paths with the same attributes, and every counter is the same.
func TestEVPNAsUnicast(t *testing.T) {
	for seed := range uint64(60) {
		evpnAsUnicast(t, seed, 120)
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}

func evpnAsUnicast(t *testing.T, seed uint64, steps int) {
	r := rand.New(rand.NewPCG(seed, 25<<8|70))
	var limits [twinPeers]PrefixLimit
	if r.IntN(2) == 0 {
		limits[1] = PrefixLimit{Maximum: 10, PathsPerPrefix: 3, Action: LimitBlock}
		limits[2] = PrefixLimit{Maximum: 15, Action: LimitWarn}
	}
	twins := [2]*twin{newTwin(t, wire.IPv6Unicast, limits), newTwin(t, wire.L2VPNEVPN, limits)}
	for step := range steps {
		i, v, id, kind, most := r.IntN(twinPeers), r.IntN(9), uint32(r.IntN(12)), r.IntN(40), r.IntN(4)
		var guests []int
		for range 1 + r.IntN(8) {
			guests = append(guests, r.IntN(12))
		}
		var errs [2]string
		for k, x := range twins {
			in := x.ins[i]
			switch {
			case kind < 18:
				errs[k] = strings.Split(fmt.Sprint(in.Update(x.update(i, true, v, id, guests))), " of ")[0]
				errs[k] = strings.NewReplacer("ipv6", "F", "evpn", "F").Replace(errs[k])
			case kind < 24:
				_ = in.Update(x.update(i, false, v, id, guests))
			case kind == 24:
				in.TreatAsWithdraw(x.update(i, true, v, id, guests))
			case kind == 25:
				in.MarkStale(x.fam)
			case kind == 26:
				in.EndOfRIB(x.fam)
			case kind == 27:
				in.MarkLongLived(x.fam)
			case kind == 28:
				in.BeginRefresh(x.fam)
			case kind == 29:
				in.EndRefresh(x.fam)
			case kind == 30:
				in.Drop(x.fam)
			case kind == 31:
				in.MarkTwiceStale(x.fam)
			case kind == 32:
				in.DropRedundant(x.fam)
			case kind < 36:
				if x.outs[i] == nil {
					x.open(i)
				} else if kind == 35 {
					x.outs[i].Close()
					x.outs[i], x.at[i] = nil, nil
				}
			case kind == 36 && x.outs[i] != nil:
				x.outs[i].Refresh(x.fam, v%2 == 0)
			default:
				x.drain(i, most)
			}
		}
		if errs[0] != errs[1] && !strings.Contains(errs[0], "more than") {
			t.Fatalf("step %d: %s and %s", step, errs[0], errs[1])
		}
		if step%5 == 4 || step == steps-1 {
			sameTwins(t, step, twins)
		}
	}
	for _, x := range twins {
		for i := range twinPeers {
			if x.outs[i] != nil {
				x.outs[i].Close()
			}
			x.ins[i].Close()
		}
		if s := x.t.Stats(); s != (Stats{Peers: 0}) {
			t.Errorf("%v: left over: %+v", x.fam, s)
		}
	}
}

func sameTwins(t *testing.T, step int, twins [2]*twin) {
	t.Helper()
	for i := range twinPeers {
		for _, x := range twins {
			x.drain(i, 1<<30)
		}
		a, b := twins[0], twins[1]
		if !maps.Equal(a.at[i], b.at[i]) {
			t.Fatalf("step %d: peer %d has %v\nand %v", step, i, a.at[i], b.at[i])
		}
		if x, y := a.ins[i].Counters(a.fam), b.ins[i].Counters(b.fam); x != y {
			t.Fatalf("step %d: peer %d: %+v\nand %+v", step, i, x, y)
		}
		if (a.outs[i] != nil) && a.eor[i] != b.eor[i] {
			t.Fatalf("step %d: peer %d: %d and %d End-of-RIB", step, i, a.eor[i], b.eor[i])
		}
	}
	x, y := twins[0].t.Stats(), twins[1].t.Stats()
	if x.Prefixes[1] != y.Prefixes[2] || x.Paths != y.Paths || x.Attrs != y.Attrs {
		t.Fatalf("step %d: %+v and %+v", step, x, y)
	}
	seen := map[uint32]int{}
	for c := range twins[0].t.All(wire.IPv6Unicast) {
		a := c.Prefix.Addr().As16()
		seen[binary.BigEndian.Uint32(a[12:])] = len(c.Paths)
	}
	for c := range twins[1].t.All(wire.L2VPNEVPN) {
		g := binary.BigEndian.Uint32(c.Key[len(c.Key)-5:])
		if seen[g] != len(c.Paths) || len(twins[1].t.LookupEVPN(c.Key)) != len(c.Paths) {
			t.Fatalf("step %d: guest %d has %d and %d paths", step, g, seen[g], len(c.Paths))
		}
		delete(seen, g)
	}
	if len(seen) > 0 {
		t.Fatalf("step %d: no EVPN route of %v", step, slices.Collect(maps.Keys(seen)))
	}
}

// TestEVPNRest: a label or a segment that changes replaces the route, with one message and no
// withdrawal; a route of an unknown type is what its octets are.
func TestEVPNRest(t *testing.T) {
	tab, ins := benchTable(t, 2)
	out, err := ins[1].NewOut(OutConfig{Families: wire.Families(wire.L2VPNEVPN), AS4: true, NextHop4: via("10.0.0.99")})
	if err != nil {
		t.Fatal(err)
	}
	said := func(want ...string) {
		t.Helper()
		var got []string
		buf := make([]byte, 65536)
		for n := out.Fill(buf); n > 0; n = out.Fill(buf) {
			for b := buf[:n]; len(b) > 0; {
				h, _ := wire.ParseHeader(b, 65535)
				u, err := wire.ParseUpdate(b[wire.HeaderLen:h.Len], wire.Options{AS4: true, IBGP: true})
				if err != nil {
					t.Fatalf("%x: %v", b[:h.Len], err)
				}
				if _, ok := u.EndOfRIB(); ok {
					got = append(got, "end")
				}
				for e := range u.MPUnreach.EVPN() {
					got = append(got, fmt.Sprintf("-%x", e.Octets))
				}
				for e := range u.MPReach.EVPN() {
					got = append(got, fmt.Sprintf("+%x via %v", e.Octets, u.MPNextHop.Addr))
				}
				b = b[h.Len:]
			}
		}
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Errorf("said %q\nwant %q", got, want)
		}
	}
	plus := func(octets []byte, nh string) string { return fmt.Sprintf("+%x via %s", octets, nh) }
	minus := func(octets []byte) string { return fmt.Sprintf("-%x", octets) }
	said("end")
	a, nh := variant(1), via("192.0.2.1")
	unknown, long := []byte{99, 3, 1, 2, 3}, append([]byte{200, 255}, make([]byte, 255)...)
	_ = ins[0].Update(evpnUpdate(t, a, nh, false, 0, macRoute(1, 100), macRoute(2, 100), macRoute(3, 200), unknown, long))
	said(plus(macRoute(1, 100), "192.0.2.1"), plus(macRoute(2, 100), "192.0.2.1"), plus(macRoute(3, 200), "192.0.2.1"), plus(unknown, "192.0.2.1"), plus(long, "192.0.2.1"))
	if s := tab.Stats(); s.Prefixes[2] != 5 || s.Paths != 5 || s.Attrs > 6 { // three sets as received, three as sent
		t.Errorf("%+v", s)
	}
	_ = ins[0].Update(evpnUpdate(t, a, nh, false, 0, macRoute(1, 100), macRoute(2, 101)))
	said(plus(macRoute(2, 101), "192.0.2.1"))
	segment := macRoute(1, 100)
	segment[10] = 3
	_ = ins[0].Update(evpnUpdate(t, a, nh, false, 0, segment))
	said(plus(segment, "192.0.2.1"))
	if p := tab.LookupEVPN(keyOf2(segment)); len(p) != 1 || string(p[0].Attrs.EVPN(keyOf2(segment)).Octets) != string(segment) {
		t.Errorf("%+v", p)
	}
	// A withdrawal names it, whatever it says beside.
	_ = ins[0].Update(evpnUpdate(t, nil, nh, false, 0, macRoute(1, 7), unknown, long))
	said(minus(macRoute(1, 0)), minus(unknown), minus(long))
	if s := tab.Stats(); len(tab.keyed[0].long) != 0 || s.Prefixes[2] != 2 {
		t.Errorf("%d long keys, %+v", len(tab.keyed[0].long), s)
	}
	// Our own, with the session's address, with one of its own, and gone.
	if err := tab.Originate(LocalPath{EVPN: macRoute(9, 100)}); err != nil {
		t.Fatal(err)
	}
	if err := tab.Originate(LocalPath{EVPN: macRoute(8, 100), NextHop: via("2001:db8::8")}); err != nil {
		t.Fatal(err)
	}
	said(plus(macRoute(9, 100), "10.0.0.99"), plus(macRoute(8, 100), "2001:db8::8"))
	for _, bad := range [][]byte{{}, {2, 0}, macRoute(1, 1)[:9], append(macRoute(1, 1), 0), append(macRoute(1, 1), macRoute(2, 1)...)} {
		if err := tab.Originate(LocalPath{EVPN: bad}); err == nil {
			t.Errorf("%x is originated", bad)
		}
	}
	if !tab.WithdrawEVPN(keyOf2(macRoute(9, 0)), 0) || tab.WithdrawEVPN(keyOf2(macRoute(9, 0)), 0) || tab.WithdrawEVPN(nil, 0) {
		t.Error("withdrawn once")
	}
	said(minus(macRoute(9, 0)))
	// Two overlay indexes: this route alone is withdrawn (RFC 9136, Section 3.2).
	good, _ := hex.DecodeString("0522" + "0000000000000000" + "00000000000000000000" + "00000000" + "18cb007100" + "00000000" + "00012c")
	_ = ins[0].Update(evpnUpdate(t, a, nh, false, 0, good))
	said(plus(good, "192.0.2.1"))
	two := slices.Clone(good)
	two[10], two[29] = 1, 1
	_ = ins[0].Update(evpnUpdate(t, a, nh, false, 0, macRoute(4, 100), two))
	none := slices.Clone(good)
	copy(none[33:], []byte{0, 0, 0})
	said(minus(none), plus(macRoute(4, 100), "192.0.2.1"))
	// What is malformed and has no name is counted, and withdraws nothing.
	raw := wire.List{Family: wire.L2VPNEVPN, Raw: append([]byte{2, 0}, macRoute(5, 100)...)}
	unchecked := evpnUpdate(t, a, nh, false, 0, macRoute(5, 100))
	unchecked.MPReach = raw
	_ = ins[0].Update(unchecked)
	said(plus(macRoute(5, 100), "192.0.2.1"))
	unchecked.MPReach, unchecked.MPUnreach = wire.List{}, raw
	_ = ins[0].Update(unchecked)
	said(minus(macRoute(5, 0)))
	unchecked.MPReach, unchecked.MPUnreach = raw, wire.List{}
	ins[0].TreatAsWithdraw(unchecked)
	if c := ins[0].Counters(wire.L2VPNEVPN); c.Refused[ReasonMalformed] != 3 || c.Paths != 3 {
		t.Errorf("%+v", c)
	}
}

// TestEVPNNextHop: a session that is its own next hop, and an external one, leave that of EVPN routes alone.
func TestEVPNNextHop(t *testing.T) {
	tab, ins := benchTable(t, 2)
	ext, err := tab.NewIn(PeerConfig{Addr: ip("10.0.9.9"), AS: 65009, RouterID: ip("10.0.9.9")})
	if err != nil {
		t.Fatal(err)
	}
	attrs := wire.PathAttrs{LocalPref: ptr(uint32(1))} // which both routes share, as type 3 has nothing but a name
	multicast, _ := hex.DecodeString("0311" + "00010aff00020002" + "00000000" + "200aff0002")
	_ = ins[0].Update(evpnUpdate(t, attrs.Append(nil), via("192.0.2.1"), false, 0, multicast))
	_ = ins[0].Update(reachOf(t, true, attrs, via("192.0.2.1"), wire.NLRI{Prefix: prefix4(1)}))
	if n := tab.Stats().Attrs; n != 1 {
		t.Errorf("%d sets of attributes", n)
	}
	for i, in := range []*In{ins[1], ext} {
		out, err := in.NewOut(OutConfig{Families: wire.Families(families[:]...).Without(wire.RTConstrain), AS4: true, NextHop4: via("10.0.0.99"), NextHopSelf: i == 0})
		if err != nil {
			t.Fatal(err)
		}
		buf := make([]byte, 65536)
		for out.Fill(buf) > 0 {
		}
		var got []string
		for _, f := range families {
			for a := range out.All(f) {
				got = append(got, a.Attrs.NextHop().Addr.String())
			}
		}
		if !slices.Equal(got, []string{"10.0.0.99", "192.0.2.1"}) {
			t.Errorf("next hops %v", got)
		}
	}
}

// TestEVPNWatch: a watcher sees EVPN if it asks for it, and nothing else then.
func TestEVPNWatch(t *testing.T) {
	tab, ins := benchTable(t, 1)
	all, only := tab.Watch(WatchConfig{}), tab.Watch(WatchConfig{Families: wire.Families(wire.L2VPNEVPN)})
	r := macRoute(1, 100)
	_ = ins[0].Update(evpnUpdate(t, variant(1), via("192.0.2.1"), false, 0, r))
	changes := make([]Change, 4)
	next := func(w *Watcher) (list []string) {
		for _, c := range changes[:w.Next(changes)] {
			if !c.Converged {
				list = append(list, fmt.Sprintf("%v %x %d", c.Prefix.IsValid(), c.Key, len(c.Paths)))
			}
		}
		return list
	}
	if got := next(only); !slices.Equal(got, []string{fmt.Sprintf("false %x 1", keyOf2(r))}) {
		t.Error(got)
	}
	_ = ins[0].Update(evpnUpdate(t, nil, via("192.0.2.1"), false, 0, r))
	if got := next(only); !slices.Equal(got, []string{fmt.Sprintf("false %x 0", keyOf2(r))}) {
		t.Error(got)
	}
	if got := next(all); got != nil {
		t.Error(got)
	}
}

// TestEVPNAllocs: 500 routes that change their attributes, reflected to two peers, cost no allocation.
func TestEVPNAllocs(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	tab, ins := benchTable(t, 3)
	var outs []*Out
	for _, in := range ins[1:] {
		o, err := in.NewOut(OutConfig{Families: wire.Families(wire.L2VPNEVPN), AS4: true})
		if err != nil {
			t.Fatal(err)
		}
		outs = append(outs, o)
	}
	var routes [][]byte
	for i := range 500 {
		routes = append(routes, macRoute(i, uint32(i/100)))
	}
	a := evpnUpdate(t, variant(1), via("192.0.2.1"), false, 0, routes...)
	b := evpnUpdate(t, variant(2), via("192.0.2.1"), false, 0, routes...)
	other := routes[:0:0]
	for i := range 500 { // keeps both sets of each label alive
		other = append(other, macRoute(1000+i, uint32(i/100)))
	}
	_ = ins[1].Update(evpnUpdate(t, variant(1), via("192.0.2.1"), false, 0, other[:]...))
	_ = ins[2].Update(evpnUpdate(t, variant(2), via("192.0.2.1"), false, 0, other[:]...))
	buf := make([]byte, 65536)
	flip := func() {
		for _, u := range []*wire.Update{a, b} {
			_ = ins[0].Update(u)
			for _, o := range outs {
				for o.Fill(buf) > 0 {
				}
			}
		}
	}
	flip()
	flip()
	if n := testing.AllocsPerRun(20, flip); n != 0 {
		t.Errorf("%v allocations", n)
	}
	_ = tab
}

// BenchmarkEVPN reflects 100k MAC addresses of 100 VNIs, 50 an UPDATE, to one peer; it reports what a route
// costs and the octets of heap that it leaves.
func BenchmarkEVPN(b *testing.B) {
	const n, each = 100000, 50
	var bodies [][]byte
	for i := 0; i < n; i += each {
		w := wire.Builder{AS4: true}
		w.Reach(nil, wire.L2VPNEVPN, variant(1), via("192.0.2.1"))
		for j := range each {
			e := wire.EVPN{Octets: macRoute(i+j, uint32(i/1000))}
			w.AddKeyed(e.AppendKey(nil), e.AppendRest(nil), 0)
		}
		bodies = append(bodies, w.Finish()[wire.HeaderLen:])
	}
	before := heap()
	var t *Table
	var out *Out
	buf := make([]byte, 65536)
	for b.Loop() {
		var ins []*In
		t, ins = benchTable(b, 2)
		out, _ = ins[1].NewOut(OutConfig{Families: wire.Families(wire.L2VPNEVPN), AS4: true})
		for _, body := range bodies {
			u, err := wire.ParseUpdate(body, wire.Options{AS4: true, IBGP: true})
			if err != nil {
				b.Fatal(err)
			}
			_ = ins[0].Update(&u)
		}
		for out.Fill(buf) > 0 {
		}
		if c := out.Counters(); c.Announced != n {
			b.Fatal(c)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "ns/route")
	b.ReportMetric(float64(heap()-before)/n, "B/route")
	runtime.KeepAlive(t)
	runtime.KeepAlive(bodies)
}
