package rib

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"github.com/hyperfib/hyperfib/bgp/wire"
)

// words are what is left of a line of a scenario, and the first error in it.
type words struct {
	list []string
	err  error
}

func (w *words) fail(format string, args ...any) {
	if w.err == nil {
		w.err = fmt.Errorf(format, args...)
	}
}

func (w *words) next() string {
	if len(w.list) == 0 {
		return ""
	}
	x := w.list[0]
	w.list = w.list[1:]
	return x
}

// is takes the next word if it is x.
func (w *words) is(x string) bool {
	if len(w.list) == 0 || w.list[0] != x {
		return false
	}
	w.list = w.list[1:]
	return true
}

// each calls f with each word that is left; f may take more.
func (w *words) each(f func(word string)) {
	for len(w.list) > 0 && w.err == nil {
		f(w.next())
	}
}

func (w *words) number() int {
	x := w.next()
	n, err := strconv.Atoi(x)
	if err != nil {
		w.fail("%q is no number", x)
	}
	return n
}

func (w *words) addr() netip.Addr {
	a, err := netip.ParseAddr(w.next())
	if err != nil {
		w.fail("%v", err)
	}
	return a
}

// prefixes takes prefixes, each with its path identifier: 10.0.0.0/8#7.
func (w *words) prefixes() (list []wire.NLRI) {
	for len(w.list) > 0 && strings.Contains(w.list[0], "/") {
		p, id, _ := strings.Cut(w.next(), "#")
		prefix, err := netip.ParsePrefix(p)
		if err != nil {
			w.fail("%v", err)
			return nil
		}
		n, _ := strconv.Atoi(id)
		list = append(list, wire.NLRI{Prefix: prefix, PathID: uint32(n)})
	}
	return list
}

// prefixesOnly is prefixes without identifiers.
func (w *words) prefixesOnly() (list []netip.Prefix) {
	for _, n := range w.prefixes() {
		list = append(list, n.Prefix)
	}
	return list
}

// family takes ipv4 or ipv6; without either it is IPv4.
func (w *words) family() wire.Family {
	if w.is("ipv6") {
		return wire.IPv6Unicast
	}
	w.is("ipv4")
	return wire.IPv4Unicast
}

// attrs takes attributes and the next hop.
func (w *words) attrs() (a wire.PathAttrs, nh wire.NextHop) {
	w.each(func(x string) {
		switch x {
		case "via":
			nh.Addr = w.addr()
		case "link-local":
			nh.LinkLocal = w.addr()
		case "pref":
			a.LocalPref = ptr(uint32(w.number()))
		case "med":
			a.MED = ptr(uint32(w.number()))
		case "otc":
			a.Other = []wire.Attr{wire.NewAttr(wire.AttrOnlyToCustomer, binary.BigEndian.AppendUint32(nil, uint32(w.number())))}
		case "origin":
			a.Origin = map[string]wire.Origin{"igp": 0, "egp": 1, "incomplete": 2}[w.next()]
		case "path":
			for _, f := range strings.Split(w.next(), ",") {
				n, _ := strconv.Atoi(f)
				a.ASPath = append(a.ASPath, uint32(n))
			}
		case "community":
			a.Communities = w.communities(w.next())
		case "large":
			a.LargeCommunities = append(a.LargeCommunities, w.large(w.next()))
		case "ext":
			a.ExtCommunities = append(a.ExtCommunities, w.ext(w.next()))
		case "originator":
			a.OriginatorID = w.addr()
		case "clusters":
			for _, f := range strings.Split(w.next(), ",") {
				a.ClusterList = append(a.ClusterList, ip(f))
			}
		case "long":
			for i := range w.number() {
				a.LargeCommunities = append(a.LargeCommunities, wire.LargeCommunity{Global: 1, Local1: uint32(i)})
			}
		default:
			w.fail("what is %q?", x)
		}
	})
	return a, nh
}

func (w *words) communities(list string) (cs []wire.Community) {
	if list == "" {
		return nil
	}
	for _, f := range strings.Split(list, ",") {
		c, ok := map[string]wire.Community{"NO_LLGR": wire.CommunityNoLLGR, "LLGR_STALE": wire.CommunityLLGRStale,
			"NO_EXPORT": wire.CommunityNoExport, "NO_EXPORT_SUBCONFED": wire.CommunityNoExportSubconfed, "NO_ADVERTISE": wire.CommunityNoAdvertise, "GRACEFUL_SHUTDOWN": wire.CommunityGracefulShutdown}[f]
		if !ok {
			var err error
			if c, err = wire.ParseCommunity(f); err != nil {
				w.fail("%v", err)
			}
		}
		cs = append(cs, c)
	}
	return cs
}

func (w *words) large(s string) wire.LargeCommunity {
	c, err := wire.ParseLargeCommunity(s)
	if err != nil {
		w.fail("%v", err)
	}
	return c
}

func (w *words) ext(s string) wire.ExtCommunity {
	n, err := strconv.ParseUint(s, 16, 64)
	if err != nil {
		w.fail("%v", err)
	}
	return wire.ExtCommunity(n)
}
