package bfd

import (
	"encoding/binary"
	"net"

	"golang.org/x/sys/unix"
)

// What arrives on an interface that belongs to a VRF is heard by sockets that are
// bound to the VRF, and by no others, unless the host says so for all programs
// (net.ipv4.udp_l3mdev_accept). Sending needs no such thing: packets name their
// interface.

// vrfOf returns the index of the VRF that an interface belongs to, 0 if none. It is
// called in the interface's network namespace.
func vrfOf(name string) int {
	link, err := net.InterfaceByName(name)
	if err != nil {
		return 0
	}
	r, err := newRTNL("")
	if err != nil {
		return 0
	}
	defer r.close()
	_, master := r.link(link.Index)
	if kind, _ := r.link(master); kind != "vrf" {
		return 0
	}
	return master
}

// link returns the kind of an interface, "vrf" for example, and the index of its
// master.
func (r *rtnl) link(index int) (kind string, master int) {
	if index == 0 {
		return "", 0
	}
	r.begin(unix.RTM_GETLINK, 0, unix.SizeofIfInfomsg)
	binary.NativeEndian.PutUint32(r.out[unix.SizeofNlMsghdr+4:], uint32(index))
	_ = r.exchange(func(_ uint16, body []byte) { kind, master = parseLink(body) })
	return kind, master
}

func parseLink(b []byte) (kind string, master int) {
	if len(b) < unix.SizeofIfInfomsg {
		return "", 0
	}
	attributes(b[unix.SizeofIfInfomsg:], func(typ uint16, data []byte) {
		switch {
		case typ == unix.IFLA_MASTER && len(data) == 4:
			master = int(binary.NativeEndian.Uint32(data))
		case typ&^unix.NLA_F_NESTED == unix.IFLA_LINKINFO:
			attributes(data, func(typ uint16, data []byte) {
				if typ == unix.IFLA_INFO_KIND {
					kind = unix.ByteSliceToString(data)
				}
			})
		}
	})
	return kind, master
}
