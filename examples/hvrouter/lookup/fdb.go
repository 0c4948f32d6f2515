package lookup

import (
	"bytes"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// FDBEntry is a forwarding entry of a bridge, or of a VXLAN device.
type FDBEntry struct {
	MAC     net.HardwareAddr
	IfIndex int // the port of the bridge, or the VXLAN device
	// Master is the bridge whose entry it is, 0 if it is the VXLAN device's own.
	Master int
	Dst    netip.Addr // the VTEP, of a VXLAN device
	VLAN   uint16
	State  uint16 // NUD_*
	Flags  uint8  // NTF_*
}

// Flags and states of forwarding entries (linux/neighbour.h).
const (
	ntfSelf       = 0x02
	ntfExtLearned = 0x10
	ntfSticky     = 0x40
	nudStale      = 0x04
	nudPermanent  = 0x80 // of a bridge: the MAC of an interface of this host
)

// mostListed is how many VTEPs are named that frames are flooded to: of a thousand nobody reads more.
const mostListed = 8

// Overlay is an overlay of a namespace, by its interfaces.
type Overlay struct {
	Device string // VXLAN
	Bridge string // that the device is a port of
	VNI    uint32 // as [Overlays] has it; else it may be 0
}

// WantMAC is where a MAC of an overlay should be: behind a VTEP, at a port of the bridge, or nowhere.
type WantMAC struct {
	VTEP netip.Addr
	Port string
	// Open: which port it is at, if any, is not decided yet.
	Open bool
	// Neighbours are the addresses that the bridge's neighbour tables should have with the MAC.
	Neighbours []netip.Addr
	// Foreign are VTEPs that other programs have put into the flood list.
	Foreign []netip.Addr
}

// MACReport says where the kernel sends frames for a MAC of an overlay.
type MACReport struct {
	NetNS string `json:"netns,omitempty"`
	// Differences are contradictions: the kernel differs from what is wanted.
	Differences []string `json:"differences,omitempty"`
	// Unread is what could not be read of the kernel, with the reason: what the report says is without
	// it. Empty: everything has been read.
	Unread []string `json:"unread,omitempty"`
	// Outcome is what becomes of a frame.
	Outcome string `json:"outcome"`
	// FDB are the forwarding entries of bridge and VXLAN device, as `bridge fdb show` prints them.
	FDB []string `json:"fdb,omitempty"`
	// Neighbours are the bridge's neighbours that have the MAC, or should, as `ip neigh show` prints them.
	Neighbours []string `json:"neighbours,omitempty"`
	// Firewall are the base chains of other programs that the frame may pass.
	Firewall []string `json:"firewall,omitempty"`
}

// Lines formats the report for people: contradictions first.
func (r *MACReport) Lines() (lines []string) {
	in := ""
	if r.NetNS != "" {
		in = "netns " + r.NetNS + ": "
	}
	for _, d := range r.Differences {
		lines = append(lines, in+"DIFFERENCE: "+d)
	}
	lines = append(lines, in+r.Outcome)
	for _, e := range r.FDB {
		lines = append(lines, "  fdb "+e)
	}
	for _, n := range r.Neighbours {
		lines = append(lines, "  neighbour "+n)
	}
	for _, f := range r.Firewall {
		lines = append(lines, "  firewall: "+f)
	}
	return lines
}

// macReporter makes one report.
type macReporter struct {
	*MACReport
	k              *Kernel
	o              Overlay
	mac            net.HardwareAddr
	want           *WantMAC
	device, bridge Link
	own, placed    []FDBEntry // for the MAC: of the VXLAN device, and of the bridge
	flood          []netip.Addr
}

// ExplainMAC says where frames for a MAC go in an overlay. want is nil if it is not known where they should.
// frames names the chains of other programs that frames pass at some interfaces; nil: that is not looked at.
func ExplainMAC(k *Kernel, o Overlay, mac net.HardwareAddr, want *WantMAC, frames func(links ...string) ([]string, error)) (*MACReport, error) {
	r := &macReporter{MACReport: &MACReport{}, k: k, o: o, mac: mac, want: want}
	r.device, _ = k.ByName(o.Device)
	r.bridge, _ = k.ByName(o.Bridge)
	if err := r.entries(); err != nil {
		return nil, fmt.Errorf("forwarding entries of %s: %w", o.Bridge, err)
	}
	neighbours, err := r.neighbours()
	if err != nil {
		return nil, fmt.Errorf("neighbours on %s: %w", o.Bridge, err)
	}
	r.Outcome = fmt.Sprintf("%s: frames for %v %s", o.Device, mac, r.outcome())
	if want != nil {
		r.links()
		r.wantedPlace()
		r.wantedFlood()
		r.wantedNeighbours(neighbours)
	}
	if frames != nil {
		r.filtered(frames)
	}
	return r.MACReport, nil
}

func (r *macReporter) differs(format string, args ...any) {
	r.Differences = append(r.Differences, fmt.Sprintf(format, args...))
}

// entries reads the forwarding entries for the MAC, and the flood list.
func (r *macReporter) entries() error {
	if r.bridge.Index == 0 && r.device.Index == 0 {
		return nil
	}
	header := make([]byte, sizeNeighbour)
	header[0] = unix.AF_BRIDGE
	var filter []attribute
	if r.bridge.Index != 0 && r.device.Master == r.bridge.Index { // both are in the bridge's dump
		filter = []attribute{number(unix.NDA_MASTER, uint32(r.bridge.Index))}
	}
	var list []FDBEntry
	zero := make([]byte, 6)
	err := dump(r.k.conn, request(unix.RTM_GETNEIGH, unix.NLM_F_DUMP, header, filter...), func() { list, r.flood = list[:0], nil }, func(body []byte) {
		e, err := parseFDB(body)
		if err != nil || e.Master != r.bridge.Index && (e.Master != 0 || e.IfIndex != r.device.Index) {
			return
		}
		switch {
		case bytes.Equal(e.MAC, r.mac):
			list = append(list, e)
		case e.Master == 0 && bytes.Equal(e.MAC, zero) && e.Dst.IsValid():
			r.flood = append(r.flood, e.Dst)
		}
	})
	slices.SortFunc(r.flood, netip.Addr.Compare)
	for _, e := range list {
		r.FDB = append(r.FDB, r.text(e))
		switch {
		case e.Master != 0:
			r.placed = append(r.placed, e)
		case e.IfIndex == r.device.Index && e.Dst.IsValid():
			r.own = append(r.own, e)
		}
	}
	slices.Sort(r.FDB)
	// A bridge that does not filter VLANs forwards by the entries without one.
	slices.SortStableFunc(r.placed, func(a, b FDBEntry) int { return int(a.VLAN) - int(b.VLAN) })
	return err
}

// text formats an entry as iproute2 does.
func (r *macReporter) text(e FDBEntry) string {
	b := []string{e.MAC.String(), "dev " + r.k.Link(e.IfIndex).Name}
	if e.Dst.IsValid() {
		b = append(b, "dst "+e.Dst.String())
	}
	if e.VLAN != 0 {
		b = append(b, fmt.Sprint("vlan ", e.VLAN))
	}
	for _, f := range []struct {
		flag uint8
		name string
	}{{ntfSelf, "self"}, {ntfExtLearned, "extern_learn"}, {ntfSticky, "sticky"}} {
		if e.Flags&f.flag != 0 {
			b = append(b, f.name)
		}
	}
	if e.Master != 0 {
		b = append(b, "master "+r.k.Link(e.Master).Name)
	}
	switch {
	case e.State&nudPermanent != 0:
		b = append(b, "permanent")
	case e.State&nudNoARP != 0:
		b = append(b, "static")
	case e.State&nudStale != 0:
		b = append(b, "stale")
	}
	return strings.Join(b, " ")
}

// parseFDB reads struct ndmsg and its attributes, of the family AF_BRIDGE.
func parseFDB(b []byte) (e FDBEntry, err error) {
	if len(b) < sizeNeighbour || b[0] != unix.AF_BRIDGE {
		return e, errMalformed
	}
	e = FDBEntry{IfIndex: int(native.Uint32(b[4:])), State: native.Uint16(b[8:]), Flags: b[10]}
	for typ, v := range attributes(b[sizeNeighbour:]) {
		switch typ {
		case unix.NDA_DST:
			e.Dst = address(v)
		case unix.NDA_LLADDR:
			e.MAC = slices.Clone(v)
		case unix.NDA_VLAN:
			e.VLAN = uint16(word(v))
		case unix.NDA_MASTER:
			e.Master = int(word(v))
		}
	}
	return e, nil
}

// neighbours reads the bridge's neighbours that have the MAC, or should.
func (r *macReporter) neighbours() (list []Neighbour, err error) {
	if r.bridge.Index == 0 {
		return nil, nil
	}
	for _, six := range []bool{false, true} {
		header := make([]byte, sizeNeighbour)
		header[0] = familyOf(six)
		before := len(list)
		err := dump(r.k.conn, request(unix.RTM_GETNEIGH, unix.NLM_F_DUMP, header, number(unix.NDA_IFINDEX, uint32(r.bridge.Index))), func() { list = list[:before] }, func(body []byte) {
			n, err := parseNeighbour(body)
			if err != nil || n.IfIndex != r.bridge.Index || n.Proxy {
				return
			}
			if bytes.Equal(n.MAC, r.mac) || r.want != nil && slices.Contains(r.want.Neighbours, n.Addr) {
				n.MAC = slices.Clone(n.MAC) // body is the connection's
				list = append(list, n)
			}
		})
		if err != nil {
			return nil, err
		}
	}
	slices.SortFunc(list, func(a, b Neighbour) int { return a.Addr.Compare(b.Addr) })
	for _, n := range list {
		r.Neighbours = append(r.Neighbours, neighbourText(n, r.o.Bridge))
	}
	return list, nil
}

// outcome says what becomes of a frame for the MAC that comes to the bridge.
func (r *macReporter) outcome() string {
	switch {
	case r.bridge.Index == 0:
		return fmt.Sprintf("are nobody's: there is no bridge %s", r.o.Bridge)
	case len(r.placed) == 0 && r.device.Master != r.bridge.Index:
		return fmt.Sprintf("are flooded to the ports of %s, of which %s is none", r.o.Bridge, r.o.Device)
	case len(r.placed) == 0:
		return fmt.Sprintf("are flooded to all ports of %s; %s", r.o.Bridge, r.encapsulated())
	case r.placed[0].State&nudPermanent != 0:
		return fmt.Sprintf("are taken in by this host: it is the MAC of %s", r.k.Link(r.placed[0].IfIndex).Name)
	case r.placed[0].IfIndex == r.device.Index:
		return "go to " + r.o.Device + ", " + r.encapsulated()
	}
	return fmt.Sprintf("go to the port %s of %s", r.k.Link(r.placed[0].IfIndex).Name, r.o.Bridge)
}

// encapsulated says where the VXLAN device sends a frame for the MAC.
func (r *macReporter) encapsulated() string {
	switch {
	case len(r.own) > 0:
		return r.o.Device + " sends them to VTEP " + addressesText(r.vteps())
	case len(r.flood) > 0:
		return r.o.Device + " floods them to " + addressesText(r.flood)
	}
	return r.o.Device + " drops them: it has neither an entry nor a flood list"
}

func (r *macReporter) vteps() (list []netip.Addr) {
	for _, e := range r.own {
		list = append(list, e.Dst)
	}
	return list
}

// addressesText lists addresses, of many the first.
func addressesText(list []netip.Addr) string {
	var b strings.Builder
	for i, a := range list {
		switch {
		case i == mostListed:
			fmt.Fprintf(&b, " and %d more", len(list)-i)
			return b.String()
		case i > 0:
			b.WriteString(", ")
		}
		b.WriteString(a.String())
	}
	return b.String()
}

// links compares the interfaces.
func (r *macReporter) links() {
	switch {
	case r.bridge.Index == 0:
		r.differs("there is no bridge %s", r.o.Bridge)
	case r.device.Index == 0:
		r.differs("there is no interface %s", r.o.Device)
	case r.device.Master != r.bridge.Index:
		r.differs("%s is no port of %s", r.o.Device, r.o.Bridge)
	}
	for _, l := range []Link{r.bridge, r.device} {
		if l.Index != 0 && !l.Up {
			r.differs("%s is down", l.Name)
		}
	}
}

// filtered names the chains of other programs at the bridge, the device, and the port that a frame for the MAC leaves by.
// Where it came in is not known.
func (r *macReporter) filtered(frames func(links ...string) ([]string, error)) {
	links := []string{r.o.Bridge, r.o.Device}
	for _, e := range r.placed {
		if l := r.k.Link(e.IfIndex).Name; !slices.Contains(links, l) {
			links = append(links, l)
		}
	}
	var err error
	if r.Firewall, err = frames(links...); err != nil {
		r.Unread = append(r.Unread, fmt.Sprintf("firewall: %v", err))
	}
}

// wantedPlace compares where frames for the MAC go with where they should.
func (r *macReporter) wantedPlace() {
	w, at := r.want, ""
	if len(r.placed) > 0 {
		at = r.k.Link(r.placed[0].IfIndex).Name
	}
	switch {
	case w.VTEP.IsValid():
		switch {
		case len(r.own) == 0:
			r.differs("%s has no entry for %v, want one to VTEP %v", r.o.Device, r.mac, w.VTEP)
		case len(r.own) > 1 || r.own[0].Dst != w.VTEP:
			r.differs("%s sends frames for %v to VTEP %s, want %v", r.o.Device, r.mac, addressesText(r.vteps()), w.VTEP)
		case r.own[0].Flags&ntfExtLearned == 0 || r.own[0].State&nudNoARP == 0:
			r.differs("the entry of %s for %v is another program's, or was learned: it is not extern_learn, or ages", r.o.Device, r.mac)
		}
		switch at {
		case r.o.Device:
		case "":
			r.differs("%s has no entry for %v, want one at %s", r.o.Bridge, r.mac, r.o.Device)
		default:
			r.differs("%s has %v at %s, want it at %s", r.o.Bridge, r.mac, at, r.o.Device)
		}
		return
	case len(r.own) > 0 && w.Port != "":
		r.differs("%s sends frames for %v to VTEP %s: the guest is here", r.o.Device, r.mac, addressesText(r.vteps()))
	case len(r.own) > 0 && !bytes.Equal(r.mac, make([]byte, 6)): // all zero is the flood list
		r.differs("%s sends frames for %v to VTEP %s, which does not announce it", r.o.Device, r.mac, addressesText(r.vteps()))
	}
	switch {
	case w.Open:
	case w.Port != "" && at == "":
		r.differs("%s has no entry for %v, want one at %s", r.o.Bridge, r.mac, w.Port)
	case w.Port != "" && at != w.Port:
		r.differs("%s has %v at %s, want it at %s", r.o.Bridge, r.mac, at, w.Port)
	case w.Port != "" && r.placed[0].State&nudPermanent != 0:
		r.differs("the entry of %s for %v is permanent: this host takes the frames in, want it static", r.o.Bridge, r.mac)
	case w.Port != "" && r.placed[0].State&nudNoARP == 0:
		r.differs("the entry of %s for %v is not static: it was learned, and ages", r.o.Bridge, r.mac)
	case w.Port == "" && at == r.o.Device && at != "":
		r.differs("%s has %v at %s, and no VTEP announces it", r.o.Bridge, r.mac, at)
	}
}

// wantedFlood names the VTEPs of other programs that get the frames, if these are flooded.
func (r *macReporter) wantedFlood() {
	if len(r.own) > 0 && !bytes.Equal(r.mac, make([]byte, 6)) || len(r.placed) > 0 || r.bridge.Index == 0 || r.device.Master != r.bridge.Index {
		return
	}
	for i, a := range r.flood {
		if slices.Contains(r.want.Foreign, a) && !slices.Contains(r.flood[:i], a) {
			r.differs("%s floods frames for %v to VTEP %v, which another program has put into the flood list", r.o.Device, r.mac, a)
		}
	}
}

// wantedNeighbours compares the neighbours that have the MAC with those that should.
func (r *macReporter) wantedNeighbours(list []Neighbour) {
	for _, a := range r.want.Neighbours {
		i := slices.IndexFunc(list, func(n Neighbour) bool { return n.Addr == a })
		switch {
		case i < 0:
			r.differs("neighbour %v on %s is missing, want %v", a, r.o.Bridge, r.mac)
		case !bytes.Equal(list[i].MAC, r.mac):
			r.differs("neighbour %v on %s is at %s, want %v", a, r.o.Bridge, list[i].MAC, r.mac)
		}
	}
	for _, n := range list {
		if n.Protocol == Ours && bytes.Equal(n.MAC, r.mac) && !slices.Contains(r.want.Neighbours, n.Addr) {
			r.differs("neighbour %v on %s is at %v, which nobody announces with it", n.Addr, r.o.Bridge, r.mac)
		}
	}
}
