package daemon

import (
	"context"
	"fmt"
	"os"

	"github.com/hyperfib/hyperfib/examples/hvrouter/config"
)

// A network namespace has a name only as long as somebody keeps it: `ip netns del`
// takes the name from a namespace that goes on working, since our sockets are in it,
// and `ip netns add` gives it to another one. Whatever this process does goes by an
// open file, so that it stays in one namespace until it ends; watchNames says when the
// name leads elsewhere. Only the BFD process, which outlives us, goes by the name.

// openNetNS opens a namespace for the run and gives a path that keeps leading to it.
func (d *Daemon) openNetNS(n config.NetNS) (*os.File, string, error) {
	name := n.Path()
	if n == "" {
		name = "/proc/thread-self/ns/net" // of a thread outside of netns.Do
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, "", fmt.Errorf("network namespace: %w", err)
	}
	d.netnsFiles = append(d.netnsFiles, f)
	return f, fmt.Sprintf("/proc/self/fd/%d", f.Fd()), nil
}

// release closes what openNetNS opened, once nobody uses it any more.
func (d *Daemon) release() {
	if d.edge != nil {
		d.edge.Close() // it may not have run
	}
	for _, f := range d.netnsFiles {
		f.Close()
	}
}

// States of a namespace's name.
const (
	namespaceFine     = "fine"
	namespaceGone     = "gone"     // the name does not exist any more
	namespaceReplaced = "replaced" // it is the name of another namespace
)

// name tells what became of the namespace's name.
func (s *openNamespace) name() string {
	if s.file == nil {
		return namespaceFine
	}
	now, err := os.Stat(s.netns.Path())
	if err != nil {
		return namespaceGone
	}
	if was, err := s.file.Stat(); err == nil && !os.SameFile(was, now) {
		return namespaceReplaced
	}
	return namespaceFine
}

// watchNames says when the name of a namespace does not lead to it any more, or does
// again.
func (d *Daemon) watchNames(ctx context.Context) error {
	last := map[*openNamespace]string{}
	for pause(ctx, mendTime) == nil {
		for _, s := range d.namespaces {
			now := s.name()
			switch was := last[s]; {
			case now == was || was == "" && now == namespaceFine:
			case now == namespaceFine:
				s.log.Info("the namespace has its name again", "event", "namespace-back")
			case now == namespaceGone:
				s.log.Error("the namespace lost its name; we go on in it", "event", "namespace-gone", "path", s.netns.Path())
			default:
				s.log.Error("the name leads to another namespace; we go on in the old one until we are restarted", "event", "namespace-replaced", "path", s.netns.Path())
			}
			last[s] = now
		}
	}
	return nil
}
