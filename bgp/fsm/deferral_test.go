package fsm

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/hyperfib/hyperfib/bgp/wire"
	"github.com/hyperfib/hyperfib/internal/testing/scenario"
)

// deferralScenario plays scenarios for the restarting speaker. The inputs are
//
//	config [deferral=120s] [establish=5s] [ranges]
//	add N | remove N | up N [restarting|incapable] | down N [dead] | eor N FAMILY
type deferralScenario struct {
	d    *Deferral[int]
	done bool
}

func TestDeferralScenarios(t *testing.T) {
	scenario.Files(t, "testdata/deferral/*.txt", func(_ *testing.T, text string) (string, error) {
		d := NewDeferral[int](DeferralConfig{DeferralTime: 120 * time.Second, EstablishTime: 5 * time.Second})
		d.Begin(scenario.Epoch)
		return scenario.Play(text, &deferralScenario{d: d})
	})
}

// Deadline implements scenario.Clock.
func (w *deferralScenario) Deadline() time.Time { return w.d.Deadline() }

// Advance implements scenario.Clock.
func (w *deferralScenario) Advance(now time.Time) []string {
	return w.result(now)
}

// Do implements scenario.Machine.
func (w *deferralScenario) Do(now time.Time, words []string) ([]string, error) {
	if len(words) == 0 {
		return nil, nil
	}
	if words[0] == "config" {
		return nil, w.config(words[1:])
	}
	key := 0
	if len(words) > 1 {
		var err error
		if key, err = strconv.Atoi(words[1]); err != nil {
			return nil, err
		}
	}
	switch words[0] {
	case "add":
		w.d.Add(key)
	case "remove":
		w.d.Remove(key)
	case "up":
		n := &Negotiated{Families: wire.Families(wire.IPv4Unicast, wire.IPv6Unicast)}
		if len(words) < 3 || words[2] != "incapable" {
			n.Remote.GracefulRestart = &wire.GracefulRestart{Restarting: len(words) > 2}
		}
		w.d.Up(key, n)
	case "down":
		w.d.Down(key, len(words) > 2)
	case "eor":
		w.d.EndOfRIB(key, familyNamed(words[2]))
	default:
		return nil, fmt.Errorf("unknown %q", words)
	}
	return w.result(now), nil
}

func (w *deferralScenario) result(now time.Time) []string {
	was := w.done
	w.d.Advance(now)
	w.done = !w.d.Active()
	if w.done && !was {
		return []string{"-> converge"}
	}
	return nil
}

func (w *deferralScenario) config(words []string) (err error) {
	for _, word := range words {
		key, value, _ := strings.Cut(word, "=")
		switch key {
		case "deferral":
			w.d.cfg.DeferralTime, err = time.ParseDuration(value)
		case "establish":
			w.d.cfg.EstablishTime, err = time.ParseDuration(value)
		case "ranges":
			w.d.AddOthers()
		}
	}
	return err
}
