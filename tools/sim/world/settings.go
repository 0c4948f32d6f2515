package world

import (
	"fmt"
	"strings"
	"time"
)

// settings is what differs between the configurations of hypervisors, and between those of one
// before and after a reload.
type settings struct {
	bfd, hold   time.Duration // zero: as in Config
	firewall    string        // name of its table; empty: the default
	community   int           // that all routes get; 0: none
	unreachable int           // prefixes besides the guests' subnet
}

// yaml returns the configuration of host n.
func (c Config) yaml(n int, s settings) string {
	interval, hold := max(s.bfd, c.BFD), c.Hold
	if s.hold > 0 {
		hold = s.hold
	}
	var b strings.Builder
	fmt.Fprintf(&b, "router-id: 0.0.%d.%d\nas: %d\napi: /run/hvrouter.sock\n", n>>8, n&255, autonomousSystem)
	fmt.Fprintf(&b, "loopback: {interface: loopback, address: %v/32}\n", loopbackOf(n))
	fmt.Fprintf(&b, "bfd: {interval: %v, multiplier: %d, process: separate, realtime: \"off\", strict: %q}\n", interval, c.Multiplier, c.strict())
	fmt.Fprintf(&b, "bgp:\n  hold-time: %v\n  add-path: true\n  graceful-restart: {time: 120s, deferral: 30s}\n", hold)
	b.WriteString("domains:\n")
	unreachable := guestSubnet.String()
	for i := range s.unreachable {
		unreachable += fmt.Sprintf(", 198.18.%d.0/24", i)
	}
	c.domain(&b, n, s, "public", fmt.Sprintf("table: 90\n    guests: true\n    unreachable: [%s]\n", unreachable))
	c.domain(&b, n, s, "private", "table: 20\n    loopback: true\n")
	if c.Sessions == SessionsShared {
		c.shared(&b, n, s)
	}
	b.WriteString("local-out: {table: 100, domains: [private], last-resort: unreachable}\n")
	fmt.Fprintf(&b, "edge: {gateway4: 100.127.255.254, prefix-length4: %d, mac: 02:00:00:00:00:fe}\n", guestSubnet.Bits())
	if s.firewall != "" {
		fmt.Fprintf(&b, "firewall: {table: %s}\n", s.firewall)
	}
	return b.String()
}

// domain writes a domain, with its sessions unless they are shared.
func (c Config) domain(b *strings.Builder, n int, s settings, name, text string) {
	fmt.Fprintf(b, "  - name: %s\n    %s", name, text)
	if c.Sessions == SessionsShared {
		fmt.Fprintf(b, "    community: \"%d:%d\"\n", autonomousSystem, map[string]int{"public": 90, "private": 20}[name])
		return
	}
	b.WriteString("    reflectors:\n")
	for i, net := range networks {
		if net.domain != name {
			continue
		}
		public := name == "public"
		families := ""
		if public && c.Sessions == SessionsBoth {
			families = fmt.Sprintf(", families: [ipv4, ipv6], next-hop6: \"%v\"", address6(i, n))
		}
		fmt.Fprintf(b, "      - {fabric: %s, interface: %s, local: \"%v\", peer: \"%v\", bfd: \"on\"%s%s}\n", net.fabric, net.link, address(i, n), address(i, 0), families, s.export())
		if public && c.Sessions == SessionsIPv6 {
			fmt.Fprintf(b, "      - {fabric: %s, interface: %s, local: \"%v\", peer: \"%v\", bfd: \"on\"%s}\n", net.fabric, net.link, address6(i, n), address6(i, 0), s.export())
		}
	}
}

// shared writes the sessions of both domains: one for each fabric, over its public network, with a
// next hop in the private one while the reflector's address there answers.
func (c Config) shared(b *strings.Builder, n int, s settings) {
	b.WriteString("sessions:\n")
	for i, net := range networks[:2] {
		fmt.Fprintf(b, "  - {fabric: %s, interface: %s, local: \"%v\", peer: \"%v\", bfd: \"on\", families: [ipv4, ipv6], next-hop6: \"%v\"%s,\n",
			net.fabric, net.link, address(i, n), address(i, 0), address6(i, n), s.export())
		fmt.Fprintf(b, "     advertise-next-hops: [{domain: public}, {domain: private, interface: %s, next-hop4: \"%v\", probe: \"%v\"}]}\n",
			networks[i+2].link, address(i+2, n), address(i+2, 0))
	}
}

// reloaded takes in that the daemon has another configuration.
func (h *hypervisor) reloaded(next settings) {
	if was := max(h.settings.bfd, h.w.config.BFD); was > max(next.bfd, h.w.config.BFD) {
		h.bfdBefore, h.bfdUntil = was, h.w.now+10*time.Second // until the Poll Sequence has ended
	}
	h.settings = next
}

// detection is the longest that BFD takes to notice a silent failure of a hypervisor's sessions: the
// slower end decides.
func (h *hypervisor) detection() time.Duration {
	interval := max(h.settings.bfd, h.w.config.BFD)
	if h.w.now < h.bfdUntil {
		interval = max(interval, h.bfdBefore)
	}
	return time.Duration(h.w.config.Multiplier) * interval
}

// detection is that of a flow: the slowest of its machines.
func (w *World) detection(hosts ...*hypervisor) time.Duration {
	d := w.config.detection()
	for _, h := range hosts {
		if h != nil {
			d = max(d, h.detection())
		}
	}
	return d
}

// export returns the export policy of a session.
func (s settings) export() string {
	if s.community == 0 {
		return ""
	}
	return fmt.Sprintf(", export: [{add: [\"%d:%d\"]}]", autonomousSystem, s.community)
}

// bfdSessions returns how many BFD sessions a hypervisor has.
func (c Config) bfdSessions() int {
	if c.Sessions == SessionsIPv6 {
		return len(networks) + 2
	}
	return len(networks)
}

// session returns the network over which a hypervisor hears of the routes of a network.
func (c Config) session(network int) int {
	if c.Sessions == SessionsShared {
		return network % 2
	}
	return network
}
