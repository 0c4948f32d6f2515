package dhcp

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"github.com/hyperfib/hyperfib/internal/netns"
)

// routes knows which interfaces lead to the servers, by asking the kernel. What it says is
// good for a second.
type routes struct {
	conn   *netlink.Conn
	device int // index of the VRF in which to ask; 0: none

	mu    sync.Mutex
	known map[netip.Addr]leading
}

type leading struct {
	links []int
	until time.Time
}

const (
	routeTime = time.Second
	rtaNHID   = 30 // RTA_NH_ID, which x/sys lacks
	loopback  = 1  // the index of lo in every namespace (LOOPBACK_IFINDEX)
)

func openRoutes(path, device string) (*routes, error) {
	r := &routes{known: map[netip.Addr]leading{}}
	err := netns.Do(path, func() (err error) {
		if device != "" {
			i, err := net.InterfaceByName(device)
			if err != nil {
				return err
			}
			r.device = i.Index
		}
		r.conn, err = netlink.Dial(unix.NETLINK_ROUTE, nil)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("routes to servers: %w", err)
	}
	return r, nil
}

func (r *routes) close() { r.conn.Close() }

// lead reports whether a packet to server would leave by link, or might, if there are
// several next hops.
func (r *routes) lead(now time.Time, server netip.Addr, link int) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	l, ok := r.known[server]
	if !ok || !now.Before(l.until) {
		links, _ := r.ask(server) // an error is: no route
		l = leading{links, now.Add(routeTime)}
		r.known[server] = l
	}
	return slices.Contains(l.links, link)
}

// ask asks the kernel for its route to server, and what its next hops are: without
// RTM_F_FIB_MATCH it would tell the one that it has chosen.
func (r *routes) ask(server netip.Addr) (links []int, err error) {
	a := netlink.NewAttributeEncoder()
	a.Bytes(unix.RTA_DST, server.AsSlice())
	if r.device != 0 {
		a.Uint32(unix.RTA_OIF, uint32(r.device))
	}
	header := make([]byte, unix.SizeofRtMsg)
	header[0], header[1] = unix.AF_INET, uint8(server.BitLen())
	binary.NativeEndian.PutUint32(header[8:], unix.RTM_F_FIB_MATCH)
	object := uint32(0)
	err = r.query(unix.RTM_GETROUTE, header, a, func(header []byte, d *netlink.AttributeDecoder) {
		if header[7] == unix.RTN_LOCAL { // rtm_type: a server of the host's own
			links = append(links, loopback)
			return
		}
		for d.Next() {
			switch d.Type() {
			case unix.RTA_OIF:
				links = append(links, int(d.Uint32()))
			case unix.RTA_MULTIPATH:
				links = append(links, nextHops(d.Bytes())...)
			case rtaNHID:
				object = d.Uint32()
			}
		}
	})
	// With net.ipv4.nexthop_compat_mode 0 the kernel names the object alone.
	if err == nil && object != 0 && len(links) == 0 {
		links, err = r.object(object, true)
	}
	return links, err
}

// object returns the interfaces of a next-hop object, or of those in a group.
func (r *routes) object(id uint32, group bool) (links []int, err error) {
	a := netlink.NewAttributeEncoder()
	a.Uint32(unix.NHA_ID, id)
	var members []uint32
	err = r.query(unix.RTM_GETNEXTHOP, make([]byte, unix.SizeofNhmsg), a, func(_ []byte, d *netlink.AttributeDecoder) {
		for d.Next() {
			switch d.Type() {
			case unix.NHA_OIF:
				links = append(links, int(d.Uint32()))
			case unix.NHA_GROUP:
				for b := d.Bytes(); group && len(b) >= unix.SizeofNexthopGrp; b = b[unix.SizeofNexthopGrp:] {
					members = append(members, binary.NativeEndian.Uint32(b))
				}
			}
		}
	})
	for _, m := range members {
		if more, e := r.object(m, false); e == nil { // it may have gone since
			links = append(links, more...)
		}
	}
	return links, err
}

// query sends one request and has take read each answer: its header, which is as long as
// the request's, and its attributes.
func (r *routes) query(kind netlink.HeaderType, header []byte, a *netlink.AttributeEncoder, take func(header []byte, d *netlink.AttributeDecoder)) error {
	attributes, err := a.Encode()
	if err != nil {
		return err
	}
	replies, err := r.conn.Execute(netlink.Message{Header: netlink.Header{Type: kind, Flags: netlink.Request}, Data: append(slices.Clone(header), attributes...)})
	if err != nil {
		return err
	}
	for _, m := range replies {
		if len(m.Data) < len(header) {
			continue
		}
		d, err := netlink.NewAttributeDecoder(m.Data[len(header):])
		if err != nil {
			return err
		}
		if take(m.Data[:len(header)], d); d.Err() != nil {
			return d.Err()
		}
	}
	return nil
}

// nextHops returns the interfaces of a list of struct rtnexthop: length (2 octets), flags,
// hops, index (4), and attributes.
func nextHops(b []byte) (links []int) {
	for len(b) >= unix.SizeofRtNexthop {
		n := int(binary.NativeEndian.Uint16(b))
		if n < unix.SizeofRtNexthop || n > len(b) {
			return links
		}
		links = append(links, int(int32(binary.NativeEndian.Uint32(b[4:]))))
		b = b[min((n+3)&^3, len(b)):]
	}
	return links
}
