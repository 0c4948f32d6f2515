package vxlan

import (
	"encoding/binary"
	"errors"
	"net/netip"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// found is a device as the kernel has it.
type found struct {
	Device
	index int
	kind  string
	up    bool
	// linkNSID is the namespace of its packets, noNSID for that of the device.
	linkNSID int32
}

// ifinfo is struct ifinfomsg.
func ifinfo(index int, flags, change uint32) []byte {
	b := make([]byte, unix.SizeofIfInfomsg)
	native.PutUint32(b[4:], uint32(index))
	native.PutUint32(b[8:], flags)
	native.PutUint32(b[12:], change)
	return b
}

// encodeDevice returns the payload that creates d, or with index not 0 changes what
// can be changed of it.
func encodeDevice(d *Device, index int) ([]byte, error) {
	e := netlink.NewAttributeEncoder()
	e.String(unix.IFLA_IFNAME, d.Interface)
	if d.MTU != 0 {
		e.Uint32(unix.IFLA_MTU, d.MTU)
	}
	if !d.MAC.IsZero() {
		e.Bytes(unix.IFLA_ADDRESS, d.MAC[:])
	}
	if d.Bridge != 0 || index != 0 {
		e.Uint32(unix.IFLA_MASTER, uint32(d.Bridge))
	}
	if index == 0 {
		e.Nested(unix.IFLA_LINKINFO, func(e *netlink.AttributeEncoder) error {
			e.String(unix.IFLA_INFO_KIND, "vxlan")
			e.Nested(unix.IFLA_INFO_DATA, func(e *netlink.AttributeEncoder) error {
				encodeData(e, d)
				return nil
			})
			return nil
		})
	}
	attrs, err := e.Encode()
	return append(ifinfo(index, unix.IFF_UP, unix.IFF_UP), attrs...), err
}

func encodeData(e *netlink.AttributeEncoder, d *Device) {
	e.Uint32(unix.IFLA_VXLAN_ID, d.VNI)
	if d.Underlay != 0 {
		e.Uint32(unix.IFLA_VXLAN_LINK, uint32(d.Underlay))
	}
	e.Uint8(unix.IFLA_VXLAN_TTL, d.ttl())
	e.Uint8(unix.IFLA_VXLAN_LEARNING, b2u(d.Learning))
	e.Uint32(unix.IFLA_VXLAN_LIMIT, d.Limit)
	e.Bytes(unix.IFLA_VXLAN_PORT, binary.BigEndian.AppendUint16(nil, d.port()))
	if l := d.Local.Unmap(); l.Is4() {
		e.Bytes(unix.IFLA_VXLAN_LOCAL, l.AsSlice())
	} else {
		e.Bytes(unix.IFLA_VXLAN_LOCAL6, l.AsSlice())
	}
}

func b2u(v bool) uint8 {
	if v {
		return 1
	}
	return 0
}

// parseDevice reads the payload of RTM_NEWLINK.
func parseDevice(b []byte) (*found, error) {
	if len(b) < unix.SizeofIfInfomsg {
		return nil, errors.New("link message too short")
	}
	f := &found{index: int(int32(native.Uint32(b[4:]))), up: native.Uint32(b[8:])&unix.IFF_UP != 0, linkNSID: noNSID}
	ad, err := netlink.NewAttributeDecoder(b[unix.SizeofIfInfomsg:])
	if err != nil {
		return nil, err
	}
	for ad.Next() {
		switch ad.Type() {
		case unix.IFLA_IFNAME:
			f.Interface = ad.String()
		case unix.IFLA_MTU:
			f.MTU = ad.Uint32()
		case unix.IFLA_MASTER:
			f.Bridge = int(ad.Uint32())
		case unix.IFLA_ADDRESS:
			if hw := ad.Bytes(); len(hw) == 6 {
				f.MAC = MAC(hw)
			}
		case unix.IFLA_LINK_NETNSID:
			f.linkNSID = ad.Int32()
		case unix.IFLA_LINKINFO:
			ad.Nested(f.parseInfo)
		}
	}
	return f, ad.Err()
}

func (f *found) parseInfo(ad *netlink.AttributeDecoder) error {
	for ad.Next() {
		switch ad.Type() {
		case unix.IFLA_INFO_KIND:
			f.kind = ad.String()
		case unix.IFLA_INFO_DATA:
			if f.kind == "vxlan" {
				ad.Nested(f.parseData)
			}
		}
	}
	return nil
}

func (f *found) parseData(ad *netlink.AttributeDecoder) error {
	for ad.Next() {
		switch ad.Type() {
		case unix.IFLA_VXLAN_ID:
			f.VNI = ad.Uint32()
		case unix.IFLA_VXLAN_LINK:
			f.Underlay = int(ad.Uint32())
		case unix.IFLA_VXLAN_TTL:
			f.TTL = ad.Uint8()
		case unix.IFLA_VXLAN_LEARNING:
			f.Learning = ad.Uint8() != 0
		case unix.IFLA_VXLAN_LIMIT:
			f.Limit = ad.Uint32()
		case unix.IFLA_VXLAN_PORT:
			if p := ad.Bytes(); len(p) == 2 {
				f.Port = binary.BigEndian.Uint16(p)
			}
		case unix.IFLA_VXLAN_LOCAL, unix.IFLA_VXLAN_LOCAL6:
			f.Local, _ = netip.AddrFromSlice(ad.Bytes())
		}
	}
	return nil
}

// sameTunnel reports whether what can be set only at creation is as d wants it.
func (f *found) sameTunnel(d *Device) bool {
	return f.VNI == d.VNI && f.Port == d.port() && f.TTL == d.ttl() && f.Learning == d.Learning && f.Local == d.Local.Unmap() && f.Underlay == d.Underlay && f.Limit == d.Limit
}

// same reports whether the rest is, too.
func (f *found) same(d *Device) bool {
	return f.up && (d.MTU == 0 || f.MTU == d.MTU) && (d.MAC.IsZero() || f.MAC == d.MAC) && f.Bridge == d.Bridge
}
