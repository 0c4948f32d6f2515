package host

import (
	"fmt"
	"net/netip"

	"github.com/hyperfib/hyperfib/examples/hvrouter/config"
	"github.com/hyperfib/hyperfib/examples/hvrouter/domain"
	"github.com/hyperfib/hyperfib/examples/hvrouter/foreign"
	"github.com/hyperfib/hyperfib/examples/hvrouter/lookup"
	"github.com/hyperfib/hyperfib/examples/hvrouter/nftrace"
)

// Foreign warns of what other programs have in the kernel that changes what guests' packets do.
func Foreign(c *config.Config, view func(config.NetNS) (View, error)) []Finding {
	k := &checker{whole: c}
	for _, p := range c.Namespaces() {
		if k.enter(p.NetNS, view) != nil {
			continue // Check says why
		}
		k.foreign(p)
	}
	return k.found
}

func (k *checker) foreign(p config.Namespace) {
	w, err := k.wantsOf(p)
	if err == nil {
		err = k.findForeign(p.NetNS.Path(), w)
	}
	if err != nil {
		k.add(Unseen, "what other programs have in the kernel: %v", err)
	}
}

// wantsOf is what of ours others may interfere with.
func (k *checker) wantsOf(p config.Namespace) (w foreign.Want, err error) {
	guests := k.guests(p.Config)
	behind := map[string]bool{}
	for _, g := range guests {
		behind[g.Interface] = true
	}
	uplinks := map[string]bool{p.Config.Loopback.Interface: true}
	for _, d := range p.Config.Domains {
		for _, name := range domain.Interfaces(d) {
			uplinks[name] = true
		}
	}
	addresses, err := Addresses(p.NetNS.Path())
	own := map[netip.Addr]bool{}
	for _, a := range addresses {
		own[a.Prefix.Addr()] = true
	}
	s := domain.NewStatic(p.Config, guests, domain.Links{})
	return foreign.Want{Rules: s.Rules, Routes: foreign.Routes(p.Config, s), Firewall: p.Config.Firewall.Table,
		Uplink:   func(link string) bool { return uplinks[link] && !behind[link] },
		Concerns: func(link string) bool { return uplinks[link] || behind[link] },
		Overlay:  foreign.Overlays(p.Config),
		Own:      func(a netip.Addr) bool { return own[a] }}, err
}

func (k *checker) findForeign(path string, w foreign.Want) error {
	conn, err := lookup.Open(path)
	if err != nil {
		return err
	}
	defer conn.Close()
	kernel, err := lookup.NewKernel(conn)
	if err != nil {
		return err
	}
	chains, unseen := nftrace.ForeignChains(path, w.Firewall)
	list, err := foreign.Find(kernel, chains, w)
	for _, f := range list {
		level := Warn
		if f.Unsure {
			level = Note
		}
		k.add(level, "foreign %v", f)
	}
	if err == nil && unseen != nil {
		err = fmt.Errorf("chains: %w", unseen)
	}
	return err
}
