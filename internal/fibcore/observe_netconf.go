package fibcore

import (
	"strconv"

	"github.com/hyperfib/hyperfib/internal/fibcore/wire"
	"github.com/hyperfib/hyperfib/internal/rtnl"
)

// netconfNames are the files of the values that RTM_NEWNETCONF carries, by attribute.
var netconfNames = map[wire.Family]map[uint16]string{
	wire.FamilyIPv4: {rtnl.NETCONFA_FORWARDING: "forwarding", rtnl.NETCONFA_RP_FILTER: "rp_filter", rtnl.NETCONFA_PROXY_NEIGH: "proxy_arp",
		rtnl.NETCONFA_IGNORE_ROUTES_WITH_LINKDOWN: "ignore_routes_with_linkdown"},
	wire.FamilyIPv6: {rtnl.NETCONFA_FORWARDING: "forwarding", rtnl.NETCONFA_PROXY_NEIGH: "proxy_ndp",
		rtnl.NETCONFA_IGNORE_ROUTES_WITH_LINKDOWN: "ignore_routes_with_linkdown"},
}

// observeNetconf takes a change of sysctls that the kernel tells about. One that
// concerns an interface names the value: what it should be is not compared again, or each
// of our own writes would cost another turn. One that concerns "all" or "default" may
// have changed anything.
func (c *Core) observeNetconf(body []byte) {
	if len(body) < 4 {
		return
	}
	family, dir := wire.Family(body[0]), "ipv6"
	if family == wire.FamilyIPv4 {
		dir = "ipv4"
	}
	index := int32(0)
	for typ, v := range rtnl.Attributes(body[4:]) {
		if typ == rtnl.NETCONFA_IFINDEX {
			index = v.Int32()
		}
	}
	link, ok := c.links.byIndex[index]
	if !ok {
		if index <= 0 {
			c.sysctls.touchFamily(dir)
		}
		return // of a new interface: it is compared whole when it is known
	}
	for typ, v := range rtnl.Attributes(body[4:]) {
		if name := netconfNames[family][typ]; name != "" {
			c.sysctls.saw("net/"+dir+"/conf/"+link.Interface+"/"+name, strconv.Itoa(int(v.Int32())))
		}
	}
}

// saw has a path compared if what it is said to be is not what it should be.
func (t *sysctls) saw(p, value string) {
	if s := t.all[p]; s != nil && s.Value != value {
		t.due(s)
	}
}
