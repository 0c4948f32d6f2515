package vxlan

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/hyperfib/hyperfib/internal/rtnl"
)

// ensure is [FDB.Ensure]. It calls forget with the index of a device that it removes.
func (k *kernel) ensure(d *Device, forget func(ifindex int)) (ifindex int, changed bool, err error) {
	have, err := k.lookup(d.Interface)
	if err != nil {
		return 0, false, wrap("look up device", d.Interface, err)
	}
	if have != nil && have.kind != "vxlan" {
		return 0, false, &Error{Op: "create device", Interface: d.Interface, Err: fmt.Errorf("%w: kind %q", ErrForeign, have.kind)}
	}
	if have != nil {
		same, err := k.sameUnderlay(have)
		switch {
		case err != nil:
			return 0, false, wrap("find the underlay of", d.Interface, err)
		case same && have.sameTunnel(d) && have.same(d):
			return have.index, false, nil
		case same && have.sameTunnel(d):
			return have.index, true, k.setLink("change device", d, have.index)
		}
		if err := k.remove(d.Interface, forget); err != nil {
			return 0, true, err
		}
	}
	if err := k.setLink("create device", d, 0); err != nil {
		return 0, true, err
	}
	have, err = k.lookup(d.Interface)
	if err != nil || have == nil {
		return 0, true, &Error{Op: "look up device", Interface: d.Interface, Err: errors.Join(err, unix.ENODEV)}
	}
	return have.index, true, nil
}

func (k *kernel) setLink(op string, d *Device, index int) error {
	flags, body := uint16(rtnl.NLM_F_ACK), encodeDevice(d, index)
	if index == 0 {
		flags |= rtnl.NLM_F_CREATE | rtnl.NLM_F_EXCL
	}
	var err error
	if index == 0 && k.config.Underlay != "" {
		err = k.createAcross(flags, body)
	} else {
		err = k.request(rtnl.RTM_NEWLINK, flags, body, nil)
	}
	if err != nil {
		return wrap(op, d.Interface, err)
	}
	return nil
}

// remove is [FDB.RemoveDevice].
func (k *kernel) remove(name string, forget func(ifindex int)) error {
	have, err := k.lookup(name)
	switch {
	case err != nil:
		return wrap("look up device", name, err)
	case have == nil:
		return nil
	}
	if have.kind != "vxlan" {
		return &Error{Op: "delete device", Interface: name, Err: fmt.Errorf("%w: kind %q", ErrForeign, have.kind)}
	}
	forget(have.index)
	if err := k.deleteLink(have.index); err != nil {
		return wrap("delete device", name, err)
	}
	return nil
}

func (k *kernel) deleteLink(index int) error {
	return k.request(rtnl.RTM_DELLINK, rtnl.NLM_F_ACK, ifinfo(index, 0, 0), nil)
}

// lookupIndex returns the device with an index.
func (k *kernel) lookupIndex(index int) (have *found, err error) {
	var malformed error
	err = k.request(rtnl.RTM_GETLINK, 0, ifinfo(index, 0, 0), func(m rtnl.Message) { have, malformed = parseDevice(m.Body) })
	if have == nil && err == nil && malformed == nil {
		malformed = rtnl.ErrMalformed
	}
	return have, errors.Join(err, malformed)
}

// lookup returns nil if there is no such device.
func (k *kernel) lookup(name string) (have *found, err error) {
	var malformed error
	body := rtnl.AppendString(ifinfo(0, 0, 0), rtnl.IFLA_IFNAME, name)
	err = k.request(rtnl.RTM_GETLINK, 0, body, func(m rtnl.Message) { have, malformed = parseDevice(m.Body) })
	switch {
	case errors.Is(err, unix.ENODEV):
		return nil, nil
	case err != nil:
		return nil, err
	}
	return have, malformed
}
