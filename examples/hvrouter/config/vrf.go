package config

import (
	"fmt"
)

// vrfs checks what VRFs need.
func (k *checker) vrfs(c *Config) {
	names := unique[string]{}
	for i, d := range c.Domains {
		path := fmt.Sprintf("$.domains[%d].vrf", i)
		switch {
		case c.Isolation != IsolationVRF && d.VRF != "":
			k.bad(path, "there are VRFs with isolation: vrf only")
		case c.Isolation != IsolationVRF:
		default:
			k.link(path, d.VRF)
			names.add(k, path, "VRF", d.VRF)
		}
		if c.Isolation == IsolationVRF && d.NetNS != "" {
			k.bad(fmt.Sprintf("$.domains[%d].netns", i), "isolation: vrf keeps domains apart in one namespace")
		}
	}
	if c.Isolation != IsolationVRF {
		return
	}
	if c.LocalOut != nil {
		k.bad("$.local-out", "what the hypervisor itself sends goes by the VRF that its socket is bound to (ip vrf exec)")
	}
	if c.LastResortBy == "rules" {
		k.bad("$.last-resort-by", "a VRF's lookup ends in its table: want routes")
	}
}

// vrfOf returns the VRF that a domain with this property is in; "" is none.
func (c *Config) vrfOf(is func(Domain) bool) string {
	if c.Isolation != IsolationVRF {
		return ""
	}
	for _, d := range c.Domains {
		if is(d) {
			return d.VRF
		}
	}
	return ""
}

// GuestVRF returns the VRF of guests' interfaces; "" is none.
func (c *Config) GuestVRF() string { return c.vrfOf(func(d Domain) bool { return d.Guests }) }

// LoopbackVRF returns the VRF of the loopback, and with it of VTEPs and of what a DHCP
// relay says; "" is none.
func (c *Config) LoopbackVRF() string { return c.vrfOf(func(d Domain) bool { return d.Loopback }) }
