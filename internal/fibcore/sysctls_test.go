package fibcore

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hyperfib/hyperfib/internal/fibcore/wire"
	"github.com/hyperfib/hyperfib/internal/rtnl"
)

func sysctlNames(todo []Sysctl) string {
	var out []string
	for _, s := range todo {
		out = append(out, strings.TrimPrefix(s.Path, "net/")+"="+s.Value)
	}
	return strings.Join(out, " ")
}

// TestSysctlOrder: general values first, then interface by interface, each with the delay
// of its answers before it answers.
func TestSysctlOrder(t *testing.T) {
	c := New(Config{}, func(Event) {})
	for _, p := range []string{"ipv4/conf/vm1/proxy_arp", "ipv4/conf/vm2/proxy_arp", "ipv4/conf/vm1/arp_ignore",
		"ipv4/conf/all/rp_filter", "ipv4/neigh/vm1/proxy_delay", "ipv4/ip_forward", "ipv6/conf/a.public/accept_ra"} {
		c.sysctls.set(Sysctl{"net/" + p, "1"})
	}
	want := "ipv4/conf/all/rp_filter=1 ipv4/ip_forward=1 ipv4/neigh/vm1/proxy_delay=1 ipv4/conf/vm1/arp_ignore=1 ipv4/conf/vm1/proxy_arp=1 " +
		"ipv4/conf/vm2/proxy_arp=1 ipv6/conf/a.public/accept_ra=1"
	if got := sysctlNames(c.sysctls.take()); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if c.sysctls.pending() || c.sysctls.take() != nil {
		t.Error("something is left")
	}
}

// TestSysctlEchoes: the kernel tells of what we wrote ourselves; that must not be
// compared again, or the guests' number would count squared. What others write must.
func TestSysctlEchoes(t *testing.T) {
	c := New(Config{}, func(Event) {})
	c.links.byIndex[7] = wire.Link{IfIndex: 7, Interface: "vm1"}
	for _, p := range []string{"forwarding", "proxy_arp", "arp_ignore"} {
		c.sysctls.set(Sysctl{"net/ipv4/conf/vm1/" + p, "1"})
	}
	c.sysctls.set(Sysctl{"net/ipv6/conf/vm1/accept_ra", "0"})
	c.sysctls.take()
	netconf := func(family wire.Family, link int32, typ uint16, value uint32) []byte {
		b := rtnl.AppendUint32([]byte{byte(family), 0, 0, 0}, rtnl.NETCONFA_IFINDEX, uint32(link))
		return rtnl.AppendUint32(b, typ, value)
	}
	for _, tc := range []struct {
		name string
		body []byte
		want string
	}{
		{"our own", netconf(wire.FamilyIPv4, 7, rtnl.NETCONFA_FORWARDING, 1), ""},
		{"another's", netconf(wire.FamilyIPv4, 7, rtnl.NETCONFA_PROXY_NEIGH, 0), "ipv4/conf/vm1/proxy_arp=1"},
		{"nobody's wish", netconf(wire.FamilyIPv4, 7, rtnl.NETCONFA_RP_FILTER, 2), ""},
		{"another family", netconf(wire.FamilyIPv6, 7, rtnl.NETCONFA_FORWARDING, 0), ""},
		{"an unknown link", netconf(wire.FamilyIPv4, 8, rtnl.NETCONFA_FORWARDING, 0), ""},
		{"all", netconf(wire.FamilyIPv4, -1, rtnl.NETCONFA_FORWARDING, 0), "ipv4/conf/vm1/arp_ignore=1 ipv4/conf/vm1/forwarding=1 ipv4/conf/vm1/proxy_arp=1"},
		{"short", []byte{2}, ""},
	} {
		c.observeNetconf(tc.body)
		if got := sysctlNames(c.sysctls.take()); got != tc.want {
			t.Errorf("%s: %q, want %q", tc.name, got, tc.want)
		}
	}
}

// TestSysctlLife: a path that is not there is waited for without a word; a difference is
// a repair only if the value was right before; what is forgotten is not compared.
func TestSysctlLife(t *testing.T) {
	c, now := New(Config{}, func(Event) {}), time.Unix(1000, 0)
	s := Sysctl{"net/ipv4/conf/vm1/proxy_arp", "1"}
	wake := func(time.Time) {}
	commit := func(written bool, err error) (*Error, bool, bool) {
		return c.sysctls.commit(s, written, err, now, wake)
	}
	c.sysctls.set(s)
	c.sysctls.take()
	if report, _, _ := commit(false, fs.ErrNotExist); report != nil {
		t.Error("a word about an interface that is not there")
	}
	c.sysctls.touchPath(s.Path)
	if c.sysctls.pending() {
		t.Error("not waited for")
	}
	c.sysctls.retry(now, true, wake) // something may have helped
	if got := c.sysctls.take(); !slices.Equal(got, []Sysctl{s}) {
		t.Errorf("not tried again: %v", got)
	}
	if _, repaired, _ := commit(true, nil); repaired {
		t.Error("the first writing is a repair")
	}
	if _, repaired, _ := commit(true, nil); !repaired {
		t.Error("the second is none")
	}
	c.sysctls.touchLink("vm1")
	c.sysctls.take()
	if _, repaired, _ := commit(true, nil); repaired {
		t.Error("an interface made again has been repaired")
	}
	if report, _, _ := commit(false, errors.New("refused")); report == nil {
		t.Error("a refusal without a word")
	}
	if dir := c.sysctls.forget(s.Path); dir != "net/ipv4/conf/vm1" || len(c.sysctls.groups) != 1 || len(c.sysctls.failed) != 0 {
		t.Errorf("forgotten: %q, %v", dir, c.sysctls.groups)
	}
	c.sysctls.retry(now, true, wake)
	if c.sysctls.audit(); c.sysctls.pending() {
		t.Error("what is forgotten is compared")
	}
}

// TestSysctlAudit: an audit compares what is general, and a bounded number of interfaces;
// a round of them compares every one that is there, once.
func TestSysctlAudit(t *testing.T) {
	c := New(Config{}, func(Event) {})
	const links = 2*auditLinks + 10
	c.sysctls.set(Sysctl{"net/ipv4/ip_forward", "1"})
	for i := range links {
		for _, p := range []string{"forwarding", "proxy_arp"} {
			c.sysctls.set(Sysctl{fmt.Sprintf("net/ipv4/conf/vm%d/%s", i, p), "1"})
		}
	}
	drain := func() (all []Sysctl) {
		for todo := c.sysctls.take(); len(todo) > 0; todo = c.sysctls.take() {
			all = append(all, todo...)
		}
		return all
	}
	drain()
	compared := map[string]int{}
	for range 3 {
		c.sysctls.audit()
		todo := drain()
		if n := 1 + 2*auditLinks; len(todo) > n {
			t.Errorf("%d values are compared in one audit, want %d at most", len(todo), n)
		}
		for _, s := range todo {
			compared[s.Path]++
		}
		c.sysctls.forget("net/ipv4/conf/vm9/forwarding") // sorts last: its turn has not come
		c.sysctls.forget("net/ipv4/conf/vm9/proxy_arp")
	}
	if n := compared["net/ipv4/ip_forward"]; n != 3 {
		t.Errorf("ip_forward is compared %d times in 3 audits", n)
	}
	delete(compared, "net/ipv4/ip_forward")
	for p, n := range compared {
		if n != 1 {
			t.Errorf("%s is compared %d times in a round", p, n)
		}
	}
	if n := len(compared); n != 2*(links-1) {
		t.Errorf("a round compares %d values, want %d", n, 2*(links-1))
	}
	c.sysctls.audit()
	if n := len(drain()); n < 2*auditLinks {
		t.Errorf("the next round begins with %d values", n)
	}
}
