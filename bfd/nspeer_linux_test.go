package bfd

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/hyperfib/hyperfib/internal/testing/nstest"
)

// pair is two namespaces joined by a veth: we live in A (10.9.0.1, fd09::1,
// fe80::1), the peer in B (.2).
type pair struct{ a, b *nstest.NS }

func newPair(tb testing.TB) pair {
	tb.Helper()
	if testing.Short() {
		tb.Skip("namespace test")
	}
	p := pair{nstest.New(tb, "a"), nstest.New(tb, "b")}
	nstest.Veth(p.a, "v0", "10.9.0.1/24 fd09::1/64 fe80::1/64", p.b, "v0", "10.9.0.2/24 fd09::2/64 fe80::2/64")
	p.a.IP("addr add 10.99.0.1/32 dev lo")
	p.b.IP("addr add 10.99.0.2/32 dev lo")
	p.a.IP("route add 10.99.0.2/32 via 10.9.0.2")
	p.b.IP("route add 10.99.0.1/32 via 10.9.0.1")
	return p
}

// trial is a Service under test with what it has said so far.
type trial struct {
	Service
	tb     testing.TB
	events chan Event
}

func start(tb testing.TB, s Service) *trial {
	tb.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	r := &trial{Service: s, tb: tb, events: make(chan Event, 1000)}
	w, done := s.Watch(), make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	go func() {
		for e, err := range w.All(context.Background()) {
			if err != nil {
				close(r.events)
				return
			}
			r.events <- e
		}
	}()
	tb.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			tb.Error(err)
		}
	})
	return r
}

func newServer(tb testing.TB) *trial {
	tb.Helper()
	s, err := NewServer(Config{Notice: func(err error) { tb.Log(err) }})
	if err != nil {
		tb.Fatal(err)
	}
	return start(tb, s)
}

func (r *trial) add(c SessionConfig) {
	r.tb.Helper()
	if err := r.Add(c); err != nil {
		r.tb.Fatal(err)
	}
}

// until waits for an event that says state, and returns it.
func (r *trial) until(k Key, state State) Event {
	r.tb.Helper()
	limit := time.After(nstest.Patience)
	for {
		select {
		case e := <-r.events:
			r.tb.Logf("%v %v %v (%v, diag %v, remote %v)", e.Time.Format("05.000000"), e.Key, e.State, e.Reason, e.Diag, e.RemoteDiag)
			if e.Key == k.Normal() && e.State == state {
				return e
			}
		case <-limit:
			r.tb.Fatalf("%v does not come to %v", k, state)
		}
	}
}

// quiet wants no event of the session for a while.
func (r *trial) quiet(d time.Duration) {
	r.tb.Helper()
	select {
	case e := <-r.events:
		r.tb.Errorf("unexpected: %+v", e)
	case <-time.After(d):
	}
}

func (r *trial) status(k Key) Status {
	r.tb.Helper()
	list, err := r.Sessions()
	if err != nil {
		r.tb.Fatal(err)
	}
	for _, s := range list {
		if s.Key == k.Normal() {
			return s
		}
	}
	r.tb.Fatalf("%v is not listed", k)
	return Status{}
}

// statusIs waits for a property of the status.
func (r *trial) statusIs(k Key, what string, ok func(Status) bool) {
	r.tb.Helper()
	nstest.Wait(r.tb, 15*time.Second, what, func() bool { return ok(r.status(k)) })
}

func (p pair) key(peer string) Key {
	a := netip.MustParseAddr(peer)
	k := Key{Peer: a, NetNS: p.a.Path, Interface: "v0"}
	switch {
	case strings.HasPrefix(peer, "10.99."):
		k.Local, k.Multihop, k.Interface = netip.MustParseAddr("10.99.0.1"), true, ""
	case a.Is4():
		k.Local = netip.MustParseAddr("10.9.0.1")
	case a.IsLinkLocalUnicast():
		k.Local = netip.MustParseAddr("fe80::1")
	default:
		k.Local = netip.MustParseAddr("fd09::1")
	}
	return k
}

// stillness is how long the machine may stand still in a test that has sessions of some
// 100 ms, see [nstest.Steady].
const stillness = 20 * time.Millisecond

func fast(k Key) SessionConfig {
	return SessionConfig{Key: k, DesiredMinTx: ms(100), RequiredMinRx: ms(100), Multiplier: 3}
}

// peerDaemon is a foreign daemon in a namespace.
type peerDaemon struct {
	tb   testing.TB
	ns   *nstest.NS
	dir  string
	proc []*exec.Cmd
}

func newDaemon(tb testing.TB, ns *nstest.NS, program string) *peerDaemon {
	tb.Helper()
	if _, err := exec.LookPath(program); err != nil {
		if os.Getenv("HYPERFIB_CI") == "1" {
			tb.Fatal(err)
		}
		tb.Skip(err)
	}
	dir, err := os.MkdirTemp("", "bfd")
	if err != nil {
		tb.Fatal(err)
	}
	if err := os.Chmod(dir, 0o777); err != nil {
		tb.Fatal(err)
	}
	d := &peerDaemon{tb: tb, ns: ns, dir: dir}
	tb.Cleanup(func() { d.kill(); os.RemoveAll(dir) })
	return d
}

func (d *peerDaemon) file(name, text string) string {
	d.tb.Helper()
	path := filepath.Join(d.dir, name)
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		d.tb.Fatal(err)
	}
	return path
}

// run starts a program of the peer. `ip netns exec` replaces itself by it, so
// that its pid is the program's.
func (d *peerDaemon) run(name string, args ...string) {
	d.tb.Helper()
	c := d.ns.Command(name, args...)
	if err := c.Start(); err != nil {
		d.tb.Fatal(err)
	}
	d.proc = append(d.proc, c)
}

func (d *peerDaemon) kill() { d.signal(syscall.SIGKILL) }

func (d *peerDaemon) signal(sig syscall.Signal) {
	for _, c := range d.proc {
		_ = c.Process.Signal(sig)
		_ = c.Wait()
	}
	d.proc = nil
}

// bird is BIRD 2 in namespace B.
func (p pair) bird(tb testing.TB, config string) *peerDaemon {
	d := newDaemon(tb, p.b, "bird")
	d.birdConfig(config)
	d.birdRun()
	return d
}

func (d *peerDaemon) birdConfig(config string) {
	d.file("bird.conf", "router id 10.9.0.2;\nprotocol device {}\nprotocol bfd b {\n"+config+"\n}\n")
}

func (d *peerDaemon) birdRun() {
	d.remove("ctl")
	d.run("bird", "-f", "-c", d.dir+"/bird.conf", "-s", d.dir+"/ctl", "-P", d.dir+"/pid")
	nstest.Wait(d.tb, 3*time.Second, "bird", func() bool { _, err := os.Stat(d.dir + "/ctl"); return err == nil })
}

func (d *peerDaemon) birdc(command string) string {
	d.tb.Helper()
	return d.ns.Exec("birdc", append([]string{"-s", d.dir + "/ctl"}, strings.Fields(command)...)...)
}

// birdSays waits until `show bfd sessions` has a line with all the words.
func (d *peerDaemon) birdSays(words ...string) {
	d.tb.Helper()
	last := ""
	defer func() {
		if d.tb.Failed() {
			d.tb.Log(last)
		}
	}()
	nstest.Wait(d.tb, 15*time.Second, fmt.Sprint("BIRD says ", words), func() bool {
		last = d.birdc("show bfd sessions")
		return hasLine(last, words)
	})
}

func hasLine(text string, words []string) bool {
	for _, line := range strings.Split(text, "\n") {
		n := 0
		for _, w := range words {
			if strings.Contains(line, w) {
				n++
			}
		}
		if n == len(words) {
			return true
		}
	}
	return false
}

// frr is zebra and bfdd in namespace B.
func (p pair) frr(tb testing.TB, config string) *peerDaemon {
	d := newDaemon(tb, p.b, "/usr/lib/frr/bfdd")
	d.file("frr.conf", config)
	d.frrRun()
	return d
}

func (d *peerDaemon) frrRun() {
	d.tb.Helper()
	for _, name := range []string{"zebra", "bfdd"} {
		args := []string{"--vty_socket", d.dir, "-i", d.dir + "/" + name + ".pid", "-z", d.dir + "/zserv", "--log", "file:" + d.dir + "/" + name + ".log"}
		if name == "zebra" {
			d.file("zebra.conf", "")
			args = append(args, "-f", d.dir+"/zebra.conf")
		} else {
			args = append(args, "-f", d.dir+"/frr.conf", "--bfdctl", d.dir+"/bfdd.sock")
		}
		d.run("/usr/lib/frr/"+name, args...)
		nstest.Wait(d.tb, 5*time.Second, name, func() bool { _, err := os.Stat(d.dir + "/" + name + ".vty"); return err == nil })
	}
}

func (d *peerDaemon) vtysh(commands ...string) string {
	d.tb.Helper()
	args := []string{"--vty_socket", d.dir}
	for _, c := range commands {
		args = append(args, "-c", c)
	}
	return d.ns.Exec("vtysh", args...)
}

// frrSays waits until `show bfd peers brief` has a line with all the words.
func (d *peerDaemon) frrSays(words ...string) {
	d.tb.Helper()
	last := ""
	defer func() {
		if d.tb.Failed() {
			d.tb.Log(last)
		}
	}()
	nstest.Wait(d.tb, 15*time.Second, fmt.Sprint("FRR says ", words), func() bool {
		last = d.vtysh("show bfd peers brief")
		return hasLine(last, words)
	})
}

func (d *peerDaemon) remove(name string) { _ = os.Remove(filepath.Join(d.dir, name)) }

// quietFor wants no session to leave Up for a while.
func (r *trial) quietFor(d time.Duration) {
	r.tb.Helper()
	r.clear()
	r.quiet(d)
}

// clear drops the events so far.
func (r *trial) clear() {
	for len(r.events) > 0 {
		<-r.events
	}
}
