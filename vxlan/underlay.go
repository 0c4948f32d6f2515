package vxlan

import (
	"errors"
	"os"

	"github.com/hyperfib/hyperfib/internal/rtnl"
)

// A VXLAN device belongs to two namespaces: the one it is in, with its bridge and its
// forwarding table, and the one it was made from, where its UDP packets come and
// go. The kernel calls the latter link-netns and shows it as IFLA_LINK_NETNSID,
// an id that means something in the former only.

// noNSID stands for a device whose packets travel in its own namespace.
const noNSID = rtnl.NETNSA_NSID_NOT_ASSIGNED

// createAcross makes a device in k's namespace by a request from the underlay's: IFLA_NET_NS_FD
// says where it shall be, and the namespace of the request becomes that of its packets
// (drivers/net/vxlan/vxlan_core.c, vxlan_newlink).
func (k *kernel) createAcross(flags uint16, body []byte) error {
	home, err := k.home()
	if err != nil {
		return err
	}
	defer home.Close()
	s, err := k.open(k.config.Underlay)
	if err != nil {
		return err
	}
	defer s.Close()
	return k.exchange(s, rtnl.RTM_NEWLINK, flags, rtnl.AppendUint32(body, rtnl.IFLA_NET_NS_FD, uint32(home.Fd())), nil)
}

// home opens the namespace that the devices are in.
func (k *kernel) home() (file *os.File, err error) {
	if k.config.NetNS != "" {
		return os.Open(k.config.NetNS)
	}
	return os.Open("/proc/thread-self/ns/net")
}

// nsid returns the id that the underlay's namespace has in ours, noNSID if there is no
// separate underlay, or no device in ours knows it yet.
func (k *kernel) nsid() (int32, error) {
	if k.config.Underlay == "" {
		return noNSID, nil
	}
	file, err := os.Open(k.config.Underlay)
	if err != nil {
		return noNSID, err
	}
	defer file.Close()
	body := rtnl.AppendUint32(make([]byte, rtnl.SizeNamespace), rtnl.NETNSA_FD, uint32(file.Fd()))
	id, malformed := int32(noNSID), error(nil)
	err = k.request(rtnl.RTM_GETNSID, 0, body, func(m rtnl.Message) { id, malformed = parseNSID(m.Body) })
	return id, errors.Join(err, malformed)
}

func parseNSID(b []byte) (int32, error) {
	id := int32(noNSID)
	if len(b) < rtnl.SizeNamespace {
		return id, rtnl.ErrMalformed
	}
	for typ, v := range rtnl.Attributes(b[rtnl.SizeNamespace:]) {
		switch typ {
		case rtnl.NETNSA_NSID:
			id = v.Int32()
		case rtnl.Malformed:
			return id, rtnl.ErrMalformed
		}
	}
	return id, nil
}

// sameUnderlay reports whether the device's packets travel where they should.
func (k *kernel) sameUnderlay(have *found) (bool, error) {
	want, err := k.nsid()
	if err != nil {
		return false, err
	}
	return have.linkNSID == want && (k.config.Underlay == "" || want != noNSID), nil
}
