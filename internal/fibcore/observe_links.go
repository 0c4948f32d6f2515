package fibcore

import (
	"encoding/binary"
	"maps"
	"slices"

	"github.com/hyperfib/hyperfib/internal/brake"
	"github.com/hyperfib/hyperfib/internal/fibcore/wire"
	"github.com/hyperfib/hyperfib/internal/rtnl"
)

// Links and addresses, and what the kernel removes with them without a word.

// bridgeMessage: a port that leaves its bridge is notified as a deleted link of
// family bridge, though the interface is still there.
func bridgeMessage(body []byte) bool { return len(body) > 0 && body[0] == rtnl.AF_BRIDGE }

func (c *Core) observeLink(m rtnl.Message) {
	l, err := wire.ParseLink(m.Body)
	if err != nil {
		return
	}
	index := int32(l.IfIndex)
	if c.links.touched != nil {
		c.links.touched[index] = true
	}
	old, known := c.links.byIndex[index]
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
	c.links.byIndex[index] = l
	c.env.event(Event{Kind: EventLink, Link: l})
	if !known || old.Interface != l.Interface {
		c.sysctls.touchLink(l.Interface)
	}
	flushed := binary.NativeEndian.Uint32(m.Body[8:])&(rtnl.IFF_RUNNING|rtnl.IFF_LOWER_UP) == 0
	if known && (old.AdminUp && !l.AdminUp || old.Carrier && !l.Carrier && flushed) {
		c.linkLost(index, !l.AdminUp)
	}
	if !known {
		c.linkReturned(l)
	}
	if !known || old.AdminUp != l.AdminUp || old.Carrier != l.Carrier {
		c.linkChanged(index)
	}
}

// replaceLink takes an interface out of the model whose name another one has now: word of
// its end was lost, or is still to come.
func (c *Core) replaceLink(l wire.Link) {
	for index, old := range c.links.byIndex {
		if old.Interface == l.Interface {
			c.linkGone(index, old)
			return
		}
	}
}

// linkGone takes an interface that was deleted out of the model, with its addresses.
func (c *Core) linkGone(index int32, old wire.Link) {
	if c.links.touched != nil {
		c.links.touched[index] = true
	}
	delete(c.links.byIndex, index)
	c.rememberName(old)
	for key := range c.addresses.have {
		if int32(key.IfIndex) == index {
			c.addresses.touch(key)
			delete(c.addresses.have, key)
			delete(c.temporary, key)
		}
	}
	c.env.event(Event{Kind: EventLinkGone, Link: old, Gone: true})
	c.linkLost(index, true)
}

func (c *Core) linkLost(link int32, down bool) {
	for _, id := range slices.Sorted(maps.Keys(c.nexthops.hops)) {
		if c.nexthops.hops[id].link == link && !c.nexthops.hops[id].alien {
			for _, k := range c.nexthops.gone(id) {
				c.nexthops.emptied(k)
			}
		}
	}
	if down {
		c.proxiesLost(link)
		// The kernel takes its IPv6 addresses away (addrconf_ifdown): that is nobody's work.
		maps.DeleteFunc(c.addresses.brakes, func(k wire.AddressKey, _ *brake.Brake) bool { return int32(k.IfIndex) == link && anonymous(k) })
		c.routes.store.all(func(i uint32, e *entry) {
			if e.have != nil && e.have.uses(link) {
				if e.have.allOn(link) {
					c.routes.setHave(i, e, nil)
				} else {
					c.routes.setHave(i, e, needsDump)
				}
				c.routes.touchRoute(i, e)
			}
		})
		c.routes.rereadForeign()
	}
	c.env.rereads.nextHops.request()
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

// requestProxies lets the proxy entries be read again, if there are to be any.
func (c *Core) requestProxies() {
	for key := range c.neighbors.want {
		if key.Proxy {
			c.env.rereads.proxies.request()
			return
		}
	}
}

func (c *Core) linkChanged(link int32) {
	c.nexthops.touchNextHops(func(l *wire.NextHop) bool { return l.IfIndex == link })
	c.routes.resolveAll(func(w *want) bool { return w.uses(link) })
	c.env.retrySoon()
}

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
		c.addresses.saw(key, c.comparable(a.Address), a.Protocol == c.env.config.Protocol, by)
	}
	if known == !gone {
		return
	}
	c.addressChanged(key, a.Scope, a.Permanent, gone)
}

// addressChanged does to the model what came with an address, or went with it.
func (c *Core) addressChanged(key wire.AddressKey, scope wire.Scope, permanent, gone bool) {
	link := int32(key.IfIndex)
	c.env.event(Event{Kind: EventAddress, Link: c.links.byIndex[link], Addr: key.Prefix, Scope: scope, Permanent: permanent, Gone: gone})
	if gone {
		c.routes.addressLost(link, key.Prefix.Addr(), key.Prefix.Addr().Is4() && !c.hasIPv4(link))
	}
	c.env.retrySoon()
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

// anonymous reports whether the kernel does not say whose request a change of an address was: of IPv6 it never does
// (inet6_ifa_notify).
func anonymous(k wire.AddressKey) bool { return k.Prefix.Addr().Is6() }

// fixed reports whether the kernel would not make want of have: it takes a replacement of
// an IPv4 address, and leaves its scope and flags as they are (rtm_newaddr).
func fixed(have, want wire.Address) bool {
	return have.Prefix.Addr().Is4() && (have.Scope != want.Scope || have.NoPrefixRoute != want.NoPrefixRoute)
}
