package host

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
)

// Others looks at programs of the host that write routes and rules, too. root is the file system,
// such as os.DirFS("/").
func Others(root fs.FS) []Finding {
	k := &checker{}
	k.networkd(root)
	k.routingDaemons(root)
	return k.found
}

// networkd warns of systemd-networkd where it deletes routes and rules that it did not make:
// whenever it starts, and by default (systemd.network(5), networkd.conf(5)).
func (k *checker) networkd(root fs.FS) {
	if _, err := fs.Stat(root, "run/systemd/netif"); err != nil {
		return // it has not run since the machine started
	}
	manages := map[string]bool{"ManageForeignRoutes": true, "ManageForeignRoutingPolicyRules": true}
	for _, file := range networkdFiles(root) {
		text, err := fs.ReadFile(root, file)
		if err != nil {
			k.add(Unseen, "/%s: whether systemd-networkd deletes foreign routes and rules is not known", file)
			continue
		}
		networkSection(text, func(key, value string) {
			if _, ok := manages[key]; ok {
				manages[key] = !slices.Contains([]string{"no", "false", "off", "0", "n", "f"}, strings.ToLower(value))
			}
		})
	}
	for _, key := range []string{"ManageForeignRoutes", "ManageForeignRoutingPolicyRules"} {
		if manages[key] {
			what := map[string]string{"ManageForeignRoutes": "routes", "ManageForeignRoutingPolicyRules": "policy rules"}[key]
			k.add(Warn, "systemd-networkd deletes our %s whenever it starts, and packets are lost until they are back: want %s=no in /etc/systemd/networkd.conf", what, key)
		}
	}
}

// networkdFiles returns what configures networkd, in the order in which the last one counts: of a
// drop-in's name the one in /etc counts, then /run, then /usr (systemd.unit(5)).
func networkdFiles(root fs.FS) (list []string) {
	for _, dir := range []string{"usr/lib/systemd", "usr/local/lib/systemd", "run/systemd", "etc/systemd"} {
		if _, err := fs.Stat(root, dir+"/networkd.conf"); err == nil {
			list = []string{dir + "/networkd.conf"} // one main file
		}
	}
	drop := map[string]string{}
	var names []string
	for _, dir := range []string{"usr/lib/systemd", "usr/local/lib/systemd", "run/systemd", "etc/systemd"} {
		files, _ := fs.Glob(root, dir+"/networkd.conf.d/*.conf")
		for _, f := range files {
			if drop[path.Base(f)] == "" {
				names = append(names, path.Base(f))
			}
			drop[path.Base(f)] = f
		}
	}
	slices.Sort(names)
	for _, n := range names {
		list = append(list, drop[n])
	}
	return list
}

// networkSection calls f with what the section [Network] of a configuration says.
func networkSection(text []byte, f func(key, value string)) {
	in := false
	for lines := bufio.NewScanner(bytes.NewReader(text)); lines.Scan(); {
		line := strings.TrimSpace(lines.Text())
		if strings.HasPrefix(line, "[") {
			in = line == "[Network]"
			continue
		}
		if key, value, ok := strings.Cut(line, "="); ok && in && !strings.ContainsAny(line[:1], "#;") {
			f(strings.TrimSpace(key), strings.TrimSpace(value))
		}
	}
}

// daemons are routing daemons by the name of their process.
var daemons = map[string]string{"bird": "BIRD", "bird6": "BIRD", "zebra": "FRR", "bgpd": "FRR or OpenBGPD", "bfdd": "FRR", "ospfd": "FRR", "gobgpd": "GoBGP", "exabgp": "ExaBGP",
	"keepalived": "keepalived", "calico-node": "Calico", "cilium-agent": "Cilium", "kube-router": "kube-router"}

// routingDaemons warns of routing daemons in our network namespace.
func (k *checker) routingDaemons(root fs.FS) {
	links, ok := root.(fs.ReadLinkFS)
	if !ok {
		return
	}
	ours, err := links.ReadLink("proc/self/ns/net")
	if err != nil {
		return
	}
	processes, _ := fs.Glob(root, "proc/[0-9]*")
	for _, dir := range processes {
		name, err := fs.ReadFile(root, dir+"/comm")
		comm := strings.TrimSpace(string(name))
		who := daemons[comm]
		if err != nil || who == "" {
			continue
		}
		what := fmt.Sprintf("%s runs (%s, process %s)", who, comm, path.Base(dir))
		switch at, err := links.ReadLink(dir + "/ns/net"); {
		case errors.Is(err, fs.ErrPermission): // any other: it has ended
			k.add(Unseen, "%s: whether in our network namespace could not be seen", what)
		case err == nil && at == ours:
			k.add(Warn, "%s in our network namespace: two programs that speak BGP or BFD, or write routes, need different addresses and tables", what)
		}
	}
}
