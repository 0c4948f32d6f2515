package daemon

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/hyperfib/hyperfib/examples/hvrouter/config"
	"github.com/hyperfib/hyperfib/examples/hvrouter/guest"
	"github.com/hyperfib/hyperfib/examples/hvrouter/peering"
)

// reloads reloads at every signal until ctx ends.
func (d *Daemon) reloads(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-d.opt.Reload:
			if err := d.reload(ctx); err != nil {
				d.log.Error("configuration refused, the old one stays", "event", "reload-refused", "err", err)
			}
		}
	}
}

// reload reads the configuration again and changes what changed. One that is bad,
// or that changes what only a restart can, is refused whole.
func (d *Daemon) reload(ctx context.Context) error {
	call(d.opt.Reloading)
	defer call(d.opt.Ready)
	c, err := config.Load(d.opt.ConfigFile)
	if err != nil {
		return err
	}
	err = context.Canceled
	d.loop.do(ctx, func() {
		if err = fixed(d.router.cfg, c); err == nil {
			d.router.reload(c, d.guard)
		}
	})
	return err
}

// fixed refuses what cannot change while running.
func fixed(old, new *config.Config) error {
	var errs []error
	keep := func(what string, same bool) {
		if !same {
			errs = append(errs, fmt.Errorf("%s has changed: that needs a restart", what))
		}
	}
	keep("router-id", old.RouterID == new.RouterID)
	keep("as", old.AS == new.AS)
	keep("api", old.API == new.API)
	keep("bfd.process", old.BFD.Process == new.BFD.Process && old.BFD.Socket == new.BFD.Socket)
	keep("bgp.port", old.BGP.Port == new.BGP.Port)
	keep("bgp.graceful-restart", old.BGP.GracefulRestart == new.BGP.GracefulRestart)
	keep("domain-by", old.DomainBy == new.DomainBy)
	keep("the VRFs", old.GuestVRF() == new.GuestVRF() && old.LoopbackVRF() == new.LoopbackVRF())
	keep("inventory.directory", old.Inventory.Directory == new.Inventory.Directory)
	keep("the set of tables", slices.Equal(tables(old), tables(new)))
	keep("what sessions share (communities, ways)", slices.EqualFunc(old.Domains, new.Domains, func(a, b config.Domain) bool {
		return slices.Equal(peering.Members(old, a), peering.Members(new, b))
	}))
	keep("the list of domains", slices.EqualFunc(old.Domains, new.Domains, func(a, b config.Domain) bool {
		return a.Name == b.Name && a.NetNS == b.NetNS && a.Learns() == b.Learns()
	}))
	keep("what lives in which network namespace", slices.EqualFunc(old.Places(), new.Places(), func(a, b config.Place) bool { return a.NetNS == b.NetNS }) &&
		old.GuestNetNS() == new.GuestNetNS() && old.LoopbackNetNS() == new.LoopbackNetNS())
	return errors.Join(errs...)
}

// giveWay ends answering ARP before the kernel begins, if that is what is to come: no
// question has two answers. (The other way round, Serve ends the kernel's.)
func (r *router) giveWay(next config.Edge) {
	if r.cfg.Edge.ARP == "responder" && next.ARP != "responder" {
		for _, p := range r.served {
			r.edge.Silence(p)
		}
	}
}

func (r *router) reload(c *config.Config, g *guard) {
	r.giveWay(c.Edge)
	r.adopt(c)
	r.refuse(r.guests.Replace(guest.FromConfig, c.Entries()))
	for _, d := range c.Domains {
		rt := r.domains[d.Name]
		rt.configure(d)
		rt.rib.SetView(rt.view(), &r.fx)
		r.apply(rt, &r.fx)
		rt.bgp.Configure(c, d)
	}
	g.configure(c)
	r.refresh()
	r.reloaded = time.Now()
	r.log.Info("reloaded", "event", "reloaded")
}
