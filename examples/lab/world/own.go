package world

import (
	"github.com/hyperfib/hyperfib/examples/lab/conf"
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
	return nil, errKind("self")
}

func (w *World) ownHypervisor(n int) (*Daemon, error) {
	name := plan.HVName(n)
	api := w.file(name + ".sock")
	path, err := w.write("etc/"+name+".yaml", conf.Hypervisor(n, api, w.Timing))
	if err != nil {
		return nil, err
	}
	return &Daemon{Name: name, Node: w.Nodes[name], Kind: Self, Log: w.file("log/" + name + ".log"), Sessions: hvSessions,
		Args: self(PartRouter, "run", "-config", path)}, nil
}
