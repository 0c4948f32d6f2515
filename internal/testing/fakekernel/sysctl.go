package fakekernel

import (
	"maps"
	"strings"

	"golang.org/x/sys/unix"
)

// Sysctls have paths below /proc/sys, for example "net/ipv4/conf/eth0/forwarding". Every
// file is there, with the value "0" until one is set, except those of interfaces that are
// not. Values have no meaning: nothing else follows from them.

// Sysctl returns the value of a file. ok is false if there is no such file.
func (k *Kernel) Sysctl(path string) (value string, ok bool) {
	if name := linkOf(path); name != "" && k.Index(name) == 0 {
		return "", false
	}
	if v, ok := k.sysctls[path]; ok {
		return v, true
	}
	return "0", true
}

// SetSysctl writes a file. It returns ENOENT if there is no such file.
func (k *Kernel) SetSysctl(path, value string) unix.Errno {
	if _, ok := k.Sysctl(path); !ok {
		return unix.ENOENT
	}
	k.sysctls[path] = value
	return 0
}

// linkOf returns the name of the interface whose file a path is, "" if it is not of one.
func linkOf(path string) string {
	part := strings.Split(path, "/")
	if len(part) < 5 || part[0] != "net" || part[2] != "conf" && part[2] != "neigh" || part[3] == "all" || part[3] == "default" {
		return ""
	}
	return part[3]
}

// forgetSysctls drops the values of an interface that is deleted.
func (k *Kernel) forgetSysctls(name string) {
	maps.DeleteFunc(k.sysctls, func(path, _ string) bool { return linkOf(path) == name })
}
