package ndp

import (
	"net/netip"
	"time"

	"github.com/hyperfib/hyperfib/internal/station"
)

// WatchConfig says how long a Tracker believes what it heard. The zero value of each field
// is its default.
type WatchConfig struct {
	// Idle is the silence after which a station is asked whether it is still there; 60 s.
	Idle time.Duration
	// ProbeInterval is the time between such questions; 1 s.
	ProbeInterval time.Duration
	// ProbeCount is how many questions stay unanswered before the station is gone; 3.
	ProbeCount int
	// PerLink bounds the addresses remembered on one interface; 64.
	PerLink int
}

// Event is one observation. It is comparable.
type Event struct {
	// Kind says which fields count: OldIfIndex and OldMAC with EventMoved and EventConflict
	// only.
	Kind EventKind
	// IP is the address that it is about.
	IP netip.Addr
	// IfIndex is the index of the interface behind which the station is; with EventConflict,
	// from which the claim came.
	IfIndex int
	// MAC is the station's; with EventConflict, of the station that claims the address. It is zero
	// with EventGone after a Seed without an answer.
	MAC MAC
	// OldIfIndex is the index of the interface where the station was; with EventConflict, of
	// the station that has the address.
	OldIfIndex int
	// OldMAC is the MAC that the station had; with EventConflict, that of the station that
	// has the address.
	OldMAC MAC
}

// String returns the event on one line.
func (e Event) String() string { return station.Event(e).String() }

func appendEvents(events []Event, more []station.Event) []Event {
	for _, e := range more {
		events = append(events, Event(e))
	}
	return events
}

// EventKind is what a Tracker has noticed.
type EventKind = station.EventKind

// The kinds of events.
const (
	EventSeen     = station.Seen     // a station speaks for the first time
	EventMoved    = station.Moved    // the same station speaks on another link, and no longer where it was
	EventConflict = station.Conflict // another station, or the same on another link, claims an address that is taken
	EventGone     = station.Gone     // a station no longer answers, or its link was removed
)

// Tracker learns from solicitations and advertisements which station is where. It is pure: time and
// packets come in, events and packets to send go out; [Monitor] drives one. Not safe for
// concurrent use.
//
// A station has the address that it solicits or advertises from, if nobody
// contradicts. The first who comes keeps it, as in FCFS SAVI (RFC 6620, Section 3): a claim to a
// taken address is a Conflict, also if it has the holder's MAC but comes from another
// link; the holder is asked whether it is still there, and gives the address up by
// silence alone. Duplicate address detection (RFC 4862, Section 5.4) is a claim to
// come: a second later, when it is over, the station is asked whether it has the address
// now, since one that only listens would never say so. A station that was silent for Idle is
// asked by unicast solicitations (RFC 4861, Section 7.3), and is Gone if ProbeCount of
// them stay unanswered.
//
// Link-local addresses belong to their link alone and are not followed.
type Tracker struct {
	stations *station.Tracker // what was learned
	from     map[int]asker    // by interface index
}

// asker is where questions come from on one link.
type asker struct {
	mac MAC        // source of questions' Ethernet frames
	ip  netip.Addr // source address of questions
}

// NewTracker returns a Tracker without links.
func NewTracker(cfg WatchConfig) *Tracker {
	return &Tracker{stations: station.New(station.Config(cfg)), from: make(map[int]asker)}
}

// AddLink watches link. Questions are asked from mac and ip, the host's own addresses
// there (ip is link-local in general); without a valid ip nobody is asked: then nobody is
// Gone for being silent, and who only detects duplicates is never Seen.
func (w *Tracker) AddLink(ifindex int, mac MAC, ip netip.Addr) {
	w.from[ifindex] = asker{mac, ip}
	w.stations.AddLink(ifindex, mac, ip.IsValid())
}

// RemoveLink forgets link. Its stations are Gone.
func (w *Tracker) RemoveLink(ifindex int) []Event { return appendEvents(nil, w.removeLink(ifindex)) }

func (w *Tracker) removeLink(ifindex int) []station.Event {
	delete(w.from, ifindex)
	return w.stations.RemoveLink(ifindex)
}

// Seed says that a station on link had ip when it was last heard of, for example
// before a restart. It is asked for at once, and is Seen or Gone.
func (w *Tracker) Seed(now time.Time, ifindex int, ip netip.Addr) {
	if hostAddr(ip) {
		w.stations.Seed(now, ifindex, ip)
	}
}

// Full returns how many stations were not remembered because their link had
// PerLink already.
func (w *Tracker) Full() uint64 { return w.stations.Full() }

// Observe takes one received packet, which has passed Check, and appends what it means
// to events. A link-layer address in an option must be the frame's: who speaks for
// others is not believed.
func (w *Tracker) Observe(now time.Time, p *Packet, events []Event) []Event {
	return appendEvents(events, w.observe(now, p, nil))
}

func (w *Tracker) observe(now time.Time, p *Packet, events []station.Event) []station.Event {
	ip, tentative := Claim(p)
	switch {
	case !hostAddr(ip):
		return events
	case tentative:
		return w.stations.Wants(now, p.IfIndex, p.SrcMAC, ip, events)
	}
	return w.stations.Speaks(now, p.IfIndex, p.SrcMAC, ip, events)
}

// Claim returns the address that a packet, which has passed Check, says its sender has;
// tentative is whether the sender only asks if it may (duplicate address detection).
// It is the zero Addr for what claims nothing, is malformed, or speaks of another
// station than the frame's.
func Claim(p *Packet) (ip netip.Addr, tentative bool) {
	if len(p.Body) == 0 {
		return ip, false
	}
	switch Type(p.Body[0]) {
	case TypeNeighborSolicitation:
		m, err := ParseNeighborSolicitation(p)
		if err != nil || !m.SourceLinkAddr.IsZero() && m.SourceLinkAddr != p.SrcMAC {
			return ip, false
		}
		if p.Src.IsUnspecified() {
			return m.Target, true
		}
		return p.Src, false
	case TypeNeighborAdvertisement:
		m, err := ParseNeighborAdvertisement(p)
		if err != nil || !m.TargetLinkAddr.IsZero() && m.TargetLinkAddr != p.SrcMAC {
			return ip, false
		}
		return m.Target, false
	}
	return ip, false
}

// hostAddr reports whether a can be a station's beyond its link.
func hostAddr(a netip.Addr) bool {
	return a.Is6() && !a.Is4In6() && !a.IsUnspecified() && !a.IsMulticast() && !a.IsLoopback() && !a.IsLinkLocalUnicast()
}

// Deadline is when Advance has something to do; the zero time if never.
func (w *Tracker) Deadline() time.Time { return w.stations.Deadline() }

// Advance appends the questions due at now to send and what silence has shown to
// events.
func (w *Tracker) Advance(now time.Time, send []Packet, events []Event) ([]Packet, []Event) {
	send, more := w.advance(now, send, nil)
	return send, appendEvents(events, more)
}

func (w *Tracker) advance(now time.Time, send []Packet, events []station.Event) ([]Packet, []station.Event) {
	ask, events := w.stations.Advance(now, nil, events)
	for _, q := range ask {
		send = append(send, w.from[q.Link].ask(q))
	}
	return send, events
}

// ask builds a question: to the station if it is known, else to the group in which it
// listens.
func (a asker) ask(q station.Question) Packet {
	ns := NeighborSolicitation{Target: q.IP, SourceLinkAddr: a.mac}
	p := Packet{IfIndex: q.Link, SrcMAC: a.mac, DstMAC: q.To, Src: a.ip, Dst: q.IP, HopLimit: 255, Body: ns.append(make([]byte, 0, 32))}
	if q.To.IsZero() {
		p.Dst = SolicitedNode(q.IP)
		p.DstMAC = GroupMAC(p.Dst)
	}
	return p
}
