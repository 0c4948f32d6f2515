package edge

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// The addresses of a gateway are on the overlay's bridge. The kernel puts a route to each into table local, by which what is sent to it is
// taken in from wherever it comes: other tenants, which may have the same addresses for guests of theirs, the uplinks, and
// the hypervisor itself, whose networks may have them, too. So that route is taken away; the one that counts is in the tenant's table. The
// kernel makes it anew when the bridge comes up or the address comes back (fib_add_ifaddr, fixup_permanent_addr).

// unshare takes the routes to addresses of an interface out of table local, if they are there.
func (s *linkSetter) unshare(index int, addresses []netip.Addr) error {
	for _, a := range addresses {
		b, err := localRoute(index, a)
		if err == nil {
			_, err = s.raw.Execute(netlink.Message{Header: netlink.Header{Type: unix.RTM_DELROUTE, Flags: netlink.Request | netlink.Acknowledge}, Data: b})
		}
		if err != nil && !errors.Is(err, unix.ESRCH) && !errors.Is(err, unix.ENODEV) {
			return fmt.Errorf("the route to %v in table local: %w", a, err)
		}
	}
	return nil
}

// localRoute returns the payload of RTM_DELROUTE for the kernel's own route to an address of an interface.
func localRoute(index int, a netip.Addr) ([]byte, error) {
	b := make([]byte, unix.SizeofRtMsg)
	b[0], b[1], b[4], b[5], b[6], b[7] = unix.AF_INET, uint8(a.BitLen()), unix.RT_TABLE_LOCAL, unix.RTPROT_KERNEL, unix.RT_SCOPE_HOST, unix.RTN_LOCAL
	if a.Is6() {
		b[0], b[6] = unix.AF_INET6, unix.RT_SCOPE_UNIVERSE
	}
	e := netlink.NewAttributeEncoder()
	e.Bytes(unix.RTA_DST, a.AsSlice())
	e.Uint32(unix.RTA_OIF, uint32(index))
	attributes, err := e.Encode()
	return append(b, attributes...), err
}

// addressed takes the notification of an address.
func (k *keeper) addressed(b []byte) {
	if len(b) < unix.SizeofIfAddrmsg {
		return
	}
	index := int(binary.NativeEndian.Uint32(b[4:]))
	for name, o := range k.plans {
		if index == o.bridge && len(o.ours) > 0 {
			k.notified(subject{overlay: name, link: index})
		}
	}
}
