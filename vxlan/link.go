package vxlan

import (
	"errors"
	"fmt"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// Ensure makes the device d exist as described, up, and returns its interface
// index and whether anything was written. A VXLAN device of that name with another VNI,
// port, TTL, address, learning mode or underlay is removed first, and with it its forwarding
// entries; a device of another kind is left alone, and is an error (ErrForeign).
func (f *FDB) Ensure(d Device) (ifindex int, changed bool, err error) {
	if err := d.Check(); err != nil {
		return 0, false, err
	}
	have, err := f.lookup(d.Interface)
	if err != nil {
		return 0, false, &Error{Op: "look up device", Interface: d.Interface, Err: err}
	}
	if have != nil && have.kind != "vxlan" {
		return 0, false, &Error{Op: "create device", Interface: d.Interface, Err: fmt.Errorf("%w: kind %q", ErrForeign, have.kind)}
	}
	placed := false
	if have != nil {
		if placed, err = f.placed(have); err != nil {
			return 0, false, wrap("find the underlay of", d.Interface, err)
		}
	}
	if have != nil && placed && have.sameTunnel(&d) {
		if have.same(&d) {
			return have.index, false, nil
		}
		return have.index, true, f.setLink("change device", &d, have.index)
	}
	if have != nil {
		if err := f.RemoveDevice(d.Interface); err != nil {
			return 0, true, err
		}
	}
	if err := f.setLink("create device", &d, 0); err != nil {
		return 0, true, err
	}
	have, err = f.lookup(d.Interface)
	if err != nil || have == nil {
		return 0, true, &Error{Op: "look up device", Interface: d.Interface, Err: errors.Join(err, unix.ENODEV)}
	}
	return have.index, true, nil
}

func (f *FDB) setLink(op string, d *Device, index int) error {
	payload, err := encodeDevice(d, index)
	if err != nil {
		return &Error{Op: op, Interface: d.Interface, Err: err}
	}
	if index == 0 && f.underlay != "" {
		return wrap(op, d.Interface, f.createAcross(payload))
	}
	flags := netlink.Request | netlink.Acknowledge
	if index == 0 {
		flags |= netlink.Create | netlink.Excl
	}
	return wrap(op, d.Interface, f.execute(unix.RTM_NEWLINK, flags, payload))
}

// RemoveDevice deletes the VXLAN device name and forgets what was wanted on it. It
// is no error if there is none; a device of another kind is left alone (ErrForeign).
func (f *FDB) RemoveDevice(name string) error {
	have, err := f.lookup(name)
	if err != nil || have == nil {
		return wrap("look up device", name, err)
	}
	if have.kind != "vxlan" {
		return &Error{Op: "delete device", Interface: name, Err: fmt.Errorf("%w: kind %q", ErrForeign, have.kind)}
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
	out := &Error{Op: op, Interface: name, Err: err}
	var oe *netlink.OpError
	if errors.As(err, &oe) {
		out.Text, out.Err = oe.Message, oe.Err
	}
	return out
}
