package main

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// kind is a route reflector that can be measured. CONF and DIR in its files and
// commands are replaced.
type kind struct {
	name  string
	files map[string]string // below DIR
	run   [][]string        // programs to start; the last speaks BGP
	setup func() error

	noEVPN bool // it does not speak EVPN
}

const clients = "10.77.0.0/16"

var kinds = []kind{
	{name: "hyperfib", run: [][]string{{"SELF", "reflector", "-as", "65000", "-router-id", "10.77.0.1", "-cluster-id", "10.77.0.1", "-listen", "10.77.0.1:179", "-clients", clients, "-add-path", "-evpn", "-paths-per-prefix", "0", "-max-clients", "10000"}}},
	{name: "bird", files: map[string]string{"bird.conf": birdConf}, run: [][]string{{"/usr/sbin/bird", "-f", "-c", "DIR/bird.conf", "-s", "DIR/bird.ctl"}}, noEVPN: true},
	{name: "frr", files: map[string]string{"bgpd.conf": frrConf, "zebra.conf": ""}, run: [][]string{
		{"/usr/lib/frr/zebra", "-n", "-f", "DIR/zebra.conf", "-i", "DIR/zebra.pid", "-z", "DIR/z", "--vty_socket", "DIR", "-u", "root", "-g", "root"},
		{"/usr/lib/frr/bgpd", "-f", "DIR/bgpd.conf", "-i", "DIR/bgpd.pid", "-z", "DIR/z", "--vty_socket", "DIR", "-S", "-u", "root", "-g", "root", "-l", "10.77.0.1"}}},
	{name: "openbgpd", files: map[string]string{"bgpd.conf": openConf}, run: [][]string{{"/usr/sbin/bgpd", "-d", "-f", "DIR/bgpd.conf"}},
		setup: func() error { return os.MkdirAll("/run/openbgpd", 0o755) }, noEVPN: true}, // its home
	{name: "gobgp3", files: map[string]string{"gobgp.toml": gobgpConf}, run: [][]string{{"/usr/bin/gobgpd", "-f", "DIR/gobgp.toml", "-l", "error", "--pprof-disable", "--api-hosts", "127.0.0.1:50051"}}},
	{name: "gobgp4", files: map[string]string{"gobgp.toml": gobgpConf}, run: [][]string{{os.Getenv("GOBGP4"), "-f", "DIR/gobgp.toml", "-l", "error", "--pprof-disable", "--api-hosts", "127.0.0.1:50051"}}},
}

const birdConf = `router id 10.77.0.1;
protocol device { scan time 600; }
protocol bgp c {
  local 10.77.0.1 as 65000;
  neighbor range 10.77.0.0/16 as 65000;
  rr client;
  rr cluster id 10.77.0.1;
  passive yes; direct;
  ipv4 { import all; export all; next hop keep; add paths yes; };
  ipv6 { import all; export all; next hop keep; add paths yes; };
}
`

const frrConf = `hostname rr
route-map none deny 10
router bgp 65000
 bgp router-id 10.77.0.1
 bgp cluster-id 10.77.0.1
 neighbor c peer-group
 neighbor c remote-as 65000
 bgp listen limit 5000
 bgp listen range 10.77.0.0/16 peer-group c
 address-family ipv4 unicast
  table-map none
  neighbor c route-reflector-client
 exit-address-family
 address-family ipv6 unicast
  table-map none
  neighbor c activate
  neighbor c route-reflector-client
 exit-address-family
 address-family l2vpn evpn
  neighbor c activate
  neighbor c route-reflector-client
 exit-address-family
`

const openConf = `AS 65000
router-id 10.77.0.1
fib-update no
listen on 10.77.0.1
neighbor 10.77.0.0/16 {
  remote-as 65000
  passive
  route-reflector 10.77.0.1
  announce IPv4 unicast
  announce IPv6 unicast
}
allow to any
allow from any
`

const gobgpConf = `[global.config]
  as = 65000
  router-id = "10.77.0.1"
  port = 179
  local-address-list = ["10.77.0.1"]
[[peer-groups]]
  [peer-groups.config]
    peer-group-name = "c"
    peer-as = 65000
  [peer-groups.route-reflector.config]
    route-reflector-client = true
    route-reflector-cluster-id = "10.77.0.1"
  [[peer-groups.afi-safis]]
    [peer-groups.afi-safis.config]
      afi-safi-name = "ipv4-unicast"
  [[peer-groups.afi-safis]]
    [peer-groups.afi-safis.config]
      afi-safi-name = "ipv6-unicast"
  [[peer-groups.afi-safis]]
    [peer-groups.afi-safis.config]
      afi-safi-name = "l2vpn-evpn"
[[dynamic-neighbors]]
  [dynamic-neighbors.config]
    prefix = "10.77.0.0/16"
    peer-group = "c"
`

// dut is a reflector that runs.
type dut struct {
	kind kind
	ns   string
	dir  string
	cmds []*exec.Cmd
	log  bytes.Buffer
}

// available reports whether the programs of k are installed.
func (k kind) available() bool {
	for _, c := range k.run {
		if c[0] != "SELF" {
			if _, err := exec.LookPath(c[0]); err != nil {
				return false
			}
		}
	}
	return true
}

// start runs a reflector in namespace ns until it accepts connections.
func start(k kind, ns, profile string) (*dut, error) {
	dir, err := os.MkdirTemp("", "hfb")
	if err != nil {
		return nil, err
	}
	d := &dut{kind: k, ns: ns, dir: dir}
	for name, text := range k.files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			return d, err
		}
	}
	if k.setup != nil {
		if err := k.setup(); err != nil {
			return d, err
		}
	}
	self, err := os.Executable()
	if err != nil {
		return d, err
	}
	for _, c := range k.run {
		args := []string{"netns", "exec", ns}
		for _, a := range c {
			args = append(args, strings.NewReplacer("SELF", self, "DIR", dir).Replace(a))
		}
		cmd := exec.Command("ip", args...)
		cmd.Stdout, cmd.Stderr = &d.log, &d.log
		cmd.Env = append(os.Environ(), "BENCH_PROFILE="+profile)
		cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
		if err := cmd.Start(); err != nil {
			return d, err
		}
		d.cmds = append(d.cmds, cmd)
	}
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		c, err := net.DialTimeout("tcp", "10.77.0.1:179", time.Second)
		if err != nil {
			continue
		}
		c.Close()
		time.Sleep(500 * time.Millisecond) // let it get over that connection
		return d, nil
	}
	return d, fmt.Errorf("%s does not listen: %s", k.name, d.log.String())
}

// stop ends the reflector and everything that it started.
func (d *dut) stop() {
	for _, cmd := range d.cmds {
		_ = cmd.Process.Signal(syscall.SIGTERM)
	}
	for range 100 {
		if len(d.pids()) == 0 {
			break
		}
		time.Sleep(50 * time.Millisecond)
	}
	for _, pid := range d.pids() {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
	for _, cmd := range d.cmds {
		_ = cmd.Wait()
	}
	if os.Getenv("BENCH_LOG") != "" {
		fmt.Fprint(os.Stderr, d.log.String())
	}
	os.RemoveAll(d.dir)
}

// pids are the processes in the reflector's namespace.
func (d *dut) pids() (pids []int) {
	out, _ := exec.Command("ip", "netns", "pids", d.ns).Output()
	for _, f := range strings.Fields(string(out)) {
		if pid, err := strconv.Atoi(f); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids
}

// usage is what processes have used so far.
type usage struct {
	cpu       time.Duration
	rss, peak float64 // MiB
}

// measure adds up what the processes use.
func measure(pids []int) (u usage) {
	for _, pid := range pids {
		if b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid)); err == nil {
			f := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
			user, _ := strconv.Atoi(f[11])
			system, _ := strconv.Atoi(f[12])
			u.cpu += time.Duration(user+system) * 10 * time.Millisecond // USER_HZ is 100
		}
		if b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid)); err == nil {
			for line := range strings.SplitSeq(string(b), "\n") {
				var kib float64
				if _, err := fmt.Sscanf(line, "VmRSS: %f", &kib); err == nil {
					u.rss += kib / 1024
				}
				if _, err := fmt.Sscanf(line, "VmHWM: %f", &kib); err == nil {
					u.peak += kib / 1024
				}
			}
		}
	}
	return u
}
