package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/hyperfib/hyperfib/examples/hvrouter/api"
	"github.com/hyperfib/hyperfib/internal/testing/nstest"
)

// tor is a top-of-rack router, a namespace with another implementation.
type tor struct {
	t     *testing.T
	ns    *nstest.NS
	dir   string
	no    int // 1 or 2: 198.51.100.126 in AS 65011, 198.51.100.226 in AS 65012
	start func()
	// kill is kill -9 of its BGP.
	kill func()
	// route asks it for its routes to a prefix, with their attributes.
	route func(prefix string) string
}

func newTor(h *host, no int) *tor {
	r := &tor{t: h.t, ns: nstest.New(h.t, fmt.Sprint("tor", no)), dir: h.t.TempDir(), no: no}
	// FRR drops privileges to frr, which must get at its sockets.
	for d := r.dir; d != "/tmp" && d != "/"; d = filepath.Dir(d) {
		_ = os.Chmod(d, 0o777)
	}
	r.ns.Sysctl("net/ipv4/ip_forward", "1")
	r.ns.Sysctl("net/ipv6/conf/all/forwarding", "1")
	return r
}

func (r *tor) write(name, text string) string {
	path := filepath.Join(r.dir, name)
	if err := os.WriteFile(path, []byte(strings.NewReplacer("DIR", r.dir, "NO", fmt.Sprint(r.no)).Replace(text)), 0o644); err != nil {
		r.t.Fatal(err)
	}
	return path
}

// run starts a program, which dies with the test.
func (r *tor) run(bin string, args ...string) *exec.Cmd {
	r.t.Helper()
	log, err := os.OpenFile(filepath.Join(r.dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		r.t.Fatal(err)
	}
	defer log.Close()
	cmd := exec.Command(bin, args...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	r.ns.Do(cmd.Start)
	r.t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
		if r.t.Failed() {
			text, _ := os.ReadFile(filepath.Join(r.dir, "log"))
			r.t.Logf("%s of tor%d:\n%s", filepath.Base(bin), r.no, text)
		}
	})
	return cmd
}

func (r *tor) ask(name string, args ...string) string {
	out, _ := r.ns.Command(name, args...).CombinedOutput()
	return string(out)
}

// birdTor is BIRD 2 with these protocols of BGP, with BFD.
func birdTor(r *tor, protocols string) {
	bin := nstest.Need(r.t, "bird")
	path := r.write("bird.conf", `
router id 198.51.100.NO26;
log stderr all;
protocol device {}
protocol bfd { interface "*" { interval 100 ms; multiplier 20; }; }
`+protocols)
	var cmd *exec.Cmd
	r.start = func() { cmd = r.run(bin, "-f", "-c", path, "-s", filepath.Join(r.dir, "ctl")) }
	r.kill = func() { cmd.Process.Kill(); cmd.Wait() }
	r.route = func(p string) string {
		return r.ask("birdc", "-s", filepath.Join(r.dir, "ctl"), "show", "route", p, "all")
	}
	r.start()
}

// frrTor is FRR with this configuration of bgpd, and with bfdd.
func frrTor(r *tor, conf string) {
	dir := filepath.Dir(nstest.Need(r.t, "zebra", "/usr/lib/frr"))
	empty, path, sock := r.write("zebra.conf", ""), r.write("bgpd.conf", conf), filepath.Join(r.dir, "zserv.api")
	args := func(name, conf string) []string {
		return []string{"-f", conf, "-z", sock, "--vty_socket", r.dir, "-i", filepath.Join(r.dir, name+".pid"), "-P", "0", "--log", "stdout"}
	}
	r.run(filepath.Join(dir, "zebra"), args("zebra", empty)...)
	nstest.Wait(r.t, 10*time.Second, "zebra's socket", func() bool { _, err := os.Stat(sock); return err == nil })
	r.run(filepath.Join(dir, "bfdd"), append(args("bfdd", empty), "--bfdctl", filepath.Join(r.dir, "bfdd.sock"))...)
	var cmd *exec.Cmd
	r.start = func() { cmd = r.run(filepath.Join(dir, "bgpd"), args("bgpd", path)...) }
	r.kill = func() { cmd.Process.Kill(); cmd.Wait() }
	r.route = func(p string) string {
		family := "ipv4"
		if strings.Contains(p, ":") {
			family = "ipv6"
		}
		return r.vtysh("show bgp " + family + " unicast " + p)
	}
	r.start()
}

func (r *tor) vtysh(command string) string {
	return r.ask("vtysh", "--vty_socket", r.dir, "-d", "bgpd", "-c", command)
}

// gobgpTor is GoBGP; routes are what it announces.
func gobgpTor(r *tor, conf string, routes ...string) {
	bin := nstest.Need(r.t, "gobgpd", "/usr/bin")
	path := r.write("gobgp.toml", conf)
	var cmd *exec.Cmd
	r.start = func() {
		cmd = r.run(bin, "-f", path, "-p")
		nstest.Wait(r.t, 10*time.Second, "GoBGP's API", func() bool { return r.ns.Command("gobgp", "neighbor").Run() == nil })
		for _, p := range routes {
			r.ns.Exec("gobgp", strings.Fields("global rib add "+p+" origin igp")...)
		}
	}
	r.kill = func() { cmd.Process.Kill(); cmd.Wait() }
	r.route = func(p string) string {
		family := "ipv4"
		if strings.Contains(p, ":") {
			family = "ipv6"
		}
		return r.ask("gobgp", "global", "rib", p, "-a", family)
	}
	r.start()
}

// rack is a hypervisor below two top-of-rack routers, and a host behind them that pings the guest.
type rack struct {
	*host
	tors [2]*tor
	core *nstest.NS
}

// newRack builds it; a guest's route at the routers and the core is static, what the hypervisor sends
// is BGP's.
func newRack(t *testing.T, numbered bool) *rack {
	h := &host{t: t, dir: t.TempDir(), hv: nstest.New(t, "hv"), vm: nstest.New(t, "vm")}
	k := &rack{host: h, core: nstest.New(t, "core")}
	h.rr = k.core
	for i := range k.tors {
		k.tors[i] = newTor(h, i+1)
		r, link := k.tors[i].ns, []string{"a.public", "b.public"}[i]
		if numbered {
			nstest.Veth(h.hv, link, fmt.Sprintf("198.51.100.%d01/25", i+1), r, "hv", fmt.Sprintf("198.51.100.%d26/25", i+1))
			r.IP(fmt.Sprintf("route add 203.0.113.1/32 via 198.51.100.%d01", i+1))
		} else {
			nstest.Veth(h.hv, link, "", r, "hv", "")
		}
		nstest.Veth(r, "core", fmt.Sprintf("10.9.%d.1/24", i+1), k.core, fmt.Sprint("t", i+1), fmt.Sprintf("10.9.%d.2/24", i+1))
		r.IP(fmt.Sprintf("route add 203.0.113.3/32 via 10.9.%d.2", i+1))
	}
	for _, link := range []string{"t1", "t2"} {
		k.core.Sysctl("net/ipv4/conf/"+link+"/rp_filter", "0")
	}
	k.core.Sysctl("net/ipv4/conf/all/rp_filter", "0")
	k.core.IP("addr add 203.0.113.3/32 dev lo")
	h.hv.IP("link add name loopback type bridge")
	h.hv.IP("link set dev loopback up")
	t.Cleanup(h.end)
	return k
}

// stream is what the core pings the guest with over the first router.
func (k *rack) far() {
	k.core.IP("route add 203.0.113.1/32 via 10.9.1.1 src 203.0.113.3")
	k.vm.IP("route add default via 203.0.113.254")
	k.wait("an answer of the guest", func() bool { return k.core.Command("ping", "-c1", "-W1", "203.0.113.1").Run() == nil })
}

// sessionsUp waits until there are so many sessions, and all of them are Established.
func (k *rack) sessionsUp(n int) (all []api.Session) {
	k.t.Helper()
	nstest.Wait(k.t, 20*time.Second, fmt.Sprint(n, " sessions up"), func() bool {
		all = nil
		if k.ask("/v1/sessions", &all) != nil || len(all) != n {
			return false
		}
		for _, s := range all {
			if s.State != "Established" {
				return false
			}
		}
		return true
	})
	return all
}

// hops returns the next hops of a route in table 90, "GATEWAY INTERFACE", sorted as the kernel has
// them.
func (k *rack) hops(prefix string) (list []string) {
	family := "-4"
	if strings.Contains(prefix, ":") {
		family = "-6"
	}
	out, _ := k.hv.Command("ip", "-j", family, "route", "show", "table", "90", prefix).Output()
	var routes []struct {
		Gateway, Dev string
		Via          struct{ Host string }
		NextHops     []struct {
			Gateway, Dev string
			Via          struct{ Host string }
		}
	}
	_ = json.Unmarshal(out, &routes)
	for _, r := range routes {
		if len(r.NextHops) == 0 {
			list = append(list, r.Gateway+r.Via.Host+" "+r.Dev)
		}
		for _, n := range r.NextHops {
			list = append(list, n.Gateway+n.Via.Host+" "+n.Dev)
		}
	}
	return list
}
