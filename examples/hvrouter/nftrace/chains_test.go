package nftrace

import (
	"testing"

	"github.com/google/nftables"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// nested marshals attributes.
func nested(t testing.TB, list ...netlink.Attribute) []byte {
	b, err := netlink.MarshalAttributes(list)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// chainOf is a chain of the family netdev on ingress, at priority -1, as the kernel sends it, with the attributes of its devices.
func chainOf(t testing.TB, only string, devices ...netlink.Attribute) []byte {
	hook := []netlink.Attribute{{Type: unix.NFTA_HOOK_HOOKNUM, Data: []byte{0, 0, 0, 0}}, {Type: unix.NFTA_HOOK_PRIORITY, Data: []byte{255, 255, 255, 255}}}
	if only != "" {
		hook = append(hook, netlink.Attribute{Type: unix.NFTA_HOOK_DEV, Data: []byte(only + "\x00")})
	}
	if devices != nil {
		hook = append(hook, netlink.Attribute{Type: nftaHookDevices, Data: nested(t, devices...)})
	}
	return append([]byte{byte(nftables.TableFamilyNetdev), 0, 0, 0}, nested(t, netlink.Attribute{Type: unix.NFTA_CHAIN_TABLE, Data: []byte("evil\x00")}, netlink.Attribute{Type: unix.NFTA_CHAIN_NAME, Data: []byte("i\x00")},
		netlink.Attribute{Type: unix.NFTA_CHAIN_HOOK, Data: nested(t, hook...)}, netlink.Attribute{Type: unix.NFTA_CHAIN_POLICY, Data: []byte{0, 0, 0, 0}}, netlink.Attribute{Type: unix.NFTA_CHAIN_TYPE, Data: []byte("filter\x00")})...)
}

// A chain is read with the interfaces that it is for; those given by the beginning of their names are patterns.
func TestParseChain(t *testing.T) {
	name := func(text string) netlink.Attribute { return netlink.Attribute{Type: 1, Data: []byte(text)} }
	for _, c := range []struct {
		message []byte
		want    string
		on, off string
	}{
		{chainOf(t, "vm1", name("vm1\x00")), "table netdev evil chain i (type filter, hook ingress device vm1, priority -1, policy drop)", "vm1", "vm10"},
		{chainOf(t, "vm1"), "table netdev evil chain i (type filter, hook ingress device vm1, priority -1, policy drop)", "vm1", "vm2"},
		{chainOf(t, "", name("b\x00"), name("a\x00")), "table netdev evil chain i (type filter, hook ingress device a b, priority -1, policy drop)", "b", "c"},
		{chainOf(t, "", name("vm")), "table netdev evil chain i (type filter, hook ingress device vm*, priority -1, policy drop)", "vm7", "wm7"},
		{chainOf(t, "", netlink.Attribute{Type: nftaDevicePrefix, Data: []byte("vm\x00")}), "table netdev evil chain i (type filter, hook ingress device vm*, priority -1, policy drop)", "vm7", "v"},
		{chainOf(t, "", name("a\x00"), name("b\x00"), name("c\x00"), name("d\x00")), "table netdev evil chain i (type filter, hook ingress device a b c and 1 more, priority -1, policy drop)", "d", ""},
		{chainOf(t, ""), "table netdev evil chain i (type filter, hook ingress, priority -1, policy drop)", "", "vm1"},
	} {
		got, err := parseChain(c.message)
		if err != nil {
			t.Fatal(err)
		}
		if p, ok := got.passes(); got.text(true) != c.want || p != PassesDevice || !ok || c.on != "" && !got.on(c.on) || got.on(c.off) {
			t.Errorf("%s, passes %v, for %q %v, for %q %v; want %s", got.text(true), p, c.on, got.on(c.on), c.off, got.on(c.off), c.want)
		}
	}
}

func FuzzParseChain(f *testing.F) {
	f.Add(chainOf(f, "vm1", netlink.Attribute{Type: 1, Data: []byte("vm1\x00")}))
	f.Add(chainOf(f, "", netlink.Attribute{Type: nftaDevicePrefix, Data: []byte("vm")}))
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := parseChain(b)
		if err == nil && c.Hooknum != nil && c.Priority != nil {
			c.text(true)
			c.on("vm1")
			c.passes()
		}
	})
}
