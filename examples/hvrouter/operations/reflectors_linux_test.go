package operations

import (
	"bytes"
	"os"
	"os/user"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/hyperfib/hyperfib/internal/testing/nstest"
)

// TestReflectors: each sample of docs/reflectors reflects between two hypervisors that have
// one-domain.yaml as it is but for fabric B, and for what the sample says of its lack of BFD.
func TestReflectors(t *testing.T) {
	if testing.Short() {
		t.Skip("needs namespaces and routers")
	}
	program := build(t)
	for _, r := range []struct {
		sample string
		extra  string // of the reflector in hvrouter's file
		bfd    bool
		start  func(t *testing.T, ns *nstest.NS, dir, config string)
	}{
		{"bird2.conf", "", true, func(t *testing.T, ns *nstest.NS, dir, config string) {
			start(t, ns, filepath.Join(dir, "bird.log"), nstest.Need(t, "bird"), "-f", "-c", config, "-s", filepath.Join(dir, "bird.ctl"), "-P", filepath.Join(dir, "bird.pid"))
		}},
		{"frr.conf", ", restart-time: 10s", true, startFRR},
		{"gobgp.toml", ", bfd: \"off\", restart-time: 10s", false, func(t *testing.T, ns *nstest.NS, dir, config string) {
			start(t, ns, filepath.Join(dir, "gobgp.log"), nstest.Need(t, "gobgpd"), "-f", config, "-t", "toml", "--pprof-disable", "--api-hosts", "127.0.0.1:50051")
		}},
		{"openbgpd.conf", ", bfd: \"off\", restart-time: 10s", false, func(t *testing.T, ns *nstest.NS, dir, config string) {
			if _, err := os.Stat("/run/openbgpd"); err != nil { // what its service makes
				if err := os.Mkdir("/run/openbgpd", 0o755); err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { os.RemoveAll("/run/openbgpd") })
			}
			start(t, ns, filepath.Join(dir, "openbgpd.log"), nstest.Need(t, "bgpd"), "-d", "-f", config)
		}},
	} {
		t.Run(r.sample, func(t *testing.T) {
			f := newFabrics(t)
			dir := t.TempDir()
			config := filepath.Join(dir, r.sample)
			if err := os.WriteFile(config, []byte(document(t, "reflectors/"+r.sample)), 0o600); err != nil {
				t.Fatal(err)
			}
			r.start(t, f.a, dir, config)
			one, err := os.ReadFile("../samples/one-domain.yaml")
			if err != nil {
				t.Fatal(err)
			}
			ns1, vm1 := f.host("hv1", "101", "201", "vm1", "50:54:33:00:00:07")
			ns2, vm3 := f.host("hv2", "102", "202", "vm3", "50:54:33:00:00:08")
			for name, h := range map[string]struct {
				ns   *nstest.NS
				text string
			}{"hv1": {ns1, "api: " + dir + "/hv1.sock\n" + strings.Replace(string(one), "/var/lib/hvrouter", dir+"/hv1", 1)}, "hv2": {ns2, second(t, "one-domain.yaml", dir)}} {
				text := regexp.MustCompile(`(?m)^.*fabric: B.*\n`).ReplaceAllString(h.text, "")
				text = strings.Replace(text, "peer: 198.51.100.126}", "peer: 198.51.100.126"+r.extra+"}", 1)
				file := filepath.Join(dir, name+".yaml")
				if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
				start(t, h.ns, filepath.Join(dir, name+".log"), program, "run", "-config", file)
			}
			plug(vm1, "203.0.113.1")
			plug(vm3, "203.0.113.3")
			reaches(t, vm1, "203.0.113.3")
			if !r.bfd {
				return
			}
			nstest.Wait(t, 20*time.Second, "BFD", func() bool {
				out, _ := ns1.Command(program, "show", "bfd", "-api", dir+"/hv1.sock").Output()
				return bytes.Contains(out, []byte(" Up "))
			})
		})
	}
}

// startFRR starts zebra, bfdd and bgpd, and has vtysh hand them the one file, as FRR's
// service does.
func startFRR(t *testing.T, ns *nstest.NS, dir, config string) {
	nstest.Need(t, "vtysh")
	frr, err := user.Lookup("frr")
	if err != nil {
		t.Fatal(err)
	}
	run := filepath.Join(dir, "frr")
	uid, _ := strconv.Atoi(frr.Uid)
	gid, _ := strconv.Atoi(frr.Gid)
	if err := os.Mkdir(run, 0o755); err != nil {
		t.Fatal(err)
	}
	for path := run; path != "/tmp" && path != "/"; path = filepath.Dir(path) { // the daemons give up root
		_ = os.Chmod(path, 0o755)
	}
	if err := os.Chown(run, uid, gid); err != nil {
		t.Fatal(err)
	}
	for _, p := range []struct {
		program string
		args    []string
	}{{"zebra", nil}, {"bfdd", []string{"--bfdctl", filepath.Join(run, "bfdd.ctl")}}, {"bgpd", []string{"-l", "198.51.100.126"}}} {
		start(t, ns, filepath.Join(dir, p.program+".log"), filepath.Join("/usr/lib/frr", p.program), append([]string{"-u", "frr", "-g", "frr", "-f", "/dev/null", "-P", "0",
			"--log", "stdout", "-i", filepath.Join(run, p.program+".pid"), "-z", filepath.Join(run, "zserv"), "--vty_socket", run}, p.args...)...)
		nstest.Wait(t, 10*time.Second, p.program, func() bool {
			_, err := os.Stat(filepath.Join(run, p.program+".vty"))
			return err == nil
		})
	}
	if out, err := ns.Command("vtysh", "--vty_socket", run, "-f", config).CombinedOutput(); err != nil {
		t.Fatalf("vtysh: %v: %s", err, out)
	}
}
