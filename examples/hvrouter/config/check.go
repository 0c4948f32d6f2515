package config

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
)

// checker collects mistakes and finds their places: each is named by its YAML
// path, and a path that is not in the file (a missing key) is shortened until it
// is.
type checker struct {
	doc      *ast.File
	errs     mistakes
	problems *problems // where mistakes go instead, by path

	limit    PrefixLimit  // bgp.prefix-limit
	profiles []BFDProfile // bfd.profiles
	ours     uint32       // as
}

func (k *checker) bad(path, format string, args ...any) { k.wrong(path, false, nil, format, args) }

// odd is bad, but may be meant.
func (k *checker) odd(path, format string, args ...any) { k.wrong(path, true, nil, format, args) }

// unread is bad, since something that the file names could not be read.
func (k *checker) unread(path string, err error) { k.wrong(path, false, err, "%v", []any{err}) }

// wrong notes a mistake. What a mistake that is only counted costs is the call.
func (k *checker) wrong(path string, odd bool, err error, format string, args []any) {
	switch {
	case k.problems != nil && !k.problems.full(odd):
		k.problems.list = append(k.problems.list, Problem{Field: path, Msg: secrets(nil).say(format, args), Odd: odd})
	case k.problems == nil && !k.errs.full(err):
		e := at(k.find(path), format, args...)
		e.Err = err
		k.errs.list = append(k.errs.list, e)
	}
}

func (k *checker) find(path string) ast.Node {
	for path != "" {
		if p, err := yaml.PathString(path); err == nil {
			if node, err := p.FilterFile(k.doc); err == nil && node != nil {
				return first(node)
			}
		}
		cut := strings.LastIndexAny(path, ".[")
		if cut < 0 {
			break
		}
		path = path[:cut]
	}
	return k.doc.Docs[0].Body
}

// first goes down to the first key of a mapping, because a mapping's own token is
// its colon.
func first(node ast.Node) ast.Node {
	switch n := node.(type) {
	case *ast.MappingNode:
		if len(n.Values) > 0 {
			return n.Values[0].Key
		}
	case *ast.MappingValueNode:
		return n.Key
	}
	return node
}

// need reports a missing key and reports whether it is there.
func (k *checker) need(path string, there bool) bool {
	if !there {
		key := path[strings.LastIndexByte(path, '.')+1:]
		k.bad(path, "%s is missing", key)
	}
	return there
}

// oneOf reports a word that is not in the list.
func (k *checker) oneOf(path, word string, words ...string) {
	if !slices.Contains(words, word) {
		k.bad(path, "%q: want %s", word, strings.Join(words, ", "))
	}
}

// unique reports a value that was seen before.
type unique[T comparable] map[T]string

func (u unique[T]) add(k *checker, path, what string, v T) {
	if where, seen := u[v]; seen {
		k.bad(path, "duplicate %s %v, first used by %s", what, v, where)
		return
	}
	u[v] = strings.TrimPrefix(path, "$.")
}

func (k *checker) config(c *Config) {
	if k.need("$.router-id", c.RouterID.IsValid()) && !c.RouterID.Is4() {
		k.bad("$.router-id", "%v: a router id has the form of an IPv4 address", c.RouterID)
	} else if c.RouterID.IsUnspecified() {
		k.bad("$.router-id", "0.0.0.0 is not a router id (RFC 6286)")
	}
	k.need("$.as", c.AS != 0)
	k.ours = c.AS
	k.oneOf("$.log", c.Log, "debug", "info", "warn", "error")
	k.oneOf("$.log-format", c.LogFormat, "text", "json")
	if c.Metrics != "" {
		if a, err := netip.ParseAddrPort(c.Metrics); err != nil || a.Port() == 0 {
			k.bad("$.metrics", "%q: want an address and a port, such as 127.0.0.1:9342 or [::]:9342", c.Metrics)
		}
	}
	k.oneOf("$.last-resort-by", c.LastResortBy, "routes", "rules")
	if c.LastResortBy == "rules" && c.Rules != nil {
		k.bad("$.last-resort-by", "rules are listed: list those of last resort too")
	}
	k.loopback(c)
	k.bfd(c.BFD)
	k.bgp(c.BGP)
	k.domains(c)
	k.isolation(c)
	k.rules(c)
	k.edge(c.Edge)
	if len(c.Edge.DHCP.Relay) > 0 && !c.Loopback.Address.Addr().Is4() {
		k.bad("$.edge.dhcp.relay", "a relay needs an IPv4 loopback address for the servers to answer to")
	}
	k.links(c)
	k.addresses(c)
	k.paths(c)
	k.numbers(c)
	k.guests(c)
	k.templates(c)
	k.overlays(c)
	k.gateways(c)
	k.firewall(c)
}

func (k *checker) loopback(c *Config) {
	l := c.Loopback
	if l.Interface == "" && !l.Address.IsValid() {
		for i, d := range c.Domains {
			if d.Loopback {
				k.bad(fmt.Sprintf("$.domains[%d].loopback", i), "there is no loopback section")
			}
		}
		return
	}
	k.need("$.loopback.interface", l.Interface != "")
	if k.need("$.loopback.address", l.Address.IsValid()) && !l.Address.IsSingleIP() {
		k.bad("$.loopback.address", "%v: want a single address, /32 or /128", l.Address)
	}
}

func (k *checker) bfd(b BFD) {
	k.oneOf("$.bfd.process", b.Process, "separate", "in-process", "off")
	k.oneOf("$.bfd.realtime", b.Realtime, "auto", "on", "off")
	k.oneOf("$.bfd.strict", b.Strict, "off", "on", "required")
	if b.Strict != "off" && b.Process == "off" {
		k.bad("$.bfd.strict", "%s: there is no BFD (bfd.process: off)", b.Strict)
	}
	for path, d := range map[string]Duration{"$.bfd.strict-hold-time": b.StrictHoldTime, "$.bfd.strict-hold-down": b.StrictHoldDown} {
		if d.Duration < 0 || d.Duration > time.Hour {
			k.bad(path, "%v: want 0s to 1h", d)
		}
	}
	if b.Interval.Duration < time.Millisecond || b.Interval.Duration > time.Minute {
		k.bad("$.bfd.interval", "%v: want 1ms to 1m", b.Interval)
	}
	seen := unique[string]{}
	for i, p := range b.Profiles {
		path := fmt.Sprintf("$.bfd.profiles[%d]", i)
		if k.need(path+".name", p.Name != "") {
			seen.add(k, path+".name", "profile", p.Name)
		}
		if p.Interval.Duration < time.Millisecond || p.Interval.Duration > time.Minute {
			k.bad(path+".interval", "%v: want 1ms to 1m", p.Interval)
		}
	}
	k.profiles = b.Profiles
}

// profile checks the name of a profile of BFD; the empty one is none.
func (k *checker) profile(path, name string) {
	if name != "" && !slices.ContainsFunc(k.profiles, func(p BFDProfile) bool { return p.Name == name }) {
		k.bad(path, "%q is none of bfd.profiles", name)
	}
}

func (k *checker) bgp(b BGP) {
	if h := b.HoldTime.Duration; h != 0 && h < 3*time.Second || h > 65535*time.Second {
		k.bad("$.bgp.hold-time", "%v: want 3s to 65535s, or 0s for none", h)
	}
	if t := b.ConnectRetry.Duration; t < 0 {
		k.bad("$.bgp.connect-retry", "%v is negative", t)
	}
	if t := b.IdleHold.Duration; t < 0 {
		k.bad("$.bgp.idle-hold", "%v is negative", t)
	}
	if b.Multipath < 1 || b.Multipath > 128 {
		k.bad("$.bgp.multipath", "%d: want 1 to 128", b.Multipath)
	}
	k.prefixLimit("$.bgp.prefix-limit", b.PrefixLimit, PrefixLimit{})
	k.limit = b.PrefixLimit
	// Restart Time has 12 bits: RFC 4724, Section 3.
	if t := b.GracefulRestart.Time.Duration; t > 4095*time.Second {
		k.bad("$.bgp.graceful-restart.time", "%v: want at most 4095s", t)
	}
	if len(b.MD5) > 80 {
		k.bad("$.bgp.md5", "the key has %d octets, Linux takes 80", len(b.MD5))
	}
}

func (k *checker) domains(c *Config) {
	names, tables, sessions := unique[string]{}, unique[scope]{}, unique[string]{}
	guests := unique[bool]{}
	k.need("$.domains", len(c.Domains) > 0)
	for i, d := range c.Domains {
		path := fmt.Sprintf("$.domains[%d]", i)
		if k.need(path+".name", d.Name != "") {
			names.add(k, path+".name", "domain", d.Name)
		}
		k.table(path+".table", d.NetNS, d.Table, tables)
		k.oneOf(path+".last-resort", d.LastResort, "blackhole", "unreachable", "prohibit", "none")
		if d.Guests {
			guests.add(k, path+".guests", "guest domain:", true)
		}
		for j, n := range d.Neighbors {
			k.neighbor(fmt.Sprintf("%s.neighbors[%d]", path, j), n, c.AS)
		}
		k.hidden(path+".neighbors", d.Neighbors)
		k.untrusted(path+".neighbors", c, d)
		for below, r := range d.Sessions() {
			k.reflector(path+below, d.NetNS, r, sessions)
			k.nextHops(path+below, c, r, d.Name)
		}
	}
	k.shared(c, sessions)
	if c.Inventory.Directory != "" && len(guests) == 0 {
		k.bad("$.inventory.directory", "no domain says guests: true")
	}
	if c.LocalOut != nil {
		k.localOut(c, names, tables)
	}
	k.namespaces(c)
}

func (k *checker) table(path string, n NetNS, t Table, seen unique[scope]) {
	switch {
	case t.ID == 0 && t.Name != "":
		k.bad(path, "table %q is in no rt_tables file", t.Name)
	case !k.need(path, t.ID != 0):
	case t.ID == 253 || t.ID == 255:
		k.bad(path, "table %v is the kernel's own", t)
	default:
		seen.add(k, path, "table", scope{n, t.ID})
	}
}

func (k *checker) localOut(c *Config, names unique[string], tables unique[scope]) {
	k.table("$.local-out.table", "", c.LocalOut.Table, tables)
	if c.LocalOut.Table.ID == tableMain {
		k.bad("$.local-out.table", "table main is the kernel's own")
	}
	k.oneOf("$.local-out.last-resort", c.LocalOut.LastResort, "blackhole", "unreachable", "prohibit", "none")
	seen := unique[string]{}
	for i, name := range c.LocalOut.Domains {
		seen.add(k, fmt.Sprintf("$.local-out.domains[%d]", i), "domain", name)
		if _, ok := names[name]; !ok {
			k.bad(fmt.Sprintf("$.local-out.domains[%d]", i), "no domain is called %q", name)
		}
	}
}

func (k *checker) reflector(path string, n NetNS, r Reflector, seen unique[string]) {
	k.policy(path+".import", r.Import)
	k.policy(path+".export", r.Export)
	k.prepends(path, r)
	k.need(path+".interface", r.Interface != "")
	local, peer := k.need(path+".local", r.Local.IsValid()), k.need(path+r.peerKey(), r.Peer.IsValid())
	if !local || !peer {
		return
	}
	if r.Local.Is4() != r.Peer.Is4() {
		k.bad(path+".local", "%v and peer %v are of different families", r.Local, r.Peer)
	}
	if r.Local == r.Peer {
		k.bad(path+r.peerKey(), "%v is our own address", r.Peer)
	}
	if slices.Contains(r.Families, IPv6) && r.Local.Is4() && !r.NextHop6.IsValid() {
		k.bad(path+".families", "ipv6 over an IPv4 session needs next-hop6")
	}
	if r.NextHop6.IsValid() && !r.NextHop6.Is6() {
		k.bad(path+".next-hop6", "%v is not an IPv6 address", r.NextHop6)
	}
	k.session(path, r)
	where := r.Interface
	if n != "" {
		where += " in netns " + string(n)
	}
	seen.add(k, path+r.peerKey(), "session with", r.Peer.String()+" on "+where)
}

// session checks what a session has whether or not the addresses of it are in the file.
func (k *checker) session(path string, r Reflector) {
	if t := r.RestartTime.Duration; t != 0 && (t < time.Second || t > 4095*time.Second) {
		k.bad(path+".restart-time", "%v: want 1s to 4095s", t)
	}
	k.prefixLimit(path+".prefix-limit", r.PrefixLimit, k.limit)
	if r.BFD != "" {
		k.oneOf(path+".bfd", r.BFD, "on", "off", "echo")
	}
	if r.BFDStrict != "" {
		k.oneOf(path+".bfd-strict", r.BFDStrict, "off", "on", "required")
		if r.BFDStrict != "off" && r.BFD == "off" {
			k.bad(path+".bfd-strict", "%s: the session has no BFD (bfd: off)", r.BFDStrict)
		}
	}
	k.profile(path+".bfd-profile", r.BFDProfile)
}

func (k *checker) rules(c *Config) {
	if c.Rules == nil {
		return
	}
	k.ruleSet("$.rules.ipv4", c, c.Rules.IPv4, netip.Addr.Is4)
	k.ruleSet("$.rules.ipv6", c, c.Rules.IPv6, netip.Addr.Is6)
}

func (k *checker) ruleSet(path string, c *Config, rules []Rule, family func(netip.Addr) bool) {
	seen, local := unique[uint32]{}, false
	for i, r := range rules {
		at := fmt.Sprintf("%s[%d]", path, i)
		seen.add(k, at+".priority", "priority", r.Priority)
		local = local || r.Table.ID == 255
		for _, p := range []struct {
			key    string
			prefix Prefix
		}{{".from", r.From}, {".to", r.To}} {
			if p.prefix.IsValid() && !family(p.prefix.Addr()) {
				k.bad(at+p.key, "%v is outside the rule's family", p.prefix)
			}
		}
		k.ruleAction(at, r)
		k.ruleMatches(at, c, r)
	}
	if !local {
		k.bad(path, "no rule looks up table local (255): the hypervisor would not hear its own addresses")
	}
}

func (k *checker) ruleAction(path string, r Rule) {
	switch {
	case r.Action != "":
		k.oneOf(path+".action", r.Action, "blackhole", "unreachable", "prohibit")
	case r.Table.ID == 0 && r.Table.Name != "":
		k.bad(path+".table", "table %q is in no rt_tables file", r.Table.Name)
	default:
		k.need(path+".table", r.Table.ID != 0)
	}
}
