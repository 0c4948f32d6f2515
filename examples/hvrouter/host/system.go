package host

import (
	"net"
	"os"
	"strings"

	"github.com/google/nftables"
)

// System is the running machine, as seen from the process's network namespace.
func System() View {
	return View{Sysctl: sysctl, MTU: mtu, Feature: feature}
}

func sysctl(path string) (string, bool) {
	data, err := os.ReadFile("/proc/sys/" + path)
	return strings.TrimSpace(string(data)), err == nil
}

func mtu(link string) (int, bool) {
	i, err := net.InterfaceByName(link)
	if err != nil {
		return 0, false
	}
	return i.MTU, true
}

// feature looks for a module that is loaded, loadable or built in; what cannot be
// found out counts as there.
func feature(name string) bool {
	if name == "nftables" {
		c, err := nftables.New()
		if err != nil {
			return false
		}
		_, err = c.ListTables()
		return err == nil
	}
	if _, err := os.Stat("/sys/module/" + name); err == nil {
		return true
	}
	release, err := os.ReadFile("/proc/sys/kernel/osrelease")
	if err != nil {
		return true
	}
	dir := "/lib/modules/" + strings.TrimSpace(string(release)) + "/"
	lists := 0
	for _, list := range []string{"modules.builtin", "modules.dep"} {
		data, err := os.ReadFile(dir + list)
		if err != nil {
			continue
		}
		lists++
		if strings.Contains(string(data), "/"+name+".ko") {
			return true
		}
	}
	return lists == 0
}
