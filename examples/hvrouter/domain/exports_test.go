package domain

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/hyperfib/hyperfib/internal/testing/scenario"
)

// TestExports plays testdata/exports/*.txt. The inputs:
//
//	want PREFIX PREF [METRIC [ADDRESS]] [other]   without METRIC the route is somebody else's; other:
//	                                      another router announces the prefix, too
//	drain [all], undrain                  the host is drained from now on, or not any more
//	drop PREFIX
//	route PREFIX METRIC unknown|present|missing|refused [WHY]
//	address ADDRESS up|down
//	show                                  what is decided, and the status of each prefix
func TestExports(t *testing.T) {
	scenario.Files(t, "testdata/exports/*.txt", func(t *testing.T, text string) (string, error) {
		return scenario.Play(text, newExportTest())
	})
}

// exportTest is an Exports, and what an onlooker knows from its effects alone.
type exportTest struct {
	*Exports
	announced map[netip.Prefix]string
	reported  map[netip.Prefix]bool // that it is missing
	addresses map[netip.Addr]bool
}

func newExportTest() *exportTest {
	return &exportTest{NewExports(), map[netip.Prefix]string{}, map[netip.Prefix]bool{}, map[netip.Addr]bool{}}
}

// Do implements [scenario.Machine].
func (x *exportTest) Do(now time.Time, words []string) ([]string, error) {
	var fx ExportEffects
	if len(words) == 0 {
		return nil, nil
	}
	switch words[0] {
	case "want":
		a := Announcement{Prefix: netip.MustParsePrefix(words[1]), LocalPref: number(words[2])}
		if a.Alternative = words[len(words)-1] == "other"; a.Alternative {
			words = words[:len(words)-1]
		}
		if len(words) > 3 {
			a.Route = Key{90, a.Prefix, number(words[3])}
		}
		if len(words) > 4 {
			a.Address = netip.MustParseAddr(words[4])
		}
		x.Want(a, x.addresses[a.Address], now, &fx)
	case "drop":
		x.Drop(netip.MustParsePrefix(words[1]), &fx)
	case "route":
		state := StandingState(slices.Index([]string{"unknown", "present", "missing", "refused"}, words[3]))
		p := netip.MustParsePrefix(words[1])
		x.Route(Key{90, p, number(words[2])}, Standing{state, strings.Join(words[4:], " ")}, now, &fx)
	case "address":
		a := netip.MustParseAddr(words[1])
		x.addresses[a] = words[2] == "up"
		x.Address(a, x.addresses[a], now, &fx)
	case "drain":
		x.Exports.Drain(Drain{On: true, All: len(words) > 1, Since: now}, now, &fx)
	case "undrain":
		x.Exports.Drain(Drain{}, now, &fx)
	case "show":
		return x.show(), nil
	default:
		return nil, fmt.Errorf("unknown word %q", words[0])
	}
	return x.note(&fx)
}

// Deadline and Advance make it a [scenario.Clock].
func (x *exportTest) Advance(now time.Time) []string {
	var fx ExportEffects
	x.Exports.Advance(now, &fx)
	lines, err := x.note(&fx)
	if err != nil {
		lines = append(lines, err.Error())
	}
	return lines
}

// note adds effects up, and says which make no sense.
func (x *exportTest) note(fx *ExportEffects) (lines []string, err error) {
	bad := func(format string, args ...any) { err = fmt.Errorf(format, args...) }
	for _, p := range fx.Withdraw {
		if _, ok := x.announced[p]; !ok {
			bad("%v is withdrawn, and was not announced", p)
		}
		delete(x.announced, p)
		lines = append(lines, fmt.Sprintf("withdraw %v", p))
	}
	for _, a := range fx.Announce {
		as := fmt.Sprintf("pref %d%s", a.LocalPref, map[bool]string{true: " graceful-shutdown"}[a.GracefulShutdown])
		if x.announced[a.Prefix] == as {
			bad("%v is announced once more", a.Prefix)
		}
		x.announced[a.Prefix] = as
		lines = append(lines, fmt.Sprintf("announce %v %s", a.Prefix, as))
	}
	for _, n := range fx.Notices {
		lines = append(lines, strings.TrimSpace(fmt.Sprintf("notice %v %s", n.Prefix, n.Why)+map[bool]string{true: ", withdrawn"}[n.Withdrawn]))
	}
	slices.Sort(lines)
	return lines, err
}

func (x *exportTest) show() (lines []string) {
	lines = append(lines, fmt.Sprintf("decided %v, held %d, withdrawn %d", x.Decided(), x.Held(), x.Withdrawn()))
	for _, p := range slices.SortedFunc(maps.Keys(x.all), netip.Prefix.Compare) {
		announced, why := x.Status(p)
		lines = append(lines, fmt.Sprintf("%v announced %v %s", p, announced, why))
	}
	return lines
}

// TestExportsSearch plays random lives of a few prefixes beside a simple oracle: at every
// moment, what is announced is what has been there within RepairTime, with the preference
// that is wanted, and all of what is there, but for what a drain withdraws.
func TestExportsSearch(t *testing.T) {
	scenario.Search{Seeds: 300, Inputs: exportInputs, Play: func(_ *testing.T, inputs []string) error {
		o := &exportOracle{exportTest: newExportTest(), prefixes: map[string]*oracleExport{}}
		_, err := scenario.Play(strings.Join(inputs, "\n"), o)
		return err
	}}.Run(t)
}

func exportInputs(r *rand.Rand) (lines []string) {
	at := time.Duration(0)
	for range 40 {
		at += time.Duration(r.IntN(3)) * 250 * time.Millisecond
		if r.IntN(10) == 0 {
			at += 6 * time.Second
		}
		p := fmt.Sprintf("10.0.0.%d/32", r.IntN(3))
		line := ""
		other := []string{"", " other"}[r.IntN(2)]
		switch r.IntN(10) {
		case 0:
			line = fmt.Sprintf("want %s %d %d%s", p, 100+r.IntN(2), 10+r.IntN(2), other)
		case 1:
			line = fmt.Sprintf("want %s 100 10 192.0.2.1%s", p, other)
		case 2:
			line = fmt.Sprintf("want %s 100%s", p, other)
		case 8, 9:
			line = []string{"drain", "drain all", "undrain", "undrain"}[r.IntN(4)]
		case 3:
			line = "drop " + p
		case 4:
			line = "address 192.0.2.1 " + []string{"up", "down"}[r.IntN(2)]
		default:
			line = fmt.Sprintf("route %s %d %s", p, 10+r.IntN(2), []string{"present", "missing", "refused"}[r.IntN(3)])
		}
		lines = append(lines, fmt.Sprintf("+%v %s", at, line))
	}
	return lines
}

// exportOracle knows when each prefix was last whole.
type exportOracle struct {
	*exportTest
	prefixes map[string]*oracleExport
	now      time.Time
	drained  time.Time // since when; zero: it is not
	all      bool
}

type oracleExport struct {
	pref                uint32
	metric, addr, route string
	announced           bool
	lost                time.Time
	other               time.Time // since when another router announces it
}

func (o *exportOracle) Do(now time.Time, words []string) ([]string, error) {
	o.now = now
	lines, err := o.exportTest.Do(now, words)
	if err != nil || len(words) == 0 {
		return lines, err
	}
	o.learn(now, words)
	return lines, o.compare(now)
}

func (o *exportOracle) learn(now time.Time, words []string) {
	for _, e := range o.prefixes {
		if !e.lost.IsZero() && !now.Before(e.lost.Add(RepairTime)) {
			e.announced = false
		}
		if o.away(e, now) {
			e.announced, e.lost = false, time.Time{}
		}
	}
	switch words[0] {
	case "want":
		e := o.prefixes[words[1]]
		if e == nil {
			e = &oracleExport{}
			o.prefixes[words[1]] = e
		}
		e.pref = number(words[2])
		if words[len(words)-1] != "other" {
			e.other = time.Time{}
		} else if words = words[:len(words)-1]; e.other.IsZero() {
			e.other = now
		}
		words = append(words, "", "")
		if e.metric != words[3] || words[3] == "" {
			e.route = ""
		}
		e.metric, e.addr = words[3], words[4]
	case "drop":
		delete(o.prefixes, words[1])
	case "route":
		if e := o.prefixes[words[1]]; e != nil && e.metric == words[2] {
			e.route = words[3]
		}
	}
	switch words[0] {
	case "drain":
		o.drained, o.all = now, len(words) > 1
	case "undrain":
		o.drained, o.all = time.Time{}, false
	}
	for _, e := range o.prefixes {
		whole := (e.metric == "" || e.route == "present") && (e.addr == "" || o.addresses[netip.MustParseAddr(e.addr)])
		switch {
		case o.away(e, now):
			e.announced, e.lost = false, time.Time{}
		case whole:
			e.announced, e.lost = true, time.Time{}
		case e.lost.IsZero():
			e.lost = now
		}
	}
}

// away reports whether the drain has a prefix not announced.
func (o *exportOracle) away(e *oracleExport, now time.Time) bool {
	switch {
	case o.drained.IsZero():
		return false
	case o.all && e.addr == "" && !now.Before(o.drained.Add(MoveTime)):
		return true
	case e.other.IsZero():
		return false
	}
	return !e.announced || !now.Before(e.other.Add(MoveTime)) && !now.Before(o.drained.Add(MoveTime))
}

// compare tells the oracle's view from what was announced.
func (o *exportOracle) compare(now time.Time) error {
	want := map[netip.Prefix]string{}
	for p, e := range o.prefixes {
		if !e.lost.IsZero() && !now.Before(e.lost.Add(RepairTime)) {
			e.announced = false
		}
		if e.announced {
			want[netip.MustParsePrefix(p)] = fmt.Sprintf("pref %d", e.pref)
			if !o.drained.IsZero() {
				want[netip.MustParsePrefix(p)] = "pref 0 graceful-shutdown"
			}
		}
	}
	if !maps.Equal(want, o.announced) {
		return fmt.Errorf("announced %v, want %v", o.announced, want)
	}
	if now.After(o.last().Add(FirstTime)) && !o.Decided() {
		return fmt.Errorf("still undecided at %s", strconv.Quote(now.Sub(scenario.Epoch).String()))
	}
	return nil
}

// last is when something was last missed.
func (o *exportOracle) last() (t time.Time) {
	for _, e := range o.prefixes {
		if e.lost.After(t) {
			t = e.lost
		}
	}
	return t
}
