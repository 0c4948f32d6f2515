package change

import (
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"strings"

	"github.com/hyperfib/hyperfib/bgp"
	"github.com/hyperfib/hyperfib/bgp/wire"
	"github.com/hyperfib/hyperfib/examples/hvrouter/config"
	"github.com/hyperfib/hyperfib/examples/hvrouter/domain"
	"github.com/hyperfib/hyperfib/examples/hvrouter/peering"
)

// Change is one thing that a new configuration does.
type Change struct {
	Text string
	// Path is the YAML path of the new configuration that it is about: [config.Config.Where]
	// says where that is.
	Path string
	// Loses: sessions, an uplink, or the way by which the hypervisor itself is reached are
	// lost. It is done only if somebody insists.
	Loses bool
}

// Between returns what the new configuration does that the old one does not, losses first: what
// becomes of sessions, uplinks, rules and guests, then every key that has another value. It is empty
// only if the two say the same. Both are of one daemon.
func Between(old, new *config.Config) []Change {
	d := &differ{old: old, new: new}
	for _, was := range old.Domains {
		if now := new.Domain(was.Name); now != nil {
			d.uplinks(was, *now)
			d.families(was, *now)
		} else {
			d.loses("", "domain %s goes, with its sessions and routes", was.Name)
		}
	}
	d.sessions()
	d.own()
	d.rules()
	d.guests()
	d.settings()
	slices.SortStableFunc(d.list, func(a, b Change) int {
		if a.Loses == b.Loses {
			return 0
		} else if a.Loses {
			return -1
		}
		return 1
	})
	return d.list
}

type differ struct {
	old, new *config.Config
	list     []Change
}

func (d *differ) add(path, format string, args ...any) {
	d.list = append(d.list, Change{Text: fmt.Sprintf(format, args...), Path: path})
}

func (d *differ) loses(path, format string, args ...any) {
	d.list = append(d.list, Change{Text: fmt.Sprintf(format, args...), Path: path, Loses: true})
}

// uplinks says which interfaces a domain has no more, and which are new.
func (d *differ) uplinks(was, now config.Domain) {
	path := d.new.DomainPath(now.Name)
	before, after := domain.Interfaces(was), domain.Interfaces(now)
	for _, name := range before {
		if !slices.Contains(after, name) {
			d.loses(path, "domain %s loses its uplink %s", now.Name, name)
		}
	}
	for _, name := range after {
		if !slices.Contains(before, name) {
			d.add(path, "domain %s has a new uplink %s", now.Name, name)
		}
	}
}

// families says on which uplink of a domain no session is left for a family.
func (d *differ) families(was, now config.Domain) {
	type carried struct {
		uplink string
		family config.Family
	}
	of := func(c *config.Config, dom config.Domain) (list []carried) {
		sessions, _ := c.SessionsOf(dom)
		for _, r := range sessions {
			for _, f := range r.Families {
				if f == config.RTConstrain {
					continue // without it there are more routes
				}
				if one := (carried{r.Interface, f}); !slices.Contains(list, one) {
					list = append(list, one)
				}
			}
		}
		return list
	}
	after, uplinks := of(d.new, now), domain.Interfaces(now)
	for _, c := range of(d.old, was) {
		if !slices.Contains(after, c) && slices.Contains(uplinks, c.uplink) {
			d.loses(d.new.DomainPath(now.Name), "domain %s loses its last session for %s on %s", now.Name, c.family, c.uplink)
		}
	}
}

// session is one session of a configuration.
type session struct {
	config.Reflector
	netns config.NetNS
	path  string
}

func (s session) String() string {
	where := ""
	if s.netns != "" {
		where = " in netns " + string(s.netns)
	}
	return fmt.Sprintf("session with %v from %v on %s%s", s.Peer, s.Local, s.Interface, where)
}

// key is what makes it the same session in another configuration.
func (s session) key() string { return s.String() }

func sessions(c *config.Config) (list []session) {
	for i, dom := range c.Domains {
		for below, r := range dom.Sessions() {
			list = append(list, session{r, dom.NetNS, fmt.Sprintf("$.domains[%d]%s", i, below)})
		}
	}
	for i, r := range c.Sessions {
		list = append(list, session{r, c.NetNSOf(r, ""), fmt.Sprintf("$.sessions[%d]", i)})
	}
	return list
}

// sessions says which sessions end, begin, and are reset.
func (d *differ) sessions() {
	before, after := sessions(d.old), sessions(d.new)
	for _, s := range before {
		if !slices.ContainsFunc(after, func(o session) bool { return o.key() == s.key() }) {
			d.add("", "the %v ends", s)
		}
	}
	for _, s := range after {
		i := slices.IndexFunc(before, func(o session) bool { return o.key() == s.key() })
		if i < 0 {
			d.add(s.path, "a %v begins", s)
			continue
		}
		if why := hard(d.old, d.new, before[i].Reflector, s.Reflector); len(why) > 0 {
			d.add(s.path, "the %v is reset: other %s", s, strings.Join(why, ", "))
		} else if what := soft(d.old, d.new, before[i].Reflector, s.Reflector); len(what) > 0 {
			d.add(s.path, "the %v is changed in place: other %s", s, strings.Join(what, ", "))
		}
		d.bfd(before[i], s)
	}
}

// bfd says what becomes of the BFD session of a session that stays.
func (d *differ) bfd(old, new session) {
	was, watched := peering.BFD(d.old, old.netns, old.Reflector)
	is, watches := peering.BFD(d.new, new.netns, new.Reflector)
	switch {
	case watched && !watches:
		d.add(new.path, "the %v has no BFD any more: a peer that goes on with it resets the session", new)
	case !watched && watches:
		d.add(new.path, "the %v is watched by BFD", new)
	case was.Echo != is.Echo:
		d.add(new.path, "the %v is watched by another BFD session: %s", new, map[bool]string{false: "the peer's", true: "echo"}[is.Echo])
	case watches && !reflect.DeepEqual(was, is):
		d.add(new.path, "the BFD of the %v is changed in place: every %v, %d times, was every %v, %d times", new, is.DesiredMinTx, is.Multiplier, was.DesiredMinTx, was.Multiplier)
	}
}

// difference is a field of a session's configuration, with the key that says it.
type difference struct {
	name, key string
	old, new  any
}

// named returns those whose values differ, as people call them.
func named(list []difference) (names []string) {
	for _, f := range list {
		if !reflect.DeepEqual(f.old, f.new) {
			names = append(names, fmt.Sprintf("%s (%s)", f.name, f.key))
		}
	}
	return names
}

// soft names what differs between two configurations of a session and is changed while it is up.
func soft(oldConfig, newConfig *config.Config, oldSession, newSession config.Reflector) []string {
	old, new := peering.Peer(oldConfig, oldSession, netip.Addr{}), peering.Peer(newConfig, newSession, netip.Addr{})
	return named([]difference{
		{"name", "name", old.Description, new.Description},
		{"connect retry", "bgp.connect-retry", old.ConnectRetry, new.ConnectRetry}, {"idle hold", "bgp.idle-hold", old.IdleHold, new.IdleHold},
		{"restart time, from its next start on", "restart-time", old.RestartTime, new.RestartTime},
		{"prefix limit", "prefix-limit", []any{old.PrefixLimits, old.MaxPrefixesHold}, []any{new.PrefixLimits, new.MaxPrefixesHold}},
		{"next hop for IPv6", "next-hop6", old.NextHop6, new.NextHop6},
		{"import policy, which may change routes", "import", oldSession.Import, newSession.Import}, {"export policy", "export", oldSession.Export, newSession.Export},
		{"default route that is announced", "default-originate", defaultOf(oldSession), defaultOf(newSession)},
		{"side that connects", "connect", old.Passive, new.Passive}, {"own AS in paths", "allow-own-as", old.AllowOwnAS, new.AllowOwnAS},
		{"handling of the AS path, which may change routes", "as", old.EBGP, new.EBGP},
		{"advertised next hops", "advertise-next-hops", oldSession.AdvertiseNextHops, newSession.AdvertiseNextHops},
	})
}

// defaultOf returns how the default route is announced in a session, nil if it is not.
func defaultOf(r config.Reflector) *config.DefaultOriginate {
	if r.Neighbor == nil {
		return nil
	}
	return r.Neighbor.DefaultOriginate
}

// hard names what differs between two configurations of a session and cannot be changed while it
// is up, with the keys of the file that say it.
func hard(oldConfig, newConfig *config.Config, oldSession, newSession config.Reflector) []string {
	old, new := peering.Peer(oldConfig, oldSession, netip.Addr{}), peering.Peer(newConfig, newSession, netip.Addr{})
	md5, ttl := "bgp.md5", "bgp.ttl-security"
	if newSession.Neighbor != nil {
		ttl = "ttl-security"
	}
	if oldSession.MD5 != "" || newSession.MD5 != "" {
		md5 = "md5"
	}
	routes := func(p bgp.PeerConfig) []wire.Family {
		return slices.DeleteFunc(slices.Clone(p.Families), func(f wire.Family) bool { return f == wire.RTConstrain })
	}
	list := []difference{
		{"AS", "as", old.AS, new.AS}, {"port", "bgp.port", old.Port, new.Port}, {"families", "families", routes(old), routes(new)},
		{"hold time", "bgp.hold-time", old.HoldTime, new.HoldTime}, {"MD5 key", md5, old.MD5Key, new.MD5Key},
		{"TTL security", ttl, old.TTLSecurity, new.TTLSecurity},
		{"local AS", "local-as", old.EBGP.LocalAS, new.EBGP.LocalAS}, {"role", "role", old.EBGP.Role, new.EBGP.Role}, {"strictness of the role", "role-strict", old.RoleStrict, new.RoleStrict},
		{"hops", "multihop", old.Multihop, new.Multihop},
		{"ADD-PATH reception", "bgp.add-path", old.AddPathReceive != nil, new.AddPathReceive != nil},
	}
	if slices.Equal(routes(old), routes(new)) { // otherwise it follows from EVPN
		list = append(list, difference{"route target constraint", "bgp.rt-constrain", slices.Contains(old.Families, wire.RTConstrain), slices.Contains(new.Families, wire.RTConstrain)})
	}
	if oldConfig.BGP.AddPath == newConfig.BGP.AddPath { // otherwise it follows from that
		list = append(list, difference{"ADD-PATH", "advertise-next-hops", old.AddPathSend != nil, new.AddPathSend != nil})
	}
	return named(list)
}

// own says what becomes of the hypervisor's own address and of the table for what it sends.
func (d *differ) own() {
	if was, now := d.old.Loopback, d.new.Loopback; was.Address.IsValid() && was != now {
		d.loses("$.loopback", "the hypervisor loses its loopback address %v on %s", was.Address, was.Interface)
	}
	if d.old.LocalOut == nil {
		return
	}
	if d.new.LocalOut == nil {
		d.loses("", "what the hypervisor itself sends is not looked up in table %v any more", d.old.LocalOut.Table)
		return
	}
	for _, name := range d.old.LocalOut.Domains {
		if !slices.Contains(d.new.LocalOut.Domains, name) {
			d.loses("$.local-out.domains", "what the hypervisor itself sends does not find the routes of domain %s any more", name)
		}
	}
}

// rules says which tables no rule leads to any more.
func (d *differ) rules() {
	for i, was := range d.old.Namespaces() {
		now := d.new.Namespaces()[i]
		for _, six := range []bool{false, true} {
			before, after := looked(was.Config, six), looked(now.Config, six)
			for _, table := range before {
				if !slices.Contains(after, table) {
					d.loses("$.rules", "no %s rule leads to table %s any more", map[bool]config.Family{false: config.IPv4, true: config.IPv6}[six], d.table(table))
				}
			}
		}
	}
}

// looked returns the tables that rules of a family lead to.
func looked(c *config.Config, six bool) (tables []uint32) {
	for _, r := range domain.Rules(c) {
		if r.IPv6 == six && r.Action == domain.Unicast && !slices.Contains(tables, r.Table) {
			tables = append(tables, r.Table)
		}
	}
	return tables
}

// table names a table as the file does.
func (d *differ) table(id uint32) string {
	for _, dom := range d.old.Domains {
		if dom.Table.ID == id {
			return fmt.Sprintf("%v of domain %s", dom.Table, dom.Name)
		}
	}
	switch id {
	case 254:
		return "main"
	case 255:
		return "local"
	}
	return fmt.Sprint(id)
}

// guests says what becomes of all guests together.
func (d *differ) guests() {
	if was, now := d.old.GuestDomain(), d.new.GuestDomain(); was != nil && (now == nil || was.Name != now.Name) {
		d.loses("", "the guests leave domain %s", was.Name)
	}
	if !d.old.Firewall.Off && d.new.Firewall.Off {
		d.add("$.firewall", "the firewall goes")
	}
}
