package soak

import (
	"cmp"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hyperfib/hyperfib/internal/testing/nstest"
)

var (
	length  = flag.Duration("length", 0, "how long the soak goes on, without its beginning and its end; 0: it does not begin")
	seed    = flag.Uint64("seed", 0, "which actions; 0 is by the time of day")
	actions = flag.String("actions", "", "only actions whose names match this regular expression")
)

const (
	// pause is the longest between two actions of a hypervisor.
	pause = 1200 * time.Millisecond
	// healing is the longest that it may take after a fault until all is well: one whose sessions have
	// ended soon after they were up, as on a link that flaps, is called again up to 60 s later
	// (bgp.idle-hold), others after 5 s at the latest; a daemon that is restarted meanwhile waits up to 10 s
	// for its peers (deferral). The rest is for a busy machine: at a load of 12 to 22 on two processors
	// the longest of a run took 32 s.
	healing = 90 * time.Second
	// darkness is the longest outage of a stream while something is broken: BFD's second, and
	// what the machine needs.
	darkness = 5 * time.Second
	// darknessBFD is that after the BFD process was killed: the peers notice it after a second, all
	// sessions of the hypervisor end at once, and BIRD's routes are back when the BGP sessions are. BIRD
	// refuses them for 2 s (error wait time), and we call again after 5 s at the latest. The rest is for a
	// busy machine.
	darknessBFD = 12 * time.Second
	// darknessRestart is that if a daemon is killed or stopped while a path is cut: FRR keeps the routes
	// of a client that is away, whatever BFD says, for the restart time of 10 s.
	darknessRestart = 15 * time.Second
	// forever is for what takes a guest's address away.
	forever = time.Hour
	// aftermath is how long after the machine stood still a session may end, or a packet be lost, for that:
	// the detection time, and what stood in a queue.
	aftermath = 2 * detection
	// forgiving is for how long the machine must have stood still for a command to fail for that.
	forgiving = 5 * time.Second
)

// soak is one run.
type soak struct {
	*testbed
	streams []*stream
	broken  sync.Mutex // held by the action that breaks something

	mu     sync.Mutex
	stop   bool
	log    []string
	spans  []span // in which packets may be lost
	counts map[string]int
	healed time.Duration // the longest
	stills []pausing     // when the machine stood still
	early  string        // the action that failed while the machine stood still, which ended the soak
}

// span is a time in which packets may be lost.
type span struct {
	from, to time.Time
	why      string
	most     time.Duration // how long a stream may stand still
	worsens  bool          // it only makes longer what something else breaks
}

// TestSoak does everything at once that happens to hypervisors, at random, and wants everything
// to be as before.
func TestSoak(t *testing.T) {
	if testing.Short() {
		t.Skip("needs namespaces, BIRD, FRR and minutes")
	}
	if *length == 0 {
		t.Skip("a step of its own in .ci/test: -length 1m, or longer")
	}
	if *seed == 0 {
		*seed = uint64(time.Now().UnixNano()) % 1e6
	}
	t.Logf("-length %v -seed %d", *length, *seed)
	only, err := regexp.Compile(*actions)
	if err != nil {
		t.Fatal(err)
	}
	s := &soak{testbed: newTestbed(t, 2), counts: map[string]int{}}
	nstest.Wait(t, 30*time.Second, "all sessions", func() bool { return s.testbed.up(0) == nil })
	for _, x := range [][3]string{{"IPv4", "203.0.113.1", "203.0.113.2"}, {"IPv6", "2001:db8:cb00:1::1", "2001:db8:cb00:2::1"}, {"overlay", "192.168.5.1", "192.168.5.2"}, {"EVPN", "192.168.7.1", "192.168.7.2"}} {
		echo(t, s.hosts[1].vm, x[2], 2)
		s.streams = append(s.streams, newStream(t, x[0], s.hosts[0].vm, x[1], x[2]))
	}
	if err := s.flows(); err != nil {
		t.Fatal(err)
	}
	s.watch = startWatch(t)
	before := s.settled(nil)
	if t.Failed() {
		return
	}
	began := time.Now()
	s.act(only)
	if !t.Failed() {
		s.restore()
		s.settled(before)
	}
	s.stills = s.watch.end()
	s.judge(began)
	s.report()
}

// act takes actions until the time is over.
func (s *soak) act(only *regexp.Regexp) {
	var actors []*actor
	for _, h := range s.hosts {
		actors = append(actors, &actor{soak: s, name: fmt.Sprint("hv", h.n), h: h, actions: operations(h.n == 1), guests: map[int]bool{}, files: map[int]bool{}})
	}
	actors = append(actors, &actor{soak: s, name: "fabric", actions: faults()})
	var acting sync.WaitGroup
	end := time.Now().Add(*length)
	for i, a := range actors {
		a.actions = slices.DeleteFunc(a.actions, func(x action) bool { return !only.MatchString(x.name) })
		if len(a.actions) == 0 {
			continue
		}
		r := rand.New(rand.NewPCG(*seed, uint64(i)))
		acting.Go(func() {
			for time.Now().Before(end) && !s.stopped() {
				a.act(r)
			}
		})
	}
	acting.Wait()
}

// act takes one action.
func (a *actor) act(r *rand.Rand) {
	x := a.pick(r)
	own := rand.New(rand.NewPCG(r.Uint64(), 0)) // so that the next one does not depend on how many this takes
	time.Sleep(time.Duration(r.Int64N(int64(pause))))
	if x.breaks {
		a.broken.Lock()
		defer a.broken.Unlock()
	}
	from := time.Now()
	a.note("%s %s", a.name, x.name)
	err := x.do(a, own)
	if err != nil {
		a.fail(from, a.name+" "+x.name, err)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.counts[x.name]++
	if x.name == "restart" || x.name == "reload-confirm" {
		a.spans = append(a.spans, span{from.Add(-darknessRestart), time.Now().Add(darknessRestart), a.name + " " + x.name, darknessRestart, true})
	}
	if x.breaks {
		most := map[string]time.Duration{"drain-all": forever, "restart-bfd": darknessBFD}
		a.spans = append(a.spans, span{from.Add(-100 * time.Millisecond), time.Now().Add(time.Second), a.name + " " + x.name, cmp.Or(most[x.name], darkness), false})
	}
}

// fail ends the soak for an error of something that began at some time. It is the machine's if that stood
// still for so long meanwhile that who waits for an answer gives up; what the next action would build on is
// not known then either.
func (s *soak) fail(from time.Time, what string, err error) {
	stood := s.watch.stoodStill(from)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stop = true
	what = fmt.Sprintf("after %v: %s: %v", time.Since(from).Round(time.Millisecond), what, err)
	if stood < forgiving {
		s.t.Errorf("seed %d, %s", *seed, what)
		return
	}
	s.early = fmt.Sprintf("%s (the machine stood still for %v meanwhile)", what, stood.Round(time.Millisecond))
}

func (s *soak) stopped() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stop
}

func (s *soak) note(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.log = append(s.log, time.Now().Format("15:04:05.000 ")+fmt.Sprintf(format, args...))
}

// heals waits until all sessions are up and the streams flow.
func (s *soak) heals() error {
	from := time.Now()
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.healed = max(s.healed, time.Since(from))
	}()
	err := s.until(healing, func() error {
		if s.stopped() { // something else has failed
			return nil
		}
		return s.testbed.up(0)
	})
	if err != nil {
		return err
	}
	return s.flows()
}

// flows waits until packets flow.
func (s *soak) flows() error {
	return s.until(nstest.Patience, func() error {
		for _, x := range s.streams {
			if err := x.flows(); err != nil {
				return err
			}
		}
		return nil
	})
}

// restore undoes what the actions have left: interfaces, guests, files, drains. It is one hypervisor's turn
// after the other's: a reload may reset sessions, and routes that both fabrics of one have from both fabrics
// of another are nowhere while these do it in the same second.
func (s *soak) restore() {
	from := time.Now()
	s.leave()
	for _, h := range s.hosts {
		if err := h.answers(); err != nil {
			s.fail(from, "the end", err)
			return
		}
		for _, name := range slices.Sorted(maps(h.plugged)) {
			if name != "vm" && name != "vm.vx" && name != "vm.ev" {
				h.unplug(name)
			}
		}
		files, _ := filepath.Glob(h.path("guests/*"))
		for _, f := range files {
			_ = os.Remove(f)
		}
		h.write("hv.yaml", h.config())
		commands := [][]string{{"undrain"}, {"reload"}}
		for i := range roaming {
			commands = append(commands, []string{"guest", "move", fmt.Sprint("e", i), "-up"})
		}
		for _, args := range commands {
			if _, err := h.cli(args...); err != nil {
				s.fail(from, "the end", err)
			}
		}
		if err := s.until(3*time.Minute, h.steady); err != nil {
			s.fail(from, "the end", err)
		}
		s.mu.Lock()
		s.spans = append(s.spans, span{from, time.Now().Add(time.Second), "the end", darkness, false})
		s.mu.Unlock()
		list, err := h.cli("guest", "list")
		if err != nil {
			s.fail(from, "the end", err)
		}
		for line := range strings.Lines(list) {
			if f := strings.Fields(line); len(f) > 0 && strings.HasSuffix(strings.TrimSpace(line), "api") {
				if _, err := h.cli("guest", "del", f[0]); err != nil {
					s.fail(from, "the end", err)
				}
			}
		}
	}
}

// judge wants no packet lost but while something was broken, or the machine stood still.
func (s *soak) judge(began time.Time) {
	stood := time.Duration(0)
	for _, p := range s.stills {
		stood += p.to.Sub(p.from)
		s.note("the machine began to stand still for %v, at %s", p.to.Sub(p.from).Round(time.Millisecond), p.from.Format("15:04:05.000"))
	}
	excused := 0 // outages, by the machine alone
	for _, x := range s.streams {
		sent, lost := x.end(began)
		total, broken := 0, 0
		longest := map[string]time.Duration{}
		for _, o := range lost {
			total += o.lost
			why, most := s.span(o)
			lasted := o.to.Sub(o.from)
			if more := s.stood(o); more > 0 && (why == "" || lasted > most) {
				excused++
				why, most = "the machine stood still", most+more
			}
			longest[why] = max(longest[why], lasted.Round(time.Millisecond))
			switch {
			case why == "":
				s.t.Errorf("seed %d: stream %s lost %v at %s, while nothing was broken", *seed, x.name, o, o.from.Format("15:04:05.000"))
			case lasted > most:
				s.t.Errorf("seed %d: stream %s lost %v at %s (%s)", *seed, x.name, o, o.from.Format("15:04:05.000"), why)
			default:
				broken += o.lost
			}
		}
		s.t.Logf("stream %s: %d packets, %d lost, %d of them while something was broken; the longest outages: %v", x.name, sent, total, broken, longest)
	}
	s.t.Logf("the machine stood still %d times, for %v altogether, which excused %d outages", len(s.stills), stood.Round(time.Millisecond), excused)
	if s.early != "" {
		s.t.Logf("seed %d: ended early, after %s", *seed, s.early)
	}
}

// span returns what was broken during an outage, "" for nothing.
func (s *soak) span(o outage) (why string, most time.Duration) {
	for _, b := range s.spans {
		if !o.from.Before(b.from) && !o.from.After(b.to) {
			most = max(most, b.most)
			if !b.worsens {
				why = b.why
			}
		}
	}
	return why, most
}

// stood returns how much longer an outage may have lasted because the machine stood still when it
// began or went on: for as long as that was, and for as long as it takes all sessions of a hypervisor
// that have ended at once to come back.
func (s *soak) stood(o outage) (more time.Duration) {
	for _, p := range s.stills {
		if !o.to.Before(p.from) && !o.from.After(p.to.Add(aftermath)) {
			more += p.to.Sub(p.from) + darknessBFD
		}
	}
	return more
}

func (s *soak) report() {
	var words []string
	for _, name := range slices.Sorted(maps(s.counts)) {
		words = append(words, fmt.Sprintf("%d %s", s.counts[name], name))
	}
	s.t.Logf("actions: %s", strings.Join(words, ", "))
	s.t.Logf("after a fault all was well within %v", s.healed.Round(time.Millisecond))
	if s.t.Failed() {
		s.t.Logf("seed %d:\n%s", *seed, strings.Join(s.log, "\n"))
		for _, n := range s.networks {
			s.t.Logf("%s:\n%s", n.name, n.state())
		}
	}
}
