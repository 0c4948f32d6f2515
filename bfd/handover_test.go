package bfd

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/hyperfib/hyperfib/internal/testing/scenario"
)

// handoverStart is a BFD process with a session to each of two remote systems.
const handoverStart = `
netns far
cable home far v0
addr home v0 10.0.0.1
addr far v0 10.0.0.2
addr home v0 fd00::1
addr far v0 fd00::2
remote r
add r 10.0.0.1 local=10.0.0.2 dev=v0 in=far mult=5
add r fd00::1 local=fd00::2 dev=v0 in=far mult=5
process p0
client c
add c 10.0.0.2 local=10.0.0.1 dev=v0 mult=5
add c fd00::2 local=fd00::1 dev=v0 mult=5
synced c
`

// TestHandovers searches for a handover that harms: successors come, at any moment, up to
// three at once, are killed or get stuck after any octet that they read or write, and
// clients come and go. No session may go down, nobody may send for a session that another
// process has; and when it is over a real Down reaches the client at once, from whatever
// process there is.
func TestHandovers(t *testing.T) {
	scenario.Search{Seeds: 8, Inputs: handoverInputs, Play: playHandovers}.Run(t)
}

func handoverInputs(r *rand.Rand) (list []string) {
	at := 5000
	for n := range 3 + r.IntN(6) {
		at += r.IntN(1500)
		if r.IntN(4) == 0 {
			list = append(list, fmt.Sprintf("+%dms %s", at, []string{"die c", "client c", "kill c"}[r.IntN(3)]))
			continue
		}
		// A successor reads some 900 octets and writes 40 until it runs. One that is stuck
		// after it was told to go has the sessions: then they live as long as the
		// remote system waits, 500 ms after the last packet.
		how, octets, stall := "", 1+r.IntN(1000), r.IntN(350)
		if r.IntN(2) == 0 {
			octets, stall = 1+r.IntN(60), r.IntN(900)
		}
		switch r.IntN(3) {
		case 0:
			how = fmt.Sprintf("dies=%d", octets)
		case 1:
			how = fmt.Sprintf("stalls=%d/%dms", octets, stall)
		}
		list = append(list, fmt.Sprintf("+%dms takeover p%d %s", at, n+1, how))
		if r.IntN(3) == 0 {
			at += 100 + r.IntN(300)
		}
	}
	return list
}

func playHandovers(t *testing.T, inputs []string) error {
	text := handoverStart
	for _, line := range inputs {
		text += line + "\n"
	}
	text += "+30s die c\nclient c\nadd c 10.0.0.2 local=10.0.0.1 dev=v0 mult=5\nadd c fd00::2 local=fd00::1 dev=v0 mult=5\nsynced c\n+40s takeover last\n+50s\n"
	out, err := inBubble(t, text, func(w *world) error {
		r, c := w.remotes["r"], w.clients["c"]
		w.mu.Lock()
		defer w.mu.Unlock()
		for _, e := range r.states {
			if e.State != StateUp || e.Downs > 0 {
				return fmt.Errorf("the remote system has %s, %d downs, since %v", brief(e), e.Downs, e.Time.Sub(scenario.Epoch))
			}
		}
		for k := range c.wanted {
			if e := c.states[k]; e.State != StateUp {
				return fmt.Errorf("the client has %s", brief(e))
			}
		}
		w.mu.Unlock()
		cut := time.Now()
		err := w.do("cut", []string{"home", "v0"})
		time.Sleep(510 * time.Millisecond)
		w.mu.Lock()
		for k := range c.wanted {
			if e := c.states[k]; e.State != StateDown {
				return fmt.Errorf("%v after a cut the client has %s", time.Since(cut), brief(e))
			}
		}
		return err
	})
	if err != nil {
		err = fmt.Errorf("%w, in\n%s", err, out)
	}
	return err
}
