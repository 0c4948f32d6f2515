package main

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"

	"github.com/hyperfib/hyperfib/bgp/wire"
)

// flow is one direction of a TCP connection.
type flow struct{ net, ports gopacket.Flow }

// stream is what of a flow has not made a whole message yet.
type stream struct {
	next uint32 // sequence number expected
	data []byte
}

// streams puts BGP messages together. It is no TCP: a segment that is missing makes it
// wait for the next message that starts a segment.
type streams struct {
	addPath bool
	flows   map[flow]*stream
}

var marker = bytes.Repeat([]byte{0xff}, 16)

const bgpPort = 179

func (s *streams) segment(p gopacket.Packet) (lines []string) {
	tcp := p.Layer(layers.LayerTypeTCP).(*layers.TCP)
	if tcp.SrcPort != bgpPort && tcp.DstPort != bgpPort || len(tcp.Payload) == 0 {
		return nil
	}
	key := flow{p.NetworkLayer().NetworkFlow(), tcp.TransportFlow()}
	st := s.flows[key]
	if st == nil {
		st = &stream{}
		s.flows[key] = st
	}
	if tcp.Seq != st.next {
		st.data = st.data[:0]
	}
	if len(st.data) == 0 && !bytes.HasPrefix(tcp.Payload, marker) {
		return nil
	}
	st.next = tcp.Seq + uint32(len(tcp.Payload))
	st.data = append(st.data, tcp.Payload...)
	src, dst := key.net.Endpoints()
	for len(st.data) >= wire.HeaderLen {
		h, err := wire.ParseHeader(st.data, wire.MaxExtendedLen)
		if err != nil {
			st.data = st.data[:0]
			return append(lines, fmt.Sprintf("BGP %v > %v %v", src, dst, err))
		}
		if len(st.data) < h.Len {
			break
		}
		lines = append(lines, fmt.Sprintf("BGP %v > %v %v", src, dst, s.message(h.Type, st.data[wire.HeaderLen:h.Len])))
		st.data = append(st.data[:0], st.data[h.Len:]...)
	}
	return lines
}

func (s *streams) message(t wire.MessageType, body []byte) string {
	switch t {
	case wire.TypeOpen:
		o, err := wire.ParseOpen(body)
		if err != nil {
			return err.Error()
		}
		s.addPath = s.addPath || len(o.Capabilities.AddPath) > 0
		return fmt.Sprintf("OPEN AS %d, hold time %v, id %v, %+v", o.AS, o.HoldTime, o.ID, o.Capabilities)
	case wire.TypeNotification:
		n, err := wire.ParseNotification(body)
		if err != nil {
			return err.Error()
		}
		return "NOTIFICATION " + n.String()
	case wire.TypeUpdate:
		return s.update(body)
	}
	return t.String()
}

func (s *streams) update(body []byte) string {
	opt := wire.Options{AS4: true, IBGP: true}
	if s.addPath {
		opt.AddPath = ^wire.FamilySet(0)
	}
	u, err := wire.ParseUpdate(body, opt)
	if f, ok := u.EndOfRIB(); ok && err == nil {
		return fmt.Sprintf("UPDATE End-of-RIB %v", f)
	}
	var b strings.Builder
	b.WriteString("UPDATE")
	if err != nil {
		fmt.Fprintf(&b, " (%v)", err)
	}
	for _, f := range []wire.Family{wire.IPv4Unicast, wire.IPv6Unicast} {
		for n, err := range u.Unreach(f) {
			if err == nil {
				fmt.Fprintf(&b, " -%v", n.Prefix)
			}
		}
		for n, err := range u.Reach(f) {
			if err == nil {
				fmt.Fprintf(&b, " +%v", n.Prefix)
			}
		}
	}
	for a := range u.Attrs() {
		fmt.Fprintf(&b, " %v=%x", a.Type, a.Value)
	}
	return b.String()
}
