package vxlan

import (
	"os"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"github.com/hyperfib/hyperfib/internal/netns"
)

// A VXLAN device belongs to two namespaces: the one it is in, with its bridge and its
// forwarding table, and the one it was made from, where its UDP packets come and
// go. The kernel calls the latter link-netns and shows it as IFLA_LINK_NETNSID,
// an id that means something in the former only.

// noNSID is the kernel's NETNSA_NSID_NOT_ASSIGNED, and stands for a device whose
// packets travel in its own namespace.
const noNSID = -1

// createAcross makes a device in f's namespace by a request from the underlay's.
func (f *FDB) createAcross(payload []byte) error {
	home, err := f.home()
	if err != nil {
		return err
	}
	defer home.Close()
	e := netlink.NewAttributeEncoder()
	e.Uint32(unix.IFLA_NET_NS_FD, uint32(home.Fd()))
	attrs, err := e.Encode()
	if err != nil {
		return err
	}
	var conn *netlink.Conn
	err = netns.Do(f.underlay, func() (err error) {
		conn, err = netlink.Dial(0, nil)
		return err
	})
	if err != nil {
		return err
	}
	defer conn.Close()
	_, err = conn.Execute(netlink.Message{
		Header: netlink.Header{Type: unix.RTM_NEWLINK, Flags: netlink.Request | netlink.Acknowledge | netlink.Create | netlink.Excl},
		Data:   append(payload, attrs...),
	})
	return err
}

// home opens the namespace that the devices are in.
func (f *FDB) home() (file *os.File, err error) {
	if f.netns != "" {
		return os.Open(f.netns)
	}
	return os.Open("/proc/thread-self/ns/net")
}

// nsid returns the id that the underlay's namespace has in ours, noNSID if there is no
// separate underlay, or no device in ours knows it yet.
func (f *FDB) nsid() (int32, error) {
	if f.underlay == "" {
		return noNSID, nil
	}
	file, err := os.Open(f.underlay)
	if err != nil {
		return noNSID, err
	}
	defer file.Close()
	e := netlink.NewAttributeEncoder()
	e.Uint32(unix.NETNSA_FD, uint32(file.Fd()))
	attrs, err := e.Encode()
	if err != nil {
		return noNSID, err
	}
	msgs, err := f.query(unix.RTM_GETNSID, netlink.Request, append(make([]byte, 4), attrs...)) // struct rtgenmsg, padded
	if err != nil || len(msgs) == 0 {
		return noNSID, err
	}
	return parseNSID(msgs[0].Data)
}

func parseNSID(b []byte) (int32, error) {
	id := int32(noNSID)
	if len(b) < 4 {
		return id, unix.EBADMSG
	}
	ad, err := netlink.NewAttributeDecoder(b[4:])
	if err != nil {
		return id, err
	}
	for ad.Next() {
		if ad.Type() == unix.NETNSA_NSID {
			id = ad.Int32()
		}
	}
	return id, ad.Err()
}

// placed reports whether the device's packets travel where they should.
func (f *FDB) placed(have *found) (bool, error) {
	want, err := f.nsid()
	if err != nil {
		return false, err
	}
	return have.linkNSID == want && (f.underlay == "" || want != noNSID), nil
}
