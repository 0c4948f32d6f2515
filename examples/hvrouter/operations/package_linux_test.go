package operations

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/hyperfib/hyperfib/internal/testing/nstest"
)

// deb builds the package.
func deb(tb testing.TB, version string) []byte {
	tb.Helper()
	cmd := exec.Command("go", "run", "../../../tools/deb", "-o", tb.TempDir(), "-version", version)
	cmd.Env = append(os.Environ(), "SOURCE_DATE_EPOCH=1700000000") // a commit between two builds is no difference
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		tb.Fatalf("tools/deb: %v: %s", err, errs.Bytes())
	}
	text, err := os.ReadFile(strings.TrimSpace(string(out)))
	if err != nil {
		tb.Fatal(err)
	}
	return text
}

// twoFabrics is BIRD 2 as the reflectors of two fabrics, which is a host behind both as well,
// with the address 203.0.113.3.
const twoFabrics = `
router id 198.51.100.126;
log "DIR/bird.log" all;
protocol device {}
protocol bfd { interface "*" { interval 100 ms; multiplier 20; }; }
protocol kernel { merge paths on; ipv4 { import none; export where source = RTS_BGP; }; }
protocol static far { ipv4; route 203.0.113.3/32 via 198.51.100.102; }
template bgp hv { rr client; passive; error wait time 1, 2; ttl security on; bfd yes; direct; graceful restart on; ipv4 { add paths tx; import all; export all; }; }
protocol bgp a from hv { local 198.51.100.126 as 65000; neighbor 198.51.100.101 as 65000; }
protocol bgp b from hv { local 198.51.100.226 as 65000; neighbor 198.51.100.201 as 65000; }
`

// cabled makes a hypervisor's namespace with two uplinks, the reflectors behind them, and a
// guest.
func cabled(t *testing.T) (hv, vm *nstest.NS) {
	bird := nstest.Need(t, "bird")
	hv, vm = nstest.New(t, "hv"), nstest.New(t, "vm")
	rr := nstest.New(t, "rr")
	nstest.Veth(hv, "a.public", "198.51.100.101/25", rr, "fa", "198.51.100.126/25 198.51.100.102/25")
	nstest.Veth(hv, "b.public", "198.51.100.201/25", rr, "fb", "198.51.100.226/25")
	rr.IP("addr add 203.0.113.3/32 dev lo")
	hv.IP("link add name vm1 type veth peer name eth0 address 50:54:33:00:00:07 netns " + vm.Name)
	vm.IP("addr add 203.0.113.1/24 dev eth0")
	vm.IP("link set eth0 up")
	dir := t.TempDir()
	config := filepath.Join(dir, "bird.conf")
	if err := os.WriteFile(config, []byte(strings.ReplaceAll(twoFabrics, "DIR", dir)), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := rr.Command(bird, "-f", "-c", config, "-s", filepath.Join(dir, "bird.ctl"))
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Signal(syscall.SIGTERM); cmd.Wait() })
	return hv, vm
}

// stream pings from the guest every 5 ms until the function that it returns is called, which
// returns how many packets were sent and lost.
func stream(t *testing.T, vm *nstest.NS) (end func() (sent, lost int)) {
	t.Helper()
	var out bytes.Buffer
	cmd := vm.Command("ping", "-q", "-i", "0.005", "203.0.113.3")
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return func() (sent, lost int) {
		cmd.Process.Signal(syscall.SIGINT)
		cmd.Wait()
		m := regexp.MustCompile(`(\d+) packets transmitted, (\d+) received`).FindStringSubmatch(out.String())
		if m == nil {
			t.Fatalf("ping: %s", &out)
		}
		var received int
		fmt.Sscan(m[1]+" "+m[2], &sent, &received)
		return sent, sent - received
	}
}

// TestPackage installs the package on a machine with systemd, configures it, upgrades it,
// goes back to the version before and removes it, as docs/operations.md says. A guest's
// packets flow meanwhile: none is lost, and no BFD session notices.
func TestPackage(t *testing.T) {
	if testing.Short() {
		t.Skip("needs systemd in namespaces, and builds packages")
	}
	hv, vm := cabled(t)
	first, again := deb(t, "0.1.0"), deb(t, "0.1.0")
	if sha256.Sum256(first) != sha256.Sum256(again) {
		t.Error("two builds of one version differ")
	}
	m := boot(t, hv, "hv1")
	m.put("hvrouter_0.1.0.deb", bytes.NewReader(first))
	m.put("hvrouter_0.2.0.deb", bytes.NewReader(deb(t, "0.2.0")))

	m.do("dpkg -i hvrouter_0.1.0.deb")
	if out := m.do("hvrouter version; man -w hvrouter hvrouter-reload; systemctl is-enabled hvrouter || true"); !strings.Contains(out, "hvrouter 0.1.0 ") || !strings.Contains(out, "hvrouter-reload.8.gz") || !strings.Contains(out, "disabled") {
		t.Errorf("after the installation: %s", out)
	}
	m.do("sed 's/multiplier: 5/multiplier: 20/' /usr/share/hvrouter/one-domain.yaml >/etc/hvrouter/hvrouter.yaml; systemctl enable --now hvrouter-bfd hvrouter")
	m.wait("hvrouter show status -j | grep -q '\"converged\": true'")
	nstest.Wait(t, 10*time.Second, "the guest's way to 203.0.113.3", func() bool { return vm.Command("ping", "-c1", "-W1", "203.0.113.3").Run() == nil })

	under := func(what string, do func()) {
		t.Helper()
		bfd := m.do("systemctl show -P MainPID hvrouter-bfd")
		downs := m.do("hvrouter metrics | grep ^hvrouter_bfd_downs_total")
		end := stream(t, vm)
		do()
		m.wait("hvrouter show status -j | grep -q '\"converged\": true'")
		sent, lost := end()
		t.Logf("%s: %d packets, %d lost", what, sent, lost)
		if lost > 1 || sent < 10 { // the last one may be on its way
			t.Errorf("%s: %d of %d packets lost", what, lost, sent)
		}
		if out := m.do("systemctl is-active hvrouter hvrouter-bfd"); out != "active\nactive\n" {
			t.Errorf("%s: %s", what, out)
		}
		m.wait("hvrouter metrics | grep -q ^hvrouter_bfd_downs_total") // from the new BFD process
		if now := m.do("hvrouter metrics | grep ^hvrouter_bfd_downs_total"); now != downs {
			t.Errorf("%s: sessions went down: %s, before %s", what, now, downs)
		}
		if now := m.do("systemctl show -P MainPID hvrouter-bfd"); now == bfd {
			t.Errorf("%s: the BFD process is still the one of before, %s", what, now)
		}
	}
	running := func(want string) {
		t.Helper()
		for _, unit := range []string{"hvrouter", "hvrouter-bfd"} {
			if out := m.do("/proc/$(systemctl show -P MainPID " + unit + ")/exe version"); !strings.HasPrefix(out, "hvrouter "+want+" ") {
				t.Errorf("%s runs %s, want %s", unit, out, want)
			}
		}
	}
	running("0.1.0")
	under("upgrade", func() { m.do("dpkg -i hvrouter_0.2.0.deb") })
	running("0.2.0")
	under("way back", func() { m.do("dpkg -i hvrouter_0.1.0.deb") })
	running("0.1.0")
	under("reload of the BFD unit", func() { m.do("systemctl reload hvrouter-bfd") })

	// A configuration that the new version does not take stops nothing.
	m.do("cp /etc/hvrouter/hvrouter.yaml fine.yaml; echo 'nonsense: 1' >>/etc/hvrouter/hvrouter.yaml")
	daemon := m.do("systemctl show -P MainPID hvrouter hvrouter-bfd")
	if out, err := m.command("dpkg -i hvrouter_0.2.0.deb").CombinedOutput(); err == nil || !bytes.Contains(out, []byte("this version does not take /etc/hvrouter/hvrouter.yaml")) {
		t.Errorf("upgrade with a broken configuration: %v: %s", err, out)
	}
	if now := m.do("systemctl show -P MainPID hvrouter hvrouter-bfd"); now != daemon {
		t.Errorf("a refused upgrade restarted something: %s, before %s", now, daemon)
	}
	m.do("cp fine.yaml /etc/hvrouter/hvrouter.yaml; dpkg --configure hvrouter")
	running("0.2.0")

	m.do("dpkg -r hvrouter")
	if out := m.do("systemctl list-units --all --plain --no-legend 'hvrouter*'; pgrep -a hvrouter || true; ls /etc/hvrouter"); out != "hvrouter.yaml\n" {
		t.Errorf("after the removal: %s", out)
	}
	defaults := func() string {
		return m.do("for f in -4 -6; do for p in 32766 32767; do ip $f rule show pref $p; done; done")
	}
	if out := defaults(); out != "" {
		t.Errorf("rules that the daemon had removed: %s", out)
	}
	m.do("dpkg -P hvrouter")
	if out := defaults(); out != "32766:\tfrom all lookup main\n32767:\tfrom all lookup default\n32766:\tfrom all lookup main\n" {
		t.Errorf("rules after the purge: %s", out)
	}
	if out := m.do("ls -d /etc/hvrouter /var/lib/hvrouter /usr/share/hvrouter 2>/dev/null || true"); out != "" {
		t.Errorf("after the purge: %s", out)
	}
}
