package bfd

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/hyperfib/hyperfib/internal/testing/scenario"
)

// pipe is one direction of a connection between two processes. What is written arrives in
// pieces, a while later, until one of the two has died.
type pipe struct {
	w      *wire
	to     *DrivenHandover // set once it is there
	chunks []chunk
	left   int // octets until its writer dies
	dead   bool
	died   func()
	stall  time.Duration
}

type chunk struct {
	at  time.Duration
	b   []byte
	end bool
}

func (p *pipe) Write(b []byte) (int, error) {
	if p.dead {
		return 0, io.ErrClosedPipe
	}
	n := min(len(b), p.left)
	for rest := append([]byte(nil), b[:n]...); len(rest) > 0; {
		k := 1 + p.w.rnd.IntN(len(rest))
		p.chunks = append(p.chunks, chunk{at: p.w.now + p.stall + ms(1), b: rest[:k]})
		rest = rest[k:]
	}
	if p.left -= n; p.left == 0 {
		p.died()
		return n, io.ErrClosedPipe
	}
	return n, nil
}

func (p *pipe) Close() error {
	if !p.dead {
		p.dead = true
		at := p.w.now + ms(1)
		if n := len(p.chunks); n > 0 {
			at = max(at, p.chunks[n-1].at)
		}
		p.chunks = append(p.chunks, chunk{at: at, end: true})
	}
	return nil
}

// deliver delivers what has arrived.
func (p *pipe) deliver() {
	for len(p.chunks) > 0 && p.chunks[0].at <= p.w.now {
		c := p.chunks[0]
		p.chunks = p.chunks[1:]
		if c.end {
			p.to.Closed()
		} else {
			p.to.Receive(c.b)
		}
	}
}

// TestDrivenHandovers searches for a handover, broken off after any octet in either direction,
// stalled or not, of either version, after which not exactly one process has the sessions.
func TestDrivenHandovers(t *testing.T) {
	scenario.Search{Seeds: 200, Inputs: func(r *rand.Rand) []string {
		var list []string
		for range 1 + r.IntN(4) {
			dies := [2]int{1 << 30, 1 << 30}
			if who := r.IntN(3); who < 2 {
				dies[who] = 1 + r.IntN([]int{60, 900}[r.IntN(2)])
			}
			list = append(list, fmt.Sprintf("takeover %d version %d dies %d %d stalls %d %d", r.Uint32(), 1+r.IntN(2), dies[0], dies[1], r.IntN(400), r.IntN(400)))
		}
		return list
	}, Play: playDrivenHandovers}.Run(t)
}

func playDrivenHandovers(t *testing.T, inputs []string) error {
	w := newWire(1)
	w.quiet, w.delay = true, ms(2)
	a, b := w.pair(t, func() SessionConfig { return SessionConfig{Multiplier: 8} })
	p, _ := a.process(t, "router", SessionConfig{Multiplier: 8})
	w.run(5 * time.Second)
	downs := b.session(t).Downs
	for _, line := range inputs {
		var err error
		if p, err = w.takeover(t, a, p, line); err != nil {
			return fmt.Errorf("%w\n%s", err, w.trace.String())
		}
		if p == nil { // both are dead
			p, _ = a.process(t, "router", SessionConfig{Multiplier: 8})
			w.run(5 * time.Second)
			downs = b.session(t).Downs
		}
		a.d = p
		w.run(2 * time.Second)
		if s := b.session(t); s.State != StateUp || s.Downs != downs {
			return fmt.Errorf("after %s: %v\n%s", line, s, w.trace.String())
		}
	}
	b.cut = true
	w.run(ms(810))
	if s := a.session(t); s.State != StateDown {
		return fmt.Errorf("after a cut: %v", s)
	}
	return nil
}

// takeover plays one handover. It returns the process that has the sessions; nil: all are dead.
func (w *wire) takeover(t *testing.T, a *wireNode, giver *DrivenProcess, line string) (*DrivenProcess, error) {
	var seed uint32
	var version uint16
	var dies, stalls [2]int
	if _, err := fmt.Sscanf(line, "takeover %d version %d dies %d %d stalls %d %d", &seed, &version, &dies[0], &dies[1], &stalls[0], &stalls[1]); err != nil {
		t.Fatal(err)
	}
	alive := [2]bool{true, true}
	pipes := [2]*pipe{}
	for i := range pipes { // 0: the giver writes to it
		pipes[i] = &pipe{w: w, left: dies[i], stall: ms(stalls[i])}
		pipes[i].died = func() {
			alive[i] = false
			_ = pipes[i].Close()
			pipes[1-i].dead = true
		}
	}
	cfg := a.config()
	cfg.Seed = seed
	taker, taking, err := NewDrivenSuccessor(cfg, time.Minute, version, pipes[1])
	pipes[0].to, pipes[1].to = taking, giver.Give(pipes[0])
	if err != nil || !alive[1] {
		alive[1] = false
	}
	for range 200 {
		w.now += ms(5)
		for i, p := range []*DrivenProcess{giver, taker} {
			if !alive[i] {
				continue
			}
			if pipes[1-i].deliver(); !alive[i] { // it died when it answered
				continue
			}
			if p.Ended() {
				a.d = nil
				continue
			}
			a.d = p
			a.watcher = nil
			a.turn()
		}
		a.d = nil
		for _, n := range w.nodes {
			n.turn()
		}
		serving := 0
		for i, p := range []*DrivenProcess{giver, taker} {
			serving += btoi(p != nil && alive[i] && p.driven.state == drivenServing)
		}
		if serving > 1 {
			return nil, errors.New("two processes have the sessions")
		}
	}
	for i, p := range []*DrivenProcess{giver, taker} {
		if p != nil && alive[i] && p.driven.state == drivenServing {
			return p, nil
		}
	}
	if alive[0] && alive[1] || alive[0] && !giver.Ended() {
		return nil, fmt.Errorf("no process has the sessions: %v %v", alive, taking.Err())
	}
	return nil, nil
}
