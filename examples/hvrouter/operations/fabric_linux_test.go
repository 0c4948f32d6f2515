package operations

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/hyperfib/hyperfib/internal/testing/nstest"
)

// fabrics are two layer 2 networks, each with a public and a private one: bridges in a
// namespace each, which also have the reflectors' addresses.
type fabrics struct {
	t    *testing.T
	a, b *nstest.NS
}

func newFabrics(t *testing.T) *fabrics {
	f := &fabrics{t: t, a: nstest.New(t, "fa"), b: nstest.New(t, "fb")}
	for ns, addrs := range map[*nstest.NS][2]string{f.a: {"198.51.100.126/25", "172.22.15.126/25"}, f.b: {"198.51.100.226/25", "172.22.15.226/25"}} {
		for i, name := range []string{"public", "private"} {
			ns.IP("link add name " + name + " type bridge forward_delay 0")
			ns.IP("addr add " + addrs[i] + " dev " + name)
			ns.IP("link set " + name + " up")
		}
	}
	return f
}

// host makes the namespace of a hypervisor with four uplinks, whose addresses end in n on
// fabric A and n+100 on fabric B, and a guest with the address given, in a namespace of its own.
func (f *fabrics) host(name, n, m, guest, mac string) (hv, vm *nstest.NS) {
	f.t.Helper()
	hv, vm = nstest.New(f.t, name), nstest.New(f.t, name+"vm")
	hv.IP("link add name loopback type bridge")
	hv.IP("link set loopback up")
	for _, up := range []struct {
		name, net, addr string
		fabric          *nstest.NS
	}{
		{"a.public", "public", "198.51.100." + n, f.a}, {"a.private", "private", "172.22.15." + n, f.a},
		{"b.public", "public", "198.51.100." + m, f.b}, {"b.private", "private", "172.22.15." + m, f.b},
	} {
		nstest.Veth(hv, up.name, up.addr+"/25", up.fabric, name+"."+up.net, "")
		up.fabric.IP("link set " + name + "." + up.net + " master " + up.net)
	}
	vm.IP("link set lo up")
	hv.IP("link add name " + guest + " type veth peer name eth0 address " + mac + " netns " + vm.Name)
	return hv, vm
}

// plug gives a guest its address and its carrier.
func plug(vm *nstest.NS, addr string) {
	vm.IP("addr add " + addr + "/24 dev eth0")
	vm.IP("link set eth0 up")
}

// start runs a program in a namespace until the test ends; programs that it starts end, too.
func start(t *testing.T, ns *nstest.NS, log, program string, args ...string) *exec.Cmd {
	t.Helper()
	file, err := os.Create(log)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	cmd := ns.Command("unshare", append([]string{"--pid", "--fork", "--kill-child", program}, args...)...)
	cmd.Stdout, cmd.Stderr = file, file
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		// The program is the first process of its PID namespace: all end with it. The signal of
		// --kill-child is lost by programs that give up root.
		if first := child(cmd.Process.Pid); first != 0 {
			_ = syscall.Kill(first, syscall.SIGKILL)
		}
		cmd.Process.Kill()
		cmd.Wait()
		if text, err := os.ReadFile(log); err == nil && t.Failed() {
			t.Logf("%s:\n%s", filepath.Base(log), text[max(0, len(text)-4000):])
		}
	})
	return cmd
}

// document reads a file of docs.
func document(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("../../../docs", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// bird starts the sample of BIRD 2 as the reflectors of both fabrics and both domains.
func (f *fabrics) bird() {
	f.t.Helper()
	bird := nstest.Need(f.t, "bird")
	sample := document(f.t, "reflectors/bird2.conf")
	dir := f.t.TempDir()
	toB := strings.NewReplacer("198.51.100.126", "198.51.100.226", "198.51.100.101", "198.51.100.201", "198.51.100.102", "198.51.100.202")
	private := strings.NewReplacer("198.51.100.", "172.22.15.")
	for name, text := range map[string]string{"a.public": sample, "a.private": private.Replace(sample), "b.public": toB.Replace(sample), "b.private": private.Replace(toB.Replace(sample))} {
		config := filepath.Join(dir, name+".conf")
		if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
			f.t.Fatal(err)
		}
		ns := f.a
		if name[0] == 'b' {
			ns = f.b
		}
		start(f.t, ns, filepath.Join(dir, name+".log"), bird, "-f", "-c", config, "-s", filepath.Join(dir, name+".ctl"), "-P", filepath.Join(dir, name+".pid"))
	}
}

// second is a sample of ours for another hypervisor: hv2, with the guest vm3.
func second(t *testing.T, sample, dir string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("../samples", sample))
	if err != nil {
		t.Fatal(err)
	}
	return "api: " + dir + "/hv2.sock\n" + strings.NewReplacer("0.0.1.1", "0.0.1.2", "198.51.100.101", "198.51.100.102", "198.51.100.201", "198.51.100.202",
		"172.22.15.101", "172.22.15.102", "172.22.15.201", "172.22.15.202", "172.22.2.1", "172.22.2.2", "name: vm1, interface: vm1", "name: vm3, interface: vm3",
		"[203.0.113.1]", "[203.0.113.3]", "50:54:33:00:00:07", "50:54:33:00:00:08", "/var/lib/hvrouter", dir).Replace(string(text))
}

// reaches waits until a guest's ping to an address is answered.
func reaches(t *testing.T, vm *nstest.NS, addr string) {
	t.Helper()
	nstest.Wait(t, 20*time.Second, "an answer of "+addr, func() bool { return vm.Command("ping", "-c1", "-W1", addr).Run() == nil })
}
