package daemon

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/hyperfib/hyperfib/bfd"
	"github.com/hyperfib/hyperfib/examples/hvrouter/api"
	"github.com/hyperfib/hyperfib/examples/hvrouter/config"
)

// clientName names us at the BFD process: who comes back under this name finds its
// sessions again.
const clientName = "hvrouter"

// startBFD starts the process that outlives us, if there is to be one and none is there.
// It comes first: it keeps our sockets, too.
func (d *Daemon) startBFD(c config.BFD) error {
	if c.Process != "separate" || d.opt.StartBFD == nil || api.Answers(c.Socket) {
		return nil
	}
	if err := d.opt.StartBFD(c); err != nil {
		return fmt.Errorf("BFD process: %w", err)
	}
	return nil
}

// openBFD makes the BFD service: a process that outlives us, or none.
func (d *Daemon) openBFD(t *tasks, c *config.Config) (err error) {
	switch c.BFD.Process {
	case "in-process":
		d.bfd, err = bfd.NewServer(bfd.Config{RealTime: RealTime(c.BFD), Notice: d.bfdNotice})
	case "separate":
		d.bfd, err = bfd.NewClient(bfd.ClientConfig{Socket: c.BFD.Socket, Name: clientName, Notice: d.bfdNotice})
	}
	kernels := map[string]gateways{}
	for _, s := range d.namespaces {
		kernels[s.netns.Path()] = s.fib
	}
	d.guard = newGuard(d.log, kernels, d.speaker, d.bfd)
	if err != nil || d.bfd == nil {
		return err
	}
	t.start("BFD", d.bfd.Run)
	if c.BFD.Process == "separate" && d.opt.StartBFD != nil {
		t.start("", func(ctx context.Context) error { d.keepBFD(ctx, c.BFD); return nil })
	}
	t.start("", func(ctx context.Context) error { d.guard.tell(ctx); return nil })
	return nil
}

// watchBFD makes the sessions of the configuration and follows what happens to
// them. Watching begins after the guard knows its sessions, since it hears of each
// that is up already once.
func (d *Daemon) watchBFD(t *tasks, c *config.Config) error {
	d.guard.configure(c)
	if d.bfd == nil {
		return nil
	}
	t.start("BFD events", d.pumpBFD)
	t.start("", func(ctx context.Context) error {
		if pause(ctx, trustTime) == nil {
			d.guard.endGrace()
		}
		return nil
	})
	if client, ok := d.bfd.(*bfd.Client); ok {
		return client.Synced()
	}
	return nil
}

// trustTime is how long after a start next hops are believed in whose probe has not come up:
// more than BFD needs for a session that is new on both sides.
const trustTime = 5 * time.Second

// RealTime translates the configuration's word.
func RealTime(c config.BFD) bfd.RealTime {
	return map[string]bfd.RealTime{"auto": bfd.RealTimeAuto, "on": bfd.RealTimeRequired, "off": bfd.RealTimeOff}[c.Realtime]
}

func (d *Daemon) bfdNotice(err error) {
	if err == nil {
		return
	}
	d.log.Warn("BFD", "event", "bfd-notice", "err", err)
	select {
	case d.bfdLost <- struct{}{}:
	default:
	}
}

// absence is how long the BFD process may be gone before it is started again:
// under systemd its own unit is quicker.
const absence = time.Second

// keepBFD starts the BFD process again whenever none has answered for a while.
func (d *Daemon) keepBFD(ctx context.Context, c config.BFD) {
	for {
		select {
		case <-d.bfdLost:
		case <-ctx.Done():
			return
		}
		for pause(ctx, absence) == nil && !api.Answers(c.Socket) {
			d.log.Error("the BFD process is gone, starting another", "event", "bfd-start")
			if err := d.opt.StartBFD(c); err != nil {
				d.log.Error("BFD process", "event", "bfd-start", "err", err)
			}
		}
	}
}

func (d *Daemon) pumpBFD(ctx context.Context) error {
	w := d.bfd.Watch()
	defer w.Close()
	for e, err := range w.All(ctx) {
		if err != nil {
			if errors.Is(err, bfd.ErrClosed) && ctx.Err() != nil {
				return nil
			}
			return err
		}
		d.guard.event(e)
	}
	return nil
}
