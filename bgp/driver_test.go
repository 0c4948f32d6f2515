package bgp

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hyperfib/hyperfib/bgp/rib"
	"github.com/hyperfib/hyperfib/internal/testing/scenario"
)

// drivenScenario plays scenarios in which speakers are driven. Hosts are a, b, c, ... with the
// addresses 10.0.0.1, 10.0.0.2, ...; the inputs are
//
//	segment SEED              another cut of the streams, at the beginning
//	start a [restarting]      a speaker of AS 65000 starts
//	session a b [client]      a and b are peers; b is a reflector client of a
//	range a                   a takes everybody who comes, as a client
//	originate a PREFIX | withdraw a PREFIX | inventory a
//	pathdown a b | pathup a b | remove a b | shutdown a
//	kill a | stop a | continue a
//	cut a b | join a b | reset a b | stall a b 20s
type drivenScenario struct {
	n      *drivenNet
	events map[*Speaker]*Watcher
	routes map[*Speaker]*RouteWatcher
}

func TestDriverScenarios(t *testing.T) {
	scenario.Files(t, "testdata/driver/*.txt", func(_ *testing.T, text string) (string, error) {
		return scenario.Play(text, newDrivenScenario())
	})
}

func newDrivenScenario() *drivenScenario {
	return &drivenScenario{n: newDrivenNet(1, scenario.Epoch), events: map[*Speaker]*Watcher{}, routes: map[*Speaker]*RouteWatcher{}}
}

// Deadline implements scenario.Clock.
func (s *drivenScenario) Deadline() time.Time { return s.n.next() }

// Advance implements scenario.Clock.
func (s *drivenScenario) Advance(now time.Time) []string {
	s.n.now = now
	s.n.step()
	return s.outputs()
}

// Do implements scenario.Machine.
func (s *drivenScenario) Do(now time.Time, words []string) (out []string, err error) {
	s.n.now = now
	if len(words) > 0 {
		err = s.do(append(words, "", "", ""))
	}
	if errors.Is(err, ErrNoPeer) || errors.Is(err, ErrClosed) {
		return append(s.outputs(), err.Error()), nil
	}
	return s.outputs(), err
}

// hostAddr is the address of a host named by a letter.
func hostAddr(name string) netip.Addr {
	if name == "" {
		return netip.Addr{}
	}
	return netip.AddrFrom4([4]byte{10, 0, 0, name[0] - 'a' + 1})
}

func hostName(a netip.Addr) string {
	if !a.Is4() {
		return "-"
	}
	return string(rune('a' + a.As4()[3] - 1))
}

func (s *drivenScenario) do(w []string) error {
	n := s.n
	a, b := hostAddr(w[1]), hostAddr(w[2])
	switch w[0] {
	case "segment":
		var seed uint64
		fmt.Sscan(w[1], &seed)
		*n = *newDrivenNet(seed, n.now)
		return nil
	case "start":
		return s.start(n.host(a), w[2] == "restarting")
	case "kill":
		n.host(a).kill()
		return nil
	case "stop":
		n.host(a).stopped = true
		return nil
	case "continue":
		n.host(a).resume()
		return nil
	case "cut":
		n.cuts = append(n.cuts, [2]netip.Addr{a, b})
		return nil
	case "join":
		n.cuts = slices.DeleteFunc(n.cuts, func(c [2]netip.Addr) bool { return c == [2]netip.Addr{a, b} || c == [2]netip.Addr{b, a} })
		return nil
	case "reset":
		n.reset(a, b)
		return nil
	case "stall":
		d, err := time.ParseDuration(w[3])
		for _, e := range n.between(a, b) {
			e.stall = n.now.Add(d)
		}
		return err
	}
	if sp := n.host(a).s; sp != nil {
		return command(sp, w, b)
	}
	return nil
}

// command has a speaker do something.
func command(sp *Speaker, w []string, b netip.Addr) error {
	key := PeerKey{Addr: b}
	switch w[0] {
	case "session":
		return sp.AddPeer(PeerConfig{Addr: b, RouteReflectorClient: w[3] == "client"})
	case "range":
		return sp.AddRange(RangeConfig{Prefix: netip.MustParsePrefix("10.0.0.0/24"), Template: PeerConfig{RouteReflectorClient: true}})
	case "originate":
		return sp.Originate(rib.LocalPath{Prefix: netip.MustParsePrefix(w[2])})
	case "withdraw":
		return sp.Withdraw(netip.MustParsePrefix(w[2]), 0)
	case "inventory":
		sp.InventoryComplete()
		return nil
	case "pathdown":
		return sp.PathDown(key, PathFailureBFDDown)
	case "pathup":
		return sp.PathUp(key)
	case "remove":
		return sp.RemovePeer(key)
	case "shutdown":
		sp.Shutdown("maintenance")
		return nil
	}
	return fmt.Errorf("unknown word %q", w[0])
}

// start starts the speaker of a host.
func (s *drivenScenario) start(h *drivenHost, restarting bool) error {
	h.kill()
	c := scenarioConfig(h.addr, restarting)
	c.Transport, c.Random = h, s.n.rand.Float64
	sp, err := New(c)
	if err != nil {
		return err
	}
	h.s = sp
	h.life++
	s.events[sp], s.routes[sp] = sp.Watch(), sp.WatchRoutes(rib.WatchConfig{})
	return sp.Driver().Start()
}

// scenarioConfig is what all speakers of the scenarios have in common.
func scenarioConfig(a netip.Addr, restarting bool) Config {
	return Config{
		AS: 65000, RouterID: a,
		GracefulRestart: GracefulRestart{Enabled: true, Restarting: restarting, ForwardingPreserved: restarting},
	}
}

// outputs reads the watchers of all speakers.
func (s *drivenScenario) outputs() (out []string) {
	over, cancel := context.WithCancel(context.Background())
	cancel()
	events, changes := make([]Event, 8), make([]rib.Change, 8)
	for _, h := range s.n.hosts {
		if h.s == nil {
			continue
		}
		for {
			k, err := s.events[h.s].Next(over, events)
			for _, e := range events[:k] {
				if line := eventLine(e); line != "" {
					out = append(out, hostName(h.addr)+" "+line)
				}
			}
			if err != nil {
				break
			}
		}
		for {
			k, err := s.routes[h.s].Next(over, changes)
			for _, c := range changes[:k] {
				out = append(out, hostName(h.addr)+" "+changeLine(c))
			}
			if err != nil {
				break
			}
		}
	}
	for _, line := range out {
		s.n.note("%s", line)
	}
	return out
}

func eventLine(e Event) string {
	line := e.Kind.String()
	switch e.Kind {
	case EventState, EventSnapshot, EventAdded:
		return ""
	case EventRestart:
		line += " " + e.Restart.String()
	case EventEndOfRIB:
		line += " " + e.Family.String()
	}
	if e.Peer.Addr.IsValid() {
		line = hostName(e.Peer.Addr) + " " + line
	}
	if e.Err != nil {
		_, text, _ := strings.Cut(strings.TrimPrefix(e.Err.Error(), "bgp: "), ": ")
		line += ": " + text
	}
	return line
}

func changeLine(c rib.Change) string {
	if c.Converged {
		return "routes complete"
	}
	line := c.Prefix.String()
	if len(c.Paths) == 0 {
		return line + " gone"
	}
	for _, p := range c.Paths {
		line += " from " + hostName(p.Peer)
		if p.Stale {
			line += " stale"
		}
	}
	return line
}
