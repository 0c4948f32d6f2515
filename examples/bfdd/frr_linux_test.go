package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/hyperfib/hyperfib/bfd"
	"github.com/hyperfib/hyperfib/examples/bfdd/bfddp"
	"github.com/hyperfib/hyperfib/internal/testing/nstest"
)

// rig is a host with FRR and our data plane, and its neighbour.
type rig struct {
	*testing.T
	host, far *nstest.NS
	dir       string
	frr       map[string]*exec.Cmd
	plane     *exec.Cmd
	neighbour *bfd.Server
	plain     bool   // bfdd without a data plane
	build     string // another executable of ours; empty: that of the test
}

func newRig(t *testing.T) *rig {
	if testing.Short() {
		t.Skip("namespace test")
	}
	for _, program := range []string{"/usr/lib/frr/bfdd", "/usr/lib/frr/bgpd", "nft"} {
		if _, err := exec.LookPath(program); err != nil {
			if os.Getenv("HYPERFIB_CI") == "1" {
				t.Fatal(err)
			}
			t.Skip(err)
		}
	}
	r := &rig{T: t, host: nstest.New(t, "h"), far: nstest.New(t, "n"), frr: map[string]*exec.Cmd{}}
	nstest.Veth(r.host, "v0", "10.9.0.1/16 fd09::1/64 fe80::1/64", r.far, "v0", "10.9.0.2/16 fd09::2/64 fe80::2/64")
	r.far.Sysctl("net/ipv4/ip_nonlocal_bind", "1")
	var err error
	if r.dir, err = os.MkdirTemp("", "bfdd"); err != nil { // short: bfdd takes 63 octets of a path
		t.Fatal(err)
	}
	if err := os.Chmod(r.dir, 0o777); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		r.killFRR(syscall.SIGKILL)
		r.killPlane(syscall.SIGKILL)
		r.killProcess("")
		if t.Failed() {
			for _, name := range []string{"bfdd.log", "plane.log"} {
				text, _ := os.ReadFile(filepath.Join(r.dir, name))
				t.Logf("%s:\n%.6000s", name, text)
			}
		}
		os.RemoveAll(r.dir)
	})
	return r
}

func (r *rig) file(name, text string) string {
	r.Helper()
	path := filepath.Join(r.dir, name)
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		r.Fatal(err)
	}
	return path
}

// startFRR starts the daemons that have a configuration.
func (r *rig) startFRR(names ...string) {
	r.Helper()
	r.file("zebra.conf", "")
	for _, name := range names {
		args := []string{"--vty_socket", r.dir, "-i", r.dir + "/" + name + ".pid", "-z", r.dir + "/zserv", "-f", r.dir + "/" + name + ".conf", "--log", "file:" + r.dir + "/" + name + ".log"}
		switch name {
		case "bfdd":
			if args = append(args, "--bfdctl", r.dir+"/bfdd.sock"); !r.plain {
				args = append(args, "--dplaneaddr", "unix:"+r.dir+"/dp")
			}
		case "bgpd":
			args = append(args, "-p", "1179")
		}
		_ = os.Remove(filepath.Join(r.dir, name+".vty"))
		c := r.host.Command("/usr/lib/frr/"+name, args...)
		if err := c.Start(); err != nil {
			r.Fatal(err)
		}
		r.frr[name] = c
		nstest.Wait(r.T, 5*time.Second, name, func() bool { _, err := os.Stat(r.dir + "/" + name + ".vty"); return err == nil })
	}
}

// killFRR ends the daemons named, or all.
func (r *rig) killFRR(sig syscall.Signal, names ...string) {
	for name, c := range r.frr {
		if len(names) == 0 || strings.Contains(strings.Join(names, " "), name) {
			_ = c.Process.Signal(sig)
			delete(r.frr, name)
			defer c.Wait()
		}
	}
}

// startPlane starts the data plane, and waits until it answers.
func (r *rig) startPlane(args ...string) {
	r.Helper()
	log, err := os.OpenFile(filepath.Join(r.dir, "plane.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		r.Fatal(err)
	}
	defer log.Close()
	self, err := os.Executable()
	if err != nil {
		r.Fatal(err)
	}
	if r.build != "" {
		self = r.build
	}
	r.plane = r.host.Command(self, append([]string{"-run", r.dir + "/run"}, args...)...)
	r.plane.Env = append(os.Environ(), "BFDD_TEST_MAIN=1")
	r.plane.Stdout, r.plane.Stderr = log, log
	if err := r.plane.Start(); err != nil {
		r.Fatal(err)
	}
	nstest.Wait(r.T, 5*time.Second, "the data plane", func() bool { _, err := r.show(); return err == nil })
}

func (r *rig) killPlane(sig syscall.Signal) {
	if r.plane != nil {
		_ = r.plane.Process.Signal(sig)
		_ = r.plane.Wait()
		r.plane = nil
	}
}

// sessionsPID returns the process that has the sessions; empty: none, or two of them.
func (r *rig) sessionsPID() (found string) {
	pids, _ := exec.Command("ip", "netns", "pids", r.host.Name).Output()
	n := 0
	for pid := range strings.FieldsSeq(string(pids)) {
		if line, _ := os.ReadFile("/proc/" + pid + "/cmdline"); strings.Contains(string(line), "\x00sessions\x00") {
			found = pid
			n++
		}
	}
	if n != 1 {
		return ""
	}
	return found
}

// killProcess kills our processes whose command line has a text.
func (r *rig) killProcess(text string) {
	pids, _ := exec.Command("ip", "netns", "pids", r.host.Name).Output()
	for pid := range strings.FieldsSeq(string(pids)) {
		line, _ := os.ReadFile("/proc/" + pid + "/cmdline")
		if strings.Contains(string(line), r.dir+"/run") && strings.Contains(string(line), text) {
			_ = exec.Command("kill", "-9", pid).Run()
		}
	}
}

func (r *rig) show() (st status, err error) {
	var text strings.Builder
	if err = showCommand([]string{"-j", "-run", r.dir + "/run"}, &text, &text); err != nil {
		return status{}, err
	}
	return st, json.Unmarshal([]byte(text.String()), &st)
}

func (r *rig) vtysh(command string) string {
	args := []string{"--vty_socket", r.dir}
	for line := range strings.SplitSeq(command, "\n") {
		args = append(args, "-c", line)
	}
	r.Helper()
	return r.host.Exec("vtysh", args...)
}

// bfddSays waits until bfdd says so of n sessions.
func (r *rig) bfddSays(state string, n int) {
	r.Helper()
	defer func() {
		if r.Failed() {
			r.Log(r.vtysh("show bfd peers brief"))
		}
	}()
	nstest.Wait(r.T, 20*time.Second, fmt.Sprintf("bfdd says %s of %d sessions", state, n), func() bool {
		return strings.Count(r.vtysh("show bfd peers brief"), " "+state+" ") == n
	})
}

// neighbours are the sessions of the neighbour, which is ours.
func (r *rig) neighbours(keys ...bfd.Key) {
	r.Helper()
	s, err := bfd.NewServer(bfd.Config{Notice: func(err error) { r.Log(err) }})
	if err != nil {
		r.Fatal(err)
	}
	for _, k := range keys {
		k.NetNS = r.far.Path
		if err := s.Add(bfd.SessionConfig{Key: k, DesiredMinTx: 100 * time.Millisecond, RequiredMinRx: 100 * time.Millisecond, Multiplier: 5}); err != nil {
			r.Fatal(err)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	r.Cleanup(func() { cancel(); <-done })
	r.neighbour = s
}

// wire is what the neighbour has seen.
type wire struct {
	up, adminDown int
	downs         uint64            // how often its sessions left Up
	discr         map[string]uint32 // the host's discriminators
	received      uint64
}

func (r *rig) wire() wire {
	r.Helper()
	list, err := r.neighbour.Sessions()
	if err != nil {
		r.Fatal(err)
	}
	w := wire{discr: map[string]uint32{}}
	for _, st := range list {
		if w.downs += st.Downs; st.State == bfd.StateUp {
			w.up++
		}
		if st.RemoteState == bfd.StateAdminDown {
			w.adminDown++
		}
		w.received += st.Received
		w.discr[st.Key.String()] = st.RemoteDiscr
	}
	return w
}

func (r *rig) wireUp(n int) {
	r.Helper()
	nstest.Wait(r.T, 20*time.Second, fmt.Sprintf("the neighbour has %d sessions up", n), func() bool { return r.wire().up == n })
}

// unchanged wants that the neighbour has noticed nothing since before.
func (r *rig) unchanged(before wire, n int) {
	r.Helper()
	after := r.wire()
	if after.downs != before.downs || after.up != n {
		r.Errorf("the neighbour has seen %d Downs, and %d of %d sessions are up", after.downs-before.downs, after.up, n)
	}
	for k, d := range before.discr {
		if after.discr[k] != d {
			r.Errorf("%s: discriminator %d became %d", k, d, after.discr[k])
		}
	}
}

// many configures n sessions, half of them bfdd's own and half of them bgpd's, and
// their ends at the neighbour.
func (r *rig) many(n int) {
	bfdd, bgpd := fastProfile, "router bgp 65001\n bgp router-id 10.9.0.1\n no bgp ebgp-requires-policy\n"
	var keys []bfd.Key
	for i := range n {
		peer := netip.AddrFrom4([4]byte{10, 9, byte(1 + i/200), byte(1 + i%200)})
		keys = append(keys, bfd.Key{Local: peer, Peer: netip.MustParseAddr("10.9.0.1")})
		r.far.IP(fmt.Sprintf("addr add %v/32 dev v0", peer))
		if i%2 == 0 {
			bfdd += fmt.Sprintf(" peer %v local-address 10.9.0.1 interface v0\n  profile fast\n !\n", peer)
		} else {
			bgpd += fmt.Sprintf(" neighbor %[1]v remote-as 65002\n neighbor %[1]v timers connect 600\n neighbor %[1]v bfd\n neighbor %[1]v bfd profile fast\n", peer)
		}
	}
	r.file("bfdd.conf", bfdd)
	r.file("bgpd.conf", bgpd)
	r.neighbours(keys...)
}

const fastProfile = "debug bfd distributed\nbfd\n profile fast\n  receive-interval 100\n  transmit-interval 100\n  detect-multiplier 5\n !\n"

// TestFRRKilled: bfdd, bgpd, zebra, one of them or all, are killed or told to end and started
// again: the neighbour notices nothing, and FRR finds its sessions as they are.
func TestFRRKilled(t *testing.T) {
	r := newRig(t)
	const n = 50
	r.many(n)
	r.startFRR("zebra", "bfdd", "bgpd") // first: it waits for the data plane
	r.startPlane("-connect", r.dir+"/dp")
	r.wireUp(n)
	r.bfddSays("up", n)
	for _, c := range []struct {
		name  string
		sig   syscall.Signal
		which []string
		away  time.Duration
	}{
		{"everything for 10 s", syscall.SIGKILL, []string{"zebra", "bfdd", "bgpd"}, 10 * time.Second},
		{"bfdd", syscall.SIGKILL, []string{"bfdd"}, time.Second},
		{"bfdd told to end", syscall.SIGTERM, []string{"bfdd"}, time.Second},
		{"bgpd", syscall.SIGKILL, []string{"bgpd"}, time.Second},
		{"bgpd told to end", syscall.SIGTERM, []string{"bgpd"}, time.Second},
		{"everything told to end", syscall.SIGTERM, []string{"zebra", "bfdd", "bgpd"}, time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			before := r.wire()
			r.killFRR(c.sig, c.which...)
			nstest.Wait(t, 5*time.Second, "sessions linger", func() bool {
				st, err := r.show()
				if err != nil {
					t.Fatal(err)
				}
				lingering := 0
				for _, s := range st.Sessions {
					if s.Lingers > 0 {
						lingering++
					}
				}
				return lingering == n || lingering == n/2 && len(c.which) == 1 && c.which[0] == "bgpd"
			})
			time.Sleep(c.away)
			began := time.Now()
			r.startFRR(c.which...)
			r.bfddSays("up", n)
			t.Logf("%v from the start until bfdd says up of all", time.Since(began).Round(time.Millisecond))
			r.unchanged(before, n)
		})
	}
	st, err := r.show()
	if err != nil || st.Connections == 0 {
		t.Error(st, err)
	}
	for _, s := range st.Sessions {
		if s.State != "Up" || s.Downs != 0 || s.Lingers != 0 || len(s.IDs) != 1 {
			t.Errorf("%+v", s)
		}
	}
}

// TestKinds: IPv6, link-local, multihop and passive sessions come up; the echo function is
// refused, and the session is up all the same; the path fails, and bfdd hears of it; the
// neighbour's operator takes a session down, and BGP does not take that for a failure;
// what is deleted lingers, and ends in AdminDown.
func TestKinds(t *testing.T) {
	r := newRig(t)
	r.host.IP("addr add 10.99.0.1/32 dev lo")
	r.far.IP("addr add 10.99.0.2/32 dev lo")
	r.host.IP("route add 10.99.0.2/32 via 10.9.0.2")
	r.far.IP("route add 10.99.0.1/32 via 10.9.0.1")
	r.file("bfdd.conf", fastProfile+` peer 10.9.0.2 local-address 10.9.0.1
  profile fast
  echo-mode
 !
 peer fd09::2 local-address fd09::1
  profile fast
 !
 peer fe80::2 local-address fe80::1 interface v0
  profile fast
 !
 peer 10.99.0.2 local-address 10.99.0.1 multihop
  profile fast
  minimum-ttl 250
 !
`)
	key := func(peer, local, dev string, multihop bool) bfd.Key {
		return bfd.Key{Local: netip.MustParseAddr(local), Peer: netip.MustParseAddr(peer), Interface: dev, Multihop: multihop}
	}
	keys := []bfd.Key{key("10.9.0.1", "10.9.0.2", "", false), key("fd09::1", "fd09::2", "", false), key("fe80::1", "fe80::2", "v0", false), key("10.99.0.1", "10.99.0.2", "", true)}
	r.neighbours(keys...)
	r.startPlane("-connect", r.dir+"/dp", "-linger", "3s")
	r.startFRR("zebra", "bfdd")
	r.wireUp(4)
	r.bfddSays("up", 4)
	st, err := r.show()
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range st.Sessions {
		if echo := strings.Contains(s.Note, "echo"); echo != (s.Peer == "10.9.0.2") {
			t.Errorf("%s: note %q", s.Peer, s.Note)
		}
	}
	// What bfdd shows of the remote system is what was negotiated.
	nstest.Wait(t, 5*time.Second, "the remote system's timers", func() bool {
		return strings.Count(r.vtysh("show bfd peers"), "Detect-multiplier: 5\n\t\t\tReceive interval: 100ms\n\t\t\tTransmission interval: 100ms\n") == 8
	})

	before := r.wire()
	r.vtysh("conf t\nbfd\nno peer fd09::2 local-address fd09::1")
	nstest.Wait(t, 5*time.Second, "it lingers", func() bool {
		st, err := r.show()
		return err == nil && len(st.Sessions) == 4 && st.Sessions[2].Peer == "fd09::2" && st.Sessions[2].Lingers > 0
	})
	r.unchanged(before, 4)
	nstest.Wait(t, 5*time.Second, "it ends in AdminDown", func() bool { return r.wire().adminDown == 1 })
	nstest.Wait(t, time.Second, "it is not shown", func() bool { st, err := r.show(); return err == nil && len(st.Sessions) == 3 })

	r.neighbourDown(keys[0], true)
	r.bfddSays("admin-down", 1)
	r.neighbourDown(keys[0], false)
	r.bfddSays("up", 3)
	r.far.IP("link set v0 down")
	r.bfddSays("down", 3)
	r.far.IP("link set v0 up")
	r.far.IP("route replace 10.99.0.1/32 via 10.9.0.1")
	r.far.IP("addr replace fe80::2/64 dev v0 nodad")
	r.bfddSays("up", 3)
}

// TestShutdown: the operator shuts a session down in bfdd; the neighbour is told at once.
func TestShutdown(t *testing.T) {
	r := newRig(t)
	r.many(2)
	r.startPlane("-connect", r.dir+"/dp")
	r.startFRR("zebra", "bfdd", "bgpd")
	r.wireUp(2)
	r.bfddSays("up", 2)
	r.vtysh("conf t\nbfd\npeer 10.9.1.1 local-address 10.9.0.1 interface v0\nshutdown")
	nstest.Wait(t, 2*time.Second, "AdminDown", func() bool { return r.wire().adminDown == 1 })
	r.vtysh("conf t\nbfd\npeer 10.9.1.1 local-address 10.9.0.1 interface v0\nno shutdown")
	r.wireUp(2)
	r.bfddSays("up", 2)
}

// TestFence: while no data plane is attached bfdd sends packets of its own, which
// would take the neighbour's sessions down. The fence keeps them off the wire, also
// when we are dead.
func TestFence(t *testing.T) {
	r := newRig(t)
	r.many(4)
	r.startPlane("-connect", r.dir+"/dp")
	r.startFRR("zebra", "bfdd", "bgpd")
	r.wireUp(4)
	r.bfddSays("up", 4)
	before := r.wire()
	r.killFRR(syscall.SIGKILL)
	r.killPlane(syscall.SIGKILL)
	r.startFRR("zebra", "bfdd", "bgpd") // it runs its sessions itself
	count := func() int {
		return strings.Count(r.host.Exec("nft", "list", "table", "inet", fenceTable), "packets 0 ")
	}
	nstest.Wait(t, 5*time.Second, "packets at the fence", func() bool { return count() < len(fencePorts) })
	r.unchanged(before, 4)
	r.startPlane("-connect", r.dir+"/dp")
	r.bfddSays("up", 4)
	r.unchanged(before, 4)
	if st, err := r.show(); err != nil || st.Fenced == nil {
		t.Errorf("%+v, %v", st, err)
	}
	// And without it: what the fence is for.
	r.killPlane(syscall.SIGKILL)
	r.host.Do(removeFence)
	nstest.Wait(t, 10*time.Second, "a Down at the neighbour", func() bool { return r.wire().downs > before.downs })
}

// TestManySessions: bfdd offers no more than 58 sessions to a connection; more of them take
// the rest. Counters can be asked for as often as one likes.
func TestManySessions(t *testing.T) {
	r := newRig(t)
	const n = 150
	r.many(n)
	r.startPlane("-connect", r.dir+"/dp")
	r.startFRR("zebra", "bfdd", "bgpd")
	r.wireUp(n)
	r.bfddSays("up", n)
	before := r.wire()
	r.killFRR(syscall.SIGKILL)
	r.startFRR("zebra", "bfdd", "bgpd")
	r.bfddSays("up", n)
	r.unchanged(before, n)
	st, err := r.show()
	if err != nil || st.Connections < 2 {
		t.Fatal(st.Connections, err)
	}
	for range 3 {
		text := r.vtysh("show bfd peers counters")
		if zeros := strings.Count(text, "Control packet input: 0 packets"); zeros != 0 || strings.Count(text, "Control packet input: ") != n {
			t.Fatalf("%d of %d without counters", zeros, n)
		}
	}
	r.bfddSays("up", n)
	if log, err := os.ReadFile(filepath.Join(r.dir, "bfdd.log")); err != nil || strings.Contains(string(log), "socket closed") {
		t.Errorf("bfdd has closed a connection: %v", err)
	}
	r.unchanged(before, n)
}

// neighbourDown has the neighbour's operator take a session down, or up.
func (r *rig) neighbourDown(k bfd.Key, down bool) {
	r.Helper()
	k.NetNS = r.far.Path
	if err := r.neighbour.Add(bfd.SessionConfig{Key: k, AdminDown: down, DesiredMinTx: 100 * time.Millisecond, RequiredMinRx: 100 * time.Millisecond, Multiplier: 5}); err != nil {
		r.Fatal(err)
	}
}

// TestPlaneKilled: the data plane itself is killed, or told to end, and started again. bfdd does
// not notice, hears of what happened meanwhile, and gets the counters that it was
// waiting for.
func TestPlaneKilled(t *testing.T) {
	r := newRig(t)
	const n = 80 // more than one connection's
	r.many(n)
	r.startPlane("-connect", r.dir+"/dp")
	r.startFRR("zebra", "bfdd", "bgpd")
	r.wireUp(n)
	r.bfddSays("up", n)
	before := r.wire()
	for name, sig := range map[string]syscall.Signal{"killed": syscall.SIGKILL, "told to end": syscall.SIGTERM} {
		t.Run(name, func(t *testing.T) {
			r.killPlane(sig)
			time.Sleep(4 * time.Second) // bfdd would give its own sessions up after 3 s
			r.bfddSays("up", n)
			r.startPlane("-connect", r.dir+"/dp")
			r.unchanged(before, n)
		})
	}
	t.Run("replaced by another build", func(t *testing.T) {
		old := r.sessionsPID()
		text, err := os.ReadFile("/proc/self/exe")
		if err != nil {
			t.Fatal(err)
		}
		r.build = filepath.Join(r.dir, "bfdd")
		if err := os.WriteFile(r.build, text, 0o755); err != nil {
			t.Fatal(err)
		}
		r.killPlane(syscall.SIGTERM)
		r.startPlane("-connect", r.dir+"/dp")
		nstest.Wait(t, 10*time.Second, "the new build has the sessions", func() bool { pid := r.sessionsPID(); return pid != "" && pid != old })
		time.Sleep(time.Second)
		r.unchanged(before, n)
		if text := r.vtysh("show bfd peers counters"); strings.Count(text, "Session down events: 0") != n {
			t.Error(text)
		}
	})
	t.Run("while bfdd waits for counters", func(t *testing.T) {
		_ = r.plane.Process.Signal(syscall.SIGSTOP)
		counters := r.host.Command("vtysh", "--vty_socket", r.dir, "-c", "show bfd peers counters")
		if err := counters.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(100 * time.Millisecond)
		r.killPlane(syscall.SIGKILL)
		r.startPlane("-connect", r.dir+"/dp")
		if err := counters.Wait(); err != nil {
			t.Error(err)
		}
		r.unchanged(before, n)
	})
	t.Run("while a session fails", func(t *testing.T) {
		r.killPlane(syscall.SIGKILL)
		k := bfd.Key{Local: netip.MustParseAddr("10.9.1.1"), Peer: netip.MustParseAddr("10.9.0.1"), NetNS: r.far.Path}
		if err := r.neighbour.Remove(k); err != nil {
			t.Fatal(err)
		}
		r.startPlane("-connect", r.dir+"/dp")
		r.bfddSays("up", n-1)
	})
	if text := r.vtysh("show bfd peers counters"); strings.Count(text, "Session down events: 1") != 1 || strings.Count(text, "Session down events: 0") != n-1 {
		t.Errorf("bfdd has seen sessions go down: %s", text)
	}
	st, err := r.show()
	if err != nil || len(st.Sessions) != n {
		t.Errorf("%d sessions, %v", len(st.Sessions), err)
	}
	// It is the same with connections that bfdd has accepted since.
	r.killFRR(syscall.SIGKILL)
	r.startFRR("zebra", "bfdd", "bgpd")
	r.bfddSays("up", n-1)
}

// TestNeighbours: BIRD and FRR, as neighbours of a host whose FRR is killed for longer than the
// detection time, notice nothing.
func TestNeighbours(t *testing.T) {
	t.Run("BIRD", func(t *testing.T) {
		r := newRig(t)
		r.file("bfdd.conf", fastProfile+" peer 10.9.0.2 local-address 10.9.0.1 interface v0\n  profile fast\n !\n peer fe80::2 local-address fe80::1 interface v0\n  profile fast\n !\n")
		conf := r.file("bird.conf", `router id 10.9.0.2;
protocol device {}
protocol bfd { interface "*" { interval 100 ms; multiplier 5; }; neighbor 10.9.0.1 dev "v0" local 10.9.0.2; neighbor fe80::1 dev "v0" local fe80::2; }
`)
		bird := r.far.Command("bird", "-f", "-c", conf, "-s", r.dir+"/ctl", "-P", r.dir+"/bird.pid")
		if err := bird.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = bird.Process.Kill(); _ = bird.Wait() })
		r.startPlane("-connect", r.dir+"/dp")
		r.startFRR("zebra", "bfdd")
		r.bfddSays("up", 2)
		says := func() string { return r.far.Exec("birdc", "-s", r.dir+"/ctl", "show", "bfd", "sessions") } // with the time since when
		nstest.Wait(t, 5*time.Second, "BIRD says Up", func() bool { return strings.Count(says(), " Up ") == 2 && strings.Count(says(), " 0.100 ") == 2 })
		before := says()
		r.killFRR(syscall.SIGKILL)
		time.Sleep(2 * time.Second)
		r.startFRR("zebra", "bfdd")
		r.bfddSays("up", 2)
		if after := says(); after != before {
			t.Errorf("before:\n%s\nafter:\n%s", before, after)
		}
	})
	t.Run("FRR", func(t *testing.T) {
		r := newRig(t)
		r.file("bfdd.conf", fastProfile+" peer 10.9.0.2 local-address 10.9.0.1 interface v0\n  profile fast\n !\n")
		far := &rig{T: t, host: r.far, dir: r.dir + "/far", frr: map[string]*exec.Cmd{}, plain: true}
		if err := os.Mkdir(far.dir, 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(far.dir, 0o777); err != nil {
			t.Fatal(err)
		}
		far.file("bfdd.conf", fastProfile+" peer 10.9.0.1 local-address 10.9.0.2 interface v0\n  profile fast\n !\n")
		t.Cleanup(func() { far.killFRR(syscall.SIGKILL) })
		far.startFRR("zebra", "bfdd")
		r.startPlane("-connect", r.dir+"/dp")
		r.startFRR("zebra", "bfdd")
		r.bfddSays("up", 1)
		far.bfddSays("up", 1)
		r.killFRR(syscall.SIGKILL)
		time.Sleep(2 * time.Second)
		r.startFRR("zebra", "bfdd")
		r.bfddSays("up", 1)
		if text := far.vtysh("show bfd peers counters"); !strings.Contains(text, "Session up events: 1") || !strings.Contains(text, "Session down events: 0") {
			t.Error(text)
		}
	})
}

// TestListen: a bfdd that connects to us. Debian's cannot (FRRouting/frr issue 22608), so it is
// played by the test. Who is not of the group cannot connect.
func TestListen(t *testing.T) {
	r := newRig(t)
	r.neighbours(bfd.Key{Local: netip.MustParseAddr("10.9.0.2"), Peer: netip.MustParseAddr("10.9.0.1")})
	path := r.dir + "/run/dp"
	r.startPlane("-listen", path)
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o660 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	add := bfddp.Message{Version: 2, Type: bfddp.TypeAdd, Session: bfddp.Session{LID: 7, Local: netip.MustParseAddr("10.9.0.1"), Peer: netip.MustParseAddr("10.9.0.2"), MinTx: 100000, MinRx: 100000, Multiplier: 5}}
	for _, lid := range []uint32{7, 8} { // the second time under another id
		c, err := net.Dial("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		_ = c.SetDeadline(time.Now().Add(nstest.Patience))
		add.Session.LID = lid
		b, _ := add.AppendBinary(nil)
		if _, err := c.Write(b[:100]); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Millisecond) // in two pieces
		if _, err := c.Write(b[100:]); err != nil {
			t.Fatal(err)
		}
		for buf, first := []byte(nil), true; ; first = false {
			m, n, err := bfddp.Parse(buf)
			if err != nil {
				t.Fatal(err)
			}
			if n == 0 {
				more := make([]byte, 1000)
				n, err := c.Read(more)
				if err != nil {
					t.Fatal(err)
				}
				buf = append(buf, more[:n]...)
				continue
			}
			buf = buf[n:]
			if m.Version != 2 || m.Type != bfddp.TypeState || m.State.LID != lid {
				t.Errorf("%+v", m)
			}
			if up := bfd.State(m.State.State) == bfd.StateUp; up {
				break
			} else if lid == 8 && first {
				t.Errorf("the answer is %v, not the present state", bfd.State(m.State.State))
			}
		}
		c.Close()
	}
	if w := r.wire(); w.up != 1 || w.downs != 0 {
		t.Errorf("%+v", w)
	}
	// What is not the protocol ends the connection, and no other.
	c, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(nstest.Patience))
	if _, err := c.Write([]byte("GET / HTTP/1.1\r\n\r\n")); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Read(make([]byte, 1)); err != io.EOF && !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("%v, want the end", err)
	}
}

// TestSessionsKilled: the process that has the sessions is killed, which the neighbour cannot
// but notice. Another one is started, and bfdd hears of the Down and of the Up.
func TestSessionsKilled(t *testing.T) {
	r := newRig(t)
	const n = 4
	r.many(n)
	r.startPlane("-connect", r.dir+"/dp")
	r.startFRR("zebra", "bfdd", "bgpd")
	r.wireUp(n)
	r.bfddSays("up", n)
	r.killProcess("\x00sessions\x00")
	nstest.Wait(t, 5*time.Second, "the neighbour notices", func() bool { return r.wire().downs == n })
	r.wireUp(n)
	r.bfddSays("up", n)
	if text := r.vtysh("show bfd peers counters"); strings.Count(text, "Session down events: 1") != n {
		t.Error(text)
	}
}
