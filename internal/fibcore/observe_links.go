package fibcore

import (
	"encoding/binary"
	"maps"
	"net/netip"
	"slices"

	"github.com/hyperfib/hyperfib/internal/fibcore/wire"
	"github.com/hyperfib/hyperfib/internal/rtnl"
)

// Links and addresses, and what the kernel removes with them without a word.

// bridgeMessage: a port that leaves its bridge is told as a deleted link of
// family bridge, though the interface is still there.
func bridgeMessage(body []byte) bool { return len(body) > 0 && body[0] == rtnl.AF_BRIDGE }

func (c *Core) observeLink(m rtnl.Message) {
	l, err := wire.ParseLink(m.Body)
	if err != nil {
		return
	}
	index := int32(l.IfIndex)
	old, known := c.links[index]
	if m.Type == rtnl.RTM_DELLINK {
		if known {
			c.linkGone(index, old)
		}
		return
	}
	if bridgeMessage(m.Body) {
		return
	}
	if known && old == l {
		return
	}
	if !known {
		c.replaceLink(l)
	}
	c.links[index] = l
	c.event(Event{Kind: EventLink, Link: l})
	if !known || old.Interface != l.Interface {
		c.sysctls.touchLink(l.Interface)
	}
	flushed := binary.NativeEndian.Uint32(m.Body[8:])&(rtnl.IFF_RUNNING|rtnl.IFF_LOWER_UP) == 0
	if known && (old.AdminUp && !l.AdminUp || old.Carrier && !l.Carrier && flushed) {
		c.linkLost(index, !l.AdminUp)
	}
	if !known {
		c.recall(l)
	}
	if !known || old.AdminUp != l.AdminUp || old.Carrier != l.Carrier {
		c.linkChanged(index)
	}
}

// replaceLink takes an interface out of the model whose name another one has now: word of
// its end was lost, or is still to come.
func (c *Core) replaceLink(l wire.Link) {
	for index, old := range c.links {
		if old.Interface == l.Interface {
			c.linkGone(index, old)
			return
		}
	}
}

// linkGone takes an interface that was deleted out of the model, with its addresses.
func (c *Core) linkGone(index int32, old wire.Link) {
	delete(c.links, index)
	c.remember(old)
	for key := range c.addresses.have {
		if int32(key.IfIndex) == index {
			delete(c.addresses.have, key)
			delete(c.temporary, key)
		}
	}
	c.event(Event{Kind: EventLinkGone, Link: old, Gone: true})
	c.linkLost(index, true)
}

func (c *Core) linkLost(link int32, down bool) {
	for _, id := range slices.Sorted(maps.Keys(c.hops)) {
		if c.hops[id].link == link && !c.hops[id].alien {
			for _, k := range c.gone(id) {
				c.emptied(k)
			}
		}
	}
	if down {
		c.proxiesLost(link)
		c.store.all(func(i uint32, e *entry) {
			if e.have != nil && e.have.uses(link) {
				if e.have.allOn(link) {
					c.setHave(i, e, nil)
				} else {
					c.setHave(i, e, needsDump)
				}
				c.touchRoute(i, e)
			}
		})
		c.doubtForeign()
	}
	c.rereads.nextHops.request()
	c.linkChanged(link)
}

// proxiesLost: the kernel tells nobody about proxy entries, neither of those that it removes
// as an interface goes down (pneigh_ifdown) nor of those that others add and delete.
func (c *Core) proxiesLost(link int32) {
	for key := range c.neighbors.have {
		if key.Proxy && int32(key.IfIndex) == link {
			c.neighbors.lost(key, origin{})
		}
	}
}

// suspectProxies lets the proxy entries be read again, if there are to be any.
func (c *Core) suspectProxies() {
	for key := range c.neighbors.want {
		if key.Proxy {
			c.rereads.proxies.request()
			return
		}
	}
}

func (c *Core) linkChanged(link int32) {
	c.touchNextHops(func(l *wire.NextHop) bool { return l.IfIndex == link })
	c.resolveAll(func(w *want) bool { return w.uses(link) })
	c.retrySoon()
}

func (c *Core) retrySoon() { c.hope = true }

func (c *Core) observeAddress(a *wire.KernelAddress, gone bool, by origin) {
	key := a.Key()
	_, known := c.addresses.have[key]
	if delete(c.temporary, key); !gone && !a.Permanent {
		c.temporary[key] = true
	}
	if gone {
		c.addresses.lost(key, by)
	} else {
		by.proto = a.Protocol
		c.addresses.saw(key, c.comparable(a.Address), a.Protocol == c.config.Protocol, by)
	}
	if known == !gone {
		return
	}
	c.addressChanged(key, a.Scope, a.Permanent, gone)
}

// addressChanged does to the model what came with an address, or went with it.
func (c *Core) addressChanged(key wire.AddressKey, scope wire.Scope, permanent, gone bool) {
	link := int32(key.IfIndex)
	c.event(Event{Kind: EventAddress, Link: c.links[link], Addr: key.Prefix, Scope: scope, Permanent: permanent, Gone: gone})
	if gone {
		c.addressLost(link, key.Prefix.Addr(), key.Prefix.Addr().Is4() && !c.hasIPv4(link))
	}
	c.retrySoon()
}

// hasIPv4 reports whether an interface has an IPv4 address.
func (c *Core) hasIPv4(link int32) bool {
	for key := range c.addresses.have {
		if int32(key.IfIndex) == link && key.Prefix.Addr().Is4() {
			return true
		}
	}
	return false
}

func (c *Core) comparable(a wire.Address) wire.Address {
	want, ok := c.addresses.want[wire.AddressKey{IfIndex: a.IfIndex, Prefix: a.Prefix}]
	if !ok {
		return a
	}
	a.NoDAD = want.NoDAD
	if !a.Prefix.Addr().Is4() {
		a.Scope = want.Scope // the kernel's own choice
	}
	return a
}

// fixed reports whether the kernel would not make want of have: it takes a replacement of
// an IPv4 address, and leaves its scope and flags as they are (rtm_newaddr).
func fixed(have, want wire.Address) bool {
	return have.Prefix.Addr().Is4() && (have.Scope != want.Scope || have.NoPrefixRoute != want.NoPrefixRoute)
}

func (c *Core) addressLost(link int32, addr netip.Addr, last bool) {
	c.store.all(func(i uint32, e *entry) {
		f := e.have
		switch {
		case f == nil:
			return
		case f.PrefSrc == addr && f.Family == wire.FamilyIPv6:
			c.setHave(i, e, needsDump)
		case f.PrefSrc == addr, last && f.Family == wire.FamilyIPv4 && f.allOn(link):
			c.setHave(i, e, nil)
		case last && f.Family == wire.FamilyIPv4 && f.uses(link):
			c.setHave(i, e, needsDump)
		default:
			return
		}
		c.touchRoute(i, e)
	})
	c.doubtForeign()
}

func (c *Core) doubtForeign() {
	c.rereads.learners.request()
	c.store.all(func(i uint32, e *entry) {
		switch {
		case e.mark&(markBehind|markAround) != 0:
			e.mark |= markContested
			c.rereads.table(c.tables.list[e.key.table])
		case e.mark&markForeign != 0:
			e.mark &^= markForeign
			c.touchRoute(i, e)
		}
	})
}
