package vxlan

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/hyperfib/hyperfib/internal/rtnl"
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
		return 0, false, wrap("look up device", d.Interface, err)
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
	flags, body := uint16(rtnl.NLM_F_ACK), encodeDevice(d, index)
	if index == 0 {
		flags |= rtnl.NLM_F_CREATE | rtnl.NLM_F_EXCL
	}
	var err error
	if index == 0 && f.underlay != "" {
		err = f.createAcross(flags, body)
	} else {
		err = f.request(rtnl.RTM_NEWLINK, flags, body, nil)
	}
	if err != nil {
		return wrap(op, d.Interface, err)
	}
	return nil
}

// RemoveDevice deletes the VXLAN device name and forgets what was wanted on it. It
// is no error if there is none; a device of another kind is left alone (ErrForeign).
func (f *FDB) RemoveDevice(name string) error {
	have, err := f.lookup(name)
	switch {
	case err != nil:
		return wrap("look up device", name, err)
	case have == nil:
		return nil
	}
	if have.kind != "vxlan" {
		return &Error{Op: "delete device", Interface: name, Err: fmt.Errorf("%w: kind %q", ErrForeign, have.kind)}
	}
	f.Forget(have.index)
	if err := f.deleteLink(have.index); err != nil {
		return wrap("delete device", name, err)
	}
	return nil
}

func (f *FDB) deleteLink(index int) error {
	return f.request(rtnl.RTM_DELLINK, rtnl.NLM_F_ACK, ifinfo(index, 0, 0), nil)
}

// lookup returns nil if there is no such device.
func (f *FDB) lookup(name string) (have *found, err error) {
	var malformed error
	body := rtnl.AppendString(ifinfo(0, 0, 0), rtnl.IFLA_IFNAME, name)
	err = f.request(rtnl.RTM_GETLINK, 0, body, func(m rtnl.Message) { have, malformed = parseDevice(m.Body) })
	switch {
	case errors.Is(err, unix.ENODEV):
		return nil, nil
	case err != nil:
		return nil, err
	}
	return have, malformed
}
