package config

import "time"

// Config is the whole file. [Parse] fills every default, so that a reader never
// asks "was it given".
type Config struct {
	// RouterID is the BGP identifier, an IPv4 address. Required.
	RouterID Addr `yaml:"router-id" json:"router-id"`
	// AS is the autonomous system of this hypervisor. Required.
	AS uint32 `yaml:"as" json:"as"`
	// API is the unix socket that `hvrouter show` talks to. Default
	// /run/hvrouter/api.sock.
	API string `yaml:"api,omitempty" json:"api,omitempty"`
	// APIGroup is the group, by name or number, whose members may read over that socket; root
	// and the daemon's own user may change things. Default: none.
	APIGroup string `yaml:"api-group,omitempty" json:"api-group,omitempty"`
	// Metrics is the TCP address and port at which Prometheus gets /metrics, and nothing else.
	// There is neither encryption nor a password. Default: none, they are on the socket only.
	Metrics string `yaml:"metrics,omitempty" json:"metrics,omitempty"`
	// StateDirectory holds what outlives a restart of the host: a drain, guests that were moved, sessions that are
	// disabled, the last events. Default /var/lib/hvrouter; with another api, its path with
	// .state appended.
	StateDirectory string `yaml:"state-directory,omitempty" json:"state-directory"`
	// Audit reads the kernel again, to find what no notification has told.
	Audit Audit `yaml:"audit,omitempty" json:"audit"`
	// Log is the least level that is written to standard error: debug, info, warn
	// or error. Default info.
	Log string `yaml:"log,omitempty" json:"log,omitempty"`
	// LogFormat is text (default) or json, one object a line.
	LogFormat string `yaml:"log-format,omitempty" json:"log-format,omitempty"`

	// Loopback is the address of the hypervisor itself. Default: none.
	Loopback Loopback `yaml:"loopback,omitempty" json:"loopback,omitzero"`
	// BFD watches the peers.
	BFD BFD `yaml:"bfd,omitempty" json:"bfd"`
	// BGP has what holds for every session.
	BGP BGP `yaml:"bgp,omitempty" json:"bgp"`
	// Domains are the routing domains, at least one.
	Domains []Domain `yaml:"domains" json:"domains"`
	// Sessions carry several domains each, told apart by the domains' communities. A
	// domain that one of them carries has no reflectors of its own.
	Sessions []Reflector `yaml:"sessions,omitempty" json:"sessions,omitempty"`
	// Isolation says what keeps domains apart: rules (a policy rule for each uplink), netns
	// (domains in network namespaces, with rules where several share one), vrf (each domain
	// is a VRF device that its uplinks, its guests and its loopback belong to) or fwmark
	// (nftables marks packets by the interface they come in on, rules select by mark; it
	// holds for IPv6 too, and what comes in elsewhere goes nowhere). What the hypervisor
	// itself sends has no mark. Default: netns if a domain names one, rules otherwise.
	Isolation string `yaml:"isolation,omitempty" json:"isolation"`
	// FwmarkMask is the bits of the mark that are ours; all others are left as they are.
	// Default 0xff.
	FwmarkMask uint32 `yaml:"fwmark-mask,omitempty" json:"fwmark-mask,omitempty"`
	// LastResortBy says what ends a lookup that found nothing: routes (default) of
	// the greatest metric in each table, or rules behind each lookup, which leave
	// the tables to others.
	LastResortBy string `yaml:"last-resort-by,omitempty" json:"last-resort-by"`
	// LocalOut is the table for what the hypervisor itself sends. Default: none.
	LocalOut *LocalOut `yaml:"local-out,omitempty" json:"local-out,omitempty"`
	// Rules replaces the policy rules that follow from the domains. Default: those.
	Rules *Rules `yaml:"rules,omitempty" json:"rules,omitempty"`
	// Edge is what all guest interfaces have in common.
	Edge Edge `yaml:"edge,omitempty" json:"edge"`
	// Guests are those of the file; others come from the inventory and over the API.
	Guests []Guest `yaml:"guests,omitempty" json:"guests,omitempty"`
	// GuestTemplates makes guests of interfaces that appear.
	GuestTemplates []Template `yaml:"guest-templates,omitempty" json:"guest-templates,omitempty"`
	// Inventory says where guests come from besides the file.
	Inventory Inventory `yaml:"inventory,omitempty" json:"inventory,omitzero"`
	// Overlays are VXLAN segments. Default: none.
	Overlays []Overlay `yaml:"overlays,omitempty" json:"overlays,omitempty"`
	// Firewall is what stands between guests and the hypervisor.
	Firewall Firewall `yaml:"firewall,omitempty" json:"firewall"`

	from source // the file
	text string // all of it
}

// Loopback is the hypervisor's own address, reachable over both fabrics.
type Loopback struct {
	// Interface carries the address. It must exist and be up: while it is down, the address is not
	// announced.
	Interface string `yaml:"interface" json:"interface"`
	// Address is a /32 or /128. It is announced in every domain that says
	// loopback: true, and is the source of what the hypervisor sends itself.
	Address InterfacePrefix `yaml:"address" json:"address"`
}

// Audit is about interfaces, addresses, rules, neighbours, next-hop objects and routes, our nftables
// table, and forwarding entries of overlays: what differs from what was notified is an event, and is
// repaired. It takes a hundredth of the time at most.
type Audit struct {
	// Interval is how often a round begins, at least 1s. A round over many routes takes longer.
	// Default 30s.
	Interval Duration `yaml:"interval,omitempty" json:"interval"`
	// Off reads nothing again but what notifications leave open. Default false.
	Off bool `yaml:"off,omitempty" json:"off,omitempty"`
}

// Round is how often the kernel is read again; negative: never.
func (a Audit) Round() time.Duration {
	if a.Off {
		return -1
	}
	return a.Interval.Duration
}

// BFD holds for every session that does not say bfd: off.
type BFD struct {
	// Interval between packets, sent and expected. Default 100ms.
	Interval Duration `yaml:"interval,omitempty" json:"interval"`
	// Multiplier: packets that may go missing, 1 to 255. Default 5.
	Multiplier uint8 `yaml:"multiplier,omitempty" json:"multiplier"`
	// Process says where the sessions live: separate (default) in a process of
	// their own that outlives the daemon, in-process, or off.
	Process string `yaml:"process,omitempty" json:"process"`
	// Socket of the separate process. Default: the API socket's path with .bfd
	// appended.
	Socket string `yaml:"socket,omitempty" json:"socket"`
	// Realtime scheduling of the sessions' thread: auto (default: when permitted),
	// on (refuse to run without) or off.
	Realtime string `yaml:"realtime,omitempty" json:"realtime"`
	// Strict has BGP sessions wait for BFD (draft-ietf-idr-bgp-bfd-strict-mode-19): off (default);
	// on, with peers that offer it as well, and an ordinary session with others; required, with
	// all peers. A change counts for a session from its next start on.
	Strict string `yaml:"strict,omitempty" json:"strict"`
	// StrictHoldTime is how long an attempt waits for BFD. Default: BGP's hold time with
	// the peer.
	StrictHoldTime Duration `yaml:"strict-hold-time,omitempty" json:"strict-hold-time,omitzero"`
	// StrictHoldDown is how long BFD must have been up before a session that waits for it comes
	// up. One that flaps has to be up for longer: 1s to 60s. Default 0s.
	StrictHoldDown Duration `yaml:"strict-hold-down,omitempty" json:"strict-hold-down,omitzero"`
	// Profiles are other intervals, for the sessions that name one with bfd-profile.
	Profiles []BFDProfile `yaml:"profiles,omitempty" json:"profiles,omitempty"`
}

// BFDProfile is how a BFD session is, if it names the profile.
type BFDProfile struct {
	// Name is unique. Required.
	Name string `yaml:"name" json:"name"`
	// Interval between packets, sent and expected. Default: bfd.interval.
	Interval Duration `yaml:"interval,omitempty" json:"interval"`
	// Multiplier: packets that may go missing, 1 to 255. Default: bfd.multiplier.
	Multiplier uint8 `yaml:"multiplier,omitempty" json:"multiplier"`
	// Passive waits for the peer's first packet (RFC 5880, Section 6.1). Default false.
	Passive bool `yaml:"passive,omitempty" json:"passive,omitempty"`
}

// Profile returns the profile of a name; the empty one is the file's bfd itself. Without such a
// profile it is that, too: the check has refused the name.
func (b BFD) Profile(name string) BFDProfile {
	for _, p := range b.Profiles {
		if p.Name == name {
			return p
		}
	}
	return BFDProfile{Interval: b.Interval, Multiplier: b.Multiplier}
}

// BGP holds for every session.
type BGP struct {
	// Port dialled and listened on. Default 179.
	Port uint16 `yaml:"port,omitempty" json:"port"`
	// HoldTime proposed in OPEN: at least 3s, or 0s for none, without KEEPALIVEs.
	// Default 90s.
	HoldTime Duration `yaml:"hold-time,omitempty" json:"hold-time"`
	// ConnectRetry is the longest wait between attempts to connect that nobody answers.
	// They start 50ms apart. Default 5s.
	ConnectRetry Duration `yaml:"connect-retry,omitempty" json:"connect-retry"`
	// IdleHold is the longest wait after a peer has refused a session, or ends each
	// soon after it is up. It starts at 1s and doubles; the peer's own connections are
	// taken meanwhile. Default 60s.
	IdleHold Duration `yaml:"idle-hold,omitempty" json:"idle-hold"`
	// TTLSecurity is GTSM, RFC 5082, Section 3, both ways. Default true.
	TTLSecurity bool `yaml:"ttl-security" json:"ttl-security"`
	// MD5 is the key of RFC 2385, Section 2.0; empty is none.
	MD5 string `yaml:"md5,omitempty" json:"-"`
	// MD5File is the file that has the key in place of md5: an absolute path, which not
	// everybody may read, or the name of a credential of the unit (LoadCredential= in
	// systemd.exec(5)). It is read at the start and at each reload; a newline at its end is none
	// of the key's.
	MD5File string `yaml:"md5-file,omitempty" json:"md5-file,omitempty"`
	// AddPath is RFC 7911, Section 5, reception, so that anycast shows all its copies. Default
	// true.
	AddPath bool `yaml:"add-path" json:"add-path"`
	// Multipath is the most gateways a route gets. Default 16.
	Multipath int `yaml:"multipath,omitempty" json:"multipath"`

	// GracefulRestart lets peers keep our routes while the daemon restarts.
	GracefulRestart GracefulRestart `yaml:"graceful-restart,omitempty" json:"graceful-restart"`

	// RTConstrain offers route target constraint (RFC 4684, Section 4) on the sessions that carry EVPN: a reflector that
	// takes it sends only EVPN routes with route targets that an overlay imports. What we announce does not
	// depend on it. Default false: a reflector that takes it and does it wrong sends too little (GoBGP
	// 3.10 no IPv4 and IPv6 routes in the session).
	RTConstrain bool `yaml:"rt-constrain,omitempty" json:"rt-constrain,omitempty"`

	// PrefixLimit of each session, as far as it has none of its own.
	PrefixLimit PrefixLimit `yaml:"prefix-limit,omitempty" json:"prefix-limit"`
}

// GracefulRestart is RFC 4724, Section 4, and RFC 9494, Section 4.2.
type GracefulRestart struct {
	// Off turns graceful restart off.
	Off bool `yaml:"off,omitempty" json:"off,omitempty"`
	// Time that peers keep our routes while we are away. Default 120s, at most
	// 4095s.
	Time Duration `yaml:"time,omitempty" json:"time"`
	// Deferral is the longest wait for the peers' End-of-RIB before the kernel is
	// brought in line after a restart. Default 30s.
	Deferral Duration `yaml:"deferral,omitempty" json:"deferral"`
	// LongLived is the stale time of RFC 9494, Section 4.2. Default 0: off.
	LongLived Duration `yaml:"long-lived,omitempty" json:"long-lived"`
}

// Domain is one routing domain: a table, the reflectors that fill it and what we
// put into it. Domains never exchange routes, except through [LocalOut].
type Domain struct {
	// Name is unique. Required.
	Name string `yaml:"name" json:"name"`
	// NetNS is the network namespace that the domain lives in, with its uplinks:
	// NAME for /run/netns/NAME, or a path. Default: the daemon's own. Guests'
	// interfaces are in the namespace of the guests' domain.
	NetNS NetNS `yaml:"netns,omitempty" json:"netns,omitempty"`
	// Table of IPv4 and IPv6, of no other domain of the namespace. Required, but
	// with netns its default is main (254). Main is for a domain that is alone in
	// its namespace: there are no policy rules then.
	Table Table `yaml:"table" json:"table"`
	// Fwmark of packets of this domain, inside fwmark-mask, with isolation: fwmark only.
	// Default: the number of the table, if it fits.
	Fwmark uint32 `yaml:"fwmark,omitempty" json:"fwmark,omitempty"`
	// VRF is the name of the domain's VRF device, with isolation: vrf only; it is made
	// if it is missing. Default: the domain's name.
	VRF string `yaml:"vrf,omitempty" json:"vrf,omitempty"`
	// Guests tells that guests' routes belong to this domain. Exactly one domain
	// has it if there are guests; its table is the one that everything without a
	// rule of its own ends in.
	Guests bool `yaml:"guests,omitempty" json:"guests,omitempty"`
	// Loopback announces the loopback address here and makes it the source
	// address of the domain's routes.
	Loopback bool `yaml:"loopback,omitempty" json:"loopback,omitempty"`
	// Metric of the routes that BGP brings. Default 32; it must lose against the
	// guests' 10.
	Metric uint32 `yaml:"metric,omitempty" json:"metric"`
	// LastResort is what ends a lookup that nothing matched: blackhole (default),
	// unreachable, prohibit or none (default in table main, which ends by itself).
	LastResort string `yaml:"last-resort,omitempty" json:"last-resort"`
	// Unreachable prefixes answer "host unreachable" where nothing more specific
	// is known, so that no packet and no ARP reply for an address that nobody has
	// follows the default route.
	Unreachable []Prefix `yaml:"unreachable,omitempty" json:"unreachable,omitempty"`
	// Redistribute announces the routes that others put into the table, but for those of
	// BIRD and of FRR's bgpd (protocols 12 and 186), which lead to other routers, and those with a TOS.
	// Default true; "off" is written redistribute: false. In table main of the daemon's own
	// namespace, which has routes of many, the default is false.
	Redistribute *bool `yaml:"redistribute,omitempty" json:"redistribute,omitempty"`
	// AnycastECMP makes a prefix that is both local and remote one ECMP route of both
	// (anycast); by default local wins.
	AnycastECMP bool `yaml:"anycast-ecmp,omitempty" json:"anycast-ecmp,omitempty"`
	// Interfaces of the domain besides those of its sessions; rules are made for
	// them too.
	Interfaces []string `yaml:"interfaces,omitempty" json:"interfaces,omitempty"`
	// Community marks the domain's routes on a session that it shares with others
	// ([Config.Sessions]): what we announce gets it, and what has it is the domain's.
	Community Community `yaml:"community,omitempty" json:"community,omitzero"`
	// Reflectors: one BGP session each.
	Reflectors []Reflector `yaml:"reflectors,omitempty" json:"reflectors"`
	// Neighbors are routers on the same link, such as top-of-rack switches that speak eBGP: one session
	// each.
	Neighbors []Neighbor `yaml:"neighbors,omitempty" json:"neighbors,omitempty"`

	// Found are the routers that were found on interfaces of neighbours without an address. They
	// are not of the file: [Config.WithFound].
	Found []Found `yaml:"-" json:"-"`
}

// Redistributes reports whether foreign routes in the table are announced.
func (d Domain) Redistributes() bool { return d.Redistribute == nil || *d.Redistribute }

// Reflector is one BGP session, bound to one interface of one fabric.
type Reflector struct {
	// Name stands for the peer in commands, and is in what they print with -j. Default: the
	// peer's address.
	Name string `yaml:"name,omitempty" json:"name,omitempty"`
	// Fabric is a label; sessions of one fabric fail together. Default: the
	// interface.
	Fabric string `yaml:"fabric,omitempty" json:"fabric"`
	// Interface of ours that the session is bound to. Required.
	Interface string `yaml:"interface" json:"interface"`
	// Local is our address on the interface and the next hop that we announce.
	Local Addr `yaml:"local" json:"local"`
	// Peer is the address of the reflector. Required.
	Peer Addr `yaml:"peer" json:"peer"`
	// AS of the peer. Default: our own (iBGP).
	AS uint32 `yaml:"as,omitempty" json:"as"`
	// Families carried. Default: the family of the peer's address.
	Families []Family `yaml:"families,omitempty" json:"families"`
	// NextHop6 is the next hop for IPv6 routes on a session over IPv4. Required
	// there, ignored elsewhere.
	NextHop6 Addr `yaml:"next-hop6,omitempty" json:"next-hop6,omitzero"`
	// BFD off leaves the session without; echo watches a peer that speaks no BFD
	// with packets that it forwards back to us (RFC 9747, Section 2), so it must be a router;
	// anything else follows the file's bfd.
	BFD string `yaml:"bfd,omitempty" json:"bfd,omitempty"`
	// BFDStrict overrides bfd.strict for this session: off, on or required.
	BFDStrict string `yaml:"bfd-strict,omitempty" json:"bfd-strict,omitempty"`
	// BFDProfile is the name of one of bfd.profiles, which the session's BFD is by. Default: the
	// file's bfd itself.
	BFDProfile string `yaml:"bfd-profile,omitempty" json:"bfd-profile,omitempty"`
	// RestartTime is how long this peer keeps our routes while we are away, in place
	// of bgp.graceful-restart.time: 1s to 4095s. A peer that keeps them although BFD
	// says that we are gone is better told a short one. A change counts from the
	// session's next start on.
	RestartTime Duration `yaml:"restart-time,omitempty" json:"restart-time,omitzero"`
	// PrefixLimit of this session. What is not given is as in bgp.prefix-limit.
	PrefixLimit PrefixLimit `yaml:"prefix-limit,omitempty" json:"prefix-limit"`
	// MD5 overrides the file's key.
	MD5 string `yaml:"md5,omitempty" json:"-"`
	// MD5File overrides the file's key with the content of a file, as bgp.md5-file.
	MD5File string `yaml:"md5-file,omitempty" json:"md5-file,omitempty"`
	// Import and Export decide about routes from and to the peer. Default: all are
	// accepted as they are, of a peer in our own AS; with another one nothing is exchanged
	// (RFC 8212, Section 3), and [{action: accept}] accepts all.
	Import Policy `yaml:"import,omitempty" json:"import,omitempty"`
	Export Policy `yaml:"export,omitempty" json:"export,omitempty"`
	// AdvertiseNextHops are the next hops that the session announces. Default: one, its own.
	AdvertiseNextHops []NextHop `yaml:"advertise-next-hops,omitempty" json:"advertise-next-hops,omitempty"`

	// Neighbor has what a session with a neighbour has besides; nil for one with a reflector.
	Neighbor *Neighbor `yaml:"-" json:"-"`
}

// LocalOut is the table for packets that the hypervisor itself sends: everything
// of the named domains plus the guests that live here.
type LocalOut struct {
	// Table is of no domain. Required.
	Table Table `yaml:"table" json:"table"`
	// Domains whose whole table is copied.
	Domains []string `yaml:"domains" json:"domains"`
	// LastResort as in [Domain]. Default unreachable.
	LastResort string `yaml:"last-resort,omitempty" json:"last-resort"`
}

// Rules replaces the generated set of the daemon's own namespace. Priorities must be unique in a family, and
// must keep a rule for table local (255), or the hypervisor stops hearing its own
// addresses.
type Rules struct {
	// IPv4 and IPv6 are the rules of each family. Required.
	IPv4 []Rule `yaml:"ipv4" json:"ipv4"`
	IPv6 []Rule `yaml:"ipv6" json:"ipv6"`
}

// Rule is one policy rule.
type Rule struct {
	// Priority is the order: the least is asked first. Required.
	Priority uint32 `yaml:"priority" json:"priority"`
	// IIF is the interface that a packet came in on, lo for what the hypervisor itself
	// sends. Default: any.
	IIF string `yaml:"iif,omitempty" json:"iif,omitempty"`
	// From is what the source address is in. Default: any.
	From Prefix `yaml:"from,omitempty" json:"from,omitzero"`
	// To is what the destination address is in. Default: any.
	To Prefix `yaml:"to,omitempty" json:"to,omitzero"`
	// Fwmark is the mark that a packet has in the bits of Fwmask. Default: any.
	Fwmark uint32 `yaml:"fwmark,omitempty" json:"fwmark,omitempty"`
	// Fwmask is the bits of the mark that count. Default: all.
	Fwmask uint32 `yaml:"fwmask,omitempty" json:"fwmask,omitempty"`
	// Table to look up; for action blackhole, unreachable and prohibit it stays
	// empty.
	Table Table `yaml:"table,omitempty" json:"table,omitzero"`
	// Action of a rule without a table: blackhole, unreachable or prohibit.
	Action string `yaml:"action,omitempty" json:"action,omitempty"`
}

// Firewall is what stands between guests and us.
type Firewall struct {
	// Off leaves nftables and rp_filter alone.
	Off bool `yaml:"off,omitempty" json:"off,omitempty"`
	// Table is the name of our nftables table (family inet). Default hvrouter.
	Table string `yaml:"table,omitempty" json:"table"`
	// Trusted are the host's own interfaces besides uplinks and loopback: management,
	// storage, a bridge of its own; patterns such as wg* are possible. What arrives on an
	// interface that is neither uplink, nor an attached guest's, nor trusted, is dropped.
	// Without the key an interface is trusted if it has an IPv4 address of global scope,
	// or a permanent IPv6 address of global scope, and is not named like a guest's: with
	// it, [] included, only those listed are.
	Trusted []string `yaml:"trusted,omitempty" json:"trusted,omitempty"`
	// Open lists what guests may send to the hypervisor besides ICMP, ARP, ND and
	// DHCP: "udp 53", "tcp 80".
	Open []string `yaml:"open,omitempty" json:"open,omitempty"`
	// LogRate is the most dropped packets a second that are logged. Default 0: no
	// logging.
	LogRate uint32 `yaml:"log-rate,omitempty" json:"log-rate,omitempty"`
}

// Overlay is one VXLAN segment with a bridge.
type Overlay struct {
	// Name of the VXLAN device.
	Name string `yaml:"name" json:"name"`
	// VNI is the segment's VXLAN network identifier. Required.
	VNI uint32 `yaml:"vni" json:"vni"`
	// Port is the UDP destination port. Default 4789.
	Port uint16 `yaml:"port,omitempty" json:"port"`
	// Bridge that joins the device and the members; it is made if it is missing.
	Bridge string `yaml:"bridge" json:"bridge"`
	// Members are the guests' interfaces on this segment.
	Members []string `yaml:"members,omitempty" json:"members,omitempty"`
	// Local is the VTEP. Default: the loopback address.
	Local Addr `yaml:"local,omitempty" json:"local,omitzero"`
	// Peers is a fixed flood list.
	Peers []Addr `yaml:"peers,omitempty" json:"peers,omitempty"`
	// VTEPs makes the flood list follow BGP: every host route inside this prefix
	// that a domain has learned is a peer.
	VTEPs Prefix `yaml:"vteps,omitempty" json:"vteps,omitzero"`
	// MTU of device and bridge. Default 1500, which needs 1550 on the fabrics.
	MTU uint32 `yaml:"mtu,omitempty" json:"mtu"`
	// EVPN has BGP say where the guests of the segment are; peers stay in the flood list. {} is all
	// defaults. Default: off, stations are learned from what they send. The first overlay that has it, and the last, is
	// what resets sessions.
	EVPN *EVPN `yaml:"evpn,omitempty" json:"evpn,omitempty"`
	// Gateway has the hypervisor route between the guests of overlays. It needs evpn and the firewall. Default: off, the
	// hypervisor has no address on the overlay.
	Gateway *Gateway `yaml:"gateway,omitempty" json:"gateway,omitempty"`
}
