package bgp

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/hyperfib/hyperfib/bgp/wire"
	"github.com/hyperfib/hyperfib/internal/testing/scenario"
)

// reportScenario plays scenarios for what becomes an event. The inputs are what happens to a
// peer:
//
//	dynamic                     it comes from a range
//	added | removed | up | down | plain | eor ipv4 | state S | restart waiting
//	error REASON                a connection fails
//	bad ATTRIBUTE               an UPDATE is malformed
//	reset                       an operator resets the peer
type reportScenario struct{ r reporter }

func TestReportScenarios(t *testing.T) {
	scenario.Files(t, "testdata/report/*.txt", func(_ *testing.T, text string) (string, error) {
		return scenario.Play(text, &reportScenario{})
	})
}

// Deadline implements scenario.Clock.
func (s *reportScenario) Deadline() time.Time { return s.r.deadline() }

// Advance implements scenario.Clock.
func (s *reportScenario) Advance(now time.Time) []string {
	return s.lines(now, s.r.advance(now, PeerKey{}))
}

// Do implements scenario.Machine.
func (s *reportScenario) Do(now time.Time, words []string) ([]string, error) {
	if len(words) == 0 {
		return nil, nil
	}
	kinds := map[string]EventKind{"added": EventAdded, "removed": EventRemoved, "up": EventUp, "down": EventDown, "plain": EventPlain,
		"eor": EventEndOfRIB, "state": EventState, "restart": EventRestart, "error": EventError, "bad": EventUpdateError}
	kind, ok := kinds[words[0]]
	e := Event{Kind: kind}
	switch rest := strings.Join(words[1:], " "); words[0] {
	case "dynamic":
		s.r.dynamic = true
		return nil, nil
	case "reset":
		s.r.reset()
		return nil, nil
	case "eor":
		e.Family = familyNamed(rest)
	case "state":
		for e.State = Idle; e.State.String() != rest; e.State++ {
			if e.State > Established {
				return nil, fmt.Errorf("unknown state %q", rest)
			}
		}
	case "restart":
		for e.Restart.String() != rest {
			e.Restart++
		}
	case "error":
		e.Err = &PeerError{Err: errors.New(rest)}
	case "bad":
		e.Err = &wire.Error{Message: wire.TypeUpdate, RFC: rest}
	}
	if !ok {
		return nil, fmt.Errorf("unknown word %q", words[0])
	}
	return s.lines(now, s.r.take(now, e)), nil
}

func (s *reportScenario) lines(now time.Time, events []Event) (out []string) {
	for _, e := range events {
		line := e.Kind.String()
		switch e.Kind {
		case EventState:
			line += " " + e.State.String()
		case EventRestart:
			line += " " + e.Restart.String()
		case EventEndOfRIB:
			line += " " + e.Family.String()
		case EventError, EventUpdateError:
			line += ": " + errorClass(e.Err)
		}
		if e.Failures > 0 {
			line += fmt.Sprintf(", %d failures in %v", e.Failures, now.Sub(e.Since))
		}
		if e.Flapping {
			line += ", flapping"
		}
		if e.Repeats > 0 {
			line += fmt.Sprintf(", %d more of them", e.Repeats)
		}
		out = append(out, "-> "+line)
	}
	return out
}

func familyNamed(s string) wire.Family {
	if strings.HasPrefix(s, "ipv6") {
		return wire.IPv6Unicast
	}
	return wire.IPv4Unicast
}
