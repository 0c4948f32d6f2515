package host

import (
	"io/fs"
	"strings"
	"testing"
	"testing/fstest"
)

// TestOthers: who else writes routes and rules, by files of a host as it may be.
func TestOthers(t *testing.T) {
	file := func(text string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(text), Mode: 0o644} }
	link := func(to string) *fstest.MapFile {
		return &fstest.MapFile{Data: []byte(to), Mode: fs.ModeSymlink | 0o777}
	}
	netif := &fstest.MapFile{Mode: fs.ModeDir | 0o755}
	const routes, rules = "systemd-networkd deletes our routes", "systemd-networkd deletes our policy rules"
	for _, c := range []struct {
		name string
		root fstest.MapFS
		want []string
	}{
		{"nothing", fstest.MapFS{}, nil},
		{"networkd is configured, and does not run", fstest.MapFS{"etc/systemd/networkd.conf": file("")}, nil},
		{"by default", fstest.MapFS{"run/systemd/netif": netif}, []string{routes, rules}},
		{"a comment, and another section", fstest.MapFS{"run/systemd/netif": netif, "etc/systemd/networkd.conf": file("[Network]\n#ManageForeignRoutes=no\n[DHCPv4]\nManageForeignRoutingPolicyRules=no\n")}, []string{routes, rules}},
		{"one of them", fstest.MapFS{"run/systemd/netif": netif, "etc/systemd/networkd.conf": file("[Network]\nManageForeignRoutes = No\n")}, []string{rules}},
		{"a drop-in of the distribution", fstest.MapFS{"run/systemd/netif": netif, "usr/lib/systemd/networkd.conf.d/10-x.conf": file("[Network]\nManageForeignRoutes=no\nManageForeignRoutingPolicyRules=0\n")}, nil},
		{"a drop-in that another one hides", fstest.MapFS{"run/systemd/netif": netif, "usr/lib/systemd/networkd.conf.d/10-x.conf": file("[Network]\nManageForeignRoutes=no\nManageForeignRoutingPolicyRules=no\n"),
			"etc/systemd/networkd.conf.d/10-x.conf": file("")}, []string{routes, rules}},
		{"the last one counts", fstest.MapFS{"run/systemd/netif": netif, "run/systemd/networkd.conf.d/20-y.conf": file("[Network]\nManageForeignRoutes=yes\n"),
			"etc/systemd/networkd.conf": file("[Network]\nManageForeignRoutes=no\nManageForeignRoutingPolicyRules=no\n")}, []string{routes}},
		{"BIRD here, FRR in another namespace, a third that has just ended", fstest.MapFS{"proc/self/ns/net": link("net:[1]"),
			"proc/7/comm": file("bird\n"), "proc/7/ns/net": link("net:[1]"), "proc/8/comm": file("zebra\n"), "proc/8/ns/net": link("net:[2]"), "proc/9/comm": file("gobgpd\n"), "proc/10/comm": file("sh\n")},
			[]string{"warning: BIRD runs (bird, process 7) in our network namespace"}},
	} {
		found := Others(c.root)
		if len(found) != len(c.want) {
			t.Errorf("%s: %v, want %q", c.name, found, c.want)
			continue
		}
		for i, f := range found {
			if !strings.Contains(f.String(), c.want[i]) {
				t.Errorf("%s: %v, want %s", c.name, f, c.want[i])
			}
		}
	}
}
