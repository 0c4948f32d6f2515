package operations

import (
	"os"
	"strings"
	"testing"
)

// TestUnits: systemd starts daemon and BFD process again however often they are killed, and also if
// the configuration's file has gone while a reload waits for its confirmation: then with the
// configuration before it.
func TestUnits(t *testing.T) {
	if testing.Short() {
		t.Skip("needs systemd in namespaces")
	}
	hv, _ := cabled(t)
	m := boot(t, hv, "hv1")
	for path, from := range map[string]string{"/usr/sbin/hvrouter": build(t), "/etc/hvrouter.yaml": "../samples/one-domain.yaml",
		"/usr/lib/systemd/system/hvrouter.service": "../systemd/hvrouter.service", "/usr/lib/systemd/system/hvrouter-bfd.service": "../systemd/hvrouter-bfd.service"} {
		f, err := os.Open(from)
		if err != nil {
			t.Fatal(err)
		}
		m.put(path, f)
		f.Close()
	}
	m.do("chmod 755 /usr/sbin/hvrouter; mkdir -m 750 /etc/hvrouter; mv /etc/hvrouter.yaml /etc/hvrouter/hvrouter.yaml; systemctl daemon-reload; systemctl start hvrouter-bfd hvrouter")
	for _, unit := range []string{"hvrouter", "hvrouter-bfd"} {
		for range 8 { // five starts are systemd's limit
			m.do("systemctl kill -s KILL " + unit)
			m.wait("systemctl is-active " + unit)
		}
	}
	m.wait("hvrouter show status -j | grep -q '\"converged\": true'")
	m.do("sed 's/interval: 100ms/interval: 200ms/' /etc/hvrouter/hvrouter.yaml >new.yaml; hvrouter reload -confirm 10m new.yaml; rm /etc/hvrouter/hvrouter.yaml; systemctl kill -s KILL hvrouter")
	m.wait("hvrouter show status -j | grep -q '\"restarted\": true' && ! hvrouter show status -j | grep -q confirmation")
	m.wait("grep -q 'interval: 100ms' /etc/hvrouter/hvrouter.yaml")
	if out := m.do("ls /etc/hvrouter; journalctl -u hvrouter --no-pager -o cat"); !strings.HasPrefix(out, "hvrouter.yaml\n") || !strings.Contains(out, "event=reload-rolled-back") {
		t.Errorf("after the file had gone: %s", out)
	}
}
