package probe

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"time"

	"github.com/hyperfib/hyperfib/internal/netns"
	"github.com/hyperfib/hyperfib/ndp"
)

// Neighbour is an answer to a neighbour solicitation.
type Neighbour struct {
	Source netip.Addr // of the IPv6 header
	ndp.NeighborAdvertisement
}

// Solicit asks on a link who has an address, and returns what was answered within
// wait; it stops at the first answer if first is set. With the unspecified address
// as from it asks as duplicate address detection does (RFC 4862, Section 5.4).
func Solicit(ns, link string, mac net.HardwareAddr, from, target netip.Addr, wait time.Duration, first bool) ([]Neighbour, error) {
	conn, err := ndp.Listen(ndp.Config{NetNS: ns, Types: []ndp.Type{ndp.TypeNeighborAdvertisement}})
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	index := 0
	err = netns.Do(ns, func() error {
		l, err := net.InterfaceByName(link)
		if err == nil {
			index = l.Index
		}
		return err
	})
	if err == nil {
		err = conn.Add(index)
	}
	if err != nil {
		return nil, err
	}
	if _, err := conn.Write([]ndp.Packet{solicitation(index, ndp.MAC(mac), from, target)}); err != nil {
		return nil, err
	}
	if err := conn.SetReadDeadline(time.Now().Add(wait)); err != nil {
		return nil, err
	}
	var out []Neighbour
	for packets := make([]ndp.Packet, ndp.Batch); ; {
		n, err := conn.Read(packets)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return out, nil
		}
		if err != nil {
			return out, err
		}
		for _, p := range packets[:n] {
			if m, err := ndp.ParseNeighborAdvertisement(&p); err == nil && m.Target == target {
				out = append(out, Neighbour{p.Src, m})
			}
		}
		if first && len(out) > 0 {
			return out, nil
		}
	}
}

func solicitation(link int, mac ndp.MAC, from, target netip.Addr) ndp.Packet {
	m := ndp.NeighborSolicitation{Target: target}
	if !from.IsUnspecified() {
		m.SourceLinkAddr = mac
	}
	group := ndp.SolicitedNode(target)
	body, _ := m.AppendBinary(nil)
	return ndp.Packet{IfIndex: link, SrcMAC: mac, DstMAC: ndp.GroupMAC(group), Src: from, Dst: group, Body: body}
}
