package bfdcore

import (
	"fmt"
	"testing"
)

// side is one process in TestHandover, and what it has written and nobody has read.
type side struct {
	dead   bool
	owns   bool // serves the sessions
	over   bool // has failed, or ended on purpose
	closed bool // its end of the connection
	said   string
}

// handoverState is everything that decides what can happen next; it is comparable.
type handoverState struct {
	g, t           side
	giver          Giver
	taker          Taker
	gSaw, tSaw     bool // the end of the connection
	stopped        bool // the giver was told to end
	timedOut       bool
	gCrash, tCrash bool // may still happen
}

// TestHandoverInterleavings plays every order of messages, timeouts, signals and deaths:
// no two processes that are alive ever serve the sessions, and when nothing more happens
// one does, if any is left that was not told to end.
func TestHandoverInterleavings(t *testing.T) {
	for _, version := range []int{1, 2} {
		start := handoverState{giver: Giver{Confirms: version == 2}, taker: Taker{Confirms: version == 2}, gCrash: true, tCrash: true}
		start.g.said = "c" // everything
		seen := map[handoverState]string{start: ""}
		queue := []handoverState{start}
		final := 0
		for len(queue) > 0 {
			s := queue[0]
			queue = queue[1:]
			quiet := true
			for _, e := range []string{"giver reads", "taker reads", "timeout", "stop", "giver dies", "taker dies"} {
				n, ok := s.after(e)
				if !ok {
					continue
				}
				quiet = quiet && (e == "stop" || e == "giver dies" || e == "taker dies")
				if _, known := seen[n]; !known {
					seen[n] = seen[s] + "\n" + e
					queue = append(queue, n)
				}
			}
			if why := s.wrong(quiet); why != "" {
				t.Fatalf("version %d: %s after:%s\n%+v", version, why, seen[s], s)
			}
			if quiet {
				final++
			}
		}
		t.Logf("version %d: %d states, %d of them final", version, len(seen), final)
	}
}

func (s handoverState) wrong(quiet bool) string {
	giver, taker := s.g.owns && !s.g.dead, s.t.owns && !s.t.dead
	switch left := !s.g.dead && !s.g.over || !s.t.dead && !s.t.over; {
	case giver && taker:
		return "two processes have the sessions"
	case quiet && left && !giver && !taker && !s.lost():
		return "nobody has the sessions"
	}
	return ""
}

// lost reports whether version 1 loses the sessions: nothing tells its giver that a taker
// has died after go, and nothing its taker that a giver has died before.
func (s handoverState) lost() bool {
	return !s.giver.Confirms && (s.t.dead || s.g.dead)
}

func (s handoverState) after(event string) (handoverState, bool) {
	switch event {
	case "giver reads":
		if s.g.dead || s.g.over {
			return s, false
		}
		switch {
		case s.t.said != "":
			e := map[byte]GiverEvent{'r': GiverReady, 'u': GiverRuns}[s.t.said[0]]
			s.t.said = s.t.said[1:]
			s.giverDoes(s.giver.Step(e))
		case s.t.closed && !s.gSaw:
			s.gSaw = true
			s.giverDoes(s.giver.Step(GiverClosed))
		default:
			return s, false
		}
	case "taker reads":
		if s.t.dead || s.t.over {
			return s, false
		}
		switch {
		case s.g.said != "":
			e := map[byte]TakerEvent{'c': TakerComplete, 'g': TakerGo, 'n': TakerNo}[s.g.said[0]]
			s.g.said = s.g.said[1:]
			s.takerDoes(s.taker.Step(e))
		case s.g.closed && !s.tSaw:
			s.tSaw = true
			s.takerDoes(s.taker.Step(TakerClosed))
		default:
			return s, false
		}
	case "timeout":
		if s.timedOut || s.g.dead || s.g.over {
			return s, false
		}
		s.timedOut = true
		s.giverDoes(s.giver.Step(GiverTimedOut))
	case "stop":
		if s.stopped || s.g.dead || s.g.over {
			return s, false
		}
		s.stopped = true
		s.giverDoes(s.giver.Step(GiverStopped))
		s.g.owns, s.g.over, s.g.closed = false, true, true
	case "giver dies":
		if !s.gCrash || s.g.dead {
			return s, false
		}
		s.gCrash, s.g.dead, s.g.closed = false, true, true
	case "taker dies":
		if !s.tCrash || s.t.dead {
			return s, false
		}
		s.tCrash, s.t.dead, s.t.closed = false, true, true
	}
	return s, true
}

func (s *handoverState) giverDoes(a GiverAction) {
	switch a {
	case GiverSayGo:
		if s.t.closed {
			s.giverDoes(s.giver.Step(GiverClosed))
			return
		}
		s.g.said += "g"
		if s.giver.Said() {
			s.g.over, s.g.closed = true, true
		}
	case GiverSayNo:
		s.g.owns = true
		if s.giver.Confirms {
			s.g.said += "n"
		} else {
			s.g.closed = true
		}
	case GiverResume:
		s.g.owns = true
	case GiverEnd:
		s.g.over, s.g.closed = true, true
	}
}

func (s *handoverState) takerDoes(a TakerAction) {
	switch a {
	case TakerSayReady:
		if s.g.closed {
			s.takerDoes(TakerFail)
			return
		}
		s.t.said += "r"
	case TakerRun:
		s.t.owns = true
		if s.taker.Confirms {
			s.t.said += "u"
		}
		s.t.closed = true
	case TakerFail:
		s.t.over, s.t.closed = true, true
	}
}

func TestHandoverSteps(t *testing.T) {
	g := Giver{Confirms: true}
	t2 := Taker{Confirms: true}
	got := fmt.Sprint(t2.Step(TakerComplete), g.Step(GiverReady), g.Said(), t2.Step(TakerGo), g.Step(GiverRuns), g.Step(GiverClosed), t2.Step(TakerNo))
	if want := fmt.Sprint(TakerSayReady, GiverSayGo, false, TakerRun, GiverEnd, GiverWait, TakerWait); got != want {
		t.Errorf("got %v, want %v", got, want)
	}
	for _, first := range []TakerEvent{TakerGo, TakerNo, TakerClosed} {
		early := Taker{Confirms: true}
		if a := early.Step(first); a != TakerFail {
			t.Errorf("event %d before everything is there: %v", first, a)
		}
	}
}
