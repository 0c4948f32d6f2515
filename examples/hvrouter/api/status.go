package api

import "time"

// NoNeighbor is an interface on which neighbours are to be found, and none is.
type NoNeighbor struct {
	Domain    string `json:"domain"`
	Interface string `json:"interface"`
	// Carrier: it is up, with a link-local address of ours.
	Carrier bool `json:"carrier"`
	// Pattern: it is not named in the file, but fits a pattern there.
	Pattern bool `json:"pattern"`
}

// Status is the daemon as a whole.
type Status struct {
	PID       int       `json:"pid"`
	Started   time.Time `json:"started"`
	Restarted bool      `json:"restarted"` // it found routes of an earlier run
	// Converged: every domain has its routes, from every session or after the deferral
	// time, and what was left over is swept.
	Converged bool `json:"converged"`
	// Missing are the peers that have not said everything, or are not up.
	Missing []string `json:"sessions-missing,omitempty"`
	// NoNeighbor are the interfaces on which neighbours are to be found, and none is: none was heard, or the last has
	// not been heard for an hour.
	NoNeighbor []NoNeighbor `json:"no-neighbour,omitempty"`
	Config     string       `json:"config"`
	Reloaded   time.Time    `json:"reloaded,omitzero"`
	// Reloads counts those that were asked for since the start, dry runs not among them.
	Reloads Reloads `json:"reloads"`
	// Confirmation is that of the last reload, if it waits for one.
	Confirmation *Confirmation `json:"confirmation,omitempty"`
	// RefusedFile is the configuration's file if the last reload has refused it, and it is not again
	// what counts.
	RefusedFile *RefusedFile `json:"refused-file,omitempty"`
	Writes      uint64       `json:"kernel-writes"` // since start: routes, next hops and rules
	NotOnLink   uint64       `json:"next-hops-not-on-link"`
	// NotAnnounced counts, by domain, the prefixes that should be announced and are not,
	// since the kernel does not have their routes; Withdrawn how often it lost one that was
	// announced, since the start.
	NotAnnounced map[string]int    `json:"not-announced,omitempty"`
	Withdrawn    map[string]uint64 `json:"withdrawn,omitempty"`
	// Repairs counts, since the start and by kind (route, rule, next-hop, neighbour, address,
	// sysctl, firewall, forwarding, overlay), what other programs had changed of what is ours; Contended how often
	// one undid each repair of an object, so that repairs were delayed.
	Repairs   map[string]uint64 `json:"repairs,omitempty"`
	Contended map[string]uint64 `json:"contended,omitempty"`
	// Differences counts, since the start and by kind, what the kernel's audit has found to differ from
	// what was notified; DifferencesNow are those of the last ten minutes. AuditRounds and
	// AuditTime are how often everything was read again, and how long that took in seconds.
	Differences    map[string]uint64 `json:"differences,omitempty"`
	DifferencesNow []string          `json:"differences-now,omitempty"`
	AuditRounds    uint64            `json:"audit-rounds"`
	AuditTime      float64           `json:"audit-seconds"`
	// ContendedNow are objects of which that was so in the last five minutes.
	ContendedNow []string `json:"contended-now,omitempty"`
	// Malformed counts malformed packets of guests, by protocol (arp, nd).
	Malformed map[string]uint64 `json:"malformed,omitempty"`
	// DHCPDropped counts answers of DHCP servers, or of who pretends to be one, that were dropped, by
	// reason (unasked, stranger, astray).
	DHCPDropped map[string]uint64 `json:"dhcp-answers-dropped,omitempty"`
	// Foreign is what other programs have in the kernel that changes what guests' packets do.
	Foreign []Foreign `json:"foreign,omitempty"`
	// RoutesFailed is how many routes the kernel refuses now.
	RoutesFailed int `json:"routes-failed,omitempty"`
	// FirewallErrors are why the firewall could not be written last, one for each namespace.
	FirewallErrors []string `json:"firewall-errors,omitempty"`
	// OverlayErrors are why overlays are not in line: the interface of each, and what the kernel said, of its interfaces, their settings or the entries of its guests.
	OverlayErrors []string `json:"overlay-errors,omitempty"`
	// Unread is what of the inventory is not read yet.
	Unread []string `json:"inventory-unread,omitempty"`
	// EventsError is why events are not written to the state directory; "" if they are.
	EventsError string `json:"events-error,omitempty"`
	// MovesError is what is wrong with the file that keeps moves of guests; "" if nothing is.
	MovesError string `json:"moves-error,omitempty"`
	// DisabledError says why it is not written which sessions are disabled; "" if it is.
	DisabledError string `json:"disabled-error,omitempty"`
	// StateErrors is what is wrong with the state directory: it takes nothing, or has lost what was written.
	StateErrors []string `json:"state-errors,omitempty"`
	// MovesKept is what `guest move` has said of guests that their files have no more, and until when it is kept.
	MovesKept []string `json:"moves-kept,omitempty"`
	// EVPN is how each overlay with EVPN stands.
	EVPN []EVPNStatus `json:"evpn,omitempty"`
	// Namespaces that have names, and what became of those: fine, gone, or replaced
	// (the name leads to another namespace now).
	Namespaces map[string]string `json:"namespaces,omitempty"`
}

// RefusedFile is a configuration's file that is not what counts: the next start finds it.
type RefusedFile struct {
	Since time.Time `json:"since"` // the last reload that has refused it
	Error string    `json:"error"` // why: the first of the reasons, and how many more there are
	// Unreadable reports that the file cannot be read, or has mistakes: a start fails.
	Unreadable bool `json:"unreadable"`
}

// EVPNStatus is how EVPN of an overlay stands.
type EVPNStatus struct {
	Overlay string `json:"overlay"`
	// Announced and Withheld count routes of ours; Imported and Unused those of others with a route target that the
	// overlay imports: which it can use, be others better or not, and which it cannot.
	Announced int `json:"announced"`
	Withheld  int `json:"withheld"`
	Imported  int `json:"imported"`
	Unused    int `json:"unused"`
	// Imports are the route targets of which what is imported has one. Of peers with route target constraint they are
	// what is asked for.
	Imports []string `json:"imports"`
	// Moves counts, since the overlay is there and by kind (claimed, superseded, returned), what became of the MACs of
	// guests that are here.
	Moves map[string]uint64 `json:"moves"`
	// Duplicates are guests that have been here for 30 s while another VTEP has their MAC.
	Duplicates []string `json:"duplicates,omitempty"`
	// Frozen are guests whose MAC has moved too often, so that its sequence number is raised no more (RFC 7432, Section
	// 15.1).
	Frozen []string `json:"frozen,omitempty"`
}

// Foreign is a policy rule, a route, a base chain of nftables, or a forwarding entry or neighbour of an overlay, that another
// program made, and that changes what guests' packets do.
type Foreign struct {
	NetNS string `json:"netns,omitempty"`
	Kind  string `json:"kind"` // rule, route, chain, forwarding or neighbour
	What  string `json:"what"` // as ip(8), bridge(8) and nft(8) have it
	Why   string `json:"why"`  // what it does to packets
	// Unsure: whether it matches guests' packets, or what it does to them, is not known.
	Unsure bool `json:"unsure,omitempty"`
	// Since is when it was first seen by this run.
	Since time.Time `json:"since,omitzero"`
}

// String returns "rule 5: from all prohibit: WHY".
func (f Foreign) String() string {
	text := f.Kind + " " + f.What + ": " + f.Why
	if f.NetNS != "" {
		text = "netns " + f.NetNS + ": " + text
	}
	return text
}
