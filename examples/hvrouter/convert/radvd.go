package convert

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml"
)

// advert is what radvd says on one interface.
type advert struct {
	pos
	device   string
	prefixes []netip.Prefix
	ra       yaml.MapSlice // in hvrouter's words
}

func (a *advert) set(key string, value any) {
	for i := range a.ra {
		if a.ra[i].Key == key {
			a.ra[i].Value = value
			return
		}
	}
	a.ra = append(a.ra, yaml.MapItem{Key: key, Value: value})
}

// lifetime is a time in seconds, or forever.
func lifetime(o *stmt) (string, error) {
	if o.word(1) == "infinity" && len(o.words) == 2 {
		return "4294967295s", nil
	}
	n, err := strconv.ParseUint(o.word(1), 10, 32)
	if err != nil || len(o.words) != 2 {
		return "", &Error{o.file, o.line, fmt.Sprintf("%q: want seconds", o.text())}
	}
	return fmt.Sprintf("%ds", n), nil
}

// radvd reads one file.
func (c *converter) radvd(s Source) error {
	all, err := parseRadvd(s.Name, s.Text)
	if err != nil {
		return err
	}
	for _, st := range all {
		if st.word(0) != "interface" || len(st.words) != 2 || !st.has {
			return &Error{st.file, st.line, fmt.Sprintf("%q: want interface NAME { ... }", st.text())}
		}
		a := &advert{pos: st.pos, device: st.word(1)}
		if c.ra[a.device] != nil {
			c.gap(st.pos, "%s: it is there twice, and the second one is left out", st.text())
			continue
		}
		send := false
		for _, o := range st.block {
			if is, on := c.flag(o, "AdvSendAdvert"); is {
				send = on
				continue
			}
			if err := c.advertOption(a, o); err != nil {
				return err
			}
		}
		if !send {
			a.set("off", true)
		}
		c.ra[a.device] = a
		c.raOrder = append(c.raOrder, a.device)
	}
	return nil
}

// radvdSilent are options that need no counterpart if they have this value, or any ("").
var radvdSilent = map[string]string{
	"IgnoreIfMissing": "", "MinRtrAdvInterval": "", "MinDelayBetweenRAs": "", "AdvRASolicitedUnicast": "on", "AdvSourceLLAddress": "on",
	"UnicastOnly": "off", "AdvManagedFlag": "off", "AdvOtherConfigFlag": "off", "AdvReachableTime": "0", "AdvRetransTimer": "0",
	"AdvHomeAgentFlag": "off", "AdvHomeAgentInfo": "off", "AdvMobRtrSupportFlag": "off", "AdvIntervalOpt": "off",
	// of a prefix
	"AdvOnLink": "on", "AdvAutonomous": "on", "AdvRouterAddr": "off", "DeprecatePrefix": "off", "DecrementLifetimes": "off",
	"AdvRDNSSLifetime": "", "FlushRDNSS": "", "AdvDNSSLLifetime": "", "FlushDNSSL": "", "RemoveRoute": "", "RemoveAdvOnExit": "",
	"AdvRDNSSPreference": "", "AdvRDNSSOpen": "",
}

// rest says whether an option needs no counterpart, and makes a gap of it otherwise.
func (c *converter) radvdRest(o *stmt) {
	value, ok := radvdSilent[o.word(0)]
	switch {
	case ok && value != "" && o.word(1) == value:
	case ok && value == "" && o.word(0) != "IgnoreIfMissing":
		why := "hvrouter has no such choice"
		if strings.Contains(o.word(0), "Lifetime") || strings.HasPrefix(o.word(0), "Min") {
			why = "it follows from the interval"
		}
		c.note(o.pos, "%s: %s", o.text(), why)
	case ok && value == "":
	default:
		c.gap(o.pos, "%s: has no counterpart", o.text())
	}
}

func (c *converter) advertOption(a *advert, o *stmt) (err error) {
	value := ""
	switch o.word(0) {
	case "prefix":
		return c.advertPrefix(a, o)
	case "route":
		return c.advertRoute(a, o)
	case "RDNSS", "DNSSL":
		var list []string
		for _, w := range o.words[1:] {
			if o.word(0) == "RDNSS" {
				if w.text == "AdvRDNSSPreference" {
					break
				}
				if d, err := netip.ParseAddr(w.text); err != nil || !d.Is6() {
					return &Error{o.file, o.line, fmt.Sprintf("%q is no IPv6 address", short(w.text))}
				}
			}
			list = append(list, w.text)
		}
		for _, s := range o.block {
			c.radvdRest(s)
		}
		key := map[string]string{"RDNSS": "dns", "DNSSL": "search"}[o.word(0)]
		for _, item := range a.ra {
			if item.Key == key {
				list = append(slices.Clone(item.Value.([]string)), list...)
			}
		}
		a.set(key, list)
		return nil
	case "nat64prefix":
		p, err := netip.ParsePrefix(o.word(1))
		if err != nil || !p.Addr().Is6() {
			return &Error{o.file, o.line, fmt.Sprintf("%q is no IPv6 prefix", short(o.word(1)))}
		}
		list := []string{p.Masked().String()}
		for _, item := range a.ra {
			if item.Key == "pref64" {
				list = append(slices.Clone(item.Value.([]string)), list...)
			}
		}
		a.set("pref64", list)
		for _, s := range o.block {
			c.note(s.pos, "%s: it follows from the interval", s.text())
		}
		return nil
	case "AdvCaptivePortalAPI":
		a.set("captive-portal", o.word(1))
		return nil
	case "MaxRtrAdvInterval":
		if value, err = lifetime(o); err == nil {
			a.set("interval", value)
		}
		return err
	case "AdvDefaultLifetime":
		if value, err = lifetime(o); err == nil {
			a.set("lifetime", value)
		}
		return err
	case "AdvDefaultPreference":
		if p := o.word(1); p != "low" && p != "medium" && p != "high" {
			return &Error{o.file, o.line, fmt.Sprintf("%q: want low, medium or high", o.text())}
		}
		a.set("preference", o.word(1))
		return nil
	case "AdvLinkMTU", "AdvCurHopLimit":
		n, _, err := number(o, o.word(0))
		if err != nil {
			return err
		}
		if o.word(0) == "AdvLinkMTU" {
			a.set("mtu", n)
		} else if n != 0 {
			a.set("hop-limit", n)
		} else {
			c.gap(o.pos, "%s: hvrouter always says one, 64 unless told otherwise", o.text())
		}
		return nil
	}
	c.radvdRest(o)
	return nil
}

func (c *converter) advertPrefix(a *advert, o *stmt) error {
	p, err := netip.ParsePrefix(o.word(1))
	if err != nil || !p.Addr().Is6() || len(o.words) != 2 {
		return &Error{o.file, o.line, fmt.Sprintf("%q: want prefix PREFIX", o.text())}
	}
	p = p.Masked()
	// radvd's defaults, which are shorter than hvrouter's.
	valid, preferred := "86400s", "14400s"
	for _, s := range o.block {
		switch s.word(0) {
		case "AdvValidLifetime":
			valid, err = lifetime(s)
		case "AdvPreferredLifetime":
			preferred, err = lifetime(s)
		default:
			c.radvdRest(s)
		}
		if err != nil {
			return err
		}
	}
	for _, x := range []struct{ key, value string }{{"valid", valid}, {"preferred", preferred}} {
		for _, item := range a.ra {
			if item.Key == x.key && item.Value != x.value {
				c.gap(o.pos, "%s: the lifetimes of an interface's prefixes are the same, those of its first one here", o.text())
				x.value = item.Value.(string)
			}
		}
		a.set(x.key, x.value)
	}
	switch {
	case p.Addr().IsUnspecified():
		c.gap(o.pos, "%s: which prefixes the interface has is not said there: write ipv6: of the guest", o.text())
	case p.Bits() != 64:
		c.gap(o.pos, "%s: prefixes of another length than 64 are not advertised", o.text())
	default:
		a.prefixes = append(a.prefixes, p)
	}
	return nil
}

func (c *converter) advertRoute(a *advert, o *stmt) error {
	p, err := netip.ParsePrefix(o.word(1))
	if err != nil || !p.Addr().Is6() {
		return &Error{o.file, o.line, fmt.Sprintf("%q: want route PREFIX", o.text())}
	}
	route := yaml.MapSlice{{Key: "prefix", Value: p.Masked().String()}}
	for _, s := range o.block {
		switch s.word(0) {
		case "AdvRoutePreference":
			route = append(route, yaml.MapItem{Key: "preference", Value: s.word(1)})
		case "AdvRouteLifetime":
			d, err := lifetime(s)
			if err != nil {
				return err
			}
			route = append(route, yaml.MapItem{Key: "lifetime", Value: d})
		default:
			c.radvdRest(s)
		}
	}
	list := []yaml.MapSlice{}
	for _, item := range a.ra {
		if item.Key == "routes" {
			list = slices.Clone(item.Value.([]yaml.MapSlice))
		}
	}
	a.set("routes", append(list, route))
	return nil
}

// proxy is a rule of ndppd.
type proxy struct {
	pos
	device string // asked there
	prefix netip.Prefix
	method string // static, auto or iface
	behind string // of iface
}

// ndppd reads one file: a key, its value on the same line, and maybe a block.
func (c *converter) ndppd(s Source) error {
	in := &scanner{file: s.Name, text: s.Text, line: 1}
	all, err := in.ndppdBlock(0, 1)
	if err != nil {
		return err
	}
	for _, st := range all {
		switch {
		case st.word(0) == "proxy" && st.has && st.word(1) != "":
			if err := c.proxy(st); err != nil {
				return err
			}
		case st.word(0) == "route-ttl" || st.word(0) == "address-ttl":
		case st.word(0) == "proxy":
			return &Error{st.file, st.line, fmt.Sprintf("%q: want proxy INTERFACE { ... }", st.text())}
		default:
			c.gap(st.pos, "%s: has no counterpart", st.text())
		}
	}
	return nil
}

func (c *converter) proxy(st *stmt) error {
	for _, o := range st.block {
		switch o.word(0) {
		case "rule":
			p, err := netip.ParsePrefix(o.word(1))
			if a, bad := netip.ParseAddr(o.word(1)); bad == nil {
				p, err = netip.PrefixFrom(a, a.BitLen()), nil
			}
			if err != nil || !p.Addr().Is6() {
				return &Error{o.file, o.line, fmt.Sprintf("%q: want rule PREFIX", o.text())}
			}
			r := proxy{pos: o.pos, device: st.word(1), prefix: p.Masked(), method: "static"}
			for _, m := range o.block {
				switch m.word(0) {
				case "static", "auto":
					r.method = m.word(0)
				case "iface":
					r.method, r.behind = "iface", m.word(1)
				case "autovia":
					c.note(m.pos, "%s: hvrouter answers by what is routed, and makes guests' routes itself", m.text())
				default:
					c.gap(m.pos, "%s: has no counterpart", m.text())
				}
			}
			c.ndp = append(c.ndp, r)
		case "router":
			if o.word(1) == "no" || o.word(1) == "false" {
				c.gap(o.pos, "%s: hvrouter's answers always say that it is a router", o.text())
			}
		case "timeout", "ttl", "deadtime", "delay", "retries", "autowire", "keepalive", "promiscuous":
			c.note(o.pos, "%s: hvrouter answers by what is routed, and asks nobody", o.text())
		default:
			c.gap(o.pos, "%s: has no counterpart", o.text())
		}
	}
	return nil
}

func (s *scanner) ndppdBlock(depth, opened int) ([]*stmt, error) {
	if depth > maxDepth {
		return nil, &Error{s.file, opened, fmt.Sprintf("blocks are nested more than %d deep", maxDepth)}
	}
	var all []*stmt
	for {
		if err := s.blank(true, "#", "//"); err != nil {
			return nil, err
		}
		switch {
		case s.at == len(s.text) && depth > 0:
			return nil, &Error{s.file, opened, "the block that begins here does not end"}
		case s.at == len(s.text):
			return all, nil
		case s.text[s.at] == '}' && depth == 0:
			return nil, &Error{s.file, s.line, "} without {"}
		case s.text[s.at] == '}':
			s.skip(1)
			return all, nil
		case s.text[s.at] == ';':
			s.skip(1)
			continue
		}
		n := run(s.rest(), func(b byte) bool { return isWordByte(b) || b == '-' })
		if n == 0 {
			return nil, &Error{s.file, s.line, fmt.Sprintf("%q is nothing of ndppd's language", short(s.rest()[:1]))}
		}
		st := &stmt{pos: pos{s.file, s.line}, words: []token{{text: s.rest()[:n], line: s.line}}}
		s.skip(n)
		s.skip(run(s.rest(), func(b byte) bool { return b == ' ' || b == '\t' || b == '=' }))
		switch {
		case s.at < len(s.text) && (s.text[s.at] == '"' || s.text[s.at] == '\''):
			t, err := s.str(s.text[s.at])
			if err != nil {
				return nil, err
			}
			st.words = append(st.words, t)
		default:
			if n := run(s.rest(), func(b byte) bool { return b > ' ' && strings.IndexByte("{};#", b) < 0 }); n > 0 {
				st.words = append(st.words, token{text: s.rest()[:n], line: s.line})
				s.skip(n)
			}
		}
		s.skip(run(s.rest(), func(b byte) bool { return b == ' ' || b == '\t' }))
		if s.at < len(s.text) && s.text[s.at] == '{' {
			s.skip(1)
			var err error
			st.has = true
			if st.block, err = s.ndppdBlock(depth+1, s.line); err != nil {
				return nil, err
			}
		}
		all = append(all, st)
	}
}
