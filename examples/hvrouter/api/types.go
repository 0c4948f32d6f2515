package api

import (
	"net/netip"
	"time"

	"github.com/hyperfib/hyperfib/examples/hvrouter/config"
)

// Session is one configured BGP session.
type Session struct {
	Domain    string         `json:"domain"`          // several, with commas, if they share it
	NetNS     string         `json:"netns,omitempty"` // "": the daemon's own, as everywhere
	Name      string         `json:"name"`
	Fabric    string         `json:"fabric"`
	Interface string         `json:"interface"`
	Local     netip.Addr     `json:"local"`
	Peer      netip.Addr     `json:"peer"`
	State     string         `json:"state"` // of RFC 4271, Section 8.2.2: Idle ... Established
	Since     time.Time      `json:"since"`
	Families  []FamilyRoutes `json:"families"`
	BFD       string         `json:"bfd"`     // its BFD session's state, "off" without one
	Restart   string         `json:"restart"` // phase of graceful restart: none, waiting, long-lived, syncing
	// RestartTime is how long the peer keeps our routes while we are away, as this
	// session's OPEN said: "10s"; "" without graceful restart.
	RestartTime string `json:"restart-time,omitempty"`
	Ups         int    `json:"ups"` // how often it came up
	// Error is why the last connection, or attempt to connect, failed.
	Error string `json:"error,omitempty"`
	// ErrorAt is when Error was.
	ErrorAt time.Time `json:"error-at,omitzero"`
	// ListenError is why the peer cannot connect to us now, with the address and the port: another program
	// has it, or the address is not there yet. Error says so as well, unless the session is Established.
	// ListenErrorSince is since when that is so.
	ListenError      string    `json:"listen-error,omitempty"`
	ListenErrorSince time.Time `json:"listen-error-since,omitzero"`
	// Plain is why our OPEN had no capabilities: IPv4 only, no graceful restart.
	Plain string `json:"plain,omitempty"`
	// MissingPolicy says that the session exchanges nothing in a direction, since the peer is in
	// another AS and has no import or no export (RFC 8212, Section 3).
	MissingPolicy string `json:"missing-policy,omitempty"`
	// BFDWait is since when the session waits for BFD (bfd.strict), zero if it does not.
	// BFDWaitUntil is until when this attempt does; if BFD is up and has flapped, BFDHeldDown is
	// until when it must stay so.
	BFDWait      time.Time `json:"bfd-wait-since,omitzero"`
	BFDWaitUntil time.Time `json:"bfd-wait-until,omitzero"`
	BFDHeldDown  time.Time `json:"bfd-held-down-until,omitzero"`
	// LimitError is why a prefix limit ended the session last, and when; RefusedUntil is
	// until when the peer stays out because of that.
	LimitError   string    `json:"limit-error,omitempty"`
	LimitErrorAt time.Time `json:"limit-error-at,omitzero"`
	RefusedUntil time.Time `json:"refused-until,omitzero"`
	NextHops     []NextHop `json:"next-hops,omitempty"` // of a session with more than its own
	// Capabilities are those that both sides have, while the session is Established, in the
	// words of docs: "graceful-restart 2m0s", "add-path-receive ipv4".
	Capabilities []string  `json:"capabilities,omitempty"`
	HoldTime     string    `json:"hold-time,omitempty"` // negotiated; "0s" is none
	RouterID     string    `json:"router-id,omitempty"` // the peer's
	AS           uint32    `json:"as,omitempty"`        // the peer's
	Sent         *Messages `json:"messages-sent,omitempty"`
	Received     *Messages `json:"messages-received,omitempty"`
	// LastSent and LastReceived are the last NOTIFICATIONs, with their times.
	LastSent       string    `json:"notification-sent,omitempty"`
	LastSentAt     time.Time `json:"notification-sent-at,omitzero"`
	LastReceived   string    `json:"notification-received,omitempty"`
	LastReceivedAt time.Time `json:"notification-received-at,omitzero"`
	// Disabled is since when the session is disabled; zero: it is not. DisabledText is why.
	Disabled     time.Time `json:"disabled-since,omitzero"`
	DisabledText string    `json:"disabled-text,omitempty"`
}

// Messages counts BGP messages in one direction since the session was configured.
type Messages struct {
	Open         uint64 `json:"open"`
	Update       uint64 `json:"update"`
	Notification uint64 `json:"notification"`
	Keepalive    uint64 `json:"keepalive"`
	RouteRefresh uint64 `json:"route-refresh"`
	Octets       uint64 `json:"octets"`
}

// SessionChange is what is done to sessions.
type SessionChange struct {
	Op   string // reset, disable or enable
	Peer string // the peer's address, or the session's name
	// Text is for the peer, and for people here (RFC 9003, Section 2): 255 octets at most.
	Text string
	// Hard: neither side keeps routes over a reset.
	Hard bool
}

// Route is a path in the Adj-RIB-In or the Adj-RIB-Out of a session.
type Route struct {
	Domain      string     `json:"domain"`
	Peer        netip.Addr `json:"peer"`
	Prefix      string     `json:"prefix"`
	PathID      uint32     `json:"path-id,omitempty"`
	NextHop     netip.Addr `json:"next-hop,omitzero"` // zero: the session's own
	LocalPref   uint32     `json:"local-pref"`
	MED         *uint32    `json:"med,omitempty"`
	ASPath      string     `json:"as-path,omitempty"`
	Communities []string   `json:"communities,omitempty"`
	Originator  netip.Addr `json:"originator,omitzero"`
	Stale       bool       `json:"stale,omitempty"` // received: the session has ended, and the path is retained
	// Rank of what is received: 0 is used, 1 would be without that, and so on. Of what is refused it is 0.
	Rank int `json:"rank"`
	// Refused is why what is received is not used at all: policy, prefix limit, AS loop, originator loop,
	// cluster loop, next hop not on-link, malformed ... Empty: it is accepted.
	Refused string `json:"refused,omitempty"`
}

// EVPN is a route of EVPN of an overlay: one that is originated here, or would be, or one of others with a
// route target that the overlay imports.
type EVPN struct {
	Overlay string     `json:"overlay"`
	Type    string     `json:"type"` // multicast or mac-ip: types 3 and 2 of RFC 7432, Section 7
	MAC     string     `json:"mac,omitempty"`
	Address netip.Addr `json:"address,omitzero"`
	VTEP    netip.Addr `json:"vtep"` // where frames go
	RD      string     `json:"rd"`   // the route distinguisher
	// Sequence is that of MAC mobility (RFC 7432, Section 7.7), and Sticky that the MAC does not move.
	Sequence uint32     `json:"sequence"`
	Sticky   bool       `json:"sticky,omitempty"`
	Guest    string     `json:"guest,omitempty"` // whose it is, of ours
	Peer     netip.Addr `json:"peer,omitzero"`   // that it came from, of others
	State    string     `json:"state"`           // announced or withheld of ours, used or unused of others
	Why      string     `json:"why,omitempty"`   // why it is withheld or unused, or not used for its address; that its MAC moves too often
}

// Domain is a routing domain of the configuration.
type Domain struct {
	Name      string `json:"name"`
	NetNS     string `json:"netns,omitempty"`
	Table     uint32 `json:"table"`
	TableName string `json:"table-name,omitempty"` // as the configuration has it
}

// NextHop is one of the next hops that a session announces, of several.
type NextHop struct {
	Domain    string     `json:"domain"`
	Fabric    string     `json:"fabric"`
	Interface string     `json:"interface"`
	NextHop4  netip.Addr `json:"next-hop4,omitzero"`
	NextHop6  netip.Addr `json:"next-hop6,omitzero"`
	Probe     netip.Addr `json:"probe,omitzero"`
	BFD       string     `json:"bfd"`   // the probe's state, "off" without one
	Alive     bool       `json:"alive"` // announced, as long as the session is up
}

// FamilyRoutes counts the routes of a session in one family.
type FamilyRoutes struct {
	Family   string `json:"family"`
	Received int    `json:"received"` // paths that were accepted and are held
	// Advertised is how many paths we advertise in the session.
	Advertised int    `json:"advertised"`
	Stale      int    `json:"stale"`
	Refused    uint64 `json:"refused"`
	// RefusedNotKept is how many announcements of this session were refused beyond those that
	// /v1/routes?received shows: it has 1000 in each family.
	RefusedNotKept uint64 `json:"refused-not-kept,omitempty"`
	Counted        int    `json:"counted"`           // announced in this session: what the prefix limit counts
	Maximum        int    `json:"maximum,omitempty"` // the prefix limit, 0 without one
	Limit          string `json:"limit"`             // within, near or exceeded
	Blocked        uint64 `json:"blocked"`           // of the refused, those beyond the limit
	// NoNextHop is how many prefixes are not sent because neither they nor the session
	// have a next hop of the family.
	NoNextHop int `json:"no-next-hop,omitempty"`
}

// BFD is one BFD session.
type BFD struct {
	NetNS       string     `json:"netns,omitempty"`
	Local       netip.Addr `json:"local"`
	Peer        netip.Addr `json:"peer"`
	Interface   string     `json:"interface"`
	State       string     `json:"state"`
	RemoteState string     `json:"remote-state"`
	Reason      string     `json:"reason,omitempty"`
	Discr       uint32     `json:"discr"`
	RemoteDiscr uint32     `json:"remote-discr"`
	Interval    string     `json:"interval"`
	Detect      string     `json:"detect"`
	RemoteC     bool       `json:"remote-c"`
	// Echo: the peer speaks no BFD, but sends our own packets back.
	Echo  bool      `json:"echo,omitempty"`
	Downs uint64    `json:"downs"`
	Since time.Time `json:"since"`
	// Sent, Received and Refused count packets; those refused reached the session and failed its
	// checks, such as those of authentication.
	Sent     uint64 `json:"sent"`
	Received uint64 `json:"received"`
	Refused  uint64 `json:"refused"`
	// Unsent are packets that found no room in the send buffer, as neighbours that do not resolve had
	// filled it. They are not in Sent, and begin at 0 in each BFD process.
	Unsent uint64 `json:"unsent"`
	// LastDown and LastDownReason are when and why it left Up last; zero: it never did, or before the
	// daemon started (`hvrouter show events -event bfd-down`).
	LastDown       time.Time `json:"last-down,omitzero"`
	LastDownReason string    `json:"last-down-reason,omitempty"`
}

// RIBEntry is one prefix of one domain and where it is known from.
type RIBEntry struct {
	Domain    string    `json:"domain"`
	Prefix    string    `json:"prefix"`
	Source    string    `json:"source"` // local, learned or bgp: the one that counts
	Gateways  []Gateway `json:"gateways"`
	Announced bool      `json:"announced"`
	Why       string    `json:"why,omitempty"` // it is not announced although it should be
	LocalPref uint32    `json:"local-pref,omitempty"`
	// GracefulShutdown: it is announced with that community, since the host is drained.
	GracefulShutdown bool `json:"graceful-shutdown,omitempty"`
}

// Gateway is one next hop.
type Gateway struct {
	Address netip.Addr `json:"address,omitzero"`
	Link    string     `json:"link"`
	OnLink  bool       `json:"onlink,omitempty"`
}

// FIBRoute is one route that is desired, or is ours in the kernel.
type FIBRoute struct {
	NetNS    string     `json:"netns,omitempty"`
	Table    uint32     `json:"table"`
	Prefix   string     `json:"prefix"`
	Metric   uint32     `json:"metric"`
	Type     string     `json:"type"`
	Gateways []Gateway  `json:"gateways,omitempty"`
	PrefSrc  netip.Addr `json:"src,omitzero"`
	State    string     `json:"state"` // installed, pending, held, failed, foreign, stale
	NextHop  uint32     `json:"nhid,omitempty"`
	Error    string     `json:"error,omitempty"`
}

// Guest is a guest and where it stands. One that is present is shown as it is served: with
// its interface, with the addresses that were found, with what it inherits.
type Guest struct {
	config.Guest
	Source  string `json:"source"` // config, directory, api, or interfaces: made by a template
	Present bool   `json:"present"`
	Link    int    `json:"link,omitempty"` // interface index
	// On are the overlays that the guest is on: its interface there exists.
	On []string `json:"on,omitempty"`
	// Refused says why the guest does not count; "" if it does.
	Refused string `json:"refused,omitempty"`
	// DownBy says who has the guest down: its source or, if that does not, "guest move"; "" if it is
	// not down.
	DownBy string `json:"down-by,omitempty"`
	// Moved is when `guest move` said of a guest of a file what the file does not say; zero: it did not.
	Moved time.Time `json:"moved,omitzero"`
	// Abuse counts what the guest said that was of no use, by protocol, while it is present.
	Abuse []Abuse `json:"abuse,omitempty"`
}

// Here reports whether the guest is present, or on an overlay.
func (g *Guest) Here() bool { return g.Present || len(g.On) > 0 }

// Abuse is what a guest said in one protocol that was of no use, since it is served.
// docs/metrics.md has the reasons, and what cannot be counted.
type Abuse struct {
	Protocol string            `json:"protocol"` // arp, nd or dhcp
	Refused  map[string]uint64 `json:"refused"`  // messages, by reason
	Silenced uint64            `json:"silenced"` // how often the guest was not heard for a while, since it had said too much
}

// Neighbour is one address on a link: as the kernel's neighbour table has it, as guests
// were found to have it, or both.
type Neighbour struct {
	Interface string     `json:"interface"`
	Address   netip.Addr `json:"address"`
	MAC       string     `json:"mac,omitempty"`
	Kernel    string     `json:"kernel,omitempty"` // reachable, stale, delay, probe, permanent, incomplete, failed
	Router    bool       `json:"router,omitempty"` // it says that it is one
	Guest     string     `json:"guest,omitempty"`  // who is behind the interface
	// Found: "seen" if the guest was seen to have the address, "presumed" if it was
	// before a restart and has not answered yet.
	Found string    `json:"found,omitempty"`
	Since time.Time `json:"since,omitzero"` // Found
	// Announced tells that the address is one of the guest's, not just heard.
	Announced bool      `json:"announced,omitempty"`
	Conflict  *Conflict `json:"conflict,omitempty"` // the last claim from elsewhere
}

// Conflict is a claim to an address that somebody else has.
type Conflict struct {
	Interface string    `json:"interface"`
	MAC       string    `json:"mac"`
	Time      time.Time `json:"time"`
}

// Done is what became of a change that is made also if it cannot be written down.
type Done struct {
	// Volatile says why a restart of the host undoes it; "": it does not.
	Volatile string `json:"volatile,omitempty"`
	// Unwritten says why it could not be written down, or is not yet, and what a restart of the
	// daemon does; "": it is.
	Unwritten string `json:"unwritten,omitempty"`
}

// DrainOptions is how a host is drained.
type DrainOptions struct {
	// All withdraws what no other router announces, too: it is not reachable any more then.
	All bool
	// UntilStop ends the drain with the daemon: it is not written down.
	UntilStop bool
}

// Drain is whether the host is drained, and how far that has come.
type Drain struct {
	Drained bool      `json:"drained"`
	Since   time.Time `json:"since,omitzero"`
	All     bool      `json:"all,omitempty"` // what only this host announces is withdrawn, too
	// Moving: something is about to be withdrawn, as soon as the other routers had the time to
	// send elsewhere.
	Moving bool `json:"moving,omitempty"`
	// Prefixes are those that would be announced if the host was not drained.
	Prefixes []DrainedPrefix `json:"prefixes"`
	// Volatile says why the drain ends with a restart of the host; "": it does not.
	Volatile string `json:"volatile,omitempty"`
	// Unwritten says why the drain could not be written down: a restart of the daemon ends it, or
	// goes back to the drain before it; of a host that is not drained any more, it may drain it
	// again. "": it is.
	Unwritten string `json:"unwritten,omitempty"`
}

// DrainedPrefix is how a prefix of a drained host stands.
type DrainedPrefix struct {
	Domain string `json:"domain"`
	Prefix string `json:"prefix"`
	Guest  string `json:"guest,omitempty"`
	// Own: it is the hypervisor's own address.
	Own       bool   `json:"own,omitempty"`
	Interface string `json:"interface,omitempty"`
	// Announced: with the community GRACEFUL_SHUTDOWN and the local preference 0. It attracts
	// what is sent to the prefix, unless another router announces it.
	Announced   bool      `json:"announced"`
	Alternative time.Time `json:"alternative-since,omitzero"` // since when another router announces it
	// Packets counts what was sent to the guest's interface; nil if that is not known.
	Packets *uint64 `json:"packets,omitempty"`
}

// Attracts reports whether traffic of other hosts still comes here because of the prefix.
func (p DrainedPrefix) Attracts() bool { return p.Announced && !p.Own }

// Drop counts the packets of guests that the firewall of a namespace dropped for one
// reason.
type Drop struct {
	NetNS   string `json:"netns,omitempty"`
	Kind    string `json:"kind"`
	Packets uint64 `json:"packets"`
	// Interfaces are the uplinks that they came from, of the kind neighbour-flood.
	Interfaces map[string]uint64 `json:"interfaces,omitempty"`
}

// Difference is one thing in which the kernel differs from what is desired.
type Difference struct {
	NetNS string `json:"netns,omitempty"`
	Op    string `json:"op"` // what would be done: add, replace, delete; held waits for a link
	What  string `json:"what"`
	Want  string `json:"want,omitempty"`
	Have  string `json:"have,omitempty"`
}

// ReloadOptions is how the configuration is read again.
type ReloadOptions struct {
	// Force does it although something is lost by it.
	Force bool
	// DryRun only says what would be done.
	DryRun bool
	// Text is the configuration, and Name what its file is called; nil is the file that the
	// daemon was started with. It becomes that file's content.
	Text []byte
	Name string
	// Confirm is how long the reload waits for its confirmation before it is rolled back; 0
	// needs none.
	Confirm time.Duration
}

// Reloads counts what became of reloads.
type Reloads struct {
	Done       uint64 `json:"done"`        // they counted, some perhaps not for long
	Refused    uint64 `json:"refused"`     // nothing was changed
	RolledBack uint64 `json:"rolled-back"` // they counted, and the configuration before them counts again
}

// Confirmation is what a reload waits for.
type Confirmation struct {
	File string `json:"file"` // of the configuration that waits
	// Left is the time until it is rolled back, and Deadline when that is by the clock of the
	// host, as it is set now.
	Left     string    `json:"left"`
	Deadline time.Time `json:"deadline"`
}

// Reload is what a reload does, or would do.
type Reload struct {
	Changes []Change `json:"changes,omitempty"`
	// Kernel is what a dry run would change of guests and what they are told, rules, routes,
	// addresses, neighbours, sysctls and the firewall, as far as that follows from what is known
	// now: the first 10,000; More is how many others.
	Kernel []Difference `json:"kernel,omitempty"`
	More   int          `json:"more,omitempty"`
	// Stays is what `guest move` has said of guests and the files do not, one each: a reload does not
	// change it.
	Stays []string `json:"stays,omitempty"`
	Done  bool     `json:"done"`
	// Confirmation is what it waits for, nil if it counts for good.
	Confirmation *Confirmation `json:"confirmation,omitempty"`
}

// Change is one thing that a reload does.
type Change struct {
	Position string `json:"position,omitempty"` // "file:line:column: ", "" if it is about none
	Text     string `json:"text"`
	// Loses: sessions, an uplink, or the way by which the hypervisor is reached are lost.
	Loses bool `json:"loses,omitempty"`
}

// String returns the position and the text.
func (c Change) String() string { return c.Position + c.Text }

// Move changes a guest. Fields that are nil stay as they are.
type Move struct {
	LocalPref *uint32 `json:"local-pref,omitempty"`
	Down      *bool   `json:"down,omitempty"`
}

// Error is the body of every answer that is not a success.
type Error struct {
	Message string `json:"error"`

	status int // of HTTP, of an answer to a [Client]
}

// Error returns the message.
func (e *Error) Error() string { return e.Message }
