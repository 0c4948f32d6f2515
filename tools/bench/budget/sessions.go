package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/hyperfib/hyperfib/examples/hvrouter/api"
)

// networks are a hypervisor's four: each has a BGP and a BFD session a family.
var networks = []string{"a", "b", "c", "d"}

const sessions = 8

func hvConfig() string {
	var b strings.Builder
	b.WriteString(`
router-id: 0.0.1.1
as: 65000
api: DIR/api.sock
bfd: {interval: 100ms, multiplier: 5, process: separate, realtime: "off"}
edge: {gateway4: 203.0.113.254}
domains:
`)
	for domain, links := range [][]string{networks[:2], networks[2:]} {
		fmt.Fprintf(&b, "  - name: d%d\n    table: %d\n    guests: %v\n    reflectors:\n", domain, 90+domain, domain == 0)
		for _, l := range links {
			n := strings.Index("abcd", l)
			fmt.Fprintf(&b, "      - {fabric: %s4, interface: %s0, local: 198.51.%d.1, peer: 198.51.%d.2}\n", l, l, n, n)
			fmt.Fprintf(&b, "      - {fabric: %s6, interface: %s0, local: \"2001:db8:%d::1\", peer: \"2001:db8:%d::2\"}\n", l, l, n, n)
		}
	}
	return b.String()
}

// birdConfig is BIRD's with the same sessions, from either end.
func birdConfig(us, them int, more string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "router id 0.0.1.%d;\nprotocol device {}\nprotocol bfd { interface \"*\" { interval 100 ms; multiplier 5; }; }\n", us)
	for n, l := range networks {
		fmt.Fprintf(&b, "protocol bgp %s4 { local 198.51.%d.%d as 65000; neighbor 198.51.%d.%d as 65000; ttl security on; bfd yes; direct; %s ipv4 { import all; export all; }; }\n", l, n, us, n, them, more)
		fmt.Fprintf(&b, "protocol bgp %s6 { local 2001:db8:%d::%d as 65000; neighbor 2001:db8:%d::%d as 65000; ttl security on; bfd yes; direct; %s ipv6 { import all; export all; }; }\n", l, n, us, n, them, more)
	}
	return b.String()
}

// idleTime is how long nothing happens while that is measured.
const idleTime = 20 * time.Second

// idle measures a hypervisor whose sessions are up and stay so, then BIRD in its place.
func idle(ctx context.Context, b *budget) error {
	cpu := map[string]float64{}
	for _, who := range []string{"hvrouter", "bird"} {
		m, err := newMachine(ctx)
		defer m.close()
		if err != nil {
			return err
		}
		for n, l := range networks {
			if err := m.veth(l+"0", fmt.Sprintf("198.51.%d.1/24 2001:db8:%d::1/64", n, n), l+"1", fmt.Sprintf("198.51.%d.2/24 2001:db8:%d::2/64", n, n)); err != nil {
				return err
			}
		}
		if err := m.rest(2 * time.Second); err != nil { // duplicate address detection
			return err
		}
		if err := m.bird(m.peer, "peer", birdConfig(2, 1, "rr client; passive;")); err != nil {
			return err
		}
		if who == "bird" {
			err = idleBIRD(m, b, cpu)
		} else {
			err = idleOurs(m, b, cpu)
		}
		if err != nil {
			return err
		}
		m.close()
	}
	b.most("the same: daemon and BFD process over BIRD's", cpu["hvrouter"]/cpu["bird"], 1.5, "x")
	return nil
}

func idleOurs(m *machine, b *budget, cpu map[string]float64) error {
	if err := m.start(hvConfig()); err != nil {
		return err
	}
	err := m.until("all sessions are up", func() bool {
		var all []api.Session
		if m.Get(m.ctx, "/v1/sessions", &all) != nil || len(all) != sessions {
			return false
		}
		for _, s := range all {
			if s.State != "Established" || s.BFD != "Up" {
				return false
			}
		}
		return true
	})
	if err != nil {
		return err
	}
	if err := m.rest(5 * time.Second); err != nil {
		return err
	}
	var bfd []int
	daemon := m.daemon.Process.Pid
	for _, pid := range m.pids(m.hv) {
		if pid != daemon {
			bfd = append(bfd, pid)
		}
	}
	if len(bfd) != 1 {
		return fmt.Errorf("%d processes beside the daemon, want that of BFD", len(bfd))
	}
	oldDaemon, oldBFD := look(daemon), look(bfd...)
	if err := m.rest(idleTime); err != nil {
		return err
	}
	daemonCPU, daemonWakeups := look(daemon).since(oldDaemon)
	bfdCPU, bfdWakeups := look(bfd...).since(oldBFD)
	cpu["hvrouter"] = daemonCPU + bfdCPU
	what := fmt.Sprintf("%d BGP and BFD sessions, 100 ms x 5: ", sessions)
	b.most(what+"BFD process, wakeups a second", bfdWakeups, 200, "")
	b.most(what+"daemon, wakeups a second", daemonWakeups, 30, "")
	b.show("the same: BFD process, CPU", number(bfdCPU, "%"), "0.5 %")
	b.show("the same: daemon, CPU", number(daemonCPU, "%"), "")
	return nil
}

func idleBIRD(m *machine, b *budget, cpu map[string]float64) error {
	if err := m.bird(m.hv, "bird", birdConfig(1, 2, "")); err != nil {
		return err
	}
	err := m.until("all of BIRD's sessions are up", func() bool {
		bgp, _ := exec.Command("ip", "netns", "exec", m.hv, "birdc", "-s", m.path("bird.ctl"), "show protocols").Output()
		bfd, _ := exec.Command("ip", "netns", "exec", m.hv, "birdc", "-s", m.path("bird.ctl"), "show bfd sessions").Output()
		return strings.Count(string(bgp), "Established") == sessions && strings.Count(string(bfd), " Up ") == sessions
	})
	if err != nil {
		return err
	}
	if err := m.rest(5 * time.Second); err != nil {
		return err
	}
	pid := m.cmds[len(m.cmds)-1].Process.Pid
	old := look(pid)
	if err := m.rest(idleTime); err != nil {
		return err
	}
	var wakeups float64
	cpu["bird"], wakeups = look(pid).since(old)
	b.show("the same: BIRD", fmt.Sprintf("%s, %s", number(cpu["bird"], "%"), number(wakeups, "wakeups/s")), "")
	return nil
}

// bird starts BIRD.
func (m *machine) bird(ns, name, config string) error {
	if err := m.write(name+".conf", config); err != nil {
		return err
	}
	if _, err := m.run(ns, name, "bird", "-f", "-c", m.path(name+".conf"), "-s", m.path(name+".ctl")); err != nil {
		return err
	}
	return m.until("BIRD is there", func() bool { _, err := os.Stat(m.path(name + ".ctl")); return err == nil })
}
