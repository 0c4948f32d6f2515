package soak

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/hyperfib/hyperfib/examples/hvrouter/api"
	"github.com/hyperfib/hyperfib/internal/testing/nstest"
)

// action is one thing that is done to the testbed. What it does depends on the random numbers that
// it takes and on the actions before it, and on nothing that takes time: so a seed repeats it.
type action struct {
	name   string
	weight int
	// breaks: packets of the streams may be lost until it is over, and no other action that breaks
	// something begins before.
	breaks bool
	do     func(a *actor, r *rand.Rand) error
}

// actor takes actions, one after the other: one for each hypervisor, and one for what is between.
type actor struct {
	*soak
	name    string
	h       *host // nil: what is between
	actions []action

	guests  map[int]bool // added by command
	files   map[int]bool // in the directory
	drained bool
}

// operations are what happens to a hypervisor.
func operations(restarts bool) []action {
	all := []action{
		{"plug", 12, false, (*actor).plug},
		{"guest", 10, false, (*actor).guest},
		{"directory", 6, false, (*actor).directory},
		{"tap", 5, false, (*actor).tap},
		{"roam", 12, false, (*actor).roam},
		{"roam-down", 3, false, (*actor).roamDown},
		{"reload", 6, false, (*actor).reload},
		{"reload-bad", 4, false, (*actor).reloadBad},
		{"reload-confirm", 3, false, (*actor).reloadConfirm},
		{"reload-sessions", 1, true, (*actor).reloadSessions},
		{"drain", 4, false, (*actor).drain},
		{"drain-all", 1, true, (*actor).drainAll},
		{"foreign", 3, true, (*actor).foreign},
		{"foreign-evpn", 3, true, (*actor).foreignEVPN},
		{"session", 2, true, (*actor).session},
	}
	if restarts {
		all = append(all, action{"restart", 8, false, (*actor).restart}, action{"restart-bfd", 2, true, (*actor).restartBFD})
	}
	return all
}

// faults are what happens between the hypervisors.
func faults() []action {
	return []action{
		{"migrate", 6, false, (*actor).migrate},
		{"carrier", 4, true, (*actor).carrier},
		{"silent", 4, true, (*actor).silent},
		{"link", 3, true, (*actor).link},
		{"flap", 3, true, (*actor).flap},
		{"reflector", 2, true, (*actor).reflector},
	}
}

// pick takes one of the actions, by weight.
func (a *actor) pick(r *rand.Rand) action {
	sum := 0
	for _, x := range a.actions {
		sum += x.weight
	}
	n := r.IntN(sum)
	for _, x := range a.actions {
		if n -= x.weight; n < 0 {
			return x
		}
	}
	panic("unreachable")
}

// plug plugs a guest in, or out, whether it is known or not.
func (a *actor) plug(r *rand.Rand) error {
	i := r.IntN(churning)
	name := fmt.Sprint("g", i)
	if r.IntN(8) == 0 {
		name = "g0.vx"
	}
	if a.h.plugged[name] {
		a.h.unplug(name)
		return nil
	}
	a.h.plug(name, a.h.others, "p."+name, a.h.mac(i))
	if r.IntN(3) == 0 { // at once out again
		a.h.unplug(name)
	}
	return nil
}

// guest adds g4 or g5 by command, changes, moves or deletes it.
func (a *actor) guest(r *rand.Rand) error {
	i, what, version := 4+r.IntN(2), r.IntN(4), r.IntN(4)
	name := fmt.Sprint("g", i)
	a.h.write("guest.yaml", a.h.guest(i, version))
	args := []string{"add", a.h.path("guest.yaml")}
	if a.guests[i] {
		args = [][]string{{"del", name}, {"update", a.h.path("guest.yaml")}, {"move", name, "-local-pref", fmt.Sprint(50 + 100*version)}, {"move", name, []string{"-down", "-up"}[version/2]}}[what]
	}
	_, err := a.h.cli(append([]string{"guest"}, args...)...)
	switch args[0] {
	case "add":
		a.guests[i] = err == nil
	case "del":
		a.guests[i] = err != nil
	}
	return err
}

// directory writes, changes or removes the file of g2 or g3.
func (a *actor) directory(r *rand.Rand) error {
	i, gone, version := 2+r.IntN(2), r.IntN(3) == 0, r.IntN(4)
	path := filepath.Join(a.h.dir, "guests", fmt.Sprintf("g%d.yaml", i))
	if a.files[i] && gone {
		a.files[i] = false
		return os.Remove(path)
	}
	a.files[i] = true
	if err := os.WriteFile(path+".new", []byte(a.h.guest(i, version)), 0o600); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

// tap plugs in a guest whose addresses are those that it speaks from, or has it speak from others.
func (a *actor) tap(r *rand.Rand) error {
	i, gone, last := r.IntN(taps), r.IntN(3) == 0, r.IntN(4)
	name := fmt.Sprint("tap", i)
	if a.h.plugged[name] && gone {
		a.h.unplug(name)
		return nil
	}
	if !a.h.plugged[name] {
		a.h.plug(name, a.h.others, "p."+name, fmt.Sprintf("50:54:33:00:%02x:00", 16+16*a.h.n+i))
	}
	addr := fmt.Sprintf("203.0.113.%d", 128+8*a.h.n+4*i+last)
	_ = a.h.others.Command("arping", "-0", "-c2", "-W0.05", "-i", "p."+name, "-S", addr, "203.0.113.254").Run()
	return nil
}

// reload changes what resets no session, or reads the same again, by command or by signal.
func (a *actor) reload(r *rand.Rand) error {
	a.h.write("hv.yaml", a.h.variant(r))
	if r.IntN(4) == 0 {
		a.h.mu.Lock()
		defer a.h.mu.Unlock()
		return a.h.cmd.Process.Signal(syscall.SIGHUP)
	}
	_, err := a.h.cli("reload")
	return err
}

// variant returns a configuration with some keys changed of those that reset nothing.
func (h *host) variant(r *rand.Rand) string {
	edits := [][2]string{
		{"bfd: {interval: 100ms", "bfd: {interval: 150ms"},
		{"unreachable: [203.0.113.0/24]", "unreachable: [203.0.113.0/24, 192.0.2.0/24]"},
		{"    guests: true\n", "    guests: true\n    last-resort: prohibit\n"},
		{"    guests: true\n", "    guests: true\n    anycast-ecmp: true\n"},
		{"last-resort: unreachable}", "last-resort: prohibit}"},
		{"firewall: {trusted: []}", "firewall: {trusted: [], open: [udp 53, tcp 80], log-rate: 5}"},
		{"edge: {gateway4: 203.0.113.254}", "edge: {gateway4: 203.0.113.254, arp: responder, dhcp: {on: true, lease: 1h}}"},
		{"router-id", "log: debug\nrouter-id"},
		{"router-id", "log-format: json\nrouter-id"},
		{"restart-time: 10s}", "restart-time: 10s, import: [{prefix: 203.0.113.0/24, le: 32, local-pref: 100}]}"},
		{"members: [vm.vx, g0.vx]", "members: [vm.vx]"},
		{"vni: 300, bridge: br300, evpn: {", "vni: 300, bridge: br300, evpn: {import: [\"65000:7\"], "},
		{"\n  - {name: vx400, vni: 400, bridge: br400, evpn: {duplicate-time: 15s}}", ""},
		{"bgp: {", "bgp: {prefix-limit: {maximum: 1000, threshold: 50}, "},
	}
	text := h.config()
	for _, i := range r.Perm(len(edits))[:r.IntN(4)] {
		text = strings.Replace(text, edits[i][0], edits[i][1], 1)
	}
	if r.IntN(3) == 0 { // the guests of the file, with more addresses
		for i := range 2 {
			text = strings.Replace(text, h.guest(i, 0), h.guest(i, r.IntN(4)), 1)
		}
	}
	return text
}

// reloadBad is refused.
func (a *actor) reloadBad(r *rand.Rand) error {
	text := a.h.config()
	switch r.IntN(4) {
	case 0:
		text = text[:r.IntN(len(text))] + "\n]"
	case 1:
		text = strings.Replace(text, "table: 90", "table: 91", 1)
	case 2:
		text = strings.Replace(text, "interface: a.public", "interface: nowhere", 1)
	case 3:
		text = strings.Replace(text, "guests:\n", "guests:\n  - {name: thief, ipv4: [198.51.100.126]}\n", 1)
	}
	a.h.write("bad.yaml", text)
	if out, err := a.h.cli("reload", a.h.path("bad.yaml")); err == nil {
		return fmt.Errorf("a bad reload was not refused: %s", out)
	}
	return nil
}

// reloadConfirm makes a reload that is confirmed, cancelled, or rolled back by time or by a restart.
func (a *actor) reloadConfirm(r *rand.Rand) error {
	a.h.write("trial.yaml", a.h.variant(r))
	end := r.IntN(4)
	wait := "1m"
	if end == 0 {
		wait = "1s"
	}
	if _, err := a.h.cli("reload", "-confirm", wait, a.h.path("trial.yaml")); err != nil {
		return err
	}
	switch {
	case end == 1:
		_, err := a.h.cli("reload", "confirm")
		return err
	case end == 2 || end == 3 && a.h.n == 2:
		_, err := a.h.cli("reload", "cancel")
		return err
	case end == 3:
		a.h.kill(syscall.SIGKILL)
		a.h.run()
	}
	return a.until(time.Minute, func() error {
		var s api.Status
		if err := a.h.ask("/v1/status", &s); err != nil {
			return err
		}
		if s.Confirmation != nil {
			return fmt.Errorf("a reload still waits for its confirmation")
		}
		return nil
	})
}

// reloadSessions changes what resets sessions, fabric by fabric.
func (a *actor) reloadSessions(r *rand.Rand) error {
	a.h.write("hv.yaml", strings.Replace(a.h.config(), "bgp: {", fmt.Sprintf("bgp: {hold-time: %ds, ", 30+r.IntN(60)), 1))
	if _, err := a.h.cli("reload"); err != nil {
		return err
	}
	return a.until(3*time.Minute, func() error {
		if err := a.h.up(); err != nil {
			return err
		}
		var all []api.Session
		if err := a.h.ask("/v1/sessions", &all); err != nil {
			return err
		}
		for _, s := range all {
			if s.HoldTime == "1m30s" && all[0].HoldTime != "1m30s" {
				return fmt.Errorf("the session with %v was not reset", s.Peer)
			}
		}
		return nil
	})
}

// drain drains, or ends it.
func (a *actor) drain(r *rand.Rand) error {
	words := []string{"drain"}
	if a.drained {
		words = []string{"undrain"}
	}
	_, err := a.h.cli(words...)
	a.drained = a.drained != (err == nil)
	return err
}

// drainAll withdraws everything for a moment.
func (a *actor) drainAll(r *rand.Rand) error {
	if _, err := a.h.cli("drain", "-all"); err != nil {
		return err
	}
	time.Sleep(time.Duration(r.IntN(4000)) * time.Millisecond)
	_, err := a.h.cli("undrain")
	a.drained = err != nil
	if err != nil {
		return err
	}
	return a.flows()
}

// foreign changes what is ours by another hand, and waits for its repair.
func (a *actor) foreign(r *rand.Rand) error {
	const blackhole = "ip route add blackhole 203.0.113.10/32 table 90 metric 1"
	hands := []string{
		blackhole, "ip rule del pref 99", "ip -6 rule del pref 53", "ip route del 203.0.113.10/32 table 90", "ip route flush table 20", "ip route flush table all proto 201", "ip nexthop flush proto 201",
		"ip neigh del 203.0.113.1 dev vm", fmt.Sprintf("ip addr del 172.22.2.%d/32 dev loopback", a.h.n), "nft delete table inet hvrouter", "sysctl -w net.ipv4.conf.vm.forwarding=0",
		fmt.Sprint("bridge fdb del 00:00:00:00:00:00 dev vx100 dst 172.22.2.", 3-a.h.n), "ip link set vx100 down", "ip link set br100 down", "ip link set vm.vx nomaster",
	}
	hand, wait := hands[r.IntN(len(hands))], time.Duration(r.IntN(1000))*time.Millisecond
	run := func(command string) {
		words := strings.Fields(command)
		_ = a.h.hv.Command(words[0], words[1:]...).Run() // what is not there cannot be changed
	}
	a.note("%s %s", a.name, hand)
	run(hand)
	if hand == blackhole {
		time.Sleep(wait)
		run(strings.Replace(hand, "add", "del", 1))
	}
	return a.flows()
}

// session resets a session, or disables it for a moment.
func (a *actor) session(r *rand.Rand) error {
	peer := a.networks[r.IntN(4)].addr
	ops := [][]string{{"reset"}, {"reset", "-hard"}, {"disable"}}[r.IntN(3)]
	// BFD of the peer may have begun anew after an earlier fault: then the session is on its way up.
	var err error
	nstest.Promptly(10*time.Second, func() bool {
		_, err = a.h.cli(append([]string{"session", ops[0], peer}, ops[1:]...)...)
		return err == nil || !strings.Contains(err.Error(), "session is not established")
	})
	if err != nil {
		return err
	}
	if ops[0] == "disable" {
		time.Sleep(time.Duration(r.IntN(2000)) * time.Millisecond)
		if _, err := a.h.cli("session", "enable", peer); err != nil {
			return err
		}
	}
	return a.heals()
}

// restart kills the daemon, once or several times in a row, or ends it as systemd does.
func (a *actor) restart(r *rand.Rand) error {
	for range 1 + r.IntN(3)/2*r.IntN(3) {
		a.h.kill([]os.Signal{syscall.SIGKILL, syscall.SIGTERM}[r.IntN(2)])
		time.Sleep(time.Duration(r.IntN(800)) * time.Millisecond)
		a.h.run()
		time.Sleep(time.Duration(r.IntN(500)) * time.Millisecond)
	}
	return a.h.answers()
}

// restartBFD kills the BFD process.
func (a *actor) restartBFD(r *rand.Rand) error {
	pid := a.h.bfd()
	if pid == 0 {
		return fmt.Errorf("hypervisor %d has no BFD process", a.h.n)
	}
	_ = syscall.Kill(pid, syscall.SIGKILL)
	return a.heals()
}

// fabric returns one network or both of a fabric.
func (a *actor) fabric(r *rand.Rand) []*network {
	list := a.of([]string{"a.", "b."}[r.IntN(2)])
	if n := r.IntN(3); n < len(list) {
		return list[n : n+1]
	}
	return list
}

// ports runs a command for the port of a hypervisor on each of some networks; NAME is the port.
func ports(list []*network, host int, script string) error {
	for _, n := range list {
		words := strings.Fields(strings.ReplaceAll(script, "NAME", fmt.Sprint("hv", host)))
		if out, err := n.ns.Command(words[0], words[1:]...).CombinedOutput(); err != nil {
			return fmt.Errorf("%s: %w: %s", script, err, out)
		}
	}
	return nil
}

// carrier takes the carrier of a hypervisor's links to a fabric away.
func (a *actor) carrier(r *rand.Rand) error {
	list, host := a.fabric(r), 1+r.IntN(2)
	if err := ports(list, host, "ip link set NAME down"); err != nil {
		return err
	}
	time.Sleep(time.Duration(r.IntN(3000)) * time.Millisecond)
	if err := ports(list, host, "ip link set NAME up"); err != nil {
		return err
	}
	return a.heals()
}

// silent has a fabric's switch forward nothing from and to a hypervisor, while its links stay up.
func (a *actor) silent(r *rand.Rand) error {
	list, host := a.fabric(r), 1+r.IntN(2)
	if err := ports(list, host, "bridge link set dev NAME state 0"); err != nil {
		return err
	}
	time.Sleep(time.Duration(r.IntN(4000)) * time.Millisecond)
	if err := ports(list, host, "bridge link set dev NAME state 3"); err != nil {
		return err
	}
	return a.heals()
}

// link takes a hypervisor's own interface down: the kernel forgets its routes.
func (a *actor) link(r *rand.Rand) error {
	list, h := a.fabric(r), a.hosts[r.IntN(2)]
	set := func(state string) error {
		for _, n := range list {
			if out, err := exec.Command("ip", "-n", h.hv.Name, "link", "set", n.name, state).CombinedOutput(); err != nil {
				return fmt.Errorf("%w: %s", err, out)
			}
		}
		return nil
	}
	if err := set("down"); err != nil {
		return err
	}
	time.Sleep(time.Duration(r.IntN(2000)) * time.Millisecond)
	if err := set("up"); err != nil {
		return err
	}
	return a.heals()
}

// flap does it several times in a second.
func (a *actor) flap(r *rand.Rand) error {
	list, host := a.fabric(r), 1+r.IntN(2)
	for range 3 + r.IntN(6) {
		if err := ports(list, host, "ip link set NAME down"); err != nil {
			return err
		}
		time.Sleep(time.Duration(r.IntN(120)) * time.Millisecond)
		if err := ports(list, host, "ip link set NAME up"); err != nil {
			return err
		}
		time.Sleep(time.Duration(r.IntN(120)) * time.Millisecond)
	}
	return a.heals()
}

// reflector kills a reflector, or ends it, and starts it again.
func (a *actor) reflector(r *rand.Rand) error {
	n := a.networks[r.IntN(4)]
	n.stop([]os.Signal{syscall.SIGKILL, syscall.SIGTERM}[r.IntN(2)])
	time.Sleep(time.Duration(r.IntN(3000)) * time.Millisecond)
	a.start(n)
	return a.heals()
}
