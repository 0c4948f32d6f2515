package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime/pprof"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/hyperfib/hyperfib/bfd"
)

// daemon is what is measured.
type daemon struct {
	procs []*exec.Cmd
	first bool // the first process does BFD, not the last
}

func startDaemon(n *network, s shape, who string) (*daemon, error) {
	name, rt := strings.CutSuffix(who, "-rt")
	name, gc := strings.CutSuffix(name, "-gc")
	d := &daemon{}
	switch name {
	case "hyperfib":
		path, err := sessionFile(n, s, false)
		if err != nil {
			return nil, err
		}
		args := []string{path, s.interval.String(), strconv.Itoa(s.multiplier)}
		if gc {
			return d, d.run(n.a, false, append([]string{"/proc/self/exe", "role-process"}, args...)...)
		}
		mode, socket := "off", filepath.Join(n.dir, "bfd.sock")
		if rt {
			mode = "rt"
		}
		d.first = true
		if err := d.run(n.a, false, "/proc/self/exe", "role-hyperfib", socket, mode); err != nil {
			return nil, err
		}
		return d, d.run(n.a, false, append([]string{"/proc/self/exe", "role-client", socket}, args...)...)
	case "udp":
		return d, d.startUDP(n, s, false)
	case "bird":
		conf := filepath.Join(n.dir, "bird.conf")
		if err := os.WriteFile(conf, []byte(birdConfig(s)), 0o644); err != nil {
			return nil, err
		}
		return d, d.run(n.a, rt, "bird", "-f", "-c", conf, "-s", n.dir+"/ctl", "-P", n.dir+"/pid")
	case "frr":
		return d, d.startFRR(n, s, rt)
	}
	return nil, fmt.Errorf("unknown daemon %q", who)
}

// run starts a program, in the same process as `ip` and `chrt` replace themselves.
func (d *daemon) run(ns string, rt bool, args ...string) error {
	if args[0] == "/proc/self/exe" {
		self, err := os.Executable()
		if err != nil {
			return err
		}
		args[0] = self
	}
	if rt {
		args = append([]string{"chrt", "-f", "50"}, args...)
	}
	c := program(ns, args...)
	if err := c.Start(); err != nil {
		return err
	}
	d.procs = append(d.procs, c)
	return nil
}

func (d *daemon) stop() {
	for _, c := range d.procs {
		_ = c.Process.Signal(syscall.SIGTERM)
		gone := time.AfterFunc(time.Second, func() { _ = c.Process.Kill() })
		_ = c.Wait()
		gone.Stop()
	}
}

// main is the process that does BFD.
func (d *daemon) main() int {
	if d.first {
		return d.procs[0].Process.Pid
	}
	return d.procs[len(d.procs)-1].Process.Pid
}

// cpu is the time that the scheduler gave the daemon's threads.
func (d *daemon) cpu() (total time.Duration) {
	files, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", d.main()))
	for _, f := range files {
		b, _ := os.ReadFile(f)
		if w := strings.Fields(string(b)); len(w) > 0 {
			ns, _ := strconv.ParseInt(w[0], 10, 64)
			total += time.Duration(ns)
		}
	}
	return total
}

func (d *daemon) rss() int {
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", d.main()))
	for _, line := range strings.Split(string(b), "\n") {
		if w := strings.Fields(line); len(w) > 1 && w[0] == "VmRSS:" {
			n, _ := strconv.Atoi(w[1])
			return n
		}
	}
	return 0
}

func birdConfig(s shape) string {
	var b strings.Builder
	fmt.Fprintf(&b, "router id 10.11.0.1;\nprotocol device {}\nprotocol bfd {\n interface \"*\" { interval %d ms; multiplier %d; };\n", s.interval.Milliseconds(), s.multiplier)
	for i := range s.sessions {
		fmt.Fprintf(&b, " neighbor %s dev \"v0\" local %s;\n", s.remote(i), s.local(i))
	}
	return b.String() + "}\n"
}

func (d *daemon) startFRR(n *network, s shape, rt bool) error {
	var b strings.Builder
	fmt.Fprintf(&b, "bfd\n profile p\n  receive-interval %[1]d\n  transmit-interval %[1]d\n  detect-multiplier %[2]d\n !\n", s.interval.Milliseconds(), s.multiplier)
	for i := range s.sessions {
		fmt.Fprintf(&b, " peer %s local-address %s interface v0\n  profile p\n !\n", s.remote(i), s.local(i))
	}
	if err := os.WriteFile(n.dir+"/bfdd.conf", []byte(b.String()), 0o644); err != nil {
		return err
	}
	if err := os.WriteFile(n.dir+"/zebra.conf", nil, 0o644); err != nil {
		return err
	}
	for _, name := range []string{"zebra", "bfdd"} {
		args := []string{"/usr/lib/frr/" + name, "--vty_socket", n.dir, "-i", n.dir + "/" + name + ".pid", "-z", n.dir + "/zserv", "-f", n.dir + "/" + name + ".conf", "--log", "file:" + n.dir + "/" + name + ".log"}
		if name == "bfdd" {
			args = append(args, "--bfdctl", n.dir+"/bfdd.sock")
		}
		if err := d.run(n.a, rt, args...); err != nil {
			return err
		}
		for range 200 {
			if _, err := os.Stat(n.dir + "/" + name + ".vty"); err == nil {
				break
			}
			time.Sleep(10 * time.Millisecond)
		}
	}
	return nil
}

// sessionFile writes the pairs of addresses, from the daemon's or the peer's view.
func sessionFile(n *network, s shape, peer bool) (string, error) {
	var b strings.Builder
	name := "daemon.txt"
	for i := range s.sessions {
		local, remote := s.local(i), s.remote(i)
		if peer {
			local, remote, name = remote, local, "peer.txt"
		}
		fmt.Fprintln(&b, local, remote)
	}
	path := filepath.Join(n.dir, name)
	return path, os.WriteFile(path, []byte(b.String()), 0o644)
}

// roleDaemon is our daemon, the process that has nothing but BFD sessions.
func roleDaemon(args []string) error {
	cfg := bfd.ServeConfig{Config: bfd.Config{RealTime: bfd.RealTimeOff}}
	if args[1] == "rt" {
		cfg.Config = bfd.Config{RealTime: bfd.RealTimeRequired, LockMemory: true}
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: args[0], Net: "unix"})
	if err != nil {
		return err
	}
	end, err := profile()
	if err != nil {
		return err
	}
	defer end()
	if err := bfd.Serve(ctx, l, cfg); ctx.Err() == nil {
		return err
	}
	return nil
}

// roleClient has the daemon's sessions in that process, as hvrouter has.
func roleClient(args []string) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	c, err := bfd.NewClient(bfd.ClientConfig{Socket: args[0]})
	if err != nil {
		return err
	}
	if err := add(c, args[1:]); err != nil {
		return err
	}
	for ctx.Err() == nil { // the process is perhaps not there yet
		_ = c.Run(ctx)
	}
	return nil
}

// roleProcess has the sessions in the process of a control plane.
func roleProcess(args []string) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	s, err := load(bfd.Config{}, args) // as a daemon has it: only the owner under SCHED_FIFO
	if err != nil {
		return err
	}
	go litter()
	end, err := profile()
	if err != nil {
		return err
	}
	defer end()
	return s.Run(ctx)
}

// profile writes a profile of CPU into the file that BFD_BENCH_PROFILE names, until end is called.
func profile() (end func(), err error) {
	file := os.Getenv("BFD_BENCH_PROFILE")
	if file == "" {
		return func() {}, nil
	}
	f, err := os.Create(file)
	if err != nil {
		return nil, err
	}
	if err := pprof.StartCPUProfile(f); err != nil {
		return nil, err
	}
	return func() { pprof.StopCPUProfile(); f.Close() }, nil
}

// load returns a server with the sessions of args: a file, the interval, the multiplier.
func load(cfg bfd.Config, args []string) (*bfd.Server, error) {
	s, err := bfd.NewServer(cfg)
	if err != nil {
		return nil, err
	}
	return s, add(s, args)
}

func add(s bfd.Service, args []string) error {
	interval, err := time.ParseDuration(args[1])
	if err != nil {
		return err
	}
	mult, err := strconv.Atoi(args[2])
	if err != nil {
		return err
	}
	pairs, err := readPairs(args[0])
	if err != nil {
		return err
	}
	for _, p := range pairs {
		key := bfd.Key{Local: p[0], Peer: p[1], Interface: "v0"}
		if err := s.Add(bfd.SessionConfig{Key: key, DesiredMinTx: interval, RequiredMinRx: interval, Multiplier: uint8(mult)}); err != nil {
			return err
		}
	}
	return nil
}

// readPairs reads what sessionFile has written.
func readPairs(path string) (pairs [][2]netip.Addr, err error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	for _, line := range strings.Split(strings.TrimSpace(string(b)), "\n") {
		local, remote, _ := strings.Cut(line, " ")
		pairs = append(pairs, [2]netip.Addr{netip.MustParseAddr(local), netip.MustParseAddr(remote)})
	}
	return pairs, nil
}

// peer is the other end of every session: ours, under SCHED_FIFO, so that what is
// measured is the daemon. It answers every line with "up downs".
type peer struct {
	daemon
	in  io.WriteCloser
	out *bufio.Reader
}

func startPeer(n *network, s shape) (*peer, error) {
	path, err := sessionFile(n, s, true)
	if err != nil {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	c := program(n.b, self, "role-peer", path, s.interval.String(), strconv.Itoa(s.multiplier))
	in, err := c.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := c.StdoutPipe()
	if err != nil {
		return nil, err
	}
	p := &peer{daemon: daemon{procs: []*exec.Cmd{c}}, in: in, out: bufio.NewReader(out)}
	if err := c.Start(); err != nil {
		return nil, err
	}
	p.ask()
	return p, nil
}

// ask returns how many sessions are up, and how often any left Up.
func (p *peer) ask() (up, downs int) {
	fmt.Fprintln(p.in)
	line, _ := p.out.ReadString('\n')
	_, _ = fmt.Sscan(line, &up, &downs)
	return up, downs
}

func rolePeer(args []string) error {
	s, err := load(bfd.Config{Priority: 60}, args)
	if err != nil {
		return err
	}
	go func() { _ = s.Run(context.Background()) }()
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		list, err := s.Sessions()
		if err != nil {
			return err
		}
		up, downs := 0, 0
		for _, st := range list {
			if st.State == bfd.StateUp && st.RemoteState == bfd.StateUp {
				up++
			}
			downs += int(st.Downs)
		}
		fmt.Println(up, downs)
	}
	return nil
}

// startBusy starts busy loops.
func startBusy(n int) *daemon {
	d := &daemon{}
	self, _ := os.Executable()
	for i := range n {
		c := exec.Command(self, append([]string{"role-busy"}, []string{"memory"}[:i%2]...)...)
		if c.Start() == nil {
			d.procs = append(d.procs, c)
		}
	}
	return d
}

func roleBusy(memory bool) {
	b := make([]byte, 1)
	if memory {
		b = make([]byte, 64<<20)
	}
	for i := 0; ; i = (i + 4099) % len(b) {
		b[i]++
	}
}

// litter keeps 500 MB with many pointers alive and makes 100 MB/s of garbage.
func litter() {
	type node struct {
		next *node
		_    [48]byte
	}
	heap := make([]*node, 500<<20/64)
	for i := range heap {
		heap[i] = &node{}
	}
	for i := 0; ; {
		for range 100 << 20 / 64 / 100 {
			i = (i + 7919) % len(heap)
			heap[i] = &node{next: heap[(i+1)%len(heap)]}
			heap[i].next.next = nil
		}
		time.Sleep(10 * time.Millisecond)
	}
}
