package convert

import (
	"fmt"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"
)

// edge writes what guests have in common.
func (c *converter) edge(file *mapping) {
	var e mapping
	gateway := c.dhcp.gateway
	for _, g := range c.order {
		if gateway == "" {
			gateway = g.gateway
		}
	}
	if gateway == "" && slices.ContainsFunc(c.order, func(g *guest) bool { return len(g.ipv4) > 0 }) {
		c.gap(pos{}, "the guests' gateway is not said (dnsmasq's option:router, or their interfaces' address in -ip)")
		gateway = fillIn + "address"
	}
	e.text("gateway4", gateway)
	for _, g := range c.order {
		if g.gateway == gateway {
			g.gateway = ""
		}
	}
	if c.dhcp.length != 0 {
		e.put("prefix-length4", c.dhcp.length)
	} else if c.dhcp.on {
		c.gap(c.dhcp.pos, "the prefix length that guests are told is not said (dnsmasq takes that of the interface): 24 unless edge.prefix-length4 says another")
	}
	if m := c.gatewayMAC(); m != "" {
		e.put("mac", m)
	}
	c.commonRA(&e)
	if c.dhcp.on {
		d := mapping{}
		d.put("on", true)
		d.text("lease", c.dhcp.lease)
		d.list("dns", c.dhcp.dns)
		d.list("relay", c.dhcp.relay)
		e.put("dhcp", d.MapSlice)
	}
	if len(e.MapSlice) > 0 {
		file.put("edge", e.MapSlice)
	}
}

// gatewayMAC is the MAC that all guests' interfaces have, "" if they differ.
func (c *converter) gatewayMAC() (mac string) {
	for i, g := range c.order {
		l := c.host.link(g.device)
		if l == nil || i > 0 && l.mac != mac {
			return ""
		}
		mac = l.mac
	}
	if len(c.order) < 2 {
		return ""
	}
	return mac
}

// commonRA moves what all guests with router advertisements are told to the edge.
func (c *converter) commonRA(e *mapping) {
	var all []*advert
	for _, g := range c.order {
		if g.ra != nil {
			all = append(all, g.ra)
		}
	}
	var common mapping
	if len(all) > 0 {
		for _, item := range slices.Clone(all[0].ra) {
			if !slices.ContainsFunc(all, func(a *advert) bool { return !a.says(item) }) {
				common.put(item.Key.(string), item.Value)
				for _, a := range all {
					a.ra = slices.DeleteFunc(a.ra, func(o yaml.MapItem) bool { return o.Key == item.Key })
				}
			}
		}
	}
	if c.dhcp.mtu != "" && !slices.ContainsFunc(common.MapSlice, func(o yaml.MapItem) bool { return o.Key == "mtu" }) {
		var v uint64
		fmt.Sscan(c.dhcp.mtu, &v)
		common.put("mtu", v)
	}
	if len(c.dhcp.dns6) > 0 && !slices.ContainsFunc(common.MapSlice, func(o yaml.MapItem) bool { return o.Key == "dns" }) {
		common.put("dns", c.dhcp.dns6)
	}
	if len(common.MapSlice) > 0 {
		e.put("ra", common.MapSlice)
	}
}

func (a *advert) says(item yaml.MapItem) bool {
	return slices.ContainsFunc(a.ra, func(o yaml.MapItem) bool { return fmt.Sprint(o) == fmt.Sprint(item) })
}

func (c *converter) guestList(file *mapping, comments yaml.CommentMap) {
	var list []yaml.MapSlice
	for i, g := range c.order {
		var m mapping
		m.put("name", g.name)
		m.put("interface", g.device)
		m.text("mac", g.mac)
		m.list("ipv4", g.ipv4)
		m.list("ipv6", g.ipv6)
		m.list("routed", g.routed)
		m.text("gateway4", g.gateway)
		if g.ra != nil && len(g.ra.ra) > 0 {
			m.put("ra", g.ra.ra)
		}
		comments[fmt.Sprintf("$.guests[%d]", i)] = []*yaml.Comment{yaml.HeadComment(" " + comment(strings.TrimSuffix(g.pos.String(), ": ")))}
		list = append(list, m.MapSlice)
	}
	if len(list) > 0 {
		file.put("guests", list)
		return
	}
	if len(c.sessions) > 0 {
		c.gap(pos{}, "guests are not said (-ip has their routes, radvd and dnsmasq their prefixes and addresses): routes that scripts make are announced as BIRD does with learn, and nothing is done for guests")
	}
}

// overlays writes VXLAN devices that are ports of a bridge.
func (c *converter) overlays(file *mapping, comments yaml.CommentMap) {
	var list []yaml.MapSlice
	for _, l := range c.host.links {
		if l.kind != "vxlan" || l.master == "" || l.vni == 0 {
			continue
		}
		var m mapping
		m.put("name", l.name)
		m.put("vni", l.vni)
		if l.port != 0 && l.port != 4789 {
			m.put("port", l.port)
		}
		m.put("bridge", l.master)
		var members, peers []string
		for _, o := range c.host.links {
			if o.master == l.master && o.name != l.name {
				members = append(members, o.name)
			}
		}
		for _, n := range c.host.neighs {
			if n.dev == l.name && n.mac == "00:00:00:00:00:00" {
				add(&peers, n.dst.String())
			}
		}
		m.list("members", members)
		if m.list("peers", peers); len(peers) > 0 {
			c.note(pos{}, "overlay %s: its flood list is a fixed one; vteps: makes it follow BGP", l.name)
		}
		if l.mtu != 1500 && l.mtu != 0 {
			m.put("mtu", l.mtu)
		}
		list = append(list, m.MapSlice)
	}
	if len(list) > 0 {
		file.put("overlays", list)
	}
}
