package main

import (
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync/atomic"
)

// network is two namespaces joined by a veth pair: the daemon's and the peer's.
type network struct {
	a, b string
	dir  string
}

var serial atomic.Int32

func newNet(s shape) (*network, error) {
	id := fmt.Sprintf("hfb-%d-%d", os.Getpid(), serial.Add(1))
	dir, err := os.MkdirTemp("", "bfdbench")
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(dir, 0o777); err != nil { // FRR's daemons run as another user
		return nil, err
	}
	n := &network{a: id + "-a", b: id + "-b", dir: dir}
	// Permanent neighbours: 1000 learned ones overflow the default table.
	const up, macA, macB = "link set lo up\nlink set v0 up\n", "02:00:00:00:00:0a", "02:00:00:00:00:0b"
	var batch, other strings.Builder
	batch.WriteString("link set v0 address " + macA + "\n" + up)
	other.WriteString("link set v0 address " + macB + "\n" + up)
	for i := range s.sessions {
		if i == 0 || s.each {
			fmt.Fprintf(&batch, "addr add %s/8 dev v0\n", s.local(i))
			fmt.Fprintf(&other, "neigh add %s lladdr %s dev v0 nud permanent\n", s.local(i), macA)
		}
		fmt.Fprintf(&other, "addr add %s/8 dev v0\n", s.remote(i))
		fmt.Fprintf(&batch, "neigh add %s lladdr %s dev v0 nud permanent\n", s.remote(i), macB)
	}
	for _, c := range []string{"netns add " + n.a, "netns add " + n.b, "-n " + n.a + " link add v0 type veth peer name v0 netns " + n.b} {
		if err := ip(c, ""); err != nil {
			return n, err
		}
	}
	if err := ip("-n "+n.a+" -batch -", batch.String()); err != nil {
		return n, err
	}
	return n, ip("-n "+n.b+" -batch -", other.String())
}

func ip(args, stdin string) error {
	c := exec.Command("ip", strings.Fields(args)...)
	c.Stdin = strings.NewReader(stdin)
	if out, err := c.CombinedOutput(); err != nil {
		return fmt.Errorf("ip %s: %w: %s", args, err, out)
	}
	return nil
}

func (n *network) close() {
	_ = ip("netns del "+n.a, "")
	_ = ip("netns del "+n.b, "")
	os.RemoveAll(n.dir)
}

// sent counts the packets that came out of the daemon's end, by the peer's
// interface counter. What is not BFD is a handful of ARP.
func (n *network) sent() int64 {
	out, err := program(n.b, "cat", "/proc/net/dev").Output()
	if err != nil {
		return 0
	}
	for _, line := range strings.Split(string(out), "\n") {
		if f := strings.Fields(line); len(f) > 2 && f[0] == "v0:" {
			v, _ := strconv.ParseInt(f[2], 10, 64)
			return v
		}
	}
	return 0
}

// cut makes the peer's packets vanish.
func (n *network) cut() error {
	rules := "add table ip t\nadd chain ip t o { type filter hook output priority 0; }\nadd rule ip t o udp dport 3784 drop\n"
	c := program(n.b, "nft", "-f", "-")
	c.Stdin = strings.NewReader(rules)
	return c.Run()
}
