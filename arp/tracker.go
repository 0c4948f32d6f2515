package arp

import (
	"net/netip"
	"time"

	"github.com/hyperfib/hyperfib/internal/station"
)

// WatchConfig says how long a Tracker believes what it heard. The zero value of each field
// is its default.
type WatchConfig struct {
	// Idle is the silence after which a station is probed; zero: 60 s.
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

// Tracker learns from ARP traffic which station is behind which interface. It is pure:
// time and frames come in, events and frames to send go out; [Monitor] drives one. Not safe
// for concurrent use.
//
// A station's word about itself counts unless another station has the address. The first
// station has an address until it is silent: another claim to it is a Conflict, also if it
// comes with the same MAC by another link (a guest can send any MAC). The first station is
// then probed, and loses the address only if it does not answer. A probe of RFC 5227,
// Section 2.1.1, is a claim to come: its sender is asked a second later whether it has the
// address now. A station that was silent for Idle is asked by unicast requests (RFC
// 1122, Section 2.3.2.1), and is Gone if ProbeCount of them stay unanswered.
type Tracker struct {
	stations *station.Tracker // what was learned
	from     map[int]source   // by interface index
}

// source is where questions come from on one link.
type source struct {
	mac MAC        // sender hardware address of questions
	ip  netip.Addr // sender protocol address of questions; the zero Addr: 0.0.0.0
}

// NewTracker returns a Tracker without links.
func NewTracker(cfg WatchConfig) *Tracker {
	return &Tracker{stations: station.New(station.Config(cfg)), from: make(map[int]source)}
}

// AddLink watches an interface. Requests are sent from mac and ip, the host's own addresses
// there; without a valid ip none are sent, and no station is ever Gone for being silent.
func (w *Tracker) AddLink(ifindex int, mac MAC, ip netip.Addr) {
	w.from[ifindex] = source{mac, ip}
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

// Observe takes one received frame and appends what it means to events.
func (w *Tracker) Observe(now time.Time, f *Frame, events []Event) []Event {
	return appendEvents(events, w.observe(now, f, nil))
}

func (w *Tracker) observe(now time.Time, f *Frame, events []station.Event) []station.Event {
	switch {
	case f.Src != f.SenderMAC:
	case hostAddr(f.SenderIP.Addr()):
		return w.stations.Speaks(now, f.IfIndex, f.Src, f.SenderIP.Addr(), events)
	case f.IsProbe() && hostAddr(f.TargetIP.Addr()):
		return w.stations.Wants(now, f.IfIndex, f.Src, f.TargetIP.Addr(), events)
	}
	return events
}

// hostAddr reports whether a can be a station's.
func hostAddr(a netip.Addr) bool {
	return a.Is4() && !a.IsUnspecified() && !a.IsMulticast() && !a.IsLoopback() && a != netip.AddrFrom4([4]byte{255, 255, 255, 255})
}

// Deadline is when Advance has something to do; the zero time if never.
func (w *Tracker) Deadline() time.Time { return w.stations.Deadline() }

// Advance appends the questions due at now to send and what silence has shown to
// events.
func (w *Tracker) Advance(now time.Time, send []Frame, events []Event) ([]Frame, []Event) {
	send, more := w.advance(now, send, nil)
	return send, appendEvents(events, more)
}

func (w *Tracker) advance(now time.Time, send []Frame, events []station.Event) ([]Frame, []station.Event) {
	ask, events := w.stations.Advance(now, nil, events)
	for _, q := range ask {
		from := w.from[q.Link]
		f := NewRequest(from.mac, from.ip, q.IP).On(q.Link)
		if !q.To.IsZero() {
			f.Dst = q.To
		}
		send = append(send, f)
	}
	return send, events
}
