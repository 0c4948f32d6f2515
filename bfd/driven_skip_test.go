package bfd

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/hyperfib/hyperfib/internal/testing/scenario"
)

// skipWire is two servers with some sessions each, over a line with a constant delay, and the
// times of all that they send.
type skipWire struct {
	*wire
	sent   map[string][]string // times and sessions, by node
	said   map[string][]byte   // the last packet from an address
	flying []wirePacket        // in the order that they arrive in
	delay  time.Duration
}

func newSkipWire(t *testing.T, seed uint64) *skipWire {
	w := &skipWire{wire: newWire(seed), sent: map[string][]string{}, said: map[string][]byte{}}
	w.quiet = true
	w.delay = time.Duration(w.rnd.IntN(5000)) * time.Microsecond
	a, b := w.node("a", "192.0.2.1"), w.node("b", "192.0.2.2")
	a.far, b.far = b, a
	for _, n := range w.nodes {
		cfg := n.config()
		cfg.Send = func(at time.Duration, k Key, local netip.Addr, payload []byte) error {
			w.sent[n.name] = append(w.sent[n.name], fmt.Sprintf("%v %v", at, k.Peer))
			w.said[local.String()] = slices.Clone(payload)
			if n.far.stopped {
				return nil
			}
			d := Datagram{At: at + w.delay, IfIndex: 7, Local: k.Peer, Peer: local, TTL: 255, Payload: slices.Clone(payload)}
			w.flying = append(w.flying, wirePacket{to: n.far, d: d})
			return nil
		}
		s, err := NewDrivenServer(cfg)
		if err != nil {
			t.Fatal(err)
		}
		n.d, n.watcher = s, s.Watch()
	}
	for i := range 1 + w.rnd.IntN(6) {
		ms := func() time.Duration { return time.Duration(50+w.rnd.IntN(500)) * time.Millisecond }
		for _, n := range w.nodes {
			c := SessionConfig{DesiredMinTx: ms(), RequiredMinRx: ms(), Multiplier: uint8(3 + w.rnd.IntN(3))}
			addr := func(n *wireNode) netip.Addr { a := n.addr.As4(); a[2] += byte(i); return netip.AddrFrom4(a) }
			c.Key = Key{Peer: addr(n.far), Local: addr(n), Interface: "e0"}
			if err := n.d.(*DrivenServer).Add(c); err != nil {
				t.Fatal(err)
			}
		}
	}
	return w
}

// play plays packet by packet up to a time.
func (w *skipWire) play(until time.Duration) {
	for {
		next := until
		for _, n := range w.nodes {
			next = min(next, n.d.Deadline())
		}
		for _, p := range w.flying {
			next = min(next, p.d.At)
		}
		w.now = max(w.now, next)
		for _, n := range w.nodes {
			w.deliver(n, nil)
			n.turn()
		}
		if w.now >= until {
			return
		}
	}
}

// deliver delivers what has arrived at a node; of each session's packets the last one only if
// last is not nil, which counts those that are left out.
func (w *skipWire) deliver(n *wireNode, last *int) {
	var mine []wirePacket
	w.flying = slices.DeleteFunc(w.flying, func(p wirePacket) bool {
		due := p.to == n && p.d.At <= w.now
		if due {
			mine = append(mine, p)
		}
		return due
	})
	slices.SortStableFunc(mine, func(a, b wirePacket) int { return int(a.d.At - b.d.At) })
	var skipped uint64
	for i, p := range mine {
		later := slices.ContainsFunc(mine[i+1:], func(q wirePacket) bool { return q.d.Local == p.d.Local })
		if last != nil && later {
			*last++
			continue
		}
		if last != nil {
			for _, q := range mine[:i] {
				if q.d.Local == p.d.Local {
					skipped++
				}
			}
		}
		p.d.Skipped = skipped
		skipped = 0
		n.d.Receive(&p.d)
	}
}

// skip goes on up to a time by letting each node send alone, and delivering only the last packet
// of each session, after a while that is no danger to any of them.
func (w *skipWire) skip(t *testing.T, until time.Duration) (skipped int) {
	window := until
	for _, n := range w.nodes {
		list, err := n.d.Sessions()
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range list {
			window = min(window, s.DetectTime-s.DetectTime/time.Duration(s.RemoteMultiplier)-w.delay-time.Millisecond)
		}
	}
	for w.now < until {
		end := min(until, w.now+window)
		for _, n := range w.nodes {
			for at := n.d.Deadline(); at <= end; at = n.d.Deadline() {
				n.d.Advance(at)
			}
		}
		w.now = end
		for _, n := range w.nodes {
			w.deliver(n, &skipped)
		}
	}
	return skipped
}

// TestDrivenSkip: with the last packet of each while only, all sessions do the same at the same
// times as with every packet, during that time and later.
func TestDrivenSkip(t *testing.T) {
	skipped := 0
	scenario.Search{Seeds: 1000, Inputs: func(r *rand.Rand) []string {
		quiet, later := 4000+r.IntN(4000), r.IntN(1000)
		return []string{fmt.Sprintf("%d %d %d %d", r.Uint32(), quiet, later, r.IntN(3))}
	}, Play: func(t *testing.T, inputs []string) error {
		if len(inputs) == 0 {
			return nil
		}
		with, without := skipPlay(t, inputs[0], nil), skipPlay(t, inputs[0], &skipped)
		if with != without {
			return fmt.Errorf("with every packet\n%s\nand without\n%s", with, without)
		}
		return nil
	}}.Run(t)
	if skipped == 0 {
		t.Error("every packet was delivered")
	}
}

// skipPlay plays a line: seed, quiet time and time afterwards in ms, and which side dies then, if
// any. It returns all that can be seen of it. If skipped is not nil the quiet time is skipped.
func skipPlay(t *testing.T, line string, skipped *int) string {
	var seed uint64
	var quiet, later, dies int
	if _, err := fmt.Sscan(line, &seed, &quiet, &later, &dies); err != nil {
		t.Fatal(err)
	}
	w := newSkipWire(t, seed)
	w.play(w.now + 3*time.Second)
	if until := w.now + ms(quiet); skipped == nil {
		w.play(until)
	} else {
		*skipped += w.skip(t, until)
	}
	w.play(w.now + ms(later))
	if dies < 2 {
		w.nodes[dies].stopped = true
		w.dropStopped()
	}
	w.play(w.now + 2*time.Second)
	out := w.trace.String()
	for _, n := range w.nodes {
		list, err := n.d.Sessions()
		out += fmt.Sprintln(n.name, list, err, w.sent[n.name])
	}
	return out
}

// dropStopped takes nodes that are stopped out of the game.
func (w *skipWire) dropStopped() {
	w.flying = slices.DeleteFunc(w.flying, func(p wirePacket) bool { return p.to.stopped })
	w.nodes = slices.DeleteFunc(slices.Clone(w.nodes), func(n *wireNode) bool { return n.stopped })
}
