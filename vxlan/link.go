package vxlan

import (
	"encoding/binary"
	"errors"
	"fmt"
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
	e.String(unix.IFLA_IFNAME, d.Name)
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
	e.Uint8(unix.IFLA_VXLAN_TTL, d.ttl())
	e.Uint8(unix.IFLA_VXLAN_LEARNING, b2u(d.Learning))
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
	f := &found{index: int(int32(native.Uint32(b[4:]))), up: native.Uint32(b[8:])&unix.IFF_UP != 0}
	ad, err := netlink.NewAttributeDecoder(b[unix.SizeofIfInfomsg:])
	if err != nil {
		return nil, err
	}
	for ad.Next() {
		switch ad.Type() {
		case unix.IFLA_IFNAME:
			f.Name = ad.String()
		case unix.IFLA_MTU:
			f.MTU = ad.Uint32()
		case unix.IFLA_MASTER:
			f.Bridge = int(ad.Uint32())
		case unix.IFLA_ADDRESS:
			if hw := ad.Bytes(); len(hw) == 6 {
				f.MAC = MAC(hw)
			}
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
		case unix.IFLA_VXLAN_TTL:
			f.TTL = ad.Uint8()
		case unix.IFLA_VXLAN_LEARNING:
			f.Learning = ad.Uint8() != 0
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
	return f.VNI == d.VNI && f.Port == d.port() && f.TTL == d.ttl() && f.Learning == d.Learning && f.Local == d.Local.Unmap()
}

// same reports whether the rest is, too.
func (f *found) same(d *Device) bool {
	return f.up && (d.MTU == 0 || f.MTU == d.MTU) && (d.MAC.IsZero() || f.MAC == d.MAC) && f.Bridge == d.Bridge
}

// Ensure makes the device d exist as described, up, and returns its interface
// index and whether anything was written. A VXLAN device of that name with another VNI,
// port, TTL, address or learning mode is removed first, and with it its forwarding
// entries; a device of another kind is left alone, and is an error (ErrForeign).
func (f *FDB) Ensure(d Device) (link int, changed bool, err error) {
	if err := d.Check(); err != nil {
		return 0, false, err
	}
	have, err := f.lookup(d.Name)
	if err != nil {
		return 0, false, &Error{Op: "look up device", Name: d.Name, Err: err}
	}
	if have != nil && have.kind != "vxlan" {
		return 0, false, &Error{Op: "create device", Name: d.Name, Err: fmt.Errorf("%w: kind %q", ErrForeign, have.kind)}
	}
	if have != nil && have.sameTunnel(&d) {
		if have.same(&d) {
			return have.index, false, nil
		}
		return have.index, true, f.setLink("change device", &d, have.index)
	}
	if have != nil {
		if err := f.RemoveDevice(d.Name); err != nil {
			return 0, true, err
		}
	}
	if err := f.setLink("create device", &d, 0); err != nil {
		return 0, true, err
	}
	have, err = f.lookup(d.Name)
	if err != nil || have == nil {
		return 0, true, &Error{Op: "look up device", Name: d.Name, Err: errors.Join(err, unix.ENODEV)}
	}
	return have.index, true, nil
}

func (f *FDB) setLink(op string, d *Device, index int) error {
	payload, err := encodeDevice(d, index)
	if err != nil {
		return &Error{Op: op, Name: d.Name, Err: err}
	}
	flags := netlink.Request | netlink.Acknowledge
	if index == 0 {
		flags |= netlink.Create | netlink.Excl
	}
	return wrap(op, d.Name, f.execute(unix.RTM_NEWLINK, flags, payload))
}

// RemoveDevice deletes the VXLAN device name and forgets what was wanted on it. It
// is no error if there is none; a device of another kind is left alone (ErrForeign).
func (f *FDB) RemoveDevice(name string) error {
	have, err := f.lookup(name)
	if err != nil || have == nil {
		return wrap("look up device", name, err)
	}
	if have.kind != "vxlan" {
		return &Error{Op: "delete device", Name: name, Err: fmt.Errorf("%w: kind %q", ErrForeign, have.kind)}
	}
	f.Forget(have.index)
	return wrap("delete device", name, f.execute(unix.RTM_DELLINK, netlink.Request|netlink.Acknowledge, ifinfo(have.index, 0, 0)))
}

// lookup returns nil if there is no such device.
func (f *FDB) lookup(name string) (*found, error) {
	e := netlink.NewAttributeEncoder()
	e.String(unix.IFLA_IFNAME, name)
	attrs, err := e.Encode()
	if err != nil {
		return nil, err
	}
	msgs, err := f.query(unix.RTM_GETLINK, netlink.Request, append(ifinfo(0, 0, 0), attrs...))
	if errors.Is(err, unix.ENODEV) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	for _, m := range msgs {
		return parseDevice(m.Data)
	}
	return nil, nil
}

func wrap(op, name string, err error) error {
	if err == nil {
		return nil
	}
	out := &Error{Op: op, Name: name, Err: err}
	var oe *netlink.OpError
	if errors.As(err, &oe) {
		out.Text, out.Err = oe.Message, oe.Err
	}
	return out
}
