package web

import (
	"fmt"
	"net"
	"net/netip"
	"strings"

	"github.com/hyperfib/hyperfib/examples/hvrouter/api"
)

// Listen opens where the page is served: a loopback address with its port, such as 127.0.0.1:8179 or
// [::1]:8179, or unix: and the path of a socket, which is made with mode 0600.
func Listen(where string) (net.Listener, error) {
	if path, ok := strings.CutPrefix(where, "unix:"); ok && path != "" {
		return api.Listen(path, nil)
	}
	a, err := netip.ParseAddrPort(where)
	if err != nil || !a.Addr().IsLoopback() {
		return nil, fmt.Errorf("%s: want a loopback address and a port, such as 127.0.0.1:8179, or unix:PATH, since nobody is asked for a password; from elsewhere: ssh -L 8179:127.0.0.1:8179 HOST", where)
	}
	return net.Listen("tcp", where)
}

// local reports whether a request's Host is this host by address, or localhost.
func local(hostport string) bool {
	name := hostport
	if h, _, err := net.SplitHostPort(hostport); err == nil {
		name = h
	}
	a, err := netip.ParseAddr(strings.Trim(name, "[]"))
	return name == "localhost" || err == nil && a.IsLoopback()
}
