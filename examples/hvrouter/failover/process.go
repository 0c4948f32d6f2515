package failover

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/hyperfib/hyperfib/bfd"
	"github.com/hyperfib/hyperfib/examples/hvrouter/api"
	"github.com/hyperfib/hyperfib/examples/hvrouter/config"
)

// Process is where the BFD sessions run: in a process of their own, which outlives the daemon
// and keeps its sockets, in the daemon's process, or nowhere.
type Process struct {
	config config.BFD
	log    *slog.Logger
	start  func(config.BFD) error // nil: it starts by itself
	answer func(socket string) bool
	lost   chan struct{} // the process may be gone
}

// NewProcess makes the Process of a configuration; start starts a separate one, and may be nil.
func NewProcess(c config.BFD, log *slog.Logger, start func(config.BFD) error) *Process {
	return &Process{config: c, log: log, start: start, answer: api.Answers, lost: make(chan struct{}, 1)}
}

// separate reports whether the process is one that we start.
func (p *Process) separate() bool { return p.config.Process == "separate" && p.start != nil }

// Start starts the process if there is to be one and none answers.
func (p *Process) Start() error {
	if !p.separate() || p.answer(p.config.Socket) {
		return nil
	}
	if err := p.start(p.config); err != nil {
		return fmt.Errorf("BFD process: %w", err)
	}
	return nil
}

// clientName names the daemon at the BFD process: a client that comes back under this name
// finds its sessions again.
const clientName = "hvrouter"

// Service makes the service of the sessions, nil if there are none.
func (p *Process) Service() (bfd.Service, error) {
	switch p.config.Process {
	case "in-process":
		return bfd.NewServer(bfd.Config{RealTime: RealTime(p.config), Notice: p.notice})
	case "separate":
		return bfd.NewClient(bfd.ClientConfig{Socket: p.config.Socket, Name: clientName, Notice: p.notice})
	}
	return nil, nil
}

// RealTime translates the configuration's word.
func RealTime(c config.BFD) bfd.RealTime {
	return map[string]bfd.RealTime{"auto": bfd.RealTimeAuto, "on": bfd.RealTimeRequired, "off": bfd.RealTimeOff}[c.Realtime]
}

func (p *Process) notice(err error) {
	if err == nil {
		return
	}
	p.log.Warn("BFD", "event", "bfd-notice", "err", err)
	select {
	case p.lost <- struct{}{}:
	default:
	}
}

// absence is how long the process may be gone before it is started again: under systemd its own
// unit is quicker.
const absence = time.Second

// Supervise starts the process again whenever it has not answered for a while, until ctx ends.
func (p *Process) Supervise(ctx context.Context) {
	for p.separate() {
		select {
		case <-p.lost:
		case <-ctx.Done():
			return
		}
		for pause(ctx, absence) == nil && !p.answer(p.config.Socket) {
			p.log.Error("the BFD process is gone, starting another", "event", "bfd-start")
			if err := p.start(p.config); err != nil {
				p.log.Error("BFD process", "event", "bfd-start", "err", err)
			}
		}
	}
}

func pause(ctx context.Context, t time.Duration) error {
	timer := time.NewTimer(t)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
