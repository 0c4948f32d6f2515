package edge

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"net"
	"slices"
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
)

// settingForms says how each setting is called by ip and bridge, and where the kernel has it: in the flags, as an attribute
// of the interface, or in what it is as a bridge or as a port.
var settingForms = [...]struct {
	name      string
	in        uint16 // 0: the flags
	attribute uint16
	octets    int
}{
	answersARP:      {name: "arp"},
	hasAddress:      {"address", unix.IFLA_ADDRESS, unix.IFLA_ADDRESS, 6},
	snoops:          {"mcast_snooping", unix.IFLA_INFO_DATA, unix.IFLA_BR_MCAST_SNOOPING, 1},
	learnsAtMost:    {"fdb_max_learned", unix.IFLA_INFO_DATA, unix.IFLA_BR_FDB_MAX_LEARNED, 4},
	learns:          {"learning", unix.IFLA_INFO_SLAVE_DATA, unix.IFLA_BRPORT_LEARNING, 1},
	suppresses:      {"neigh_suppress", unix.IFLA_INFO_SLAVE_DATA, unix.IFLA_BRPORT_NEIGH_SUPPRESS, 1},
	isolated:        {"isolated", unix.IFLA_INFO_SLAVE_DATA, unix.IFLA_BRPORT_ISOLATED, 1},
	floods:          {"flood", unix.IFLA_INFO_SLAVE_DATA, unix.IFLA_BRPORT_UNICAST_FLOOD, 1},
	floodsMulticast: {"mcast_flood", unix.IFLA_INFO_SLAVE_DATA, unix.IFLA_BRPORT_MCAST_FLOOD, 1},
	floodsBroadcast: {"bcast_flood", unix.IFLA_INFO_SLAVE_DATA, unix.IFLA_BRPORT_BCAST_FLOOD, 1},
	locked:          {"locked", unix.IFLA_INFO_SLAVE_DATA, unix.IFLA_BRPORT_LOCKED, 1},
}

func (s setting) name() string { return settingForms[s].name }

// settings have the values of some: 0 or 1, a number, or the six octets of a MAC.
type settings map[setting]uint64

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
		words = append(words, fmt.Sprint(s.name(), " ", want[s]))
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
// changes (neigh_changeaddr): with EVPN it is given one, so that a guest that comes or goes deletes none.
func bridgeSettings(o *config.Overlay) settings {
	s := settings{answersARP: 0, snoops: 0, learnsAtMost: mostLearned}
	if o.EVPN != nil {
		s[answersARP], s[hasAddress] = 1, number(bridgeMAC(o))
	}
	return s
}

// deviceSettings are those of an overlay's VXLAN device as a port of its bridge: with EVPN the bridge does not learn from
// what comes from it, and answers for the neighbours that it knows behind it. What is flooded, and what isolated ports send,
// goes there.
func deviceSettings(o *config.Overlay) settings {
	s := settings{learns: 1, suppresses: 0, isolated: 0, floods: 1, floodsMulticast: 1, floodsBroadcast: 1, locked: 0}
	if o.EVPN != nil {
		s[learns], s[suppresses] = 0, 1
	}
	return s
}

// memberSettings are those of another port. What else it has is its owner's.
func memberSettings(learn bool) settings {
	if learn {
		return settings{learns: 1}
	}
	return settings{learns: 0}
}

// number makes one of the octets of a value, the first of which is the highest.
func number(b []byte) uint64 {
	var all [8]byte
	copy(all[8-len(b):], b)
	return binary.BigEndian.Uint64(all[:])
}

// iface is what the kernel says of an interface.
type iface struct {
	index    int
	name     string
	master   int
	settings settings // those that the kernel knows
}

// parseInterface reads the payload of RTM_NEWLINK.
func parseInterface(b []byte) (i iface, err error) {
	if len(b) < unix.SizeofIfInfomsg {
		return i, errShort
	}
	i.index, i.settings = int(int32(binary.NativeEndian.Uint32(b[4:]))), settings{answersARP: 1}
	if binary.NativeEndian.Uint32(b[8:])&unix.IFF_NOARP != 0 {
		i.settings[answersARP] = 0
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
		case unix.IFLA_ADDRESS:
			i.settings.take(unix.IFLA_ADDRESS, unix.IFLA_ADDRESS, d.Bytes())
		case unix.IFLA_LINKINFO:
			d.Nested(i.parseInfo)
		}
	}
	return i, d.Err()
}

// parseInfo reads what the interface is of itself, if it is a bridge, and as a bridge's port.
func (i *iface) parseInfo(d *netlink.AttributeDecoder) error {
	kind, slave := "", ""
	for d.Next() {
		in := d.Type()
		switch in {
		case unix.IFLA_INFO_KIND:
			kind = d.String()
		case unix.IFLA_INFO_SLAVE_KIND:
			slave = d.String()
		case unix.IFLA_INFO_DATA, unix.IFLA_INFO_SLAVE_DATA: // after the kind (rtnl_link_info_fill)
			if in == unix.IFLA_INFO_DATA && kind != "bridge" || in == unix.IFLA_INFO_SLAVE_DATA && slave != "bridge" {
				continue
			}
			d.Nested(func(d *netlink.AttributeDecoder) error {
				for d.Next() {
					i.settings.take(in, d.Type(), d.Bytes())
				}
				return nil
			})
		}
	}
	return nil
}

// take notes the value of an attribute, if it is that of a setting.
func (s settings) take(in, attribute uint16, value []byte) {
	for which, f := range settingForms {
		if f.in != in || f.attribute != attribute || len(value) != f.octets {
			continue
		}
		if f.octets == 4 {
			s[setting(which)] = uint64(binary.NativeEndian.Uint32(value))
		} else {
			s[setting(which)] = number(value)
		}
	}
}

// encodeSettings returns the payload of RTM_NEWLINK that gives an interface settings.
func encodeSettings(index int, s settings) ([]byte, error) {
	b := make([]byte, unix.SizeofIfInfomsg)
	binary.NativeEndian.PutUint32(b[4:], uint32(index))
	e := netlink.NewAttributeEncoder()
	var bridge, port settings
	for _, which := range s.sorted() {
		switch f, v := settingForms[which], s[which]; f.in {
		case 0:
			binary.NativeEndian.PutUint32(b[12:], unix.IFF_NOARP)
			if v == 0 {
				binary.NativeEndian.PutUint32(b[8:], unix.IFF_NOARP)
			}
		case unix.IFLA_ADDRESS:
			e.Bytes(unix.IFLA_ADDRESS, binary.BigEndian.AppendUint64(nil, v)[2:])
		case unix.IFLA_INFO_DATA:
			bridge = bridge.with(which, v)
		case unix.IFLA_INFO_SLAVE_DATA:
			port = port.with(which, v)
		}
	}
	if bridge != nil || port != nil {
		e.Nested(unix.IFLA_LINKINFO, func(e *netlink.AttributeEncoder) error {
			bridge.encode(e, unix.IFLA_INFO_KIND, unix.IFLA_INFO_DATA)
			port.encode(e, unix.IFLA_INFO_SLAVE_KIND, unix.IFLA_INFO_SLAVE_DATA)
			return nil
		})
	}
	attributes, err := e.Encode()
	return append(b, attributes...), err
}

func (s settings) with(which setting, v uint64) settings {
	if s == nil {
		s = settings{}
	}
	s[which] = v
	return s
}

// encode appends settings of a bridge, or of a port of one.
func (s settings) encode(e *netlink.AttributeEncoder, kind, data uint16) {
	if s == nil {
		return
	}
	e.String(kind, "bridge")
	e.Nested(data, func(e *netlink.AttributeEncoder) error {
		for _, which := range s.sorted() {
			if f := settingForms[which]; f.octets == 4 {
				e.Uint32(f.attribute, uint32(s[which]))
			} else {
				e.Uint8(f.attribute, uint8(s[which]))
			}
		}
		return nil
	})
}

// bridgeMAC is the MAC of an overlay's bridge, a locally administered one: the same after each restart, and another one on
// each VTEP and for each VNI.
func bridgeMAC(o *config.Overlay) net.HardwareAddr {
	h := fnv.New64a()
	h.Write(binary.BigEndian.AppendUint32(o.Local.Addr.AsSlice(), o.VNI))
	mac := net.HardwareAddr(h.Sum(nil)[:6])
	mac[0] = mac[0]&^1 | 2
	return mac
}

// errShort says that a message of the kernel has less than its header.
var errShort = errors.New("the kernel's message is too short")
