package daemon

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/hyperfib/hyperfib/arp"
	"github.com/hyperfib/hyperfib/examples/hvrouter/api"
	"github.com/hyperfib/hyperfib/examples/hvrouter/config"
	"github.com/hyperfib/hyperfib/examples/hvrouter/config/configtest"
	eg "github.com/hyperfib/hyperfib/examples/hvrouter/edge"
	"github.com/hyperfib/hyperfib/examples/hvrouter/guest"
	"github.com/hyperfib/hyperfib/examples/hvrouter/netns"
	"github.com/hyperfib/hyperfib/examples/hvrouter/sessions"
	"github.com/hyperfib/hyperfib/fib"
	"github.com/hyperfib/hyperfib/internal/testing/scenario"
)

// The inputs of testdata/*.txt. NS is "" or @NAME of a network namespace; EDIT is
// OLD=>NEW in the file's text, with _ for a space and \n for a new line. What the loop
// does follows each input; the kernel does what it is asked, at once, unless it was told
// otherwise.
//
//	config FILE [EDIT ...]                       start anew with a sample
//	uplinks                                      the lab's, with their addresses
//	link INDEX NAME [down|dark|mac=MAC] [NS]     an interface is there; dark has no carrier
//	unlink INDEX NAME [NS]
//	address INDEX PREFIX [NS], unaddress ...
//	paths DOMAIN PREFIX [HOP@PEER ...] [stops]   what BGP has; stops: its router is drained, too
//	converged DOMAIN                             that was all
//	learn DOMAIN PREFIX METRIC LINK, unlearn ... a foreign route; synced DOMAIN: that was all
//	seen|gone|moved|conflict LINK ADDRESS MAC [OLD LINK]
//	put YAML, del NAME, move NAME [pref N] [down|up]
//	directory YAML|late, state YAML|late         what was read of them; late: they do not answer
//	reload FILE [EDIT ...]
//	refuse PREFIX [WHY]                          the kernel refuses the route from now on
//	slow PREFIX                                  it says nothing about the route from now on
//	lose PREFIX, foreign PREFIX, hold PREFIX     what has become of the route
//	allow PREFIX                                 it is in the kernel (again)
//	stale PREFIX TABLE LINK                      a route of an earlier run
//	drain [all], undrain
//	explain PREFIX
//
// Events of one batch are separated by ";".
type machine struct {
	*bench
	t       testing.TB
	refused map[netip.Prefix]string
	slow    map[netip.Prefix]bool
	wanted  map[fib.RouteKey]bool
	changes map[string][]fib.RouteChange // by namespace, for the loop
}

func TestScenarios(t *testing.T) {
	scenario.Files(t, "testdata/*.txt", func(t *testing.T, text string) (string, error) {
		return scenario.Play(text, &machine{t: t, refused: map[netip.Prefix]string{}, slow: map[netip.Prefix]bool{}, wanted: map[fib.RouteKey]bool{}})
	})
}

func (m *machine) Do(now time.Time, words []string) ([]string, error) {
	if m.bench == nil && (len(words) == 0 || words[0] != "config") {
		return nil, errors.New("want config first")
	}
	if m.bench != nil {
		m.router.now = func() time.Time { return now }
	}
	if err := m.do(now, words); err != nil {
		return nil, err
	}
	if len(words) > 0 && words[0] == "explain" {
		lines := m.lines
		m.lines = nil
		return lines, nil
	}
	return m.outputs(), nil
}

// outputs brings what the kernel says to the loop, until it is quiet.
func (m *machine) outputs() []string {
	for len(m.changes) > 0 {
		all := m.changes
		m.changes = map[string][]fib.RouteChange{}
		for _, p := range m.namespaces {
			m.onRoutes(p, all[string(p.NetNS())])
		}
	}
	return m.trace.take()
}

func (m *machine) Deadline() time.Time {
	if m.bench == nil {
		return time.Time{}
	}
	return m.router.deadline()
}

func (m *machine) Advance(now time.Time) []string {
	m.router.now = func() time.Time { return now }
	m.router.advance(now)
	return m.outputs()
}

func (m *machine) do(now time.Time, words []string) error {
	if len(words) == 0 {
		return nil
	}
	switch words[0] {
	case "config":
		return m.start(now, words[1], words[2:])
	case "uplinks":
		m.uplinks()
	case "link", "unlink", "address", "unaddress":
		return m.kernelEvents(words)
	case "paths", "converged", "learn", "unlearn", "synced":
		return m.routes(words)
	case "refuse", "slow", "lose", "foreign", "hold", "allow", "stale":
		return m.stands(words)
	case "seen", "gone", "moved", "conflict":
		return m.sight(words)
	case "put":
		return m.says(m.putText(strings.Join(words[1:], " ")))
	case "directory", "state":
		return m.says(m.read(words))
	case "del":
		return m.says(m.change(func(in *guest.Inventory) error { return in.Remove(words[1]) }))
	case "move":
		return m.moveWords(words)
	case "reload":
		c, err := configtest.Sample(words[1], words[2:]...)
		if err != nil {
			return m.says(err)
		}
		m.router.reload(c, config.Host{}, nil)
	case "drain":
		m.setDrain(DrainState{Since: now, All: len(words) > 1})
	case "undrain":
		m.setDrain(DrainState{})
	case "explain":
		m.lines = append(m.lines, explain(m.router, netip.MustParsePrefix(words[1]), noTables, noPeers)...)
	default:
		return fmt.Errorf("unknown word %q", words[0])
	}
	return nil
}

// says makes an error an output.
func (m *machine) says(err error) error {
	if err != nil {
		m.add("error: %v", err)
	}
	return nil
}

func (m *machine) start(now time.Time, file string, edits []string) error {
	c, err := configtest.Sample(file, edits...)
	if err != nil {
		return err
	}
	tr := newTrace()
	m.changes = map[string][]fib.RouteChange{}
	m.bench = newBenchWith(m.t, c, slog.New(events{tr}), func(name string) netns.Kernel { return standing{fakeKernel{trace: tr, netns: name}, m} }, tr)
	m.router.now = func() time.Time { return now }
	m.refresh()
	return nil
}

// standing is a kernel that reports how far its routes have come.
type standing struct {
	fakeKernel
	m *machine
}

func (k standing) SetRoute(r fib.Route) error {
	_ = k.fakeKernel.SetRoute(r)
	k.m.wanted[r.RouteKey] = true
	switch why, refused := k.m.refused[r.Prefix]; {
	case k.m.slow[r.Prefix]:
	case refused:
		k.m.status(k.netns, r.RouteKey, fib.StateFailed, errors.New(why))
	default:
		k.m.status(k.netns, r.RouteKey, fib.StateInstalled, nil)
	}
	return nil
}

func (k standing) DeleteRoute(key fib.RouteKey) error {
	_ = k.fakeKernel.DeleteRoute(key)
	if k.m.wanted[key] {
		delete(k.m.wanted, key)
		c := fib.RouteChange{Gone: true}
		c.RouteKey = key
		k.m.changes[k.netns] = append(k.m.changes[k.netns], c)
	}
	return nil
}

// status has the kernel of a namespace report about a route.
func (m *machine) status(netns string, k fib.RouteKey, s fib.RouteState, err error) {
	c := fib.RouteChange{RouteStatus: fib.RouteStatus{State: s, Err: err, Present: s == fib.StateInstalled || s == fib.StatePartial}}
	c.RouteKey = k
	m.changes[netns] = append(m.changes[netns], c)
}

// stands changes what has become of the routes of a prefix.
func (m *machine) stands(words []string) error {
	p := netip.MustParsePrefix(words[1])
	if words[0] == "stale" {
		table, _ := strconv.ParseUint(words[2], 10, 32)
		s := fib.RouteStatus{State: fib.StateStale}
		s.RouteKey, s.NextHops = fib.RouteKey{Table: uint32(table), Prefix: p, Metric: 10}, []fib.NextHop{{IfIndex: number(words[3])}}
		old := m.targets.leftover
		m.targets.leftover = func(yield func(fib.RouteStatus) bool) {
			if old != nil {
				old(yield)
			}
			yield(s)
		}
		m.vteps.adopt(slices.Values([]fib.RouteStatus{s}))
		return nil
	}
	delete(m.refused, p)
	if m.slow[p] = words[0] == "slow"; m.slow[p] {
		return nil
	}
	state, err := map[string]fib.RouteState{"refuse": fib.StateFailed, "lose": fib.StateLost, "foreign": fib.StateForeign, "hold": fib.StateHeld, "allow": fib.StateInstalled}[words[0]], error(nil)
	switch words[0] {
	case "refuse":
		m.refused[p] = strings.Join(append(words[2:], "refused"), " ")
		err = errors.New(m.refused[p])
	case "foreign":
		err = fib.ErrForeign
	}
	for k := range m.wanted {
		if k.Prefix == p {
			for _, n := range m.namespaces {
				m.status(string(n.NetNS()), k, state, err)
			}
		}
	}
	return nil
}

// where takes the namespace off the end of words.
func (m *machine) where(words []string) (*netns.Namespace, []string) {
	if n, ok := strings.CutPrefix(words[len(words)-1], "@"); ok {
		return m.at(config.NetNS(n)), words[:len(words)-1]
	}
	return m.at(""), words
}

func (m *machine) kernelEvents(words []string) error {
	var events []fib.Event
	var p *netns.Namespace
	for len(words) > 0 {
		end := slices.Index(words, ";")
		one := words
		if words = nil; end >= 0 {
			one, words = one[:end], one[end+1:]
		}
		var e fib.Event
		p, one = m.where(one)
		e.Link.IfIndex = number(one[1])
		switch one[0] {
		case "link", "unlink":
			e.Kind = map[string]fib.EventKind{"link": fib.EventLink, "unlink": fib.EventLinkGone}[one[0]]
			e.Link.Interface, e.Link.AdminUp, e.Link.Carrier = one[2], !slices.Contains(one, "down"), !slices.Contains(one, "down") && !slices.Contains(one, "dark")
			if mac, ok := strings.CutPrefix(one[len(one)-1], "mac="); ok {
				octets, _ := hex.DecodeString(strings.ReplaceAll(mac, ":", ""))
				copy(e.Link.MAC[:], octets)
			}
		case "address", "unaddress":
			e.Kind, e.Addr, e.Gone = fib.EventAddress, netip.MustParsePrefix(one[2]), one[0] == "unaddress"
		default:
			return fmt.Errorf("unknown event %q", one[0])
		}
		events = append(events, e)
	}
	m.in(p.NetNS(), events...)
	return nil
}

func (m *machine) routes(words []string) error {
	g := m.domains[words[1]]
	if g == nil {
		return fmt.Errorf("no domain %q", words[1])
	}
	switch words[0] {
	case "paths":
		stops := words[len(words)-1] == "stops"
		if stops {
			words = words[:len(words)-1]
		}
		one := set(words[2], words[3:]...)
		one.Alternative = !stops && len(one.Paths) > 0
		m.onPaths(g, sessions.Update{Sets: []sessions.PathSet{one}})
	case "converged":
		m.onPaths(g, sessions.Update{Converged: true})
	case "synced":
		m.onLearned(g, []fib.LearnChange{{Synced: true}})
	default:
		c := fib.LearnChange{Gone: words[0] == "unlearn"}
		c.RouteKey = fib.RouteKey{Table: g.table, Prefix: netip.MustParsePrefix(words[2]), Metric: uint32(number(words[3]))}
		c.NextHops = []fib.NextHop{{IfIndex: number(words[4])}}
		m.onLearned(g, []fib.LearnChange{c})
	}
	return nil
}

func (m *machine) sight(words []string) error {
	kind := map[string]arp.EventKind{"seen": arp.EventSeen, "gone": arp.EventGone, "moved": arp.EventMoved, "conflict": arp.EventConflict}[words[0]]
	s := eg.Sighting{Kind: kind, IfIndex: number(words[1]), IP: netip.MustParseAddr(words[2]), MAC: arp.MAC{2, 0, 0, 0, 0, byte(number(words[3]))}}
	if len(words) > 4 {
		s.OldIfIndex = number(words[4])
	}
	m.onSightings([]eg.Sighting{s})
	return nil
}

func (m *machine) putText(text string) error {
	guests, err := config.ParseGuests("request", []byte(text))
	if err != nil {
		return err
	}
	return m.change(func(in *guest.Inventory) error { return in.Put(guests...) })
}

// change is Daemon.change without a file.
func (m *machine) change(do func(*guest.Inventory) error) error {
	if m.unread.state {
		return errors.New("the state file has not been read yet")
	}
	if err := do(&m.router.guests); err != nil {
		return err
	}
	m.refresh()
	return nil
}

// read takes what was read of the inventory directory or of the state file.
func (m *machine) read(words []string) error {
	if words[1] == "late" {
		m.unread.directory = m.unread.directory || words[0] == "directory"
		m.unread.state = m.unread.state || words[0] == "state"
		return nil
	}
	guests, err := config.ParseGuests("f", []byte(strings.Join(words[1:], " ")))
	if err != nil {
		return err
	}
	n := inventoryReading{directory: guests, known: true}
	if words[0] == "state" {
		n = inventoryReading{state: guests, stateKnown: true}
	}
	m.onInventory(n)
	m.refresh()
	m.sweep()
	return nil
}

func (m *machine) moveWords(words []string) error {
	return m.says(m.change(func(in *guest.Inventory) error { return moves(words[1], moveOf(words))(m.router, in) }))
}

// moveOf returns what "move NAME [pref N] [down|up]" asks for.
func moveOf(words []string) api.Move {
	var pref *uint32
	var down *bool
	for i := 2; i < len(words); i++ {
		switch words[i] {
		case "pref":
			n := uint32(number(words[i+1]))
			pref = &n
			i++
		case "down", "up":
			b := words[i] == "down"
			down = &b
		}
	}
	return moveTo(pref, down)
}

func number(word string) int {
	n, err := strconv.Atoi(word)
	if err != nil {
		panic(err)
	}
	return n
}

// events makes the log's events outputs, with their attributes but for times.
type events struct{ *trace }

func (e events) Enabled(context.Context, slog.Level) bool { return true }
func (e events) WithAttrs([]slog.Attr) slog.Handler       { return e }
func (e events) WithGroup(string) slog.Handler            { return e }

// quiet are the events that say what other outputs show already.
var quiet = map[string]bool{"guests": true, "guest-attached": true, "guest-detached": true, "guest-changed": true, "reloaded": true, "next-hop-not-on-link": true}

func (e events) Handle(_ context.Context, r slog.Record) error {
	attrs := map[string]string{}
	r.Attrs(func(a slog.Attr) bool { attrs[a.Key] = a.Value.String(); return true })
	name := attrs["event"]
	delete(attrs, "event")
	if quiet[name] || strings.HasPrefix(name, "neighbour-") {
		return nil
	}
	line := "event " + name
	for _, k := range slices.Sorted(maps.Keys(attrs)) {
		line += fmt.Sprintf(" %s=%q", k, attrs[k])
	}
	e.add("%s", line)
	return nil
}
