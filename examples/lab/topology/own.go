package topology

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/hyperfib/hyperfib/examples/lab/conf"
	"github.com/hyperfib/hyperfib/examples/lab/edge"
	"github.com/hyperfib/hyperfib/examples/lab/nl"
	"github.com/hyperfib/hyperfib/examples/lab/plan"
)

// Names of the roles that this program takes when it is started again.
const (
	PartRouter    = "hvrouter"
	PartReflector = "routereflector"
	PartEdge      = "edge"
	PartDHCP      = "dhcpd"
	PartJunos     = "junos"
)

func (top *Topology) ownReflector(node, name string, args []string) (*Daemon, error) {
	return &Daemon{Name: name, Node: top.Nodes[node], Kind: Self, Log: top.file("log/" + name + ".log"), Args: self(PartReflector, args...)}, nil
}

// dhcpServer is on the private network of fabric A, beside the reflector, and
// knows the way back to the hypervisors' loopbacks.
func (top *Topology) dhcpServer() (*Daemon, error) {
	n := top.Nodes[top.reflectorNode(plan.A, true)]
	for i := 1; i <= plan.HVs; i++ {
		err := n.NL.AddRoute(nl.Route{Table: unix.RT_TABLE_MAIN, Type: unix.RTN_UNICAST, Proto: unix.RTPROT_STATIC,
			Dst: netip.PrefixFrom(plan.Loopback(i), 32), Hops: []nl.Hop{{Gateway: plan.HVPrivate4(i, plan.A), Link: plan.A.Private()}}})
		if err != nil {
			return nil, err
		}
	}
	return &Daemon{Name: PartDHCP, Node: n, Kind: Self, Log: top.file("log/" + PartDHCP + ".log"),
		Args: self(PartDHCP, plan.RRPrivate4(plan.A).String())}, nil
}

func (top *Topology) ownEdge() (*Daemon, error) {
	socket := top.file("internet.sock")
	return &Daemon{Name: plan.EdgeName, Node: top.Nodes[plan.EdgeName], Kind: Self, Log: top.file("log/" + plan.EdgeName + ".log"),
		Args: self(PartEdge, conf.EdgeArgs(socket, top.Timing, top.Bulk)...), Sessions: top.carried(top.Timing.EdgeSessions()),
		peers: func() ([]Peer, error) { return edgePeers(socket) }}, nil
}

// edgePeers asks our edge router for its sessions.
func edgePeers(socket string) ([]Peer, error) {
	c, err := net.DialTimeout("unix", socket, time.Second)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	var peers []edge.Peer
	if err := json.NewDecoder(c).Decode(&peers); err != nil {
		return nil, err
	}
	out := make([]Peer, 0, len(peers))
	for _, p := range peers {
		out = append(out, Peer(p))
	}
	return out, nil
}

func (top *Topology) ownHypervisor(n int) (*Daemon, error) {
	name := plan.HVName(n)
	api := top.file(name + ".sock")
	text := conf.Hypervisor(n, api, top.timingOf(n))
	if top.Configs != "" {
		own, err := os.ReadFile(filepath.Join(top.Configs, name+".yaml"))
		if err != nil {
			return nil, err
		}
		text = fmt.Sprintf("api: %s\n%s", api, own)
	}
	path, err := top.Write("etc/"+name+".yaml", text)
	if err != nil {
		return nil, err
	}
	return &Daemon{Name: name, Node: top.Nodes[name], Kind: Self, Log: top.file("log/" + name + ".log"), Sessions: top.carried(top.Timing.HVSessions(n)),
		Args:  self(PartRouter, "run", "-config", path),
		peers: func() ([]Peer, error) { return routerPeers(api) },
		flaps: func() (Flaps, error) { return routerFlaps(api) },
		converged: func() bool {
			var s struct{ Converged bool }
			return ask(api, "/v1/status", &s) == nil && s.Converged
		}}, nil
}

// routerPeers asks hvrouter for its sessions.
func routerPeers(socket string) (out []Peer, err error) {
	return out, ask(socket, "/v1/sessions", &out)
}

// routerFlaps asks hvrouter for its BFD sessions.
func routerFlaps(socket string) (Flaps, error) {
	var peers []struct {
		Local, Peer string
		Discr       uint32
		Downs       uint64
	}
	err := ask(socket, "/v1/bfd", &peers)
	out := Flaps{}
	for _, s := range peers {
		out[s.Local+" -> "+s.Peer] = Flap{Text: fmt.Sprintf("discriminator %d, %d downs", s.Discr, s.Downs)}
	}
	return out, err
}

// ask fetches JSON from a daemon's unix socket.
func ask(socket, path string, v any) error {
	client := http.Client{Timeout: 2 * time.Second, Transport: &http.Transport{DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", socket)
		}}}
	resp, err := client.Get("http://hvrouter" + path)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	return json.NewDecoder(resp.Body).Decode(v)
}
