package host

import (
	"bytes"
	"flag"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/hyperfib/hyperfib/examples/hvrouter/config"
	"github.com/hyperfib/hyperfib/examples/hvrouter/domain"
	"github.com/hyperfib/hyperfib/fib"
)

var update = flag.Bool("update", false, "rewrite golden files")

// machine is a host as a value.
type machine struct {
	sysctls map[string]string
	mtu     map[string]int
	lacks   string
}

func (m machine) view() View {
	return View{
		Sysctl:  func(path string) (string, bool) { v, ok := m.sysctls[path]; return v, ok },
		MTU:     func(link string) (int, bool) { v, ok := m.mtu[link]; return v, ok },
		Feature: func(name string) bool { return name != m.lacks },
		Links: func() (all []fib.Link) {
			for i, name := range slices.Sorted(maps.Keys(m.mtu)) {
				all = append(all, fib.Link{Index: i + 1, Name: name})
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
	return machine{sysctls: domain.Sysctls(c, c.Guests), mtu: map[string]int{"a.public": 1500, "b.public": 1500,
		"a.private": 1550, "b.private": 1550, "loopback": 65536, "vm1": 1500, "vm2": 1500}}
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
		fmt.Fprintf(&out, "# %s: bad %v\n", what, Bad(found))
		for _, f := range found {
			fmt.Fprintf(&out, "  %v\n", f)
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
		c.GuestsFrom = []config.Template{{Interfaces: "tap*"}}
		c.Guests = append(slices.Clone(c.Guests), config.Guest{Name: "vm5", Interface: "vnet*", MAC: config.MAC{0x52, 0x54, 0, 0, 0, 5}})
		m.mtu["tap0"], m.mtu["vnet0"] = 1500, 1500
		m.sysctls["net/ipv4/conf/tap0/proxy_arp"] = "0"
	})
	play("a wall that logs and translates, on a kernel with half of nftables", func(c *config.Config, m *machine) {
		c.Wall.LogRate, m.lacks = 5, "nft_log"
	})
	play("an uplink is strict, and does not forward", func(_ *config.Config, m *machine) {
		m.sysctls["net/ipv4/conf/a.public/rp_filter"] = "1"
		m.sysctls["net/ipv4/conf/a.public/forwarding"] = "0"
	})
	play("no nftables", func(_ *config.Config, m *machine) { m.lacks = "nftables" })
	play("no nftables, and no wall", func(c *config.Config, m *machine) { m.lacks, c.Wall.Off = "nftables", true })
	play("no nftables, no wall, and domains by marks", func(c *config.Config, m *machine) {
		m.lacks, c.Wall.Off, c.DomainBy = "nftables", true, config.ByMark
	})
	play("no VRF, and domains by VRF", func(c *config.Config, m *machine) {
		m.lacks, c.DomainBy, c.LocalOut = "vrf", config.ByVRF, nil
		c.Domains = append([]config.Domain(nil), c.Domains...)
		for i := range c.Domains {
			c.Domains[i].VRF = c.Domains[i].Name
		}
		m.sysctls = domain.Sysctls(c, c.Guests)
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
	const golden = "testdata/check.txt"
	if *update {
		if err := os.WriteFile(golden, out.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(out.Bytes(), want) {
		t.Errorf("differs from %s:\n%s", golden, out.Bytes())
	}
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
