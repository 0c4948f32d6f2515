package api

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"syscall"
	"time"
)

// The states of a [Health], and the levels of a [Reason].
const (
	Healthy  = "healthy"
	Degraded = "degraded" // packets flow, but a failure more, or a change, may lose them
	Broken   = "broken"   // packets are lost, or guests are without protection
	// Unknown is what `hvrouter show health` says if the daemon cannot be asked, for a reason that
	// says nothing about it.
	Unknown = "unknown"
	// Note is the level of what is to be known and needs no repair.
	Note = "note"
)

// Health is how a hypervisor is.
type Health struct {
	State   string   `json:"state"`   // healthy, degraded or broken: that of the worst reason
	Reasons []Reason `json:"reasons"` // the worst first
}

// Reason is one thing that is not as it should be.
type Reason struct {
	Level string `json:"level"` // broken, degraded or note
	// Kind is stable, for programs: no-session, no-neighbour, listen, session-down, bfd-down, bfd-process, prefix-limit, not-converged,
	// not-announced, route-failed, guest-refused, inventory, firewall, overlay, foreign, contended, difference, namespace, reload-pending,
	// reload-refused, events-unwritten, duplicate-mac, frozen-mac, moves, disabled,
	// drained, undrain-unwritten, moved-down, moves-kept,
	// disabled-unwritten, state-directory.
	Kind string `json:"kind"`
	Text string `json:"text"`
}

// rank orders levels.
func rank(level string) int { return slices.Index([]string{Note, Degraded, Broken, Unknown}, level) }

// Number is the state as a number: 0 healthy, 1 degraded, 2 broken, 3 unknown. It is the exit code of
// `hvrouter show health`, and the gauge, which is never 3.
func (h Health) Number() int { return max(rank(h.State), 0) }

func (h *Health) add(level, kind, format string, args ...any) {
	h.Reasons = append(h.Reasons, Reason{level, kind, fmt.Sprintf(format, args...)})
}

// HealthOf judges a daemon by what it says of itself.
func HealthOf(b Backend) Health {
	h := Health{State: Healthy, Reasons: []Reason{}}
	sessions := b.Sessions()
	bfds, err := b.BFD()
	h.sessions(sessions, bfds)
	if err != nil {
		h.add(Degraded, "bfd-process", "the BFD process does not answer: %v", err)
	}
	h.listening(sessions)
	h.bfd(sessions, bfds)
	h.status(b.Status())
	var moved []string
	for _, g := range b.Guests() {
		if g.Down && !g.Moved.IsZero() {
			moved = append(moved, g.Name)
		}
		if g.Refused != "" {
			h.add(Degraded, "guest-refused", "guest %s is not served: %s", g.Name, g.Refused)
		}
	}
	h.moved(moved)
	if d := b.DrainStatus(); d.Drained {
		h.add(Note, "drained", "the host is drained since %s", d.Since.Format(time.RFC3339))
	} else if d.Unwritten != "" {
		h.add(Degraded, "undrain-unwritten", "the host is not drained, and that is not written down: %s", d.Unwritten)
	}
	h.finish()
	return h
}

// mostMoved is how many guests are named that are down by `guest move`.
const mostMoved = 10

// moved says which guests are down although their files say nothing of it.
func (h *Health) moved(names []string) {
	if len(names) == 0 {
		return
	}
	text := strings.Join(names[:min(len(names), mostMoved)], ", ")
	if more := len(names) - mostMoved; more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	h.add(Note, "moved-down", "down by `guest move`, until `guest move NAME -up`: %s", text)
}

// finish sorts the reasons and takes the level of the worst.
func (h *Health) finish() {
	slices.SortStableFunc(h.Reasons, func(a, b Reason) int { return cmp.Compare(rank(b.Level), rank(a.Level)) })
	if len(h.Reasons) > 0 && h.Reasons[0].Level != Note {
		h.State = h.Reasons[0].Level
	}
}

// sessions judges the BGP sessions: a domain without any is broken.
func (h *Health) sessions(list []Session, bfds []BFD) {
	up, wanted := map[string]int{}, map[string]int{} // by domain
	for _, s := range list {
		for _, d := range strings.Split(s.Domain, ",") {
			if s.Disabled.IsZero() {
				wanted[d]++
			}
			if s.State == "Established" {
				up[d]++
			}
		}
		switch who := fmt.Sprintf("domain %s, peer %v (%s)", s.Domain, s.Peer, s.Fabric); {
		case !s.Disabled.IsZero():
			h.add(Note, "disabled", "%s: disabled since %s", who, s.Disabled.Format(time.RFC3339))
		case !s.RefusedUntil.IsZero():
			h.add(Degraded, "prefix-limit", "%s: out until %s: %s", who, s.RefusedUntil.Format(time.TimeOnly), s.LimitError)
		case !s.BFDHeldDown.IsZero():
			h.add(Degraded, "session-down", "%s: waits for BFD since %s, which is Up and to stay so until %s", who, s.BFDWait.Format(time.RFC3339), s.BFDHeldDown.Format(time.TimeOnly))
		case !s.BFDWait.IsZero():
			h.add(Degraded, "session-down", "%s: waits for BFD since %s, which is %s", who, s.BFDWait.Format(time.RFC3339), s.BFD)
		case s.State != "Established":
			text := s.State
			if i := slices.IndexFunc(bfds, func(b BFD) bool { return s.watchedBy(b) && b.State == "Down" }); i >= 0 && bfds[i].LastDownReason != "" {
				text += fmt.Sprintf(", BFD is Down since %s (%s)", bfds[i].Since.Format(time.TimeOnly), bfds[i].LastDownReason)
			}
			if s.Error != "" {
				text += ", last error: " + s.Error
			}
			if s.BFD == "Up" && strings.Contains(s.Error, "no answer") {
				text += "; BFD is Up, so the path is there: look for MD5 keys that differ, TTL security on one end only, and filters of TCP"
			}
			h.add(Degraded, "session-down", "%s: %s", who, text)
		}
		for _, f := range s.Families {
			if f.Limit == "near" || f.Limit == "exceeded" {
				h.add(Degraded, "prefix-limit", "domain %s, peer %v, %s: %d of %d prefixes", s.Domain, s.Peer, f.Family, f.Counted, f.Maximum)
			}
		}
	}
	for _, d := range slices.Sorted(maps.Keys(wanted)) {
		if up[d] == 0 {
			h.add(Broken, "no-session", "domain %s has no session that is Established: it learns nothing, and nobody learns of its guests", d)
		}
	}
}

// listening judges where peers are to connect, one reason for each address.
func (h *Health) listening(list []Session) {
	type place struct{ netns, err string }
	peers := map[place][]Session{}
	for _, s := range list {
		if s.ListenError != "" && s.Disabled.IsZero() {
			at := place{s.NetNS, s.ListenError}
			peers[at] = append(peers[at], s)
		}
	}
	for _, at := range slices.SortedFunc(maps.Keys(peers), func(a, b place) int {
		return cmp.Or(strings.Compare(a.netns, b.netns), strings.Compare(a.err, b.err))
	}) {
		who := peers[at][0].Peer.String()
		if more := len(peers[at]) - 1; more > 0 {
			who += fmt.Sprintf(" and %d more", more)
		}
		where, command := "", "ss -ltnp"
		if at.netns != "" {
			where, command = "netns "+at.netns+": ", "ip netns exec "+at.netns+" ss -ltnp"
		}
		text := fmt.Sprintf("%s%s, since %s: %s cannot connect to us", where, at.err, peers[at][0].ListenErrorSince.Format(time.RFC3339), who)
		if strings.Contains(at.err, syscall.EADDRINUSE.Error()) {
			text += "; `" + command + "` names the program that has the port"
		}
		h.add(Degraded, "listen", "%s", text)
	}
}

// bfd judges the BFD sessions of BGP sessions that are Established.
func (h *Health) bfd(sessions []Session, list []BFD) {
	for _, b := range list {
		if b.State == "Up" || b.State == "AdminDown" || !slices.ContainsFunc(sessions, func(s Session) bool {
			return s.watchedBy(b) && s.State == "Established"
		}) {
			continue
		}
		text := fmt.Sprintf("BFD with %v on %s is %s since %s", b.Peer, b.Interface, b.State, b.Since.Format(time.RFC3339))
		switch {
		case b.Reason != "":
			text += " (" + b.Reason + ")"
		case b.Received == 0:
			text += ", and nothing has come from there (is BFD on at the peer, does its UDP get through?)"
		}
		h.add(Degraded, "bfd-down", "%s, and BGP is Established: if the path fails, BGP's hold time alone notices", text)
	}
}

// watchedBy reports whether a BFD session is the one towards the session's peer.
func (s Session) watchedBy(b BFD) bool {
	return s.NetNS == b.NetNS && cmp.Or(s.Interface, s.Peer.Zone()) == b.Interface && s.Peer.WithZone("") == b.Peer
}

// mostForeign is how many foreign objects of a kind are named, in a namespace.
const mostForeign = 5

// foreign judges what other programs have in the kernel.
func (h *Health) foreign(list []Foreign) {
	type sort struct{ netns, level, kind string }
	count := map[sort]int{}
	for _, f := range list {
		of := sort{f.NetNS, Degraded, f.Kind}
		if f.Unsure {
			of.level = Note
		}
		if count[of]++; count[of] <= mostForeign {
			h.add(of.level, "foreign", "foreign %s", f)
		}
	}
	for _, of := range slices.SortedFunc(maps.Keys(count), func(a, b sort) int {
		return cmp.Or(strings.Compare(a.netns, b.netns), strings.Compare(a.level, b.level), strings.Compare(a.kind, b.kind))
	}) {
		if more := count[of] - mostForeign; more > 0 {
			f := Foreign{NetNS: of.netns, Kind: of.kind, What: fmt.Sprintf("and %d more", more), Why: "`hvrouter show events -event foreign` names them"}
			h.add(of.level, "foreign", "foreign %s", f)
		}
	}
}

// status judges the rest.
func (h *Health) status(s Status) {
	if !s.Converged {
		h.add(Degraded, "not-converged", "not every domain has its routes yet")
	}
	for _, n := range s.NoNeighbor {
		switch {
		case !n.Pattern && !n.Carrier:
			h.add(Degraded, "no-neighbour", "domain %s: interface %s is not there, not up, or has no link-local address", n.Domain, n.Interface)
		case !n.Pattern:
			h.add(Degraded, "no-neighbour", "domain %s: no router is heard on %s: does it send router advertisements?", n.Domain, n.Interface)
		case n.Carrier:
			h.add(Note, "no-neighbour", "domain %s: no router is heard on %s, which a pattern fits", n.Domain, n.Interface)
		}
	}
	for _, d := range slices.Sorted(maps.Keys(s.NotAnnounced)) {
		if n := s.NotAnnounced[d]; n > 0 {
			h.add(Broken, "not-announced", "domain %s: %d prefixes are not announced, since the kernel does not have their routes: `hvrouter show rib`", d, n)
		}
	}
	if s.RoutesFailed > 0 {
		h.add(Broken, "route-failed", "the kernel refuses %d routes: `hvrouter show fib`", s.RoutesFailed)
	}
	for _, what := range s.Unread {
		h.add(Degraded, "inventory", "not read: %s; routes of an earlier run stay as they are", what)
	}
	for _, text := range s.FirewallErrors {
		h.add(Broken, "firewall", "the firewall is not as it should be: %s", text)
	}
	for _, text := range s.OverlayErrors {
		h.add(Broken, "overlay", "overlay %s (its guests may have no network there)", text)
	}
	h.foreign(s.Foreign)
	for _, d := range s.DifferencesNow {
		h.add(Note, "difference", "in the last ten minutes the kernel differed from what it had notified: %s", d)
	}
	for _, c := range s.ContendedNow {
		h.add(Degraded, "contended", "another program undoes each repair of %s", c)
	}
	for _, n := range slices.Sorted(maps.Keys(s.Namespaces)) {
		if state := s.Namespaces[n]; state != "fine" {
			h.add(Degraded, "namespace", "netns %s: its name is %s; a restart would not find it", n, state)
		}
	}
	for _, o := range s.EVPN {
		for _, d := range o.Duplicates {
			h.add(Degraded, "duplicate-mac", "overlay %s: another VTEP has the MAC of a guest that is here, %s", o.Overlay, d)
		}
		for _, d := range o.Frozen {
			h.add(Degraded, "frozen-mac", "overlay %s: the MAC of a guest has moved too often, so that two may have it, %s", o.Overlay, d)
		}
	}
	if s.Confirmation != nil {
		h.add(Note, "reload-pending", "a reload waits for `hvrouter reload confirm`, and is rolled back in %s", s.Confirmation.Left)
	}
	if f := s.RefusedFile; f != nil {
		next, look := "runs with that file, and not with what counts now", "diff "+s.Config
		if f.Unreadable {
			next, look = "fails", "check -syntax -config "+s.Config
		}
		h.add(Degraded, "reload-refused", "%s was refused at %s (%s), and the next start, of the daemon or of the host, %s: `hvrouter %s`, and once the file is right `hvrouter reload`",
			s.Config, f.Since.Format(time.TimeOnly), f.Error, next, look)
	}
	if s.EventsError != "" {
		h.add(Degraded, "events-unwritten", "events are not written: %s", s.EventsError)
	}
	if s.DisabledError != "" {
		h.add(Degraded, "disabled-unwritten", "sessions: %s", s.DisabledError)
	}
	for _, text := range s.StateErrors {
		h.add(Degraded, "state-directory", "%s", text)
	}
	for i, m := range s.MovesKept {
		if i == mostMoved {
			h.add(Note, "moves-kept", "and %d more guests that were moved are missing from their files", len(s.MovesKept)-i)
			break
		}
		h.add(Note, "moves-kept", "a guest that was moved is missing from its file, and stays moved if it comes back, unless you say the opposite: %s", m)
	}
	if s.MovesError != "" {
		h.add(Degraded, "moves", "moves of guests: %s", s.MovesError)
	}
}
