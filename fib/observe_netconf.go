package fib

import "strconv"

// Attributes of RTM_NEWNETCONF (linux/netconf.h), which x/sys does not have.
const (
	netconfLink           = 1
	netconfForwarding     = 2
	netconfRPFilter       = 3
	netconfProxyNeighbors = 5
	netconfIgnoreLinkDown = 6
)

// netconfNames are the files of the values that RTM_NEWNETCONF carries, by attribute.
var netconfNames = map[Family]map[uint16]string{
	FamilyIPv4: {netconfForwarding: "forwarding", netconfRPFilter: "rp_filter", netconfProxyNeighbors: "proxy_arp",
		netconfIgnoreLinkDown: "ignore_routes_with_linkdown"},
	FamilyIPv6: {netconfForwarding: "forwarding", netconfProxyNeighbors: "proxy_ndp",
		netconfIgnoreLinkDown: "ignore_routes_with_linkdown"},
}

// observeNetconf takes a change of sysctls that the kernel tells about. One that
// concerns an interface names the value: what it should be is not compared again, or each
// of our own writes would cost another turn. One that concerns "all" or "default" may
// have changed anything.
func (c *core) observeNetconf(body []byte) {
	if len(body) < 4 {
		return
	}
	family, dir := Family(body[0]), "ipv6"
	if family == FamilyIPv4 {
		dir = "ipv4"
	}
	index := int32(0)
	for typ, v, rest, ok := next(body[4:]); ok; typ, v, rest, ok = next(rest) {
		if typ == netconfLink {
			index = int32(u32(v))
		}
	}
	link, ok := c.links[index]
	if !ok {
		if index <= 0 {
			c.sysctls.touchFamily(dir)
		}
		return // of a new interface: it is compared whole when it is known
	}
	for typ, v, rest, ok := next(body[4:]); ok; typ, v, rest, ok = next(rest) {
		if name := netconfNames[family][typ]; name != "" {
			c.sysctls.saw("net/"+dir+"/conf/"+link.Interface+"/"+name, strconv.Itoa(int(int32(u32(v)))))
		}
	}
}

// saw has a path compared if what it is said to be is not what it should be.
func (t *sysctls) saw(p, value string) {
	if s := t.all[p]; s != nil && s.Value != value {
		t.due(s)
	}
}
