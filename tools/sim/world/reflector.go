package world

import (
	"context"
	"fmt"
	"log/slog"
	"math/bits"
	"net/netip"
	"strings"
	"time"

	"github.com/hyperfib/hyperfib/bfd"
	"github.com/hyperfib/hyperfib/bgp"
	"github.com/hyperfib/hyperfib/examples/routereflector/app"
)

// reflector is the route reflector of one network: a machine with one process, which does BGP
// and BFD.
type reflector struct {
	machine
	w       *World
	network int
	process *process
	core    *app.Core
	tcp     *transport
	server  *bfd.DrivenServer
	node    *bfdNode
	audit   *audit
	news    time.Duration // when something has last happened to it
	told    bool          // something has
	started time.Duration // when its process began or went on
	away    absence
}

func newReflector(w *World, network int) *reflector {
	net := networks[network]
	r := &reflector{w: w, network: network, machine: newMachine("rr." + strings.ToLower(net.name))}
	r.plug(w.fabrics[network], "eth0", 2, address(network, 0), address6(network, 0))
	r.process = &process{w: w, machine: &r.machine, name: r.name}
	r.node = &bfdNode{w: w, process: r.process}
	r.machine.node = r.node
	return r
}

func (r *reflector) port() *port { return r.ports[0] }

// start starts the process. cold says that it has not run before, so that it waits for nobody.
func (r *reflector) start(cold bool) {
	w := r.w
	if r.process.state != dead {
		return
	}
	r.process.start()
	r.here()
	server, err := bfd.NewDrivenServer(r.node.driven(nil))
	if err != nil {
		panic(err)
	}
	args := []string{
		"-as", fmt.Sprint(autonomousSystem), "-router-id", address(r.network, 0).String(), "-listen", fmt.Sprintf("%v:%d,[%v]:%d", address(r.network, 0), bgpPort, address6(r.network, 0), bgpPort),
		"-clients", fmt.Sprintf("10.%d.0.0/16,%v", r.network, netip.PrefixFrom(address6(r.network, 0), 64).Masked()), "-add-path", "-bfd-strict", w.config.strict(), "-bfd", fmt.Sprintf("%v,%d", w.config.BFD, w.config.Multiplier), "-hold", w.config.Hold.String(),
	}
	if w.config.Sessions == SessionsShared && networks[r.network].domain == "private" {
		args = append(args, "-probes", fmt.Sprintf("10.%d.0.0/%d", r.network, 32-bits.Len(uint(w.config.Hosts+1))))
	}
	if cold {
		args = append(args, "-cold")
	}
	r.core, err = app.NewCore(app.CoreConfig{
		Args: args, Log: w.logger(r.name), Now: w.wall, BFD: service{server},
		BGP: func(c *bgp.Config) { r.tcp = w.transport(r.process, c) },
	})
	if err != nil {
		panic(err)
	}
	r.server, r.node.engine, r.node.watcher, r.node.ways = server, server, server.Watch(), nil
	r.node.onEvent = r.core.BFD
	r.process.settle = r.settle
	r.tcp.begin(r.core.Speaker())
	r.audit = w.audit(r.name, r.core.Speaker(), nil)
	if err := r.tcp.driver.Start(); err != nil {
		panic(err)
	}
	r.process.do(nil, func() {})
}

// settle does everything that can be done now.
func (r *reflector) settle() (next duration) {
	for more := true; more; {
		more = r.tcp.step()
		more = r.core.Step() || more
		more = r.node.step() || more
		more = r.core.Advance() || more
	}
	r.audit.turn()
	return min(due(r.w, r.tcp.driver.Deadline()), due(r.w, r.core.Deadline()), r.server.Awake())
}

// kill ends the process without a word.
func (r *reflector) kill() {
	if r.process.state == dead {
		return
	}
	r.w.disturb(r.port())
	r.gone()
	r.process.end()
	r.tcp.driver.Stop()
	r.node.engine, r.node.watcher, r.node.ways = nil, nil, nil
	r.w.note("%s is gone", r.name)
}

// gone and here note that the process is away, and back.
func (r *reflector) gone() {
	r.news, r.told = r.w.now, true
	r.w.after(0, r.w.hearing)
	r.w.leave(&r.away, "a reflector is away: 60 s after its return")
}

func (r *reflector) here() {
	r.news, r.told, r.started = r.w.now, r.w.now > 0, r.w.now
	if !r.port().deaf && !r.port().mute {
		r.w.back(&r.away, reflectorTail)
	}
	r.w.after(0, r.w.hearing)
	r.w.after(restore, r.w.rejudge)
}

// stop and cont are SIGSTOP and SIGCONT.
func (r *reflector) stop() {
	if r.process.state == running {
		r.w.disturb(r.port())
		r.gone()
		r.process.stop()
	}
}

func (r *reflector) cont() {
	if r.process.state == stopped {
		r.here()
		r.process.resume()
		r.w.disturb(r.port())
	}
}

// service is a place of BFD sessions as a [bfd.Service] that nobody runs.
type service struct{ places }

type places interface {
	Add(bfd.SessionConfig) error
	Remove(bfd.Key) error
	Sessions() ([]bfd.Status, error)
	Watch() *bfd.Watcher
}

// Run implements [bfd.Service].
func (service) Run(context.Context) error { return nil }

// logger counts what a program logs.
func (w *World) logger(name string) *slog.Logger {
	return slog.New(&logHandler{w: w, name: name})
}

// logHandler counts lines, and puts those that matter into the trace.
type logHandler struct {
	w     *World
	name  string
	attrs string
}

func (h *logHandler) Enabled(_ context.Context, l slog.Level) bool { return l >= slog.LevelInfo }

func (h *logHandler) Handle(_ context.Context, r slog.Record) error {
	h.w.Counts.LogLines++
	h.w.logged[h.name]++
	var b strings.Builder
	r.Attrs(func(a slog.Attr) bool { fmt.Fprintf(&b, " %s=%v", a.Key, a.Value); return true })
	h.w.note("%s: %v %s%s%s", h.name, r.Level, r.Message, h.attrs, b.String())
	return nil
}

func (h *logHandler) WithAttrs(list []slog.Attr) slog.Handler {
	n := *h
	for _, a := range list {
		n.attrs += fmt.Sprintf(" %s=%v", a.Key, a.Value)
	}
	return &n
}

func (h *logHandler) WithGroup(string) slog.Handler { return h }
