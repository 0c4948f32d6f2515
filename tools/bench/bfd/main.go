// Command bfd measures BFD daemons side by side: ours, BIRD 2 and FRR, in two
// network namespaces, against the same peer. It prints a table a run: CPU for
// each packet sent, resident memory, time until all sessions are up, gaps
// between packets, detection times, and false downs under load.
//
//	.ci/bench bfd                                  the usual runs
//	.ci/bench bfd -run star:1000:50ms:3 -who hyperfib,bird
//	.ci/bench bfd -run star:1000:50ms:3 -who hyperfib-rt,bird-rt -busy 8 -for 60s
//
// It needs root. CPU is what the scheduler charged the daemon's threads, which
// includes the receiving side of the veth; only compare within a run.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"
)

var (
	runs    = flag.String("run", "star:1000:50ms:3,star:250:50ms:3,each:250:50ms:3,star:250:100ms:3", "`SHAPE:SESSIONS:INTERVAL:MULTIPLIER`, separated by commas; shape star (one local address) or each (one a session)")
	who     = flag.String("who", "udp,hyperfib,bird,frr", "daemons; -rt behind a name: under SCHED_FIFO; hyperfib-gc: in a process with 500 MB of heap and 100 MB/s of garbage; udp: the bare cost of as many packets")
	busy    = flag.Int("busy", 0, "busy loops at nice 0 beside it, every other one writing all over 64 MB")
	length  = flag.Duration("for", 8*time.Second, "how long CPU is measured")
	limit   = flag.Duration("limit", 30*time.Second, "longest wait for all sessions to come up")
	asJSON  = flag.Bool("json", false, "one line of JSON a result")
	capture = flag.Bool("capture", true, "measure gaps and detection, by capture in the peer's namespace")
)

// shape is one measurement.
type shape struct {
	name       string
	each       bool // one local address a session
	sessions   int
	interval   time.Duration
	multiplier int
}

// result is what came out.
type result struct {
	Run, Who        string
	Sessions        int
	Up              time.Duration // until all were up; 0: they never were
	CPU             float64       // percent of a core
	PerPacket       time.Duration // CPU for each packet sent
	RSS             int           // KiB
	Sent            float64       // packets a second
	GapP50, GapP999 time.Duration
	GapMin, GapMax  time.Duration // gap over interval tells early and late
	DetectP50       time.Duration // beyond theory
	DetectP99       time.Duration
	DetectMax       time.Duration
	DetectMin       time.Duration
	Downs           int           // false downs, seen by the daemon's peer
	Still           int           // how often a processor stood still for longer than two intervals
	StillMax        time.Duration // for how long
}

func main() {
	if len(os.Args) > 1 {
		switch os.Args[1] {
		case "role-peer":
			exit(rolePeer(os.Args[2:]))
		case "role-hyperfib":
			exit(roleDaemon(os.Args[2:]))
		case "role-client":
			exit(roleClient(os.Args[2:]))
		case "role-process":
			exit(roleProcess(os.Args[2:]))
		case "role-udp":
			exit(roleUDP(os.Args[2:]))
		case "role-sleeper":
			exit(roleSleeper(os.Args[2:]))
		case "role-busy":
			roleBusy(len(os.Args) > 2)
		}
	}
	flag.Parse()
	exit(bench())
}

func exit(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "bfd bench:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

func bench() error {
	fmt.Printf("%-18s %-12s %7s %6s %8s %7s %7s %8s %8s %8s %8s %9s %9s %9s %6s %6s %8s\n", "run", "who", "up s", "cpu %", "us/pkt", "RSS KiB", "pkt/s",
		"gap min", "gap p50", "gap p999", "gap max", "det min", "det p99", "det max", "downs", "still", "longest")
	for _, r := range strings.Split(*runs, ",") {
		s, err := parseShape(r)
		if err != nil {
			return err
		}
		for _, w := range strings.Split(*who, ",") {
			res, err := one(s, w)
			if err != nil {
				return fmt.Errorf("%s %s: %w", r, w, err)
			}
			res.print()
		}
	}
	return nil
}

func (r *result) print() {
	if *asJSON {
		_ = json.NewEncoder(os.Stdout).Encode(r)
		return
	}
	up := "never"
	if r.Up > 0 {
		up = fmt.Sprintf("%.2f", r.Up.Seconds())
	}
	ms := func(d time.Duration) string { return fmt.Sprintf("%.1f", float64(d)/1e6) }
	fmt.Printf("%-18s %-12s %7s %6.1f %8.2f %7d %7.0f %8s %8s %8s %8s %9s %9s %9s %6d %6d %8s\n", r.Run, r.Who, up, r.CPU, float64(r.PerPacket)/1e3, r.RSS, r.Sent,
		ms(r.GapMin), ms(r.GapP50), ms(r.GapP999), ms(r.GapMax), ms(r.DetectMin), ms(r.DetectP99), ms(r.DetectMax), r.Downs, r.Still, ms(r.StillMax))
}

func parseShape(text string) (s shape, err error) {
	f := strings.Split(text, ":")
	if len(f) != 4 || f[0] != "star" && f[0] != "each" {
		return s, fmt.Errorf("%q is not SHAPE:SESSIONS:INTERVAL:MULTIPLIER", text)
	}
	s = shape{name: text, each: f[0] == "each"}
	if s.sessions, err = strconv.Atoi(f[1]); err != nil {
		return s, err
	}
	if s.interval, err = time.ParseDuration(f[2]); err != nil {
		return s, err
	}
	s.multiplier, err = strconv.Atoi(f[3])
	return s, err
}

// local and remote are the addresses of session i, as seen from the daemon.
func (s shape) local(i int) string {
	if !s.each {
		i = 0
	}
	return fmt.Sprintf("10.11.%d.%d", i/200, i%200+1)
}

func (s shape) remote(i int) string { return fmt.Sprintf("10.12.%d.%d", i/200, i%200+1) }

// one measures one daemon in fresh namespaces.
func one(s shape, who string) (*result, error) {
	n, err := newNet(s)
	if err != nil {
		return nil, err
	}
	defer n.close()
	r := &result{Run: s.name, Who: who, Sessions: s.sessions}
	bare := who == "udp"
	var peer *peer
	if bare {
		other := &daemon{}
		if err := other.startUDP(n, s, true); err != nil {
			return nil, err
		}
		defer other.stop()
	} else if peer, err = startPeer(n, s); err != nil {
		return nil, err
	} else {
		defer peer.stop()
	}
	start := time.Now()
	d, err := startDaemon(n, s, who)
	if err != nil {
		return nil, err
	}
	defer d.stop()
	for !bare && time.Since(start) < *limit {
		if up, _ := peer.ask(); up == s.sessions {
			r.Up = time.Since(start)
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	time.Sleep(max(time.Second, 3*s.interval)) // Poll Sequences end
	loops := startBusy(*busy)
	defer loops.stop()
	before, after := 0, 0
	if !bare {
		_, before = peer.ask()
	}
	still := startSleepers(2 * s.interval)
	cpu0, sent0 := d.cpu(), n.sent()
	begin := time.Now()
	time.Sleep(*length)
	cpu, sent, took := d.cpu()-cpu0, n.sent()-sent0, time.Since(begin)
	r.Still, r.StillMax = still.stop()
	if !bare {
		_, after = peer.ask()
	}
	r.CPU, r.Sent, r.RSS, r.Downs = 100*cpu.Seconds()/took.Seconds(), float64(sent)/took.Seconds(), d.rss(), after-before
	if sent > 0 {
		r.PerPacket = cpu / time.Duration(sent)
	}
	if *capture && r.Up > 0 {
		return r, measure(n, s, r)
	}
	return r, nil
}

// program runs a command inside a namespace; `ip netns exec` becomes it.
func program(ns string, args ...string) *exec.Cmd {
	c := exec.Command("ip", append([]string{"netns", "exec", ns}, args...)...)
	c.Stderr = os.Stderr
	return c
}
