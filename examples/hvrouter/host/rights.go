package host

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/hyperfib/hyperfib/examples/hvrouter/config"
	"github.com/hyperfib/hyperfib/internal/netns"
)

// right is a capability that the daemon needs, and what for.
type right struct {
	name, why string
	// try does something harmless that the kernel permits only to who has it.
	try func() error
}

// rights lists what a configuration needs in one namespace.
func rights(c *config.Config) []right {
	list := []right{{"CAP_NET_ADMIN", "writes routes, rules, addresses and the firewall", tryAdmin}}
	if c.GuestDomain() != nil || echoes(c) || slices.ContainsFunc(c.Domains, config.Domain.Unnumbered) {
		list = append(list, right{"CAP_NET_RAW", "speaks ARP, neighbour discovery and DHCP with guests", tryRaw})
	}
	for _, port := range lowPorts(c) {
		list = append(list, right{"CAP_NET_BIND_SERVICE", fmt.Sprintf("listens on port %d", port), func() error { return tryPort(port) }})
	}
	return list
}

func echoes(c *config.Config) bool {
	for _, d := range c.Domains {
		for _, r := range d.Sessions() {
			if r.BFD == "echo" {
				return true
			}
		}
	}
	return false
}

func lowPorts(c *config.Config) (ports []uint16) {
	if c.BGP.Port < 1024 {
		ports = append(ports, c.BGP.Port)
	}
	if len(c.Edge.DHCP.Relay) > 0 {
		ports = append(ports, 67)
	}
	return ports
}

// Rights returns an error that says, in one sentence, which capabilities the process
// lacks for a configuration. It asks the kernel, in each namespace: what counts is who
// owns the namespace, which the process's own set of capabilities does not tell.
func Rights(c *config.Config) error {
	var lacks []string
	seen := map[string]bool{}
	for _, p := range c.Namespaces() {
		where := ""
		if p.NetNS != "" {
			where = " in netns " + string(p.NetNS)
		}
		err := netns.Do(p.NetNS.Path(), func() error {
			for _, r := range rights(c) {
				if denied(r.try()) && !seen[r.name+where] {
					seen[r.name+where] = true
					lacks = append(lacks, fmt.Sprintf("%s (it %s%s)", r.name, r.why, where))
				}
			}
			return nil
		})
		if denied(err) && !seen["CAP_SYS_ADMIN"] {
			seen["CAP_SYS_ADMIN"] = true
			lacks = append(lacks, fmt.Sprintf("CAP_SYS_ADMIN (it enters netns %s)", p.NetNS))
		}
	}
	if len(lacks) == 0 {
		return nil
	}
	return fmt.Errorf("hvrouter needs %s: run it as root, or give its unit AmbientCapabilities=", strings.Join(lacks, " and "))
}

func denied(err error) bool { return errors.Is(err, unix.EPERM) || errors.Is(err, unix.EACCES) }

// tryAdmin asks rtnetlink to delete a neighbour without saying which. The kernel looks
// for CAP_NET_ADMIN first (rtnetlink_rcv_msg), and then refuses the message.
func tryAdmin() error {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	message := struct {
		unix.NlMsghdr
		unix.NdMsg
	}{NlMsghdr: unix.NlMsghdr{Type: unix.RTM_DELNEIGH, Flags: unix.NLM_F_REQUEST | unix.NLM_F_ACK}, NdMsg: unix.NdMsg{Family: unix.AF_INET}}
	message.Len = uint32(unsafe.Sizeof(message))
	b := unsafe.Slice((*byte)(unsafe.Pointer(&message)), unsafe.Sizeof(message))
	if err := unix.Sendto(fd, b, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return err
	}
	answer := make([]byte, 4096)
	n, _, err := unix.Recvfrom(fd, answer, 0)
	if err != nil || n < unix.SizeofNlMsghdr+4 {
		return err
	}
	return unix.Errno(-*(*int32)(unsafe.Pointer(&answer[unix.SizeofNlMsghdr])))
}

func tryRaw() error {
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0) // protocol 0: it receives nothing
	if err == nil {
		unix.Close(fd)
	}
	return err
}

// tryPort binds a UDP socket to the port: the kernel looks for the capability before it
// looks whether the port is free, and with UDP nobody is disturbed who has it with TCP.
func tryPort(port uint16) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return unix.Bind(fd, &unix.SockaddrInet4{Port: int(port)})
}
