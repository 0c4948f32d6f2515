package convert

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// lease is a dhcp-host of dnsmasq.
type lease struct {
	pos
	mac  string
	ipv4 netip.Addr
	name string
}

// dhcp is what dnsmasq tells all its clients.
type dhcp struct {
	pos
	on      bool
	gateway string
	length  int
	lease   string
	dns     []string
	dns6    []string
	mtu     string
	relay   []string
}

// dnsmasq reads one file: lines of KEY or KEY=VALUE.
func (c *converter) dnsmasq(s Source) error {
	line := 0
	for text := range strings.Lines(s.Text) {
		line++
		p := pos{s.Name, line}
		text, err := uncomment(p, text)
		if err != nil {
			return err
		}
		if text == "" {
			continue
		}
		key, value, _ := strings.Cut(text, "=")
		key, value = strings.TrimSpace(key), strings.TrimSpace(value)
		if key == "" || strings.ContainsFunc(key, func(r rune) bool { return r > 127 || !isWordByte(byte(r)) && r != '-' }) {
			return &Error{p.file, p.line, fmt.Sprintf("%q: want KEY or KEY=VALUE", short(text))}
		}
		if err := c.dnsmasqOption(p, key, value, short(text)); err != nil {
			return err
		}
	}
	return nil
}

// uncomment cuts a comment, which begins at the start of the line or behind white space.
func uncomment(p pos, text string) (string, error) {
	var b strings.Builder
	quoted := false
	for i := 0; i < len(text); i++ {
		switch ch := text[i]; {
		case ch == '"':
			quoted = !quoted
			continue
		case ch == '\\' && quoted && i+1 < len(text):
			i++
			b.WriteByte(text[i])
			continue
		case ch == '#' && !quoted && (i == 0 || text[i-1] == ' ' || text[i-1] == '\t'):
			i = len(text)
			continue
		}
		b.WriteByte(text[i])
	}
	if quoted {
		return "", &Error{p.file, p.line, "the string on this line does not end"}
	}
	return strings.TrimSpace(b.String()), nil
}

// dnsKeys are those of the DNS and TFTP server, which stays dnsmasq's.
var dnsKeys = strings.Fields(`address local server rev-server resolv-file no-resolv no-poll strict-order all-servers domain-needed bogus-priv
	filterwin2k dnssec dnssec-check-unsigned trust-anchor conf-script addn-hosts hostsdir no-hosts expand-hosts cache-size no-negcache neg-ttl
	local-ttl max-ttl auth-ttl auth-zone auth-server bogus-nxdomain ignore-address alias mx-host mx-target selfmx localmx srv-host ptr-record
	txt-record cname host-record dns-rr naptr-record caa-record synth-domain ipset nftset log-queries query-port edns-packet-max
	stop-dns-rebind rebind-localhost-ok rebind-domain-ok localise-queries interface-name dns-forward-max enable-tftp tftp-root tftp-no-fail
	tftp-secure tftp-no-blocksize tftp-unique-root add-mac add-subnet no-round-robin`)

// dnsmasqSilent need no counterpart.
var dnsmasqSilent = strings.Fields(`user group pid-file keep-in-foreground no-daemon bind-interfaces bind-dynamic dhcp-authoritative dhcp-leasefile leasefile-ro dhcp-lease-max
	log-dhcp log-facility log-async quiet-dhcp quiet-dhcp6 quiet-ra dhcp-no-override no-ping dhcp-sequential-ip dhcp-rapid-commit enable-dbus`)

func (c *converter) dnsmasqOption(p pos, key, value, text string) error {
	switch key {
	case "port":
		if value != "0" {
			c.gap(p, "%s: DNS stays dnsmasq's", text)
		}
	case "interface":
		for _, name := range strings.Split(value, ",") {
			c.listed = append(c.listed, strings.TrimSpace(name))
		}
	case "conf-file", "conf-dir", "servers-file", "dhcp-hostsfile", "dhcp-hostsdir", "dhcp-optsfile", "dhcp-optsdir", "read-ethers":
		c.gap(p, "%s: not read: give each file as one more -dnsmasq", text)
	case "dhcp-host":
		return c.dhcpHost(p, value, text)
	case "dhcp-range":
		return c.dhcpRange(p, value, text)
	case "dhcp-option", "dhcp-option-force":
		return c.dhcpOption(p, value, text)
	case "dhcp-relay":
		words := split(value)
		if len(words) < 2 {
			return &Error{p.file, p.line, fmt.Sprintf("%q: want dhcp-relay=LOCAL,SERVER", text)}
		}
		if a, err := netip.ParseAddr(words[1]); err != nil || !a.Is4() {
			c.gap(p, "%s: requests are relayed by IPv4 only", text)
			return nil
		}
		if len(words) > 2 {
			c.gap(p, "%s: requests of all guests are relayed, over whatever interface the server is", text)
		}
		c.dhcp.on, c.dhcp.relay = true, append(c.dhcp.relay, words[1])
	case "except-interface", "no-dhcp-interface", "no-dhcpv4-interface", "no-dhcpv6-interface", "listen-address":
		c.note(p, "%s: the interfaces of guests are served, and no others", text)
	case "enable-ra", "ra-param":
		c.gap(p, "%s: what guests are told in router advertisements is edge.ra, and their prefixes ipv6: of the guests", text)
	default:
		switch {
		case slices.Contains(dnsmasqSilent, key):
		case slices.Contains(dnsKeys, key):
			c.gap(p, "%s: DNS and TFTP stay dnsmasq's: leave it running with that, and let guests reach it by firewall.open", text)
		default:
			c.gap(p, "%s: has no counterpart", text)
		}
	}
	return nil
}

func split(value string) []string {
	words := strings.Split(value, ",")
	for i := range words {
		words[i] = strings.TrimSpace(words[i])
	}
	return words
}

// ethernet cuts the type of hardware from a MAC, if it is that of Ethernet: 01-50:54:33:00:00:07.
func ethernet(w string) string {
	if kind, mac, ok := strings.Cut(w, "-"); ok && strings.Contains(mac, ":") && strings.TrimLeft(kind, "0") == "1" {
		return mac
	}
	return w
}

func (c *converter) dhcpHost(p pos, value, text string) error {
	l := lease{pos: p}
	for _, w := range split(value) {
		if mac, err := net.ParseMAC(ethernet(w)); err == nil && len(mac) == 6 {
			if l.mac != "" {
				c.gap(p, "%s: a guest has one MAC", text)
				continue
			}
			l.mac = mac.String()
			continue
		}
		if a, err := netip.ParseAddr(w); err == nil && a.Is4() {
			l.ipv4 = a
			continue
		}
		switch {
		case w == "ignore":
			c.gap(p, "%s: who is no guest gets no answer anyhow", text)
			return nil
		case strings.HasPrefix(w, "set:") || strings.HasPrefix(w, "tag:") || strings.HasPrefix(w, "net:"):
			c.gap(p, "%s: there are no tags", text)
		case strings.HasPrefix(w, "["):
			c.gap(p, "%s: there is no DHCPv6", text)
		case strings.HasPrefix(w, "id:"):
			c.gap(p, "%s: guests are told by interface and MAC, not by a client identifier", text)
		case strings.Contains(w, "*"):
			c.gap(p, "%s: a pattern of MACs stands for many guests", text)
			return nil
		case strings.Contains(w, ":"):
			c.gap(p, "%s: %s is no MAC of Ethernet", text, short(w))
		case leaseTime(w) != "":
			c.note(p, "%s: the lease time is the same for all, edge.dhcp.lease", text)
		case w != "":
			l.name = w
		}
	}
	if !l.ipv4.IsValid() {
		c.gap(p, "%s: no address is said: a guest has its own", text)
		return nil
	}
	c.leases, c.dhcp.on = append(c.leases, l), true
	return nil
}

// leaseTime reads 45m, 12h, 1d, 1w, 3600 or infinite, and returns it in Go's notation.
func leaseTime(w string) string {
	if w == "infinite" {
		return "4294967295s"
	}
	digits := run(w, func(b byte) bool { return b >= '0' && b <= '9' })
	n, err := strconv.ParseUint(w[:digits], 10, 32)
	if err != nil {
		return ""
	}
	unit, ok := map[string]uint64{"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}[w[digits:]]
	if !ok {
		return ""
	}
	if s := n * unit; s%3600 == 0 && s > 0 {
		return fmt.Sprintf("%dh", s/3600)
	}
	return fmt.Sprintf("%ds", n*unit)
}

func (c *converter) dhcpRange(p pos, value, text string) error {
	dynamic, addresses, static := false, 0, false
	for _, w := range split(value) {
		switch {
		case strings.HasPrefix(w, "set:"), strings.HasPrefix(w, "tag:"), strings.HasPrefix(w, "interface:"):
			c.gap(p, "%s: there are no tags, and every guest interface is served", text)
			continue
		case w == "static":
			static = true
			continue
		case w == "proxy":
			c.gap(p, "%s: hvrouter is no proxy of a DHCP server; edge.dhcp.relay is a relay", text)
			return nil
		}
		if a, err := netip.ParseAddr(w); err == nil {
			if a.Is6() {
				c.gap(p, "%s: there is no DHCPv6; the guests' prefixes are advertised", text)
				return nil
			}
			if ones, bits := net.IPMask(a.AsSlice()).Size(); a.As4()[0] == 255 && bits == 32 && addresses > 0 {
				if c.dhcp.length != 0 && c.dhcp.length != ones {
					c.gap(p, "%s: the prefix length is the same for all guests, %d", text, c.dhcp.length)
					continue
				}
				c.dhcp.length = ones
				continue
			}
			addresses++
			dynamic = addresses >= 2 // the third is the broadcast address
			continue
		}
		if t := leaseTime(w); t != "" {
			if c.dhcp.lease != "" && c.dhcp.lease != t {
				c.gap(p, "%s: the lease time is the same for all guests, %s", text, c.dhcp.lease)
				continue
			}
			c.dhcp.lease = t
			continue
		}
		c.gap(p, "%s: %q has no counterpart", text, short(w))
	}
	if addresses == 0 {
		return &Error{p.file, p.line, fmt.Sprintf("%q: want dhcp-range=ADDRESS,...", text)}
	}
	c.dhcp.on, c.dhcp.pos = true, p
	if dynamic && !static {
		c.gap(p, "%s: a guest gets its own address, and no other: those that have none in the inventory get none", text)
	}
	return nil
}

func (c *converter) dhcpOption(p pos, value, text string) error {
	words := split(value)
	if strings.HasPrefix(words[0], "tag:") || strings.HasPrefix(words[0], "vendor:") || strings.HasPrefix(words[0], "encap:") || strings.HasPrefix(words[0], "net:") {
		c.gap(p, "%s: there are no tags: every guest is told the same", text)
		return nil
	}
	var list []string
	for _, w := range words[1:] {
		list = append(list, strings.Trim(w, "[]"))
	}
	v6 := words[0] == "option6:dns-server" || words[0] == "option6:23"
	addresses := func() error {
		for _, w := range list {
			a, err := netip.ParseAddr(w)
			if err != nil || a.Is4() == v6 {
				return &Error{p.file, p.line, fmt.Sprintf("%q: %q is no address", text, short(w))}
			}
			if a.IsUnspecified() {
				c.gap(p, "%s: %v stands for the address of dnsmasq itself, and is left out", text, a)
			}
		}
		list = slices.DeleteFunc(list, func(w string) bool { a, _ := netip.ParseAddr(w); return a.IsUnspecified() })
		return nil
	}
	// last notes that an option is said again: of two dnsmasq sends the last.
	last := func(before string) {
		if before != "" && before != strings.Join(list, ", ") {
			c.note(p, "%s: it counts, and not what was said before, %s", text, before)
		}
	}
	servers := func(into *[]string) error {
		err := addresses()
		if last(strings.Join(*into, ", ")); err == nil {
			*into = list
		}
		return err
	}
	switch words[0] {
	case "3", "option:router":
		if len(list) == 0 {
			c.gap(p, "%s: a guest is always told its gateway, gateway4", text)
			return nil
		}
		if err := addresses(); err != nil || len(list) == 0 {
			return err
		}
		if last(c.dhcp.gateway); len(list) > 1 {
			c.gap(p, "%s: there is one gateway, edge.gateway4: the first is taken", text)
		}
		c.dhcp.gateway = list[0]
	case "6", "option:dns-server":
		return servers(&c.dhcp.dns)
	case "option6:dns-server", "option6:23":
		return servers(&c.dhcp.dns6)
	case "26", "option:mtu":
		if len(list) != 1 || !isNumber(list[0]) {
			return &Error{p.file, p.line, fmt.Sprintf("%q: want a number", text)}
		}
		last(c.dhcp.mtu)
		c.dhcp.mtu = list[0]
	case "1", "option:netmask":
		c.gap(p, "%s: edge.prefix-length4 says it", text)
	default:
		c.gap(p, "%s: hvrouter tells a guest its address, gateway, DNS servers and MTU", text)
	}
	return nil
}
