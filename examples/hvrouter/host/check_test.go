package host

import (
	"bytes"
	"fmt"
	"io/fs"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/hyperfib/hyperfib/examples/hvrouter/config"
	"github.com/hyperfib/hyperfib/examples/hvrouter/domain"
	"github.com/hyperfib/hyperfib/fib"
	"github.com/hyperfib/hyperfib/internal/testing/scenario"
)

// machine is a host as a value.
type machine struct {
	sysctls map[string]string
	mtu     map[string]int
	addrs   map[string][]Address
	lacks   string
	host    config.Host
	ports   map[string][]Listener // by "tcp 179"
}

func (m machine) view() View {
	return View{
		Sysctl:  func(path string) (string, bool) { v, ok := m.sysctls[path]; return v, ok },
		MTU:     func(link string) (int, bool) { v, ok := m.mtu[link]; return v, ok },
		Feature: func(name string) bool { return name != m.lacks },
		Host:    func() config.Host { return m.host },
		Listening: func(proto string, port uint16) []Listener {
			return m.ports[fmt.Sprintf("%s %d", proto, port)]
		},
		Addresses: func(link string) []Address { return m.addrs[link] },
		Links: func() (all []fib.Link) {
			for i, name := range slices.Sorted(maps.Keys(m.mtu)) {
				all = append(all, fib.Link{IfIndex: i + 1, Interface: name})
			}
			return all
		},
	}
}

// seen shows the machine in every namespace but one that is called missing.
func (m machine) seen(n config.NetNS) (View, error) {
	if n == "missing" {
		return View{}, fs.ErrNotExist
	}
	return m.view(), nil
}

// fine is a host on which the sample configuration runs.
func fine(c *config.Config) machine {
	m := machine{sysctls: domain.Sysctls(c, c.Guests, nil), mtu: map[string]int{"a.public": 1500, "b.public": 1500,
		"a.private": 1550, "b.private": 1550, "loopback": 65536, "vm1": 1500, "vm2": 1500}}
	for _, d := range c.Domains {
		for _, r := range d.Reflectors {
			m.has(r.Interface, netip.PrefixFrom(r.Local.Addr, map[bool]int{true: 25, false: 120}[r.Local.Is4()]).String())
		}
	}
	m.has("loopback", c.Loopback.Address.String())
	return m
}

// has gives the machine an address.
func (m *machine) has(link, prefix string) {
	m.host.Addresses = append(slices.Clip(m.host.Addresses), config.HostAddress{Interface: link, Prefix: netip.MustParsePrefix(prefix)})
}

// loses takes the addresses of an interface away.
func (m *machine) loses(link string) {
	m.host.Addresses = slices.DeleteFunc(slices.Clone(m.host.Addresses), func(a config.HostAddress) bool { return a.Interface == link })
}

func TestCheck(t *testing.T) {
	data, err := os.ReadFile(filepath.Join("..", "hv1.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	c, err := config.Parse("hv1.yaml", data, nil)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	play := func(what string, change func(*config.Config, *machine)) {
		cc, m := *c, fine(c)
		m.sysctls, m.mtu = maps.Clone(m.sysctls), maps.Clone(m.mtu)
		change(&cc, &m)
		found := Check(&cc, m.seen)
		fmt.Fprintf(&out, "# %s: bad %v\n", what, Worst(found) >= Drift)
		for _, f := range found {
			fmt.Fprintf(&out, "\t%s%v\n", c.Where(f.Path), f)
		}
	}
	play("as it should be", func(*config.Config, *machine) {})
	play("drift", func(_ *config.Config, m *machine) {
		m.sysctls["net/ipv4/conf/vm1/proxy_arp"] = "0"
		m.sysctls["net/ipv4/conf/all/rp_filter"] = "2"
	})
	play("a guest is not there: its sysctls do not count", func(_ *config.Config, m *machine) {
		delete(m.mtu, "vm1")
		m.sysctls["net/ipv4/conf/vm1/proxy_arp"] = "0"
	})
	play("an uplink is missing", func(_ *config.Config, m *machine) { delete(m.mtu, "b.private") })
	play("the private network carries 1500", func(_ *config.Config, m *machine) { m.mtu["a.private"] = 1500 })
	play("no vxlan", func(_ *config.Config, m *machine) { m.lacks = "vxlan" })
	play("bridges pass frames through the firewall", func(_ *config.Config, m *machine) {
		m.sysctls["net/bridge/bridge-nf-call-iptables"] = "1"
		m.sysctls["net/bridge/bridge-nf-call-ip6tables"] = "1"
	})
	play("a guest's interface is loose: the greater of all and the interface counts", func(_ *config.Config, m *machine) {
		m.sysctls["net/ipv4/conf/vm1/rp_filter"] = "2"
	})
	play("everything is strict by the general setting", func(_ *config.Config, m *machine) {
		m.sysctls["net/ipv4/conf/all/rp_filter"] = "1"
	})
	play("a tap that a template serves, and a guest that nobody has seen", func(c *config.Config, m *machine) {
		c.GuestTemplates = []config.Template{{Interfaces: "tap*"}}
		c.Guests = append(slices.Clone(c.Guests), config.Guest{Name: "vm5", Interface: "vnet*", MAC: config.MAC{0x52, 0x54, 0, 0, 0, 5}})
		m.mtu["tap0"], m.mtu["vnet0"] = 1500, 1500
		m.sysctls["net/ipv4/conf/tap0/proxy_arp"] = "0"
	})
	play("a firewall that logs and translates, on a kernel with half of nftables", func(c *config.Config, m *machine) {
		c.Firewall.LogRate, m.lacks = 5, "nft_log"
	})
	play("an uplink is strict, and does not forward", func(_ *config.Config, m *machine) {
		m.sysctls["net/ipv4/conf/a.public/rp_filter"] = "1"
		m.sysctls["net/ipv4/conf/a.public/forwarding"] = "0"
	})
	management := func(_ *config.Config, m *machine) {
		m.mtu["eth0"], m.mtu["eth1"], m.mtu["tap7"], m.mtu["idle"] = 1500, 1500, 1500, 1500
		m.addrs = map[string][]Address{
			"eth0": {{Prefix: netip.MustParsePrefix("192.0.2.5/24"), Global: true}, {Prefix: netip.MustParsePrefix("fe80::5/64"), Permanent: true}},
			"eth1": {{Prefix: netip.MustParsePrefix("2001:db8:77::5/64"), Global: true}},                                                  // by router advertisement
			"tap7": {{Prefix: netip.MustParsePrefix("203.0.113.254/32")}, {Prefix: netip.MustParsePrefix("fe80::1/64"), Permanent: true}}, // was a guest's
			"vm1":  {{Prefix: netip.MustParsePrefix("192.0.2.9/24"), Global: true}},
			"idle": {{Prefix: netip.MustParsePrefix("fe80::6/64"), Permanent: true}},
		}
	}
	play("management interfaces that nobody has named", management)
	play("management interfaces, of which one is named", func(c *config.Config, m *machine) {
		management(c, m)
		c.Firewall.Trusted = []string{"eth1*"}
	})
	play("neighbours on interfaces that a pattern fits are uplinks, on others not", func(c *config.Config, m *machine) {
		management(c, m)
		c.Domains = slices.Clone(c.Domains)
		for _, name := range []string{"eth*", "swp*", "nic0"} {
			c.Domains[0].Neighbors = append(c.Domains[0].Neighbors, config.Neighbor{Interface: name, AS: config.PeerAS{Number: 65011}, Import: config.Policy{{Action: "accept"}}, Export: config.Policy{{Action: "accept"}}})
		}
		c.Domains[0].Interfaces = []string{"nic0"}
	})
	play("no nftables", func(_ *config.Config, m *machine) { m.lacks = "nftables" })
	play("no nftables, and no firewall", func(c *config.Config, m *machine) { m.lacks, c.Firewall.Off = "nftables", true })
	play("no nftables, no firewall, and domains by marks", func(c *config.Config, m *machine) {
		m.lacks, c.Firewall.Off, c.Isolation = "nftables", true, config.IsolationFwmark
	})
	play("no VRF, and domains by VRF", func(c *config.Config, m *machine) {
		m.lacks, c.Isolation, c.LocalOut = "vrf", config.IsolationVRF, nil
		c.Domains = append([]config.Domain(nil), c.Domains...)
		for i := range c.Domains {
			c.Domains[i].VRF = c.Domains[i].Name
		}
		m.sysctls = domain.Sysctls(c, c.Guests, nil)
	})
	play("sessions with other ASes, one without policies and one without export", func(c *config.Config, m *machine) {
		c.Domains = append([]config.Domain(nil), c.Domains...)
		c.Domains[0].Reflectors = append([]config.Reflector(nil), c.Domains[0].Reflectors...)
		for i := range 2 {
			c.Domains[0].Reflectors[i].AS = 65101 + uint32(i)
		}
		c.Domains[0].Reflectors[1].Import = config.Policy{{Action: "accept"}}
	})
	play("one reflector for both fabrics without add-path", func(c *config.Config, m *machine) {
		c.BGP.AddPath = false
		c.Domains = append([]config.Domain(nil), c.Domains...)
		c.Domains[1].Reflectors = c.Domains[1].Reflectors[:1]
		c.Domains[1].Interfaces = []string{"b.private"}
	})
	split := func(c *config.Config, n config.NetNS) {
		c.Domains = append([]config.Domain(nil), c.Domains...)
		c.Domains[0].NetNS, c.LocalOut = n, nil
	}
	play("public lives in a namespace of its own", func(c *config.Config, m *machine) {
		split(c, "public")
		delete(m.mtu, "vm2")
		m.sysctls["net/ipv4/conf/a.public/proxy_arp"] = "1"
		m.mtu["a.private"] = 1500
	})
	play("which does not exist", func(c *config.Config, _ *machine) { split(c, "missing") })
	play("groups cost routes", func(_ *config.Config, m *machine) { m.sysctls["net/ipv4/nexthop_compat_mode"] = "1" })
	play("guests are told more than their interfaces carry", func(c *config.Config, m *machine) {
		c.Edge.RA.MTU, m.mtu["vm1"], m.mtu["vm2"] = 1450, 1400, 1450
		c.Edge.DHCP.On = true
	})
	play("leases, to a guest whose name is no host name", func(c *config.Config, _ *machine) {
		c.Edge.DHCP.On = true
		c.Guests = slices.Clone(c.Guests)
		c.Guests[0].Name = "vm1 of Ada"
	})
	play("a local address is missing, one is elsewhere, so is the loopback's", func(_ *config.Config, m *machine) {
		m.loses("b.public")
		m.has("a.public", "198.51.100.201/25")
		m.has("a.private", "172.22.2.1/16")
	})
	play("a peer on no subnet of its interface", func(_ *config.Config, m *machine) {
		m.loses("a.private")
		m.has("a.private", "172.22.15.101/30")
	})
	play("fabrics of different size", func(_ *config.Config, m *machine) { m.mtu["b.public"] = 1400 })
	play("the ports are taken", func(_ *config.Config, m *machine) {
		bird := netip.IPv4Unspecified()
		m.ports = map[string][]Listener{"tcp 179": {{bird, "bird (process 7)"}, {netip.MustParseAddr("172.22.15.101"), "gobgpd (process 8)"}, {netip.MustParseAddr("192.0.2.1"), "frr (process 9)"}},
			"udp 3784": {{bird, "bird (process 7)"}, {netip.MustParseAddr("198.51.100.201"), "bfdd (process 6)"}}}
	})
	play("the ports are taken, one of echo", func(c *config.Config, m *machine) {
		c.Domains = slices.Clone(c.Domains)
		c.Domains[0].Reflectors = slices.Clone(c.Domains[0].Reflectors)
		c.Domains[0].Reflectors[0].BFD = "echo"
		frr := netip.IPv4Unspecified()
		m.ports = map[string][]Listener{"udp 3784": {{frr, "bfdd (process 6)"}}, "udp 3785": {{frr, "bfdd (process 6)"}}, "udp 4784": {{frr, "bfdd (process 6)"}}}
	})
	play("an overlay's VTEP is nowhere", func(c *config.Config, m *machine) {
		c.Overlays = slices.Clone(c.Overlays)
		c.Overlays[0].Local.Addr = netip.MustParseAddr("192.0.2.7")
	})
	play("a template that takes the host's interfaces", func(c *config.Config, m *machine) {
		c.GuestTemplates = []config.Template{{Interfaces: "eth*"}, {Interfaces: "tap*"}}
		m.mtu["eth0"], m.mtu["eth1"], m.mtu["eth2"], m.mtu["tap0"] = 1500, 1500, 1500, 1500
		m.has("eth0", "10.0.0.5/24")
		m.host.Default = []string{"eth1"}
	})
	play("a default route over an interface of its own is found", func(_ *config.Config, m *machine) { m.host.Default = []string{"eth0"} })
	play("one over an uplink", func(_ *config.Config, m *machine) { m.host.Default = []string{"a.public"} })
	rules := func(v4 ...config.Rule) func(*config.Config, *machine) {
		return func(c *config.Config, m *machine) {
			local := config.Rule{Table: config.Table{ID: 255}}
			c.Rules = &config.Rules{IPv4: append([]config.Rule{local}, v4...), IPv6: []config.Rule{local, {Priority: 1, IIF: "lo", Table: config.Table{ID: 254}}}}
			m.host.Default = []string{"eth0"}
		}
	}
	main := config.Table{ID: 254}
	play("rules of the file that find it", rules(config.Rule{Priority: 9, Action: "blackhole"}, config.Rule{Priority: 5, IIF: "lo", Table: main}))
	play("that end before", rules(config.Rule{Priority: 5, Action: "blackhole"}, config.Rule{Priority: 9, Table: main}))
	play("that are for others", rules(config.Rule{Priority: 5, IIF: "vm1", Table: main}, config.Rule{Priority: 6, Fwmark: 1, Table: main},
		config.Rule{Priority: 7, From: config.Prefix{Prefix: netip.MustParsePrefix("10.0.0.0/8")}, Table: main}, config.Rule{Priority: 8, To: config.Prefix{Prefix: netip.MustParsePrefix("10.0.0.0/8")}, Table: main}))
	scenario.Golden(t, "testdata/check.txt", out.String())
}

// The running machine answers something for everything that is asked.
func TestSystem(t *testing.T) {
	v, err := System("")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := System("/nowhere/to/be/found"); err == nil {
		t.Error("a namespace that is not there")
	}
	if _, ok := v.Sysctl("net/ipv4/ip_forward"); !ok {
		t.Error("no net/ipv4/ip_forward")
	}
	if mtu, ok := v.MTU("lo"); !ok || mtu == 0 {
		t.Errorf("lo has MTU %d", mtu)
	}
	if _, ok := v.MTU("no-such-link"); ok {
		t.Error("an interface that is not there")
	}
	v.Feature("bridge")
	v.Feature("nftables")
}
