// Command capture prints what hyperfib's protocols say on an interface: BGP, BFD, ARP,
// Neighbor Discovery. It captures with gopacket's pure Go EthernetHandle, so it needs
// no libpcap and no cgo.
//
//	capture -dev a.public
package main

import (
	"flag"
	"fmt"
	"log"
	"time"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
	"github.com/google/gopacket/pcapgo"

	"github.com/hyperfib/hyperfib/arp"
	"github.com/hyperfib/hyperfib/ndp"
)

func main() {
	dev := flag.String("dev", "", "`interface` to listen on")
	addPath := flag.Bool("addpath", false, "BGP sessions have ADD-PATH (seen by itself if the OPENs are)")
	count := flag.Int("count", 0, "stop after so many `lines`; 0: never")
	flag.Parse()
	handle, err := pcapgo.NewEthernetHandle(*dev)
	if err != nil {
		log.Fatal("capture: ", err)
	}
	defer handle.Close()
	source := gopacket.NewPacketSource(handle, layers.LayerTypeEthernet)
	source.Lazy, source.NoCopy = true, true
	bgp := &streams{addPath: *addPath, flows: make(map[flow]*stream)}
	n := 0
	for p := range source.Packets() {
		for _, line := range describe(p, bgp) {
			fmt.Println(p.Metadata().Timestamp.Format("15:04:05.000000"), line)
			if n++; n == *count {
				return
			}
		}
	}
}

// describe returns a line for each message in p.
func describe(p gopacket.Packet, bgp *streams) []string {
	eth, ok := p.LinkLayer().(*layers.Ethernet)
	if !ok {
		return nil
	}
	switch {
	case eth.EthernetType == layers.EthernetTypeARP:
		if f, err := arp.ParseFrame(p.Data()); err == nil {
			return []string{"ARP " + f.String()}
		}
	case p.Layer(layers.LayerTypeTCP) != nil:
		return bgp.segment(p)
	case p.Layer(layers.LayerTypeBFD) != nil:
		return []string{describeBFD(p)}
	case eth.EthernetType == layers.EthernetTypeIPv6:
		return describeND(p.Data())
	}
	return nil
}

func describeBFD(p gopacket.Packet) string {
	b := p.Layer(layers.LayerTypeBFD).(*layers.BFD)
	src, dst := p.NetworkLayer().NetworkFlow().Endpoints()
	us := func(v layers.BFDTimeInterval) time.Duration { return time.Duration(v) * time.Microsecond }
	return fmt.Sprintf("BFD %v > %v %v, diagnostic %v, discriminators %#x %#x, tx %v rx %v x %d, poll %v final %v",
		src, dst, b.State, b.Diagnostic, uint32(b.MyDiscriminator), uint32(b.YourDiscriminator), us(b.DesiredMinTxInterval), us(b.RequiredMinRxInterval),
		b.DetectMultiplier, b.Poll, b.Final)
}

func describeND(frame []byte) []string {
	p, err := ndp.ParseFrame(frame)
	if err != nil {
		return nil
	}
	t, err := p.Check()
	if err != nil || t < ndp.TypeRouterSolicitation || t > ndp.TypeRedirect {
		return nil
	}
	line := fmt.Sprintf("%v %v > %v", t, p.Src, p.Dst)
	switch t {
	case ndp.TypeRouterAdvertisement:
		if m, err := ndp.ParseRouterAdvertisement(&p); err == nil {
			line += fmt.Sprintf(" lifetime %v, mtu %d, prefixes %v, dns %v", m.Lifetime, m.MTU, m.Prefixes, m.RDNSS)
		}
	case ndp.TypeNeighborSolicitation:
		if m, err := ndp.ParseNeighborSolicitation(&p); err == nil {
			line += fmt.Sprintf(" who has %v", m.Target)
		}
	case ndp.TypeNeighborAdvertisement:
		if m, err := ndp.ParseNeighborAdvertisement(&p); err == nil {
			line += fmt.Sprintf(" %v is at %v (router %v, solicited %v, override %v)", m.Target, m.TargetLinkAddr, m.Router, m.Solicited, m.Override)
		}
	}
	return []string{line}
}
