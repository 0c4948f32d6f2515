package edge

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"

	"github.com/hyperfib/hyperfib/bfd"
	"github.com/hyperfib/hyperfib/bgp/rib"
	"github.com/hyperfib/hyperfib/bgp/wire"
)

// also is another next hop that is announced on the sessions over a device.
type also struct {
	device    string
	hop       netip.Addr
	community wire.Community // 0: the edge's own
	probe     session        // a way to hop's network that is watched; without a device none is
}

// parseAlso reads DEVICE,HOP,COMMUNITY,PROBE-DEVICE,PROBE; the last three may be empty.
func parseAlso(s string) (a also, err error) {
	word := strings.Split(s, ",")
	if len(word) != 5 {
		return a, fmt.Errorf("%s: want DEVICE,HOP,COMMUNITY,PROBE-DEVICE,PROBE", s)
	}
	var errs [3]error
	a.device = word[0]
	a.hop, errs[0] = netip.ParseAddr(word[1])
	if word[2] != "" {
		a.community, errs[1] = wire.ParseCommunity(word[2])
	}
	if word[3] != "" {
		a.probe = session{device: word[3], local: a.hop, watch: "on"}
		a.probe.peer, errs[2] = netip.ParseAddr(word[4])
	}
	return a, errors.Join(errs[:]...)
}

// key names the probe's BFD session.
func (a also) key() bfd.Key {
	return bfd.Key{Peer: a.probe.peer, Local: a.probe.local, Interface: a.probe.device}
}

// announce originates everything that has the next hops of the sessions.
func (r *router) announce() error {
	var list []wire.Community
	if r.community != 0 {
		list = append(list, r.community)
	}
	for _, p := range r.prefixes {
		if err := r.speaker.Originate(rib.LocalPath{Prefix: p, Attrs: wire.PathAttrs{Communities: list}}); err != nil {
			return err
		}
	}
	for i, a := range r.also {
		if a.probe.device == "" {
			r.announceAlso(i, true)
		}
	}
	return nil
}

// announceAlso originates or withdraws the paths of an additional next hop: all that we
// announce, or with another community only the default route.
func (r *router) announceAlso(i int, up bool) {
	a := r.also[i]
	community := a.community
	if community == 0 {
		community = r.community
	}
	var list []wire.Community
	if community != 0 {
		list = append(list, community)
	}
	for _, p := range r.prefixes {
		if p.Addr().Is4() != a.hop.Is4() || p.Bits() > 0 && a.community != 0 {
			continue
		}
		if !up {
			r.speaker.Table().Withdraw(p, uint32(i+1))
			continue
		}
		err := r.speaker.Originate(rib.LocalPath{Prefix: p, PathID: uint32(i + 1), NextHop: wire.NextHop{Addr: a.hop},
			Attrs: wire.PathAttrs{Communities: list}})
		if err != nil {
			r.log.Error("announcement", "prefix", p, "err", err)
		}
	}
}

// export keeps the additional next hops of other devices off a session.
func (r *router) export(s session) rib.Policy {
	if len(r.also) == 0 {
		return nil
	}
	return func(route *rib.Route) rib.Verdict {
		if id := int(route.PathID); id > 0 && (id > len(r.also) || r.also[id-1].device != s.device) {
			return rib.VerdictReject
		}
		return rib.VerdictAccept
	}
}

// mine accepts what has our community.
func (r *router) mine() rib.Policy {
	if r.community == 0 {
		return nil
	}
	return rib.If(rib.Not(rib.HasCommunity(r.community)), rib.RejectAll)
}

// probed takes what BFD says of a probe and reports whether it was one.
func (r *router) probed(e bfd.Event) (found bool) {
	for i, a := range r.also {
		if a.probe.device != "" && a.key() == e.Key {
			r.announceAlso(i, e.State == bfd.StateUp)
			found = true
		}
	}
	return found
}

// deviceOf returns the interface of a gateway. The networks here do not change.
func (r *router) deviceOf(gateway netip.Addr) string {
	if gateway.Zone() != "" {
		return gateway.Zone()
	}
	name, ok := r.devices[gateway]
	if !ok {
		name = r.device(gateway)
		r.devices[gateway] = name
	}
	return name
}

// device looks for the interface on whose network a gateway is.
func (r *router) device(gateway netip.Addr) string {
	for name := range r.links {
		link, err := net.InterfaceByName(name)
		if err != nil {
			continue
		}
		addrs, _ := link.Addrs()
		for _, a := range addrs {
			if p, err := netip.ParsePrefix(a.String()); err == nil && p.Contains(gateway) {
				return name
			}
		}
	}
	return ""
}
