package bgp

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"time"

	"github.com/hyperfib/hyperfib/bgp/fsm"
	"github.com/hyperfib/hyperfib/bgp/rib"
	"github.com/hyperfib/hyperfib/bgp/wire"
)

// PeerKey identifies a peer of a speaker. It is comparable.
type PeerKey struct {
	// Addr is the peer's address; link-local ones have a zone.
	Addr netip.Addr
	// Local is our address of the session if the peer was configured with one,
	// without a zone, else the zero Addr. One peer address can thus have several
	// sessions, one for each of ours.
	Local netip.Addr
}

// String returns "ADDR", or "ADDR from LOCAL".
func (k PeerKey) String() string {
	if !k.Local.IsValid() {
		return k.Addr.String()
	}
	return k.Addr.String() + " from " + k.Local.String()
}

// compare orders keys by peer address, then by our own.
func (k PeerKey) compare(o PeerKey) int {
	return cmp.Or(k.Addr.Compare(o.Addr), k.Local.Compare(o.Local))
}

// AnyAS as PeerConfig.AS accepts every AS number in the peer's OPEN.
const AnyAS = fsm.AnyAS

// ExternalAS as PeerConfig.AS accepts every AS number but our own in the peer's OPEN.
const ExternalAS = fsm.ExternalAS

// PeerConfig is the configuration of one peer, or the template of a range. It is
// copied by the speaker. Fields marked "soft" can be changed by
// [Speaker.UpdatePeer] without a reset of the session.
type PeerConfig struct {
	// Addr is the peer's address. Required, except in a template.
	Addr netip.Addr
	// Port is the peer's TCP port; 0 means 179.
	Port uint16
	// AS is the peer's AS number; 0 means our own (iBGP), [AnyAS] any,
	// [ExternalAS] any but ours.
	AS uint32
	// LocalAddr is our address of the session; zero leaves it to the kernel. In a
	// template: only connections to this address belong to the range.
	LocalAddr netip.Addr
	// Interface binds our outgoing connections to a device (SO_BINDTODEVICE).
	// For a link-local Addr without a zone it is also the zone.
	Interface string
	// Passive never dials. Soft.
	Passive bool
	// Listen has the speaker listen at LocalAddr and Port as long as it has the peer, if
	// Config.Listen does not have that already: for addresses that come and go. Not for a template.
	// It needs LocalAddr. What connects there is closed at once unless a peer or range is expected
	// from its address. If it cannot be listened there, EventListen says so, and it is tried again,
	// after 1 s at first, in the end every 10 s. An interface that is deleted and made again under its
	// name takes the listener of its link-local address with it: the peer is to be removed and added
	// then. Soft.
	Listen bool
	// Description is for people. Soft.
	Description string

	// Families are offered. Nil means the unicast family of Addr, or of the range's Prefix;
	// with IPv6NextHop it is IPv4 unicast as well.
	Families []wire.Family
	// AddPathReceive and AddPathSend are the families for which several paths a
	// prefix are received or sent (RFC 7911, Section 4).
	AddPathReceive, AddPathSend []wire.Family
	// AddPathLimit is the number of paths per prefix that are sent, best first;
	// 0 means all. Soft.
	AddPathLimit int
	// IPv6NextHop offers IPv4 routes with IPv6 next hops (RFC 8950, Section 4).
	IPv6NextHop bool
	// NoExtendedMessage does not offer messages over 4096 octets (RFC 8654, Section 3).
	NoExtendedMessage bool

	// HoldTime is offered: at least 3 s, in whole seconds; 0 means 90 s, a
	// negative value means none (no KEEPALIVEs).
	HoldTime time.Duration
	// ConnectRetry is the longest wait between attempts to connect that nobody
	// answers, or that find nobody who listens. They start 50 ms apart, and each wait
	// is half as long again as the one before. 0 means 5 s: a peer that is back is
	// called within 6 s, however long it was away. Soft.
	ConnectRetry time.Duration
	// IdleHold is the longest wait after the peer has refused a session (by a
	// NOTIFICATION, or by closing the connection before the session was up), and
	// after a protocol error: the first is 1 s, each is twice as long as the one
	// before (RFC 4271, Section 8.1.1, DampPeerOscillations). It is the longest wait,
	// too, after sessions that came up and lasted less than 10 s each; these start at
	// 250 ms. All waits are shortened at random, by a quarter at most. The peer's own
	// connections are accepted meanwhile. 0 means 60 s. Soft.
	IdleHold time.Duration
	// SendHold is how long the peer may refuse to read before the session is
	// ended (RFC 9687, Section 4.4); 0 means the greater of 8 minutes and twice the hold
	// time. Soft.
	SendHold time.Duration

	// BFDStrict has the session wait for BFD: it does not become Established before
	// [Speaker.PathUp] has said that BFD is Up, if the peer's OPEN offers the same
	// (draft-ietf-idr-bgp-bfd-strict-mode-19). The program that has the BFD sessions calls PathUp
	// and PathDown, and answers [EventBFDWait], for peers of a range as well. Soft: it counts from
	// the next session on; a peer without a session begins anew.
	BFDStrict fsm.StrictConfig
	// TTLSecurity sends with TTL 255 and drops what arrives with less: GTSM (RFC 5082,
	// Section 3), for a directly connected peer unless Multihop is set.
	TTLSecurity bool
	// Multihop is how many hops away the peer may be: an external peer is sent packets with that
	// TTL, and TTLSecurity accepts what was forwarded one time less. 0 means 1: directly
	// connected. It is of no effect for an iBGP peer without TTLSecurity. For [AnyAS] it
	// counts from the moment the session is Established.
	Multihop int
	// EBGP is for an external peer alone. LocalAS and Role are not soft, the rest is.
	EBGP rib.EBGP
	// RoleStrict refuses a peer that sends no role (RFC 9234, Section 4.2).
	RoleStrict bool
	// MD5Key is the key of the TCP MD5 signature (RFC 2385, Section 2.0), at most 80 octets;
	// empty means none.
	MD5Key string

	// RouteReflectorClient makes the (iBGP) peer our client (RFC 4456, Section 5).
	RouteReflectorClient bool
	// DefaultMembership sends the peer no route target membership but the default one, which the table must have
	// (rib.LocalPath): we want all that the peer has. Without it the peer is sent what our others want. Soft.
	DefaultMembership bool
	// IgnoreMemberships sends the peer all of our EVPN routes, whatever route targets it asks for, and does not wait
	// for what it asks, nor for that before best paths are selected. It is for a router that reflects nothing: its own routes
	// are few, and a reflector that takes the family and asks for too little costs them nothing then.
	IgnoreMemberships bool
	// NextHopSelf sets the next hop of what we announce to our address of the
	// session. Paths that we originate have it anyway unless they bring one.
	// Soft.
	NextHopSelf bool
	// NextHop4 and NextHop6 are our next hops for each family; zero means our
	// address of the session for the family it belongs to, and none for the
	// other. Soft.
	NextHop4, NextHop6 netip.Addr
	// LinkLocal is our link-local address on the link that we share with the peer,
	// sent beside our IPv6 next hop (RFC 2545, Section 3: some peers replace a next
	// hop that comes without one). Zero means none, unless the session itself has a
	// link-local address. Soft.
	LinkLocal netip.Addr
	// OffLinkPrefixes holds next hops that are reached over other links than the session,
	// as when a hypervisor announces an address of each fabric on one session: paths
	// with such a next hop outlive the way to the peer, see [Speaker.PathDown]. Soft.
	OffLinkPrefixes []netip.Prefix
	// Import and Export are called for each path received or to be sent. Nil accepts all
	// from and to an iBGP peer, and nothing from or to an external one (RFC 8212, Section 3);
	// see [MissingPolicy]. Soft.
	Import, Export rib.Policy
	// Default announces the default route to the peer, whatever the table has and whatever Export is:
	// to an external peer without an Export it is all that is announced. The zero value does not. Soft.
	Default rib.DefaultRoute
	// AllowOwnAS is how often our own AS may occur in the AS_PATH of a path that is
	// accepted. 0 refuses every path that came through our AS; a fabric whose routers
	// share an AS needs 1. Soft.
	AllowOwnAS int
	// PrefixLimits bounds what the peer may announce, in each family by itself. Soft: a
	// change lets a peer in at once that stays out.
	PrefixLimits map[wire.Family]rib.PrefixLimit
	// MaxPrefixes is the Maximum of each family that PrefixLimits does not have, with
	// [rib.LimitRestart]. 0 means no limit. Soft.
	MaxPrefixes int
	// MaxPrefixesHold is how long the peer stays out after a limit has ended its session;
	// 0 means one minute. It is twice as long each time that happens again, up to an
	// hour, until a session has lasted an hour. [Speaker.Reset] lets the peer in. Soft.
	MaxPrefixesHold time.Duration
	// KeepRefused is how many of the routes that the peer announces and this speaker refuses are kept for
	// [Speaker.Refused], in each of IPv4 and IPv6 unicast. 0 keeps none. Soft: what was refused before is
	// not kept until the peer announces it again, as in answer to [Speaker.Refresh].
	KeepRefused int
	// GracefulRestart, if not nil, replaces Config.GracefulRestart's RestartTime,
	// StaleTime, LongLivedTime and Enabled for this peer; the rest is the speaker's.
	// RestartTime and StaleTime are soft.
	GracefulRestart *GracefulRestart
	// RestartTime is how long this peer shall keep our routes while we are away, in
	// place of GracefulRestart.RestartTime: 1 s to 4095 s, in whole seconds; 0 means
	// the latter. The peer learns it from our OPEN, so a change counts from the next
	// session on and ends none: Negotiated.Local says what the peer was told in this
	// one, and [Speaker.Reset] begins another. Soft.
	//
	// It bounds how long a peer goes on sending others to us if we never come back,
	// unless the peer notices by itself. What peers do when BFD goes down while they
	// wait for us differs; where they keep our routes a short time is better.
	RestartTime time.Duration
}

// Key returns the key of the peer. A link-local Addr needs its zone for that.
func (c *PeerConfig) Key() PeerKey { return PeerKey{Addr: c.Addr, Local: c.LocalAddr.WithZone("")} }

// RangeConfig lets every peer with an address inside Prefix connect. It becomes
// a dynamic peer with all the options of Template, listed in [Speaker.Peers]
// while it has a session or stale paths.
type RangeConfig struct {
	// Prefix holds the addresses of the peers. Of overlapping ranges the
	// longest counts; configured peers come before ranges.
	Prefix netip.Prefix
	// Template is the configuration of each peer; Addr must be zero, Passive is
	// implied.
	Template PeerConfig
	// MaxPeers bounds the number of peers from this range; 0 means only
	// Config.MaxDynamicPeers does.
	MaxPeers int
}

// withDefaults checks c and fills in what is zero.
func (c PeerConfig) withDefaults(template bool) (PeerConfig, error) {
	if c.Addr.IsValid() == template {
		return c, errors.New("a peer needs an Addr, a template must have none")
	}
	if c.Addr.Is6() && c.Addr.IsLinkLocalUnicast() && c.Addr.Zone() == "" {
		if c.Interface == "" {
			return c, fmt.Errorf("link-local %v needs a zone or an Interface", c.Addr)
		}
		c.Addr = c.Addr.WithZone(c.Interface)
	}
	c.Addr = c.Addr.Unmap()
	if err := c.checkLocal(); err != nil {
		return c, err
	}
	if c.Listen && (template || !c.LocalAddr.IsValid() || c.LocalAddr.IsUnspecified()) {
		return c, errors.New("a peer with Listen needs a LocalAddr, and no template has it")
	}
	for what, d := range map[string]time.Duration{"ConnectRetry": c.ConnectRetry, "IdleHold": c.IdleHold, "SendHold": c.SendHold, "MaxPrefixesHold": c.MaxPrefixesHold, "BFDStrict.HoldTime": c.BFDStrict.HoldTime, "BFDStrict.HoldDown": c.BFDStrict.HoldDown} {
		if d < 0 {
			return c, fmt.Errorf("%s %v is negative", what, d)
		}
	}
	if c.HoldTime != 0 && c.HoldTime > 0 && (c.HoldTime < 3*time.Second || c.HoldTime > 65535*time.Second) {
		return c, fmt.Errorf("hold time %v is outside 3 s to 65535 s", c.HoldTime)
	}
	if c.KeepRefused < 0 {
		return c, fmt.Errorf("KeepRefused %d is negative", c.KeepRefused)
	}
	if len(c.MD5Key) > maxMD5Key {
		return c, fmt.Errorf("an MD5 key of %d octets is longer than %d", len(c.MD5Key), maxMD5Key)
	}
	if c.GracefulRestart != nil {
		g := *c.GracefulRestart
		if err := g.check(); err != nil {
			return c, fmt.Errorf("graceful restart: %w", err)
		}
		g = g.withDefaults()
		c.GracefulRestart = &g
	}
	if c.RestartTime != 0 && (c.RestartTime < time.Second || c.RestartTime > 4095*time.Second) {
		return c, fmt.Errorf("restart time %v is outside 1 s to 4095 s", c.RestartTime)
	}
	c.Port = or(c.Port, Port)
	c.HoldTime = max(0, or(c.HoldTime, 90*time.Second))
	c.ConnectRetry = or(c.ConnectRetry, 5*time.Second)
	c.IdleHold = or(c.IdleHold, 60*time.Second)
	c.MaxPrefixesHold = or(c.MaxPrefixesHold, time.Minute)
	if err := c.checkFamilies(); err != nil {
		return c, err
	}
	return c, c.checkLimits()
}

// checkLocal checks LocalAddr; a link-local one gets its zone.
func (c *PeerConfig) checkLocal() error {
	c.LocalAddr = c.LocalAddr.Unmap()
	if !c.LocalAddr.IsValid() || !c.Addr.IsValid() {
		return nil
	}
	if c.LocalAddr.Is4() != c.Addr.Is4() {
		return fmt.Errorf("local address %v and peer address %v are of different families", c.LocalAddr, c.Addr)
	}
	if c.LocalAddr.Is6() && c.LocalAddr.IsLinkLocalUnicast() && c.LocalAddr.Zone() == "" {
		zone := or(c.Addr.Zone(), c.Interface)
		if zone == "" {
			return fmt.Errorf("link-local %v needs a zone or an Interface", c.LocalAddr)
		}
		c.LocalAddr = c.LocalAddr.WithZone(zone)
	}
	return nil
}

// familiesOf returns the families to offer to a peer at an address unless told otherwise.
func (c *PeerConfig) familiesOf(addr netip.Addr) []wire.Family {
	switch {
	case !addr.Is6() || addr.Is4In6():
		return []wire.Family{wire.IPv4Unicast}
	case c.IPv6NextHop:
		return []wire.Family{wire.IPv4Unicast, wire.IPv6Unicast}
	}
	return []wire.Family{wire.IPv6Unicast}
}

func (c *PeerConfig) checkFamilies() error {
	if len(c.Families) == 0 {
		c.Families = c.familiesOf(c.Addr)
	}
	c.Families = wire.Families(c.Families...).Slice()
	for _, f := range slices.Concat(c.AddPathReceive, c.AddPathSend) {
		if !slices.Contains(c.Families, f) {
			return fmt.Errorf("ADD-PATH for %v, which is not among Families", f)
		}
	}
	return nil
}

// checkLimits checks the prefix limits, and makes PrefixLimits what is in force.
func (c *PeerConfig) checkLimits() error {
	limits := maps.Clone(c.PrefixLimits)
	if limits == nil {
		limits = map[wire.Family]rib.PrefixLimit{}
	}
	for f, l := range limits {
		if err := l.Check(); err != nil {
			return fmt.Errorf("%v: %w", f, err)
		}
	}
	if c.MaxPrefixes < 0 {
		return fmt.Errorf("MaxPrefixes %d is negative", c.MaxPrefixes)
	}
	for _, f := range c.Families {
		if _, ok := limits[f]; !ok && c.MaxPrefixes > 0 {
			limits[f] = rib.PrefixLimit{Maximum: c.MaxPrefixes}
		}
	}
	c.PrefixLimits = limits
	return nil
}
