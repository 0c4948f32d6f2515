package world

import (
	"context"
	"encoding/json"
	"net"
	"net/http"
	"time"

	"github.com/hyperfib/hyperfib/examples/lab/conf"
	"github.com/hyperfib/hyperfib/examples/lab/edge"
	"github.com/hyperfib/hyperfib/examples/lab/plan"
)

// Names under which this program plays a part when it is started again.
const (
	PartRouter    = "hvrouter"
	PartReflector = "routereflector"
	PartEdge      = "edge"
)

func (w *World) ownReflector(node, name string, args []string) (*Daemon, error) {
	return &Daemon{Name: name, Node: w.Nodes[node], Kind: Self, Log: w.file("log/" + name + ".log"), Args: self(PartReflector, args...)}, nil
}

func (w *World) ownEdge() (*Daemon, error) {
	socket := w.file("internet.sock")
	return &Daemon{Name: plan.EdgeName, Node: w.Nodes[plan.EdgeName], Kind: Self, Log: w.file("log/" + plan.EdgeName + ".log"),
		Args: self(PartEdge, conf.EdgeArgs(socket, w.Timing)...), Sessions: edgeSessions,
		peers: func() ([]Peer, error) { return edgePeers(socket) }}, nil
}

// edgePeers asks our edge router for its sessions.
func edgePeers(socket string) ([]Peer, error) {
	c, err := net.DialTimeout("unix", socket, time.Second)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	var told []edge.Peer
	if err := json.NewDecoder(c).Decode(&told); err != nil {
		return nil, err
	}
	out := make([]Peer, 0, len(told))
	for _, p := range told {
		out = append(out, Peer(p))
	}
	return out, nil
}

func (w *World) ownHypervisor(n int) (*Daemon, error) {
	name := plan.HVName(n)
	api := w.file(name + ".sock")
	path, err := w.write("etc/"+name+".yaml", conf.Hypervisor(n, api, w.Timing))
	if err != nil {
		return nil, err
	}
	return &Daemon{Name: name, Node: w.Nodes[name], Kind: Self, Log: w.file("log/" + name + ".log"), Sessions: hvSessions,
		Args:  self(PartRouter, "run", "-config", path),
		peers: func() ([]Peer, error) { return routerPeers(api) }}, nil
}

// routerPeers asks hvrouter for its sessions.
func routerPeers(socket string) ([]Peer, error) {
	client := http.Client{Timeout: 2 * time.Second, Transport: &http.Transport{DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", socket)
		}}}
	resp, err := client.Get("http://hvrouter/v1/sessions")
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	var out []Peer
	return out, json.NewDecoder(resp.Body).Decode(&out)
}
