package netns

import (
	"context"
	"log/slog"
	"maps"
	"net/netip"
	"os"
	"strings"
	"time"

	"github.com/hyperfib/hyperfib/bgp/wire"
	"github.com/hyperfib/hyperfib/examples/hvrouter/config"
	"github.com/hyperfib/hyperfib/examples/hvrouter/domain"
	"github.com/hyperfib/hyperfib/examples/hvrouter/firewall"
	"github.com/hyperfib/hyperfib/examples/hvrouter/peering"
	"github.com/hyperfib/hyperfib/fib"
)

// Config is what a Namespace is made of.
type Config struct {
	Log      *slog.Logger // required
	NetNS    config.NetNS // its name; "" is the daemon's own
	Path     string       // leads to it as long as this process lives; "" is the process's own
	Kernel   Kernel       // required
	Firewall Firewall     // nil: none
	VRFs     VRFs         // nil: none
	Room     NeighborRoom
}

// Namespace is the state of one network namespace.
type Namespace struct {
	name config.NetNS
	path string
	file *os.File // of a namespace with a name, nil for the daemon's own
	log  *slog.Logger

	kernel Kernel
	vrfs   VRFs
	close  func() // of vrfs; nil without

	whole, part *config.Config // the configuration, and what of it lives here
	links       *Links
	wanted      wanted
	desired     desired
	shield      shield
	audit       *audit
	roles       roles
	waited      []string // see Waiting
	preserved   preserved
	room        NeighborRoom
	swept       bool
	events      Events      // of Next and FirstReading
	buffer      []fib.Event // that Next fills
	early       []fib.Event // of Started, for FirstReading
}

// New makes the state of a namespace of which nothing is known yet. It begins to take the
// kernel's events, and comes before the kernel runs.
func New(c Config) *Namespace {
	log := c.Log
	if c.NetNS != "" {
		log = log.With("netns", string(c.NetNS))
	}
	links, audit := newLinks(), newAudit(log)
	return &Namespace{name: c.NetNS, path: c.Path, log: log, kernel: c.Kernel, vrfs: c.VRFs, links: &links,
		desired: desired{log: log, kernel: c.Kernel, links: &links},
		shield:  shield{log: log, audit: audit, firewall: c.Firewall},
		audit:   audit,
		roles:   roles{detached: map[int]bool{}},
		room:    c.Room,
		events:  c.Kernel.Watch(fib.WatchOptions{Buffer: eventBuffer})}
}

// NetNS returns the name that the configuration has for the namespace.
func (n *Namespace) NetNS() config.NetNS { return n.name }

// Path leads to the namespace as long as this process lives; "" is the process's own.
func (n *Namespace) Path() string { return n.path }

// Log returns the logger of what happens in the namespace.
func (n *Namespace) Log() *slog.Logger { return n.log }

// Kernel returns what the namespace's routes and rules are in. It is safe for concurrent use.
func (n *Namespace) Kernel() Kernel { return n.kernel }

// Links returns what is known of the interfaces.
func (n *Namespace) Links() *Links { return n.links }

// Where returns the namespace's name between words, nothing for the daemon's own.
func (n *Namespace) Where(before string, after ...string) string {
	if n.name == "" {
		return ""
	}
	return before + string(n.name) + strings.Join(after, "")
}

// Configure takes another configuration; part is what of it lives in the namespace.
func (n *Namespace) Configure(whole, part *config.Config) {
	n.whole, n.part = whole, part
	n.wanted.set(part)
	for _, o := range part.Gateways() {
		n.desired.report("route", n.OwnTable(o.Gateway.Table.ID))
	}
}

// Part returns what of the configuration lives in the namespace.
func (n *Namespace) Part() *config.Config { return n.part }

// IsUplink reports whether routes other than a guest's may lead over an interface.
func (n *Namespace) IsUplink(name string) bool { return isUplink(n.part, name) }

// LinkChange is what an event about an interface has changed.
type LinkChange struct {
	Appeared  bool // its name stands for another interface than before, or for its first
	Different bool // its MAC, bridge or VRF is another, or it was set down
	CameUp    bool // it has its carrier
}

// SetLink takes an event about an interface that is there.
func (n *Namespace) SetLink(link fib.Link) LinkChange {
	old, known := n.links.Get(link.IfIndex)
	if n.links.set(link) {
		return LinkChange{Appeared: true}
	}
	if !known {
		return LinkChange{}
	}
	return LinkChange{
		Different: old.MAC != link.MAC || old.AdminUp && !link.AdminUp || old.Master != link.Master,
		CameUp:    link.Up() && !old.Up(),
	}
}

// DeleteLink takes the event that an interface is gone.
func (n *Namespace) DeleteLink(ifindex int) { n.links.gone(ifindex) }

// SetAddress takes an event about an address, which may be gone.
func (n *Namespace) SetAddress(e fib.Event) { n.links.address(e) }

// Detach notes that an interface is a guest's no more.
func (n *Namespace) Detach(ifindex int) { n.roles.detached[ifindex] = true }

// Enslave puts every interface into its VRF.
func (n *Namespace) Enslave(guests []config.Guest) {
	if n.vrfs != nil {
		enslave(n.vrfs, n.part, n.links, guests, n.desired.report)
	}
}

// DecideTrust decides anew which interfaces are the host's own; guests are all that there are
// anywhere, here or not.
func (n *Namespace) DecideTrust(guests []config.Guest) {
	n.roles.decideTrust(n.log, n.part, n.links, guests)
}

// Apply brings about everything that follows from the configuration and the guests, and returns
// the addresses that are to go once the routes have.
func (n *Namespace) Apply(g Guests) (drop []fib.Address) {
	detached := n.roles.findDetached(n.part, n.links, g.List)
	return n.desired.apply(domain.NewStatic(n.opened(), g.List, domain.Links{Heard: g.Heard, Detached: detached}))
}

// Preview is what a namespace would have with another configuration, or has.
type Preview struct {
	Static   domain.Static
	Firewall *firewall.Spec // nil: none
}

// Now returns what the namespace has. It must not be changed.
func (n *Namespace) Now() Preview {
	p := Preview{Static: n.desired.static}
	if n.shield.firewall != nil && !n.shield.remove {
		p.Firewall = n.shield.applied
	}
	return p
}

// Preview returns what Apply and ApplyFirewall would bring about with another configuration, of
// which part lives here; now are the guests that are here, g those that would be, and all those
// that there would be anywhere. It changes nothing.
func (n *Namespace) Preview(whole, part *config.Config, now []config.Guest, g Guests, all []config.Guest) Preview {
	then := roles{trust: domain.NewTrust(part, all, interfaces(n.links)), detached: maps.Clone(n.roles.detached)}
	for _, was := range now { // findDetached takes out those that stay
		if i := n.links.Index(was.Interface); i != 0 {
			then.detached[i] = true
		}
	}
	p := Preview{Static: domain.NewStatic(part, g.List, domain.Links{Heard: g.Heard, Detached: then.findDetached(part, n.links, g.List)})}
	if n.shield.firewall != nil && !withoutFirewall(part) {
		s := spec(whole, part, g, n.links, then.trust.Host, n.room)
		p.Firewall = &s
	}
	return p
}

// DeleteAddresses deletes what Apply returned.
func (n *Namespace) DeleteAddresses(list []fib.Address) {
	for _, a := range list {
		n.desired.report("address", n.kernel.DeleteAddress(a))
	}
}

// ApplyFirewall brings the firewall in line with the guests that are here.
func (n *Namespace) ApplyFirewall(g Guests) {
	n.shield.apply(n.whole, spec(n.whole, n.part, g, n.links, n.roles.trust.Host, n.room))
}

// RepairFirewall applies the firewall again as it was applied last.
func (n *Namespace) RepairFirewall() { n.shield.repair() }

// FollowFirewall repairs the firewall when another program has changed it, until ctx ends; do
// runs a function on the goroutine that owns the namespace. It is called on another one.
func (n *Namespace) FollowFirewall(ctx context.Context, table string, do func(func())) {
	n.shield.follow(ctx, table, do)
}

// AuditFirewall reads the firewall again as often as the configuration says, and repairs what another
// program has changed without a notification, until ctx ends; do is as with FollowFirewall. It is called
// on another goroutine than the owner's.
func (n *Namespace) AuditFirewall(ctx context.Context, table string, interval time.Duration, do func(func())) {
	n.shield.look(ctx, table, interval, do)
}

// BalanceFlows prevents that the flows of one transparent address fill the kernel's table, until
// ctx ends. It may be called on any goroutine.
func (n *Namespace) BalanceFlows(ctx context.Context) { n.shield.balance(ctx) }

// Drops counts the packets that the firewall has dropped, by the reason. It may be called on
// any goroutine.
func (n *Namespace) Drops() (map[string]uint64, error) {
	if n.shield.firewall == nil {
		return nil, nil
	}
	return n.shield.firewall.Drops()
}

// Flooded counts the packets of each uplink that were dropped as a part of a flood, by the reason. It may be called on any
// goroutine.
func (n *Namespace) Flooded() (map[string]map[string]uint64, error) {
	if n.shield.firewall == nil {
		return nil, nil
	}
	return n.shield.firewall.Flooded()
}

// FollowFloods logs when an uplink is flooded, and when it is no more, until ctx ends. It may be called on any goroutine.
func (n *Namespace) FollowFloods(ctx context.Context) { n.shield.floods(ctx) }

// OwnTable makes the routes of a table ours, if they are not yet: those of a domain that comes.
func (n *Namespace) OwnTable(table uint32) error { return n.kernel.OwnTable(table) }

// SetRoute has the kernel route as a domain wants it, and returns why it cannot, "" if it can.
func (n *Namespace) SetRoute(route domain.Route) (why string) { return n.desired.setRoute(route) }

// DeleteRoute has the kernel not route any more.
func (n *Namespace) DeleteRoute(k domain.Key) {
	n.desired.report("route", n.kernel.DeleteRoute(peering.Key(k)))
}

// Locals returns the routes to guests and to our own addresses in a domain.
func (n *Namespace) Locals(domain string) map[netip.Prefix]domain.Local {
	return n.desired.static.Locals[domain]
}

// Rules returns the policy rules of a family.
func (n *Namespace) Rules(ipv6 bool) (list []domain.Rule) {
	for _, rule := range n.desired.static.Rules {
		if rule.IPv6 == ipv6 {
			list = append(list, rule)
		}
	}
	return list
}

// Sweep removes the routes of an earlier run that nothing has asked for.
func (n *Namespace) Sweep() {
	n.swept = true
	n.kernel.Sweep()
}

// Swept reports whether Sweep has been called.
func (n *Namespace) Swept() bool { return n.swept }

// Continues reports whether an earlier run has left routes that forward.
func (n *Namespace) Continues() bool { return n.preserved.any() }

// Preserved returns the families whose forwarding state an earlier run has left in the tables
// of all of these domains, which share sessions, as far as they carry the family.
func (n *Namespace) Preserved(domains []config.Domain, carries func(config.Domain) (v4, v6 bool)) []wire.Family {
	return n.preserved.families(domains, carries)
}

// HasAddress reports whether an address of ours exists.
func (n *Namespace) HasAddress(a netip.Addr) bool { return n.links.HasAddress(a) }

// LinkLocal returns our IPv6 link-local address on an interface, the zero Addr if there is none.
func (n *Namespace) LinkLocal(link string) netip.Addr { return n.links.LinkLocal(link) }

// NameState returns what became of the namespace's name. It may be called on any goroutine.
func (n *Namespace) NameState() NameState { return nameState(n.file, n.name.Path()) }
