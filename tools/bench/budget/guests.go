package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/hyperfib/hyperfib/fib"
)

const guestConfig = `
router-id: 0.0.1.1
as: 65000
api: DIR/api.sock
bfd: {process: off}
domains:
  - {name: public, table: 90, guests: true, unreachable: [10.0.0.0/16]}
edge: {gateway4: 10.0.255.254, arp: ARP, dhcp: {on: true}}
`

// guestsJSON are guests as the API takes them, by what they have of IPv6.
func guestsJSON(from, to int, ipv6 func(int) string) []byte {
	var all []map[string]any
	for i := from; i < to; i++ {
		all = append(all, map[string]any{"name": fmt.Sprintf("g%d", i), "mac": mac(i).String(), "ipv4": []string{address(i).String()}, "ipv6": []string{ipv6(i)}})
	}
	b, _ := json.Marshal(all) // maps of strings
	return b
}

// plug makes the interfaces of guests. Their other ends are up, and silent.
func (m *machine) plug(n int) error {
	quiet := exec.Command("ip", "netns", "exec", m.peer, "sysctl", "-qw", "net.ipv6.conf.default.disable_ipv6=1")
	if out, err := quiet.CombinedOutput(); err != nil {
		return fmt.Errorf("sysctl: %w: %s", err, out)
	}
	var make, up strings.Builder
	for i := range n {
		fmt.Fprintf(&make, "link add name g%d type veth peer name h%d address %v netns %s\n", i, i, mac(i), m.peer)
		fmt.Fprintf(&up, "link set h%d up\n", i)
	}
	if err := ip("-n "+m.hv+" -batch -", make.String()); err != nil {
		return err
	}
	return ip("-n "+m.peer+" -batch -", up.String())
}

// guestRoutes counts guests' routes in the kernel.
func (m *machine) guestRoutes() int {
	out, _ := exec.Command("ip", "-n", m.hv, "route", "show", "table", "90").Output()
	return bytes.Count(out, []byte(" dev g"))
}

// hypervisor is a machine with n interfaces for guests, and a daemon that knows none yet.
func hypervisor(ctx context.Context, n int, arp string) (*machine, error) {
	m, err := newMachine(ctx)
	if err == nil {
		err = m.plug(n)
	}
	if err == nil {
		err = m.start(strings.Replace(guestConfig, "ARP", arp, 1))
	}
	return m, err
}

const (
	few  = 10 // guests, to compare many with
	more = 10 // that come one by one
)

// guests has many come in one request, some more one by one, rests, and has all go again.
func guests(ctx context.Context, b *budget) error {
	m, err := hypervisor(ctx, b.many+more, "responder")
	defer m.close()
	if err != nil {
		return err
	}
	routes, err := setRoutes(m, b.many)
	if err != nil {
		return err
	}
	if err := m.rest(3 * time.Second); err != nil {
		return err
	}
	before, err := m.size()
	if err != nil {
		return err
	}
	if err := arrivals(m, b, routes); err != nil {
		return err
	}
	if err := idleGuests(m, b, m.daemon.Process.Pid); err != nil {
		return err
	}
	return comeAndGo(m, b, before)
}

// arrivals has all guests come: few, some one by one, the rest in one request, and again
// some one by one.
func arrivals(m *machine, b *budget, routes time.Duration) error {
	a, err := m.asks(arpFamily, b.many+more)
	if err != nil {
		return err
	}
	defer a.close()
	if _, err := m.post(0, few); err != nil {
		return err
	}
	atFew, err := m.oneByOne(b, a, few)
	if err != nil {
		return err
	}
	old := look(m.daemon.Process.Pid)
	took, err := m.post(few+more, b.many)
	if err != nil {
		return err
	}
	cpu := look(m.daemon.Process.Pid).cpu - old.cpu
	what := fmt.Sprintf("%d guests in one request", b.many-few-more)
	b.show(what+": answered after, with CPU", fmt.Sprint(took.Round(time.Millisecond), ", ", cpu.Round(time.Millisecond)), "1 s")
	b.show(fmt.Sprintf("%d SetRoute, each flushed: CPU", b.many), routes.Round(time.Millisecond).String(), "")
	b.most(what+", CPU over SetRoute's", float64(cpu)/float64(routes), 40, "x")
	if n := m.guestRoutes(); n != b.many {
		return fmt.Errorf("%d routes in the kernel when the request is answered, want %d", n, b.many)
	}
	if err := m.rest(5 * time.Second); err != nil {
		return err
	}
	atMany, err := m.oneByOne(b, a, b.many)
	if err != nil {
		return err
	}
	b.most("one more guest at many over at few, fastest of each", float64(atMany)/float64(atFew), 5, "x")
	return nil
}

// post sends guests and returns how long the answer takes.
func (m *machine) post(from, to int) (time.Duration, error) {
	begin := time.Now()
	err := m.Send(m.ctx, "POST", "/v1/guests", guestsJSON(from, to, prefix6))
	return time.Since(begin), err
}

// oneByOne adds some guests more to those that there are, and returns the least time until
// one hears the answer to its first ARP request.
func (m *machine) oneByOne(b *budget, a *asker, there int) (time.Duration, error) {
	var posted, answered []time.Duration
	for i := there; i < there+more; i++ {
		begin := time.Now()
		took, err := m.post(i, i+1)
		if err == nil {
			err = a.ask(i, 0)
		}
		if err != nil {
			return 0, err
		}
		posted, answered = append(posted, took), append(answered, time.Since(begin))
	}
	slices.Sort(posted)
	slices.Sort(answered)
	b.show(fmt.Sprintf("one more guest at %d: request answered; ARP answered: fastest, median, slowest of %d", there, more),
		fmt.Sprint(tenth(posted[more/2]), "; ", tenth(answered[0]), ", ", tenth(answered[more/2]), ", ", tenth(answered[more-1])), "20 ms")
	return answered[0], nil
}

func tenth(d time.Duration) time.Duration { return d.Round(100 * time.Microsecond) }

func idleGuests(m *machine, b *budget, pid int) error {
	if err := m.rest(15 * time.Second); err != nil { // router advertisements of the beginning
		return err
	}
	old := look(pid)
	if err := m.rest(idleTime); err != nil {
		return err
	}
	cpu, wakeups := look(pid).since(old)
	b.most(fmt.Sprintf("daemon with %d idle guests, wakeups a second", b.many+more), wakeups, 60, "")
	b.most(fmt.Sprintf("daemon with %d idle guests, CPU", b.many+more), cpu, 0.5, "%")
	return nil
}

// comeAndGo has all guests go, and come and go once more.
func comeAndGo(m *machine, b *budget, before size) error {
	there, err := m.size()
	if err != nil {
		return err
	}
	var once size
	for round := range 2 {
		if round > 0 {
			if err := m.rest(2 * time.Second); err != nil {
				return err
			}
			if once, err = m.size(); err != nil {
				return err
			}
			if _, err := m.post(0, b.many+more); err != nil {
				return err
			}
		}
		begin := time.Now()
		for i := range b.many + more {
			if err := m.Send(m.ctx, "DELETE", fmt.Sprintf("/v1/guests/g%d", i), nil); err != nil {
				return err
			}
		}
		took := time.Since(begin)
		b.show(fmt.Sprintf("%d guests deleted, a request each", b.many+more), fmt.Sprint(took.Round(time.Millisecond), ", each ", tenth(took/time.Duration(b.many+more))), "")
	}
	if n := m.guestRoutes(); n != 0 {
		return fmt.Errorf("%d routes of guests that have gone", n)
	}
	if err := m.rest(15 * time.Second); err != nil {
		return err
	}
	after, err := m.size()
	if err != nil {
		return err
	}
	for _, s := range []struct {
		when string
		size
	}{{"before they came", before}, {"with them", there}, {"when they had gone", once}, {"when they had come and gone again", after}} {
		b.show(s.when, fmt.Sprintf("%d descriptors, %d goroutines, %.1f MiB, %.1f without files", len(s.descriptors), s.goroutines, s.memory, s.anonymous), "")
	}
	what := fmt.Sprintf("after %d guests came and went: ", b.many+more)
	first, again := after.more(before), after.more(once)
	// The first guest has DHCP open three sockets, which stay.
	b.most(strings.TrimSpace(what+"more descriptors "+strings.Join(first, ", ")), float64(len(first)), 3, "")
	b.most(strings.TrimSpace(what+"more descriptors the second time "+strings.Join(again, ", ")), float64(len(again)), 0, "")
	b.most(what+"more goroutines", float64(after.goroutines-before.goroutines), 2, "")
	b.most(what+"more memory", after.memory-before.memory, 16, "MiB")
	return nil
}

// size asks the daemon.
func (m *machine) size() (size, error) {
	n, err := m.metric("go_goroutines")
	s := sizeOf(m.daemon.Process.Pid)
	s.goroutines = int(n)
	return s, err
}

// setRoutes returns the CPU that routes alone cost, one after the other.
func setRoutes(m *machine, n int) (time.Duration, error) {
	f, err := fib.New(fib.Config{NetNS: "/run/netns/" + m.peer, Tables: []uint32{500}})
	if err != nil {
		return 0, err
	}
	ctx, cancel := context.WithCancel(m.ctx)
	ended := make(chan error, 1)
	go func() { ended <- f.Run(ctx) }()
	before := ownCPU()
	for i := range n {
		r := fib.Route{RouteKey: fib.RouteKey{Table: 500, Prefix: netip.PrefixFrom(address(i), 32)}, Type: fib.RouteBlackhole}
		if err = f.SetRoute(r); err == nil {
			err = f.Flush(ctx)
		}
		if err != nil {
			break
		}
	}
	took := ownCPU() - before
	cancel()
	if e := <-ended; err == nil {
		err = e
	}
	return took, err
}

// exits measures how long a daemon takes to end, with few guests and with many.
func exits(ctx context.Context, b *budget) error {
	for _, arp := range []string{"kernel", "responder"} {
		times := map[int]map[syscall.Signal]time.Duration{}
		for _, n := range []int{few, b.many} {
			m, err := hypervisor(ctx, n, arp)
			defer m.close()
			if err != nil {
				return err
			}
			if _, err = m.post(0, n); err == nil {
				times[n], err = m.ends(n)
			}
			if err != nil {
				return err
			}
			m.close()
		}
		for _, s := range []syscall.Signal{syscall.SIGKILL, syscall.SIGTERM} {
			x, y := times[few][s], times[b.many][s]
			what := fmt.Sprintf("end by %v, arp: %s", s, arp)
			b.show(fmt.Sprintf("%s: with %d, with %d guests", what, few, b.many), fmt.Sprint(x.Round(time.Millisecond), ", ", y.Round(time.Millisecond)), "200 ms")
			b.most(what+": many over few", float64(y)/float64(x), 3, "x")
		}
	}
	return nil
}

// ends returns the median time from each signal to the end of the process.
func (m *machine) ends(guests int) (map[syscall.Signal]time.Duration, error) {
	times := map[syscall.Signal]time.Duration{}
	for _, s := range []syscall.Signal{syscall.SIGKILL, syscall.SIGTERM} {
		var all []time.Duration
		for range 3 {
			if err := m.until("every guest has its route", func() bool { return m.guestRoutes() == guests }); err != nil {
				return nil, err
			}
			begin := time.Now()
			_ = m.daemon.Process.Signal(s)
			_, _ = m.daemon.Process.Wait()
			all = append(all, time.Since(begin))
			config, err := os.ReadFile(m.path("hv.yaml"))
			if err == nil {
				err = m.start(string(config))
			}
			if err != nil {
				return nil, err
			}
		}
		slices.Sort(all)
		times[s] = all[1]
	}
	return times, nil
}
