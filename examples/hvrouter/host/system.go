package host

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"sync"

	"github.com/google/nftables"

	"github.com/hyperfib/hyperfib/examples/hvrouter/vrf"

	"github.com/hyperfib/hyperfib/examples/hvrouter/config"
	"github.com/hyperfib/hyperfib/fib"
	"github.com/hyperfib/hyperfib/internal/netns"
)

// System is the running machine, as seen from a network namespace. It needs
// CAP_SYS_ADMIN for another one than the process's own.
func System(n config.NetNS) (v View, err error) {
	path := n.Path()
	if err := netns.Do(path, func() error { return nil }); err != nil {
		return v, err
	}
	v.Sysctl = func(name string) (value string, ok bool) {
		_ = netns.Do(path, func() error { value, ok = sysctl(name); return nil })
		return value, ok
	}
	v.MTU = func(link string) (size int, ok bool) {
		_ = netns.Do(path, func() error { size, ok = mtu(link); return nil })
		return size, ok
	}
	v.Links = func() (all []fib.Link) {
		_ = netns.Do(path, func() error { all = links(); return nil })
		return all
	}
	v.Host = sync.OnceValue(func() (h config.Host) {
		_ = netns.Do(path, func() error { h, _ = facts(); return nil })
		return h
	})
	seen := map[string][]Listener{}
	v.Listening = func(proto string, port uint16) []Listener {
		key := fmt.Sprint(proto, port)
		if list, ok := seen[key]; ok {
			return list
		}
		_ = netns.Do(path, func() error { seen[key] = listening(proto, port); return nil })
		return seen[key]
	}
	v.Addresses = func(link string) (list []Address) {
		all, _ := Addresses(path)
		for _, l := range v.Links() {
			for _, a := range all {
				if l.Interface == link && a.Link == l.IfIndex {
					list = append(list, a)
				}
			}
		}
		return list
	}
	v.Feature = func(name string) (ok bool) {
		_ = netns.Do(path, func() error { ok = feature(name); return nil })
		return ok
	}
	return v, nil
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

func links() (all []fib.Link) {
	list, err := net.Interfaces()
	if err != nil {
		return nil
	}
	for _, i := range list {
		l := fib.Link{IfIndex: i.Index, Interface: i.Name}
		copy(l.MAC[:], i.HardwareAddr)
		all = append(all, l)
	}
	return all
}

// feature looks for a module that is loaded, loadable or built in; what cannot be
// found out counts as there.
func feature(name string) bool {
	if name == "vrf" {
		return !errors.Is(vrf.Supported(), vrf.ErrUnsupported)
	}
	if name == "nftables" {
		c, err := nftables.New()
		if err != nil {
			return false
		}
		_, err = c.ListTables()
		return err == nil || denied(err) // who may not look does not know
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
