package nl

import (
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// Change is one message about a route, rule, next-hop object, forwarding entry or neighbour.
type Change struct {
	At   time.Time // when it was read; has the monotonic clock
	Type uint16    // unix.RTM_NEWROUTE ...
	Rt   Route     // for routes
	ID   uint32    // for next-hop objects
}

// Monitor listens to the routing changes of one namespace from its start on.
type Monitor struct {
	conn  *netlink.Conn
	links map[int]Link
}

// Watch subscribes to routes, rules and next-hop objects of both families in
// the namespace at path, and to what control planes put into forwarding and neighbour tables.
func Watch(path string) (*Monitor, error) {
	c, err := Open(path)
	if err != nil {
		return nil, err
	}
	defer c.rt.Close()
	links, err := c.Links()
	if err != nil {
		return nil, errors.Join(err, c.raw.Close())
	}
	for _, group := range []uint32{unix.RTNLGRP_IPV4_ROUTE, unix.RTNLGRP_IPV6_ROUTE, unix.RTNLGRP_IPV4_RULE, unix.RTNLGRP_IPV6_RULE, unix.RTNLGRP_NEXTHOP, unix.RTNLGRP_NEIGH} {
		if err := c.raw.JoinGroup(group); err != nil {
			return nil, errors.Join(err, c.raw.Close())
		}
	}
	_ = c.raw.SetReadBuffer(8 << 20)
	return &Monitor{conn: c.raw, links: links}, nil
}

// Close ends the subscription; a blocked Next returns an error.
func (m *Monitor) Close() error { return m.conn.Close() }

// Next returns the next batch of changes, or none when deadline passes: what is of no interest does not end it.
func (m *Monitor) Next(deadline time.Time) ([]Change, error) {
	if err := m.conn.SetReadDeadline(deadline); err != nil {
		return nil, err
	}
	for {
		msgs, err := m.conn.Receive()
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return nil, nil
		}
		if err != nil {
			return nil, wrap(err, "route monitor")
		}
		if changes := m.changes(msgs, time.Now()); len(changes) > 0 {
			return changes, nil
		}
	}
}

// changes are what messages tell of.
func (m *Monitor) changes(msgs []netlink.Message, at time.Time) (out []Change) {
	for _, msg := range msgs {
		ch := Change{At: at, Type: uint16(msg.Header.Type)}
		switch ch.Type {
		case unix.RTM_NEWROUTE, unix.RTM_DELROUTE:
			if r, err := parseRoute(msg.Data, m.links); err == nil {
				ch.Rt = r
			}
		case unix.RTM_NEWNEXTHOP, unix.RTM_DELNEXTHOP:
			ch.ID = nexthopID(msg.Data)
		case unix.RTM_NEWNEIGH, unix.RTM_DELNEIGH:
			if len(msg.Data) < unix.SizeofNdMsg || msg.Data[10]&unix.NTF_EXT_LEARNED == 0 {
				continue // the kernel's own
			}
		}
		out = append(out, ch)
	}
	return out
}

// nexthopID reads the identifier of a next-hop object: struct nhmsg, then NHA_ID.
func nexthopID(b []byte) uint32 {
	const sizeofNhmsg = 8
	ad, err := netlink.NewAttributeDecoder(b[min(sizeofNhmsg, len(b)):])
	for err == nil && ad.Next() {
		if ad.Type() == unix.NHA_ID {
			return ad.Uint32()
		}
	}
	return 0
}

var changeNames = map[uint16]string{
	unix.RTM_NEWROUTE: "route added", unix.RTM_DELROUTE: "route deleted",
	unix.RTM_NEWRULE: "rule added", unix.RTM_DELRULE: "rule deleted",
	unix.RTM_NEWNEIGH: "forwarding entry or neighbour added", unix.RTM_DELNEIGH: "forwarding entry or neighbour deleted",
	unix.RTM_NEWNEXTHOP: "next hop added", unix.RTM_DELNEXTHOP: "next hop deleted",
}

// String says what happened.
func (c Change) String() string {
	s := c.At.Format("15:04:05.000 ") + changeNames[c.Type]
	if c.Rt.Dst.IsValid() {
		s += fmt.Sprintf(" %s table %d metric %d proto %d", c.Rt.Dst, c.Rt.Table, c.Rt.Metric, c.Rt.Proto)
	}
	if c.ID != 0 {
		s += fmt.Sprintf(" id %#x", c.ID)
	}
	return s
}
