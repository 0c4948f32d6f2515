package vxlan

import (
	"encoding/binary"

	"github.com/hyperfib/hyperfib/internal/rtnl"
)

// found is a device as the kernel has it.
type found struct {
	Device
	index int
	kind  string
	up    bool
	port  bool // of a bridge, whose index Bridge is
	// linkNSID is the namespace of its packets, noNSID for that of the device.
	linkNSID int32
}

// bridge returns the index of the bridge that f is a port of, 0 if there is none.
func (f *found) bridge() int {
	if !f.port {
		return 0
	}
	return f.Bridge
}

// ifinfo is struct ifinfomsg.
func ifinfo(index int, flags, change uint32) []byte {
	b := make([]byte, rtnl.SizeLink)
	native.PutUint32(b[4:], uint32(index))
	native.PutUint32(b[8:], flags)
	native.PutUint32(b[12:], change)
	return b
}

// encodeDevice returns the payload that creates d, or with index not 0 changes what
// can be changed of it.
func encodeDevice(d *Device, index int) []byte {
	b := ifinfo(index, rtnl.IFF_UP, rtnl.IFF_UP)
	b = rtnl.AppendString(b, rtnl.IFLA_IFNAME, d.Interface)
	if d.MTU != 0 {
		b = rtnl.AppendUint32(b, rtnl.IFLA_MTU, d.MTU)
	}
	if !d.MAC.IsZero() {
		b = rtnl.AppendBytes(b, rtnl.IFLA_ADDRESS, d.MAC[:])
	}
	if d.Bridge != 0 || index != 0 {
		b = rtnl.AppendUint32(b, rtnl.IFLA_MASTER, uint32(d.Bridge))
	}
	if index == 0 {
		info := len(b)
		b = rtnl.Nest(b, rtnl.IFLA_LINKINFO|rtnl.NLA_F_NESTED)
		b = rtnl.AppendString(b, rtnl.IFLA_INFO_KIND, "vxlan")
		data := len(b)
		b = rtnl.Nest(b, rtnl.IFLA_INFO_DATA|rtnl.NLA_F_NESTED)
		b = rtnl.Unnest(appendData(b, d), data)
		b = rtnl.Unnest(b, info)
	}
	return b
}

func appendData(b []byte, d *Device) []byte {
	b = rtnl.AppendUint32(b, rtnl.IFLA_VXLAN_ID, d.VNI)
	if d.Underlay != 0 {
		b = rtnl.AppendUint32(b, rtnl.IFLA_VXLAN_LINK, uint32(d.Underlay))
	}
	b = rtnl.AppendUint8(b, rtnl.IFLA_VXLAN_TTL, d.ttl())
	b = rtnl.AppendUint8(b, rtnl.IFLA_VXLAN_LEARNING, b2u(d.Learning))
	b = rtnl.AppendUint32(b, rtnl.IFLA_VXLAN_LIMIT, d.Limit)
	b = rtnl.AppendBytes(b, rtnl.IFLA_VXLAN_PORT, binary.BigEndian.AppendUint16(nil, d.port()))
	if l := d.Local.Unmap(); l.Is4() {
		return rtnl.AppendAddr(b, rtnl.IFLA_VXLAN_LOCAL, l)
	}
	return rtnl.AppendAddr(b, rtnl.IFLA_VXLAN_LOCAL6, d.Local)
}

func b2u(v bool) uint8 {
	if v {
		return 1
	}
	return 0
}

// parseDevice reads the payload of RTM_NEWLINK.
func parseDevice(b []byte) (*found, error) {
	if len(b) < rtnl.SizeLink {
		return nil, rtnl.ErrMalformed
	}
	f := &found{index: int(int32(native.Uint32(b[4:]))), up: native.Uint32(b[8:])&rtnl.IFF_UP != 0, linkNSID: noNSID}
	for typ, v := range rtnl.Attributes(b[rtnl.SizeLink:]) {
		switch typ {
		case rtnl.IFLA_IFNAME:
			f.Interface = v.Text()
		case rtnl.IFLA_MTU:
			f.MTU = v.Uint32()
		case rtnl.IFLA_MASTER:
			f.Bridge = int(v.Uint32())
		case rtnl.IFLA_ADDRESS:
			if len(v) == 6 {
				f.MAC = MAC(v)
			}
		case rtnl.IFLA_LINK_NETNSID:
			f.linkNSID = v.Int32()
		case rtnl.IFLA_LINKINFO:
			if err := f.parseInfo(v); err != nil {
				return nil, err
			}
		case rtnl.Malformed:
			return nil, rtnl.ErrMalformed
		}
	}
	return f, nil
}

func (f *found) parseInfo(v rtnl.Value) error {
	for typ, v := range v.Attributes() {
		switch typ {
		case rtnl.IFLA_INFO_KIND:
			f.kind = v.Text()
		case rtnl.IFLA_INFO_SLAVE_KIND:
			f.port = v.Text() == "bridge"
		case rtnl.IFLA_INFO_DATA: // after the kind (rtnl_link_info_fill)
			if f.kind == "vxlan" {
				if err := f.parseData(v); err != nil {
					return err
				}
			}
		case rtnl.Malformed:
			return rtnl.ErrMalformed
		}
	}
	return nil
}

func (f *found) parseData(v rtnl.Value) error {
	for typ, v := range v.Attributes() {
		switch typ {
		case rtnl.IFLA_VXLAN_ID:
			f.VNI = v.Uint32()
		case rtnl.IFLA_VXLAN_LINK:
			f.Underlay = int(v.Uint32())
		case rtnl.IFLA_VXLAN_TTL:
			f.TTL = v.Uint8()
		case rtnl.IFLA_VXLAN_LEARNING:
			f.Learning = v.Uint8() != 0
		case rtnl.IFLA_VXLAN_LIMIT:
			f.Limit = v.Uint32()
		case rtnl.IFLA_VXLAN_PORT:
			if len(v) == 2 {
				f.Port = binary.BigEndian.Uint16(v)
			}
		case rtnl.IFLA_VXLAN_LOCAL, rtnl.IFLA_VXLAN_LOCAL6:
			f.Local = v.Addr()
		case rtnl.Malformed:
			return rtnl.ErrMalformed
		}
	}
	return nil
}

// sameTunnel reports whether what can be set only at creation is as d wants it. Of an
// existing device the kernel refuses most of it (vxlan_nl2conf: "Cannot change limit").
func (f *found) sameTunnel(d *Device) bool {
	return f.VNI == d.VNI && f.Port == d.port() && f.TTL == d.ttl() && f.Learning == d.Learning && f.Local == d.Local.Unmap() && f.Underlay == d.Underlay && f.Limit == d.Limit
}

// same reports whether the rest is, too.
func (f *found) same(d *Device) bool {
	return f.up && (d.MTU == 0 || f.MTU == d.MTU) && (d.MAC.IsZero() || f.MAC == d.MAC) && f.Bridge == d.Bridge
}
