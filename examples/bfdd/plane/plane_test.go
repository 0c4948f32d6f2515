package plane

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/hyperfib/hyperfib/bfd"
	"github.com/hyperfib/hyperfib/examples/bfdd/bfddp"
	"github.com/hyperfib/hyperfib/internal/testing/scenario"
)

// world is a Plane between scripted connections and a scripted Service.
//
//	connect C, disconnect C         a connection begins, ends
//	add C LID LOCAL PEER WORD...    dev=v0 tx=100 mult=3 ttl=254 multihop shutdown passive echo mode=1
//	delete C LID
//	echo C ID, counters C LID ID    requests
//	block C, free C                 bfdd does not read, reads again
//	up PEER, down PEER REASON       the session changes: expired, neighbor, admin; quiet: without its event
//	left LOCAL PEER DEV             an earlier process has left a session that is Up, and ours begins
//	deaf                            the process of the sessions does not answer from now on
//	show
type world struct {
	*Plane
	service *service
	blocked map[ConnID]bool
	open    []ConnID
	said    []string
}

type service struct {
	w        *world
	sessions map[bfd.Key]bfd.Status
	deaf     bool
}

func (s *service) Add(c bfd.SessionConfig) error {
	s.w.say("Add %v tx %v rx %v x %d%s", c.Key, c.DesiredMinTx, c.RequiredMinRx, c.Multiplier, words(map[string]bool{"passive": c.Passive, "admin": c.AdminDown, fmt.Sprint("ttl ", c.MinTTL): c.MinTTL != 0}))
	if _, ok := s.sessions[c.Key]; !ok {
		s.sessions[c.Key] = bfd.Status{Key: c.Key, State: bfd.StateDown}
	}
	return nil
}

func (s *service) Remove(k bfd.Key) error {
	s.w.say("Remove %v", k)
	if _, ok := s.sessions[k]; !ok {
		return bfd.ErrNoSession
	}
	delete(s.sessions, k)
	return nil
}

func (s *service) Sessions() ([]bfd.Status, error) {
	if s.deaf {
		return nil, bfd.ErrNotConnected
	}
	return slices.Collect(maps.Values(s.sessions)), nil
}

func (s *service) Watch() *bfd.Watcher       { return nil }
func (s *service) Run(context.Context) error { return nil }

func words(list map[string]bool) (out string) {
	for _, w := range slices.Sorted(maps.Keys(list)) {
		if list[w] {
			out += " " + w
		}
	}
	return out
}

func newWorld(now time.Time) *world {
	w := &world{blocked: map[ConnID]bool{}}
	w.service = &service{w: w, sessions: map[bfd.Key]bfd.Status{}}
	w.start(now)
	return w
}

// start has a process of ours begin.
func (w *world) start(now time.Time) {
	w.Plane, _ = New(Config{Service: w.service, Linger: DefaultLinger, Synced: func() error { w.say("Synced"); return nil },
		Notice: func(err error) { w.say("notice: %v", err) }}, now)
}

func (w *world) say(format string, args ...any) {
	w.said = append(w.said, fmt.Sprintf(format, args...))
}

// Do implements scenario.Machine.
func (w *world) Do(now time.Time, words []string) ([]string, error) {
	w.said = nil
	if len(words) == 0 {
		return nil, nil
	}
	arg := append(words[1:], "", "", "", "")
	number := func(i int) int { n, _ := strconv.Atoi(arg[i]); return n }
	c := ConnID(number(0))
	m := bfddp.Message{Version: 1}
	switch words[0] {
	case "connect":
		w.Connect(c)
		w.open = append(w.open, c)
		return nil, nil
	case "disconnect":
		w.Disconnect(c, now)
		w.open = slices.DeleteFunc(w.open, func(o ConnID) bool { return o == c })
	case "add", "delete":
		m.Type, m.Session = bfddp.TypeDelete, bfddp.Session{LID: uint32(number(1))}
		if words[0] == "add" {
			m.Type, m.Session = bfddp.TypeAdd, session2(uint32(number(1)), words[3:])
			if m.Session.Mode != 0 {
				m.Version = 2
			}
		}
	case "echo":
		m.Type, m.ID, m.Echo = bfddp.TypeEchoRequest, uint16(number(1)), bfddp.Echo{BFDdTime: 7}
	case "counters":
		m.Type, m.LID, m.ID = bfddp.TypeCounterRequest, uint32(number(1)), uint16(number(2))
	case "block", "free":
		w.blocked[c] = words[0] == "block"
	case "up", "down":
		w.change(now, words[0], arg[0], arg[1], arg[2] == "quiet")
	case "left":
		k := bfd.Key{Local: netip.MustParseAddr(arg[0]), Peer: netip.MustParseAddr(arg[1]), Interface: arg[2]}
		w.service.sessions[k] = bfd.Status{Key: k, State: bfd.StateUp, RemoteDiscr: 99, RemoteMultiplier: 3}
		w.start(now)
	case "deaf":
		w.service.deaf = true
	case "show":
		for _, i := range w.Sessions(now) {
			w.say("%v %v ids %v linger %v %s", i.Key, i.State, i.IDs, i.Linger, i.Note)
		}
	default:
		return nil, fmt.Errorf("unknown word %q", words[0])
	}
	if slices.Contains([]string{"add", "delete", "echo", "counters"}, words[0]) {
		if err := w.Receive(c, &m, now); err != nil {
			w.say("error: %v", err)
		}
	}
	w.flush()
	return w.said, nil
}

func session2(lid uint32, words []string) bfddp.Session {
	s := bfddp.Session{LID: lid, MinTx: 100000, MinRx: 100000, Multiplier: 5, TTL: 255}
	s.Local, _ = netip.ParseAddr(words[0])
	s.Peer = netip.MustParseAddr(words[1])
	if s.Peer.Is6() {
		s.Flags |= bfddp.FlagIPv6
	}
	flags := map[string]bfddp.Flags{"multihop": bfddp.FlagMultihop, "shutdown": bfddp.FlagShutdown, "passive": bfddp.FlagPassive, "echo": bfddp.FlagEcho}
	for _, word := range words[2:] {
		name, value, _ := strings.Cut(word, "=")
		n, _ := strconv.Atoi(value)
		switch name {
		case "dev":
			s.Interface, s.IfIndex = value, 3
		case "tx":
			s.MinTx = uint32(n) * 1000
		case "mult":
			s.Multiplier = uint8(n)
		case "ttl":
			s.TTL = uint8(n)
		case "mode":
			s.Mode = uint8(n)
		default:
			s.Flags |= flags[name]
		}
	}
	return s
}

// change takes a session of the Service to another state.
func (w *world) change(now time.Time, to, peer, why string, quiet bool) {
	for k, st := range w.service.sessions {
		if k.Peer.String() != peer {
			continue
		}
		st.State, st.Reason = bfd.StateUp, bfd.ReasonNone
		st.RemoteDiscr, st.RemoteMultiplier, st.RemoteMinTx, st.RemoteC = 77, 5, time.Second, true
		if to == "down" {
			st.State, st.RemoteDiscr = bfd.StateDown, 0
			st.Reason = map[string]bfd.Reason{"expired": bfd.ReasonExpired, "neighbor": bfd.ReasonNeighborDown, "admin": bfd.ReasonRemoteAdminDown}[why]
		}
		if st.Sent += 3; why == "negotiated" {
			st.RemoteMinTx = 100 * time.Millisecond
		}
		if w.service.sessions[k] = st; !quiet {
			w.Update([]bfd.Event{{Key: k, State: st.State, Reason: st.Reason}}, now)
		}
	}
}

// flush says what bfdd reads.
func (w *world) flush() {
	for _, c := range w.open {
		if w.blocked[c] {
			continue
		}
		for out := w.Output(c); len(out) > 0; {
			m, n, err := bfddp.Parse(out)
			if err != nil || n == 0 {
				w.say("not a message: %x (%v)", out, err)
				return
			}
			out = out[n:]
			switch m.Type {
			case bfddp.TypeState:
				w.say("%d: %d is %v, remote %d x %d tx %d flags %d", c, m.State.LID, bfd.State(m.State.State), m.State.RemoteDiscr, m.State.RemoteMult, m.State.RemoteMinTx, m.State.RemoteFlags)
			case bfddp.TypeCounters:
				w.say("%d: counters of %d, id %d: out %d (%d octets)", c, m.Counters.LID, m.ID, m.Counters.ControlOut, m.Counters.ControlOutBytes)
			default:
				w.say("%d: %v, id %d, bfdd's time %d", c, m.Type, m.ID, m.Echo.BFDdTime)
			}
		}
	}
}

// Advance implements scenario.Clock.
func (w *world) Advance(now time.Time) []string {
	w.said = nil
	w.Plane.Advance(now)
	w.flush()
	return w.said
}

func TestPlane(t *testing.T) {
	scenario.Files(t, "testdata/*.txt", func(t *testing.T, text string) (string, error) {
		return scenario.Play(text, newWorld(scenario.Epoch))
	})
}

// TestBounds: a bfdd that asks and does not read, adds without end, or adds and deletes
// without reading is cut off.
func TestBounds(t *testing.T) {
	add := func(lid uint32) *bfddp.Message {
		return &bfddp.Message{Version: 1, Type: bfddp.TypeAdd, Session: bfddp.Session{LID: lid, Peer: netip.AddrFrom4([4]byte{10, byte(lid >> 16), byte(lid >> 8), byte(lid)}), MinTx: 1000, MinRx: 1000, Multiplier: 3}}
	}
	for name, c := range map[string]struct {
		want error
		next func(i int) *bfddp.Message
	}{
		"counters": {errSlow, func(int) *bfddp.Message { return &bfddp.Message{Version: 1, Type: bfddp.TypeCounterRequest} }},
		"add":      {errMany, func(i int) *bfddp.Message { return add(uint32(i)) }},
		"delete": {errSlow, func(i int) *bfddp.Message {
			m := add(uint32(i / 2 % 3))
			if i%2 == 1 {
				m.Type = bfddp.TypeDelete
			}
			return m
		}},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(scenario.Epoch)
			w.Connect(1)
			var err error
			for i := 0; err == nil && i < 100_000; i++ {
				if err = w.Receive(1, c.next(i), scenario.Epoch); i%100 == 0 && name == "add" {
					w.Output(1)
				}
			}
			if !errors.Is(err, c.want) {
				t.Errorf("%v, want %v", err, c.want)
			}
		})
	}
}

// TestNewIsNotDeaf: without the sessions that are there a Plane would tell bfdd that they are Down.
func TestNewIsNotDeaf(t *testing.T) {
	s := &service{deaf: true}
	if _, err := New(Config{Service: s}, scenario.Epoch); !errors.Is(err, bfd.ErrNotConnected) {
		t.Error(err)
	}
}
