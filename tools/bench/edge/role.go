package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/hyperfib/hyperfib/arp"
	"github.com/hyperfib/hyperfib/ndp"
)

// A role is this program as one responder, in a process of its own, so that its CPU
// time and its allocations can be told.

// usage is what a role reports at its end.
type usage struct {
	CPU     time.Duration // user and system
	Mallocs uint64        // heap objects allocated while it answered
}

// process is a responder under test.
type process struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
}

// startRole starts `edge role NAME LINK ARGS` in a namespace and waits until it is ready.
func (b *bench) startRole(ns, name string, link int, args ...string) (*process, error) {
	words := append([]string{"netns", "exec", ns, b.self, "role", name, strconv.Itoa(link)}, args...)
	cmd := exec.Command("ip", words...)
	cmd.Stderr = os.Stderr
	cmd.Env = append(os.Environ(), "GOMAXPROCS=1")
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	p := &process{cmd, in, bufio.NewReader(out)}
	if line, err := p.out.ReadString('\n'); err != nil || line != "ready\n" {
		return nil, fmt.Errorf("role %s: %q, %v", name, line, err)
	}
	return p, nil
}

// stop ends the role and returns its report.
func (p *process) stop() (u usage, err error) {
	p.in.Close()
	err = json.NewDecoder(p.out).Decode(&u)
	return u, errors.Join(err, p.cmd.Wait())
}

func role(name string, args []string) int {
	link, _ := strconv.Atoi(args[0])
	run, err := prepare(name, link, args[1:])
	if err != nil {
		fmt.Fprintln(os.Stderr, "edge: role:", err)
		return 1
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- run(ctx) }()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	cpu := cpuTime()
	fmt.Println("ready")
	_, _ = io.Copy(io.Discard, os.Stdin)
	u := usage{CPU: cpuTime() - cpu}
	runtime.ReadMemStats(&after)
	u.Mallocs = after.Mallocs - before.Mallocs
	cancel()
	if err := <-done; err != nil {
		fmt.Fprintln(os.Stderr, "edge: role:", err)
		return 1
	}
	if err := json.NewEncoder(os.Stdout).Encode(u); err != nil {
		return 1
	}
	return 0
}

func cpuTime() time.Duration {
	var r syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &r)
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

// prepare sets a role up. The targets are given as prefixes.
func prepare(name string, link int, targets []string) (func(context.Context) error, error) {
	if name == "arp" {
		conn, err := arp.Listen(arp.Config{ReceiveBuffer: 4 << 20})
		if err != nil {
			return nil, err
		}
		r := arp.NewResponder(conn)
		for _, t := range targets {
			r.SetTarget(netip.MustParsePrefix(t), 0)
		}
		return r.Run, r.SetGuest(link, arp.Guest{MAC: guestMAC, Router: routerMAC, Addresses: []netip.Prefix{netip.MustParsePrefix("203.0.113.1/32")}, Rate: -1})
	}
	conn, err := ndp.Listen(ndp.Config{Types: []ndp.Type{ndp.TypeNeighborSolicitation}, ReceiveBuffer: 4 << 20})
	if err != nil {
		return nil, err
	}
	r := ndp.NewResponder(conn)
	for _, t := range targets {
		if base, n, ok := strings.Cut(t, "*"); ok { // base*n: n host routes from base on
			count, _ := strconv.Atoi(n)
			a := netip.MustParseAddr(base)
			for range count {
				r.SetTarget(netip.PrefixFrom(a, 128), 0)
				a = a.Next()
			}
			continue
		}
		r.SetTarget(netip.MustParsePrefix(t), 0)
	}
	return r.Run, r.SetGuest(link, ndp.Guest{MAC: guestMAC, Router: routerMAC, Source: netip.MustParseAddr("fe80::1"), Addresses: []netip.Prefix{netip.MustParsePrefix("2001:db8:cb00:7200::1/128")}, Rate: -1})
}

// cpuOf returns the CPU time of a process with its threads, in ticks of 10 ms.
func cpuOf(pid int) time.Duration {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(string(text), ") ")
	f := strings.Fields(rest)
	if len(f) < 13 {
		return 0
	}
	u, _ := strconv.Atoi(f[11])
	s, _ := strconv.Atoi(f[12])
	return time.Duration(u+s) * 10 * time.Millisecond
}
