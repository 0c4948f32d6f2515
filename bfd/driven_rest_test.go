package bfd

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/hyperfib/hyperfib/internal/testing/scenario"
)

// rest goes on up to a time by Skip. It reports whether all sessions could be left out.
func (w *skipWire) rest(t *testing.T, until time.Duration) bool {
	for len(w.flying) > 0 {
		w.play(w.now + ms(1))
	}
	type end struct {
		d *DrivenServer
		Key
	}
	var ends []end
	for _, n := range w.nodes {
		d := n.d.(*DrivenServer)
		list, err := d.Sessions()
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range list {
			if !d.Skip(s.Key) {
				return false
			}
			ends = append(ends, end{d, s.Key})
		}
	}
	for _, n := range w.nodes {
		if at := n.d.(*DrivenServer).Awake(); at < until {
			t.Fatalf("awake at %v", at)
		}
		for at := n.d.Deadline(); at <= until; at = n.d.Deadline() {
			n.d.Advance(at)
		}
	}
	w.now = until
	records := make([]Skipped, len(ends))
	for i, e := range ends {
		records[i] = e.d.Skipped(e.Key)
	}
	for _, to := range ends {
		i := slices.IndexFunc(ends, func(from end) bool { return from.Peer == to.Local && from.Local == to.Peer })
		s := records[i]
		last := s.Last
		if s.Count > 0 && s.Last+w.delay > until {
			s.Count--
			last = s.Before
			p := wirePacket{to: w.nodes[0], d: Datagram{At: s.Last + w.delay, IfIndex: 7, Local: to.Local, Peer: to.Peer, TTL: 255, Payload: w.said[to.Peer.String()]}}
			if to.d != p.to.d {
				p.to = w.nodes[1]
			}
			w.flying = append(w.flying, p)
		}
		if s.Count == 0 {
			last = -w.delay
		}
		to.d.Unskip(to.Key, last+w.delay, s.Count)
	}
	return true
}

// TestDrivenRest: after a while in which no packet was made or delivered, all sessions do the same
// at the same times as with every packet.
func TestDrivenRest(t *testing.T) {
	rested := 0
	scenario.Search{Seeds: 500, Inputs: func(r *rand.Rand) []string {
		return []string{fmt.Sprintf("%d %d %d %d", r.Uint32(), 1000+r.IntN(6000), r.IntN(1000), r.IntN(3))}
	}, Play: func(t *testing.T, inputs []string) error {
		if len(inputs) == 0 {
			return nil
		}
		with, _ := restPlay(t, inputs[0], false)
		without, ok := restPlay(t, inputs[0], true)
		if !ok {
			return nil
		}
		if rested++; with != without {
			return fmt.Errorf("with every packet\n%s\nand without\n%s", with, without)
		}
		return nil
	}}.Run(t)
	if rested == 0 {
		t.Error("no world rested")
	}
}

// restPlay plays a line as skipPlay does. It reports false if the world could not rest.
func restPlay(t *testing.T, line string, rest bool) (string, bool) {
	var seed uint64
	var quiet, later, dies int
	if _, err := fmt.Sscan(line, &seed, &quiet, &later, &dies); err != nil {
		t.Fatal(err)
	}
	w := newSkipWire(t, seed)
	w.play(w.now + 3*time.Second)
	until := w.now + ms(quiet)
	if !rest {
		w.play(until)
	} else if !w.rest(t, until) {
		return "", false
	}
	clear(w.sent)
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
	return out, true
}
