package bgp

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

	"github.com/hyperfib/hyperfib/bgp/rib"
	"github.com/hyperfib/hyperfib/internal/nstest"
)

// lan is a network of namespaces around a bridge: our speaker at 10.77.0.1 and
// fd77::1 in hub, peers at .2, .3 ...
type lan struct {
	tb  testing.TB
	hub *nstest.NS
}

func newLAN(tb testing.TB) *lan {
	tb.Helper()
	if testing.Short() {
		tb.Skip("namespace test")
	}
	l := &lan{tb: tb, hub: nstest.New(tb, "hub")}
	l.hub.IP("link add br0 type bridge")
	l.hub.IP("addr add 10.77.0.1/24 dev br0")
	l.hub.IP("addr add fd77::1/64 dev br0 nodad")
	l.hub.IP("link set br0 up")
	return l
}

// host adds a namespace with address .n.
func (l *lan) host(n int) *nstest.NS {
	l.tb.Helper()
	ns := nstest.New(l.tb, fmt.Sprintf("h%d", n))
	port := fmt.Sprintf("p%d", n)
	nstest.Veth(l.hub, port, "", ns, "eth0", fmt.Sprintf("10.77.0.%d/24 fd77::%d/64", n, n))
	l.hub.IP("link set " + port + " master br0")
	return ns
}

// program runs a daemon in a namespace until the test ends.
type program struct {
	tb  testing.TB
	ns  *nstest.NS
	dir string
	cmd *exec.Cmd
	log string
	arg []string
}

func startProgram(tb testing.TB, ns *nstest.NS, dir, bin string, arg ...string) *program {
	tb.Helper()
	p := &program{tb: tb, ns: ns, dir: dir, log: filepath.Join(dir, "log"), arg: append([]string{bin}, arg...)}
	p.start()
	tb.Cleanup(func() {
		p.kill()
		if tb.Failed() {
			b, _ := os.ReadFile(p.log)
			tb.Logf("%s:\n%s", filepath.Base(bin), b)
		}
	})
	return p
}

func (p *program) start() {
	p.tb.Helper()
	f, err := os.OpenFile(p.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		p.tb.Fatal(err)
	}
	defer f.Close()
	p.cmd = exec.Command(p.arg[0], p.arg[1:]...)
	p.cmd.Stdout, p.cmd.Stderr = f, f
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	p.ns.Do(p.cmd.Start)
}

// kill is kill -9.
func (p *program) kill() {
	if p.cmd != nil {
		_ = p.cmd.Process.Kill()
		_ = p.cmd.Wait()
		p.cmd = nil
	}
}

func write(tb testing.TB, dir, name, text string) string {
	tb.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		tb.Fatal(err)
	}
	return path
}

// bird is a running BIRD 2.
type bird struct{ *program }

// startBIRD runs BIRD with the router id 10.77.0.n and the given protocols.
func startBIRD(l *lan, n int, conf string) *bird {
	l.tb.Helper()
	bin := nstest.Need(l.tb, "bird", "/usr/sbin")
	dir := l.tb.TempDir()
	head := fmt.Sprintf("log stderr all;\nrouter id 10.77.0.%d;\nprotocol device { scan time 1; }\n", n)
	path := write(l.tb, dir, "bird.conf", head+conf)
	return &bird{startProgram(l.tb, l.host(n), dir, bin, "-f", "-c", path, "-s", filepath.Join(dir, "ctl"))}
}

// birdc asks a running BIRD.
func (b *bird) birdc(command string) string {
	out, _ := exec.Command("birdc", "-s", filepath.Join(b.dir, "ctl"), command).CombinedOutput()
	return string(out)
}

func (b *bird) waitFor(what, command, want string) {
	b.tb.Helper()
	deadline := time.Now().Add(15 * time.Second)
	for {
		out := b.birdc(command)
		if strings.Contains(out, want) {
			return
		}
		if time.Now().After(deadline) {
			b.tb.Fatalf("%s: %q not in what %q says:\n%s", what, want, command, out)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// real is our speaker on real sockets in a namespace.
type real struct {
	*Speaker
	tb   testing.TB
	stop func()
}

func startReal(tb testing.TB, ns *nstest.NS, c Config) *real {
	tb.Helper()
	c.AS, c.NetNS = or(c.AS, 65000), ns.Path
	if !c.RouterID.IsValid() {
		c.RouterID = netip.MustParseAddr("10.77.0.1")
	}
	if c.Listen == nil {
		c.Listen = []netip.AddrPort{netip.MustParseAddrPort("10.77.0.1:179"), netip.MustParseAddrPort("[fd77::1]:179")}
	}
	s, err := New(c)
	if err != nil {
		tb.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	log := s.Subscribe()
	go func() {
		for {
			e, err := log.Next(ctx)
			if err != nil {
				return
			}
			if e.Kind != EventState {
				tb.Logf("%s %v %v %v %v %v", e.Time.Format("05.000"), e.Kind, e.Peer, e.State, e.Restart, e.Err)
			}
		}
	}()
	go func() { done <- s.Run(ctx) }()
	r := &real{Speaker: s, tb: tb}
	stopped := false
	r.stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-done; err != nil {
			tb.Error(err)
		}
	}
	tb.Cleanup(r.stop)
	return r
}

func (r *real) must(err error) {
	r.tb.Helper()
	if err != nil {
		r.tb.Fatal(err)
	}
}

func (r *real) waitState(addr string, want State) {
	r.tb.Helper()
	key := PeerKey{Addr: netip.MustParseAddr(addr)}
	nstest.Wait(r.tb, 15*time.Second, fmt.Sprintf("%v %v", key, want), func() bool {
		st, err := r.Peer(key)
		return err == nil && st.State == want
	})
}

// watchPaths returns the current multipath set of a prefix.
func (r *real) watchPaths(prefix string) (paths []rib.Path) {
	want := netip.MustParsePrefix(prefix)
	w := r.Table().Watch(rib.WatchConfig{})
	defer w.Close()
	changes := make([]rib.Change, 256)
	for {
		n, _ := w.Next(changes)
		if n == 0 {
			return nil
		}
		for _, c := range changes[:n] {
			if c.Prefix == want {
				return c.Paths
			}
		}
	}
}

func (r *real) waitPaths(prefix string, want int) []rib.Path {
	r.tb.Helper()
	var got []rib.Path
	nstest.Wait(r.tb, 15*time.Second, fmt.Sprintf("%d paths to %s", want, prefix), func() bool {
		got = r.watchPaths(prefix)
		return len(got) == want
	})
	return got
}

func (r *real) originate(prefixes ...string) {
	r.tb.Helper()
	for _, p := range prefixes {
		r.must(r.Table().Originate(rib.LocalPath{Prefix: netip.MustParsePrefix(p)}))
	}
}
