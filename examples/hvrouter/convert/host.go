package convert

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/hyperfib/hyperfib/examples/hvrouter/domain"
)

// host is what iproute2 prints in JSON: `ip -j -d addr`, `ip -j -N rule`, `ip -j -N route show
// table all`, the same two with -6, `ip -j neigh` and `bridge -j fdb`, one behind the other.
type host struct {
	given  bool
	links  []link
	rules  []rule
	routes []route
	neighs []neigh
}

// object is one entry of any of the lists.
type object struct {
	// of links and addresses
	Ifname   string `json:"ifname"`
	Master   string `json:"master"`
	Address  string `json:"address"`
	MTU      uint32 `json:"mtu"`
	LinkInfo struct {
		Kind string `json:"info_kind"`
		Data struct {
			ID   uint32 `json:"id"`
			Port uint16 `json:"port"`
		} `json:"info_data"`
	} `json:"linkinfo"`
	AddrInfo []struct {
		Local     string `json:"local"`
		Prefixlen int    `json:"prefixlen"`
	} `json:"addr_info"`

	// of routes
	Type     text   `json:"type"`
	Dst      string `json:"dst"`
	Gateway  string `json:"gateway"`
	Dev      string `json:"dev"`
	Table    text   `json:"table"`
	Protocol text   `json:"protocol"`
	Metric   uint32 `json:"metric"`
	Nexthops []struct {
		Gateway string `json:"gateway"`
		Dev     string `json:"dev"`
	} `json:"nexthops"`

	// of rules
	Priority *uint32 `json:"priority"`
	Src      string  `json:"src"`
	SrcLen   *int    `json:"srclen"`
	DstLen   *int    `json:"dstlen"`
	IIF      string  `json:"iif"`
	OIF      string  `json:"oif"`
	Fwmark   text    `json:"fwmark"`
	Action   text    `json:"action"`

	// of neighbours and of the forwarding database
	LLAddr string `json:"lladdr"`
	MAC    string `json:"mac"`
}

// text is a string, or a number in place of one.
type text string

// UnmarshalJSON reads either.
func (t *text) UnmarshalJSON(data []byte) error {
	*t = text(strings.Trim(string(data), `"`))
	return nil
}

type link struct {
	name, master, mac, kind string
	mtu, vni                uint32
	port                    uint16
	addresses               []netip.Prefix
}

type route struct {
	pos
	kind, proto, table, dev string
	dst                     netip.Prefix
	gateway                 netip.Addr
	metric                  uint32
	several                 bool
}

type rule struct {
	pos
	object
	v6 bool
}

type neigh struct {
	dst netip.Addr
	dev string
	mac string
}

// kinds and protocols are names of what -N prints as numbers.
var (
	routeTypes = map[string]string{"1": "unicast", "2": "local", "3": "broadcast", "4": "anycast", "5": "multicast", "6": "blackhole", "7": "unreachable", "8": "prohibit", "": "unicast"}
	protocols  = map[string]string{"2": "kernel", "9": "ra", "12": "bird", "201": "hvrouter", "202": "hvrouter"}
	tables     = map[string]string{"255": "local", "254": "main", "253": "default", "": "main"}
)

func named(names map[string]string, t text) string {
	if n, ok := names[string(t)]; ok {
		return n
	}
	return string(t)
}

func (h *host) read(s Source) error {
	d := json.NewDecoder(strings.NewReader(s.Text))
	counted, line := int64(0), 1
	for n := 0; ; n++ {
		var list []object
		err := d.Decode(&list)
		at := d.InputOffset()
		if errors.Is(err, io.EOF) {
			if n == 0 {
				return &Error{s.Name, 1, "the file is empty: want the output of ip -j"}
			}
			h.given = true
			return nil
		}
		if err != nil {
			return &Error{s.Name, line, fmt.Sprintf("want the output of ip -j, lists in JSON: %v", err)}
		}
		line += strings.Count(s.Text[counted:at], "\n")
		counted = at
		six := slices.ContainsFunc(list, func(o object) bool { return strings.Contains(o.Dst+o.Gateway, ":") })
		seenLocal := slices.ContainsFunc(h.rules, func(r rule) bool { return *r.Priority == 0 })
		for _, o := range list {
			h.take(pos{s.Name, line}, o, six, seenLocal)
		}
	}
}

// take sorts one object. Those of a list of IPv6 routes need telling: "default" is of both families;
// a second list of rules is that of IPv6.
func (h *host) take(p pos, o object, six, again bool) {
	switch {
	case o.Priority != nil:
		h.rules = append(h.rules, rule{p, o, again})
	case o.LLAddr != "":
		if a, err := netip.ParseAddr(o.Dst); err == nil {
			h.neighs = append(h.neighs, neigh{a, o.Dev, o.LLAddr})
		}
	case o.MAC != "":
		if a, err := netip.ParseAddr(o.Dst); err == nil && o.MAC == "00:00:00:00:00:00" {
			h.neighs = append(h.neighs, neigh{a, o.Ifname, o.MAC})
		}
	case o.Ifname != "":
		l := link{name: o.Ifname, master: o.Master, mac: o.Address, kind: o.LinkInfo.Kind, mtu: o.MTU, vni: o.LinkInfo.Data.ID, port: o.LinkInfo.Data.Port}
		for _, a := range o.AddrInfo {
			if x, err := netip.ParseAddr(a.Local); err == nil && a.Prefixlen >= 0 && a.Prefixlen <= x.BitLen() {
				l.addresses = append(l.addresses, netip.PrefixFrom(x, a.Prefixlen))
			}
		}
		h.links = append(h.links, l)
	case o.Dst != "":
		h.route(p, o, six)
	}
}

func (h *host) route(p pos, o object, six bool) {
	dst := o.Dst
	if dst == "default" {
		dst = "0.0.0.0/0"
		if six {
			dst = "::/0"
		}
	}
	prefix, err := netip.ParsePrefix(dst)
	if a, bad := netip.ParseAddr(dst); bad == nil {
		prefix, err = netip.PrefixFrom(a, a.BitLen()), nil
	}
	if err != nil {
		return
	}
	r := route{pos: p, kind: named(routeTypes, o.Type), proto: named(protocols, o.Protocol), table: named(tables, o.Table),
		dev: o.Dev, dst: prefix.Masked(), metric: o.Metric, several: len(o.Nexthops) > 1}
	if len(o.Nexthops) == 1 {
		o.Gateway, r.dev = o.Nexthops[0].Gateway, o.Nexthops[0].Dev
	}
	r.gateway, _ = netip.ParseAddr(o.Gateway)
	h.routes = append(h.routes, r)
}

// holder returns the interface that has an address, and the address with which it reaches peer.
func (h *host) holder(a netip.Addr) string {
	for _, l := range h.links {
		for _, p := range l.addresses {
			if p.Addr() == a {
				return l.name
			}
		}
	}
	return ""
}

// towards returns the interface, and our address on it, in whose prefix a peer is.
func (h *host) towards(peer netip.Addr) (string, string) {
	for _, l := range h.links {
		for _, p := range l.addresses {
			if p.Contains(peer) && p.Addr() != peer && !p.IsSingleIP() {
				return l.name, p.Addr().String()
			}
		}
	}
	return "", ""
}

// link returns an interface by name.
func (h *host) link(name string) *link {
	for i := range h.links {
		if h.links[i].name == name {
			return &h.links[i]
		}
	}
	return nil
}

// in returns the routes of a table that somebody other than BIRD and the kernel has made.
func (h *host) in(table uint32) (out []route) {
	name := named(tables, text(fmt.Sprint(table)))
	for _, r := range h.routes {
		if r.table == name && r.proto != "bird" && r.proto != "kernel" && r.proto != "ra" && r.proto != "hvrouter" {
			out = append(out, r)
		}
	}
	return out
}

// macOf is the MAC that a link-local address was made of, "" if it was not (RFC 4291, Appendix A).
func macOf(a netip.Addr) string {
	b := a.As16()
	if !a.IsLinkLocalUnicast() || !a.Is6() || b[11] != 0xff || b[12] != 0xfe {
		return ""
	}
	return net.HardwareAddr{b[8] ^ 2, b[9], b[10], b[13], b[14], b[15]}.String()
}

// text is the rule as hvrouter prints its own, without the priority; ok is false if it asks for
// something that hvrouter's rules do not.
func (r rule) text() (string, bool) {
	d := domain.Rule{IPv6: r.v6, IIF: r.IIF}
	ok := r.OIF == "" && r.Action == "" && r.Fwmark == ""
	for _, side := range []struct {
		into   *netip.Prefix
		text   string
		length *int
	}{{&d.From, r.Src, r.SrcLen}, {&d.To, r.Dst, r.DstLen}} {
		if side.text == "" || side.text == "all" {
			continue
		}
		a, err := netip.ParseAddr(side.text)
		bits := a.BitLen()
		if side.length != nil {
			bits = *side.length
		}
		*side.into = netip.PrefixFrom(a, bits)
		ok = ok && err == nil && side.into.IsValid()
	}
	table := string(r.Table)
	for number, name := range tables {
		if name == table && number != "" {
			table = number
		}
	}
	n, err := strconv.ParseUint(table, 10, 32)
	d.Table = uint32(n)
	text := ruleText(d)
	for _, more := range []struct{ key, value string }{{"oif", r.OIF}, {"fwmark", string(r.Fwmark)}, {"action", string(r.Action)}} {
		if more.value != "" {
			text += fmt.Sprintf(" %s %s", more.key, more.value)
		}
	}
	return text, ok && err == nil
}

// kernelOwn reports whether the rule is one of those that each network namespace begins with.
func (r rule) kernelOwn() bool { return *r.Priority == 32766 || *r.Priority == 32767 }

// ruleText is the rule without its priority: the order is what counts.
func ruleText(r domain.Rule) string {
	family := "IPv4"
	if r.IPv6 {
		family = "IPv6"
	}
	_, text, _ := strings.Cut(r.String(), ":")
	return family + text
}
