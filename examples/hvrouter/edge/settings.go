package edge

import (
	"encoding/binary"
	"errors"
	"hash/fnv"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"github.com/hyperfib/hyperfib/examples/hvrouter/config"
)

// setting is one of an interface that an overlay needs.
type setting uint8

const (
	answersARP setting = iota // not IFF_NOARP
	hasAddress
	snoops
	learnsAtMost
	learns
	suppresses
	isolated
	floods
	floodsMulticast
	floodsBroadcast
	locked
	state
	mtu
	local
	local6
	ttl
	tunnelLearns
)

// place is where the kernel has a setting.
type place uint8

const (
	inFlags  place = iota
	inLink         // an attribute of the interface
	inBridge       // of what it is as a bridge
	inVXLAN        // as a VXLAN device
	inPort         // as a bridge's port
)

// info is how a place is called.
type info struct {
	name, data uint16
	kind       string
}

// infoOf are the attributes of IFLA_LINKINFO that say what an interface is, and how, by place.
var infoOf = [...]info{
	inBridge: {unix.IFLA_INFO_KIND, unix.IFLA_INFO_DATA, "bridge"},
	inVXLAN:  {unix.IFLA_INFO_KIND, unix.IFLA_INFO_DATA, "vxlan"},
	inPort:   {unix.IFLA_INFO_SLAVE_KIND, unix.IFLA_INFO_SLAVE_DATA, "bridge"},
}

// settingForms says how each setting is called by ip and bridge, and how the kernel has it.
var settingForms = [...]struct {
	name      string
	in        place
	attribute uint16
	octets    int
	number    bool // of several octets in the order of this machine
}{
	answersARP:      {name: "arp"},
	hasAddress:      {"address", inLink, unix.IFLA_ADDRESS, 6, false},
	snoops:          {"mcast_snooping", inBridge, unix.IFLA_BR_MCAST_SNOOPING, 1, false},
	learnsAtMost:    {"fdb_max_learned", inBridge, unix.IFLA_BR_FDB_MAX_LEARNED, 4, true},
	learns:          {"learning", inPort, unix.IFLA_BRPORT_LEARNING, 1, false},
	suppresses:      {"neigh_suppress", inPort, unix.IFLA_BRPORT_NEIGH_SUPPRESS, 1, false},
	isolated:        {"isolated", inPort, unix.IFLA_BRPORT_ISOLATED, 1, false},
	floods:          {"flood", inPort, unix.IFLA_BRPORT_UNICAST_FLOOD, 1, false},
	floodsMulticast: {"mcast_flood", inPort, unix.IFLA_BRPORT_MCAST_FLOOD, 1, false},
	floodsBroadcast: {"bcast_flood", inPort, unix.IFLA_BRPORT_BCAST_FLOOD, 1, false},
	locked:          {"locked", inPort, unix.IFLA_BRPORT_LOCKED, 1, false},
	state:           {"state", inPort, unix.IFLA_BRPORT_STATE, 1, false},
	mtu:             {"mtu", inLink, unix.IFLA_MTU, 4, true},
	local:           {"local", inVXLAN, unix.IFLA_VXLAN_LOCAL, 4, false},
	local6:          {"local", inVXLAN, unix.IFLA_VXLAN_LOCAL6, 16, false},
	ttl:             {"ttl", inVXLAN, unix.IFLA_VXLAN_TTL, 1, false},
	tunnelLearns:    {"learning of VTEPs", inVXLAN, unix.IFLA_VXLAN_LEARNING, 1, false},
}

func (s setting) name() string { return settingForms[s].name }

// text returns a value of a setting as ip and bridge have it.
func (s setting) text(v value) string {
	switch octets := v.octets(settingForms[s].octets); s {
	case hasAddress:
		return net.HardwareAddr(octets).String()
	case local, local6:
		a, _ := netip.AddrFromSlice(octets)
		return a.String()
	}
	return strconv.FormatUint(v.low, 10)
}

// value is that of a setting: 0 or 1, a number, or the octets of an address, the last of which is the lowest.
type value struct{ high, low uint64 }

// off and on are those of a flag.
var off, on = value{}, value{low: 1}

// settings have the values of some.
type settings map[setting]value

// differ returns those of want that have has otherwise. What the kernel does not know is not there, and no difference.
func (want settings) differ(have settings) settings {
	out := settings{}
	for s, v := range want {
		if is, known := have[s]; known && is != v {
			out[s] = v
		}
	}
	return out
}

// sorted returns which settings there are, in order.
func (want settings) sorted() (list []setting) {
	for s := range want {
		list = append(list, s)
	}
	slices.Sort(list)
	return list
}

// String returns the settings as ip and bridge have them: "arp 0 learning 1".
func (want settings) String() string {
	var words []string
	for _, s := range want.sorted() {
		words = append(words, s.name()+" "+s.text(want[s]))
	}
	return strings.Join(words, " ")
}

// bridgeSettings are those of an overlay's bridge. It learns so many MACs at most (Linux 6.7; older ones have no bound), and does
// not snoop: a member that claims to be the querier of IGMP or MLD (RFC 4541, Section 2.1.1) would decide which
// multicast the others get, neighbour discovery included, and made-up groups fill a table. It is deaf to ARP whatever
// becomes of the firewall: arp_rcv drops what comes in on an interface with IFF_NOARP.
//
// With EVPN the flag is off: the bridge answers ARP in the place of others only without it
// (br_do_proxy_suppress_arp). Its sysctl arp_ignore, which is 8, has it answer for none of our own addresses.
//
// The MAC of a bridge is the lowest of its ports' until it is given one, and the kernel deletes all its neighbours when that
// changes (neigh_changeaddr): with EVPN it is given one, so that a guest that comes or goes deletes none. With a gateway it is
// the gateway's: the kernel takes in what is sent to the bridge's own MAC alone (br_handle_frame: PACKET_HOST).
func bridgeSettings(o *config.Overlay) settings {
	s := settings{answersARP: off, snoops: off, learnsAtMost: {low: mostLearned}}
	if o.EVPN != nil {
		s[answersARP], s[hasAddress] = on, number(macOfOurs(o, "bridge"))
	}
	if o.Gateway != nil {
		s[hasAddress] = number(o.Gateway.MAC[:])
	}
	if o.MTU != 0 {
		s[mtu] = value{low: uint64(o.MTU)}
	}
	return s
}

// deviceSettings are those of an overlay's VXLAN device, and of it as a port of its bridge: with EVPN neither learns from
// what comes from it, and the bridge answers for the neighbours that it knows behind it. What is flooded, and what isolated
// ports send, goes there. With EVPN it has a MAC of ours: what is sent to that is taken in here, and goes to no VTEP.
func deviceSettings(o *config.Overlay) settings {
	s := settings{learns: on, suppresses: off, isolated: off, floods: on, floodsMulticast: on, floodsBroadcast: on, locked: off, state: forwarding,
		ttl: {low: tunnelTTL}, tunnelLearns: on}
	if o.EVPN != nil {
		s[learns], s[tunnelLearns], s[suppresses], s[hasAddress] = off, off, on, number(macOfOurs(o, "device"))
	}
	if o.MTU != 0 {
		s[mtu] = value{low: uint64(o.MTU)}
	}
	from := local
	if o.Local.Addr.Is6() {
		from = local6
	}
	s[from] = number(o.Local.Addr.AsSlice())
	return s
}

// tunnelTTL is that of packets between VTEPs.
const tunnelTTL = 255

// forwarding is BR_STATE_FORWARDING.
var forwarding = value{low: 3}

// memberSettings are those of another port. What else it has is its owner's.
func memberSettings(learn bool) settings {
	s := learning(learn)
	s[state] = forwarding
	return s
}

// guestSettings are those of the port of a guest. With a gateway it is locked: what comes from it has a MAC that the bridge
// has an entry for there (Linux 5.18), so that no guest is routed as another one. Before the entries are there it is left as it is.
func guestSettings(o *standing, placed bool) settings {
	s := memberSettings(o.config.EVPN == nil)
	switch {
	case o.config.Gateway == nil:
		s[locked] = off
	case placed:
		s[locked] = on
	}
	return s
}

// learning has a port learn or not.
func learning(learn bool) settings {
	if learn {
		return settings{learns: on}
	}
	return settings{learns: off}
}

// number makes a value of octets, the first of which is the highest.
func number(b []byte) value {
	var all [16]byte
	copy(all[16-len(b):], b)
	return value{binary.BigEndian.Uint64(all[:8]), binary.BigEndian.Uint64(all[8:])}
}

// octets returns the last n octets of a value.
func (v value) octets(n int) []byte {
	return binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, v.high), v.low)[16-n:]
}

// iface is what the kernel says of an interface.
type iface struct {
	index    int
	name     string
	master   int
	up       bool     // by its administrator
	stp      bool     // a bridge whose ports have states by the spanning tree protocol
	settings settings // those that the kernel knows
}

// parseInterface reads the payload of RTM_NEWLINK.
func parseInterface(b []byte) (i iface, err error) {
	if len(b) < unix.SizeofIfInfomsg {
		return i, errShort
	}
	flags := binary.NativeEndian.Uint32(b[8:])
	i.index, i.settings = int(int32(binary.NativeEndian.Uint32(b[4:]))), settings{answersARP: on}
	if flags&unix.IFF_NOARP != 0 {
		i.settings[answersARP] = off
	}
	d, err := netlink.NewAttributeDecoder(b[unix.SizeofIfInfomsg:])
	if err != nil {
		return i, err
	}
	for d.Next() {
		switch d.Type() {
		case unix.IFLA_IFNAME:
			i.name = d.String()
		case unix.IFLA_MASTER:
			i.master = int(d.Uint32())
		case unix.IFLA_LINKINFO:
			d.Nested(i.parseInfo)
		default:
			i.settings.take(inLink, d.Type(), d.Bytes())
		}
	}
	i.up = flags&unix.IFF_UP != 0
	if flags&unix.IFF_RUNNING == 0 {
		delete(i.settings, state) // it forwards as soon as there is a carrier
	}
	return i, d.Err()
}

// parseInfo reads what the interface is of itself, and as a port.
func (i *iface) parseInfo(d *netlink.AttributeDecoder) error {
	kinds := map[uint16]string{}
	for d.Next() {
		switch in := d.Type(); in {
		case unix.IFLA_INFO_KIND, unix.IFLA_INFO_SLAVE_KIND:
			kinds[in] = d.String()
		case unix.IFLA_INFO_DATA, unix.IFLA_INFO_SLAVE_DATA: // after the kind (rtnl_link_info_fill)
			where := slices.IndexFunc(infoOf[:], func(f info) bool { return f.data == in && f.kind == kinds[f.name] })
			if where < 0 {
				continue
			}
			d.Nested(func(d *netlink.AttributeDecoder) error {
				for d.Next() {
					i.settings.take(place(where), d.Type(), d.Bytes())
					if place(where) == inBridge && d.Type() == unix.IFLA_BR_STP_STATE {
						i.stp = d.Uint32() != 0
					}
				}
				return nil
			})
		}
	}
	return nil
}

// take notes the value of an attribute, if it is that of a setting.
func (s settings) take(in place, attribute uint16, octets []byte) {
	for which, f := range settingForms {
		if f.in != in || f.attribute != attribute || len(octets) != f.octets {
			continue
		}
		if f.number {
			s[setting(which)] = value{low: uint64(binary.NativeEndian.Uint32(octets))}
		} else {
			s[setting(which)] = number(octets)
		}
	}
}

// encodeSettings returns the payload of RTM_NEWLINK that gives an interface settings.
func encodeSettings(index int, s settings) ([]byte, error) {
	b := make([]byte, unix.SizeofIfInfomsg)
	binary.NativeEndian.PutUint32(b[4:], uint32(index))
	e := netlink.NewAttributeEncoder()
	parts := map[place]settings{}
	for _, which := range s.sorted() {
		in, v := settingForms[which].in, s[which]
		if in == inFlags {
			binary.NativeEndian.PutUint32(b[12:], unix.IFF_NOARP)
			if v == off {
				binary.NativeEndian.PutUint32(b[8:], unix.IFF_NOARP)
			}
			continue
		}
		if parts[in] == nil {
			parts[in] = settings{}
		}
		parts[in][which] = v
	}
	parts[inLink].encode(e)
	if len(parts[inBridge])+len(parts[inVXLAN])+len(parts[inPort]) > 0 {
		e.Nested(unix.IFLA_LINKINFO, func(e *netlink.AttributeEncoder) error {
			for _, in := range []place{inBridge, inVXLAN, inPort} {
				if len(parts[in]) == 0 {
					continue
				}
				e.String(infoOf[in].name, infoOf[in].kind)
				e.Nested(infoOf[in].data, func(e *netlink.AttributeEncoder) error { parts[in].encode(e); return nil })
			}
			return nil
		})
	}
	attributes, err := e.Encode()
	return append(b, attributes...), err
}

// encode appends settings.
func (s settings) encode(e *netlink.AttributeEncoder) {
	for _, which := range s.sorted() {
		if f := settingForms[which]; f.number {
			e.Uint32(f.attribute, uint32(s[which].low))
		} else {
			e.Bytes(f.attribute, s[which].octets(f.octets))
		}
	}
}

// macOfOurs is the MAC of an overlay's bridge or device, a locally administered one: the same after each restart, and another
// one on each VTEP and for each VNI.
func macOfOurs(o *config.Overlay, of string) net.HardwareAddr {
	h := fnv.New64a()
	h.Write(binary.BigEndian.AppendUint32(o.Local.Addr.AsSlice(), o.VNI))
	if of != "bridge" {
		h.Write([]byte(of))
	}
	mac := net.HardwareAddr(h.Sum(nil)[:6])
	mac[0] = mac[0]&^1 | 2
	return mac
}

// errShort says that a message of the kernel has less than its header.
var errShort = errors.New("the kernel's message is too short")
