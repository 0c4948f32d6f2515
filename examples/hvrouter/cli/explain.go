package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"

	"github.com/hyperfib/hyperfib/examples/hvrouter/api"
	"github.com/hyperfib/hyperfib/examples/hvrouter/config"
	"github.com/hyperfib/hyperfib/examples/hvrouter/confirm"
	"github.com/hyperfib/hyperfib/examples/hvrouter/guest"
	"github.com/hyperfib/hyperfib/examples/hvrouter/host"
	"github.com/hyperfib/hyperfib/examples/hvrouter/lookup"
	"github.com/hyperfib/hyperfib/examples/hvrouter/nftrace"
)

// explain asks the daemon, and the kernel alone if there is none. It exits 1 if the kernel
// differs from what is wanted, and 2 if that could not be found out: of what has been read nothing
// differs, and something has not been read.
func explain(in invocation) int {
	fs := in.flags("explain")
	socket := in.api(fs)
	file := fs.String("config", defaultConfig, "configuration `FILE`, for guests' names while no daemon runs")
	source := fs.String("source", "", "`ADDRESS` that the packets come from, if it is not the guest's own")
	asJSON := fs.Bool("j", false, "JSON")
	words, ok := in.words(fs, 1, 3)
	if !ok {
		return exitUsage
	}
	if _, err := net.ParseMAC(words[0]); err == nil {
		return in.explainMAC(words, *socket, *file, *source, *asJSON)
	}
	if len(words) == 3 && words[1] == "vni" {
		return in.explainAddress(words[0], words[2], *socket, *file, *source, *asJSON)
	}
	if len(words) == 2 || len(words) == 3 && words[1] != "from" {
		return in.fail(exitUsage, errors.New("want ADDRESS, ADDRESS from GUEST, ADDRESS vni VNI, MAC, or MAC vni VNI"))
	}
	from := ""
	if len(words) == 3 {
		from = words[2]
	}
	e, raw, silent, err := explanation(in, *socket, func() (api.Explanation, string, error) { return explainAlone(*file, words[0], from, *source) },
		"/v1/explain", "prefix", words[0], "from", from, "source", *source)
	if err != nil {
		return in.fail(exitUsage, err)
	}
	code := exitOK
	for _, r := range e.Kernel {
		code = verdict(code, r.Differences, r.Unread)
	}
	if silent { // what is wanted is not known
		code = exitBroken
	}
	return in.explained(e.Text(), raw, *asJSON, code)
}

// noDaemon returns why no daemon answers, or can be asked, nil if err is something else. silent says that there is
// one.
func noDaemon(err error) (why error, silent bool) {
	var quiet *api.SilentError
	var dial *net.OpError
	switch {
	case errors.As(err, &quiet):
		return quiet, true
	case errors.As(err, &dial) && dial.Op == "dial" && errors.Is(err, api.ErrNoDaemon):
		return fmt.Errorf("no daemon answers (%w)", dial), false
	case errors.As(err, &dial) && dial.Op == "dial" && !errors.Is(err, api.ErrNotPermitted):
		return fmt.Errorf("the daemon cannot be asked (%w)", dial), false
	}
	return nil, false
}

// explanation asks the daemon, and alone if no daemon answers, which also returns what it has to do without, with an error as well. silent
// says that there is one that should have.
func explanation[T any](in invocation, socket string, alone func() (T, string, error), resource string, query ...string) (e T, raw json.RawMessage, silent bool, err error) {
	err = api.NewClient(socket).Get(context.Background(), resource, &raw, query...)
	if err == nil {
		err = api.Decode(raw, &e)
		return e, raw, false, err
	}
	why, silent := noDaemon(err)
	if why == nil {
		return e, nil, false, err
	}
	e, without, err := alone()
	if err == nil {
		fmt.Fprintf(in.stderr, "hvrouter: %v: what follows is the kernel alone\n", why)
	}
	if without != "" { // which may be why the kernel alone cannot be asked
		fmt.Fprintf(in.stderr, "hvrouter: %s\n", without)
	}
	if err != nil {
		return e, nil, silent, fmt.Errorf("%w, and the kernel alone cannot be asked: %w", why, err)
	}
	raw, err = json.Marshal(e)
	return e, raw, silent, err
}

// verdict returns the exit code after one more report: a difference counts most, since it is certain.
func verdict(code int, differences, unread []string) int {
	switch {
	case len(differences) > 0:
		return exitFailed
	case len(unread) > 0 && code == exitOK:
		return exitBroken
	}
	return code
}

// explained prints an explanation, and returns code if it could.
func (in invocation) explained(text []string, raw []byte, asJSON bool, code int) int {
	if asJSON {
		if err := indented(in.stdout, raw); err != nil {
			return in.fail(exitUsage, err)
		}
	} else {
		for _, line := range text {
			_, _ = io.WriteString(in.stdout, line+"\n")
		}
	}
	return code
}

// defaultTable is the name of our nftables tables where no configuration says another.
const defaultTable = "hvrouter"

// explainAlone asks the kernel without a daemon, and without a file if that cannot be read: that is needed for the name
// of a guest, for other namespaces than this one, and to know whether there should be a firewall.
func explainAlone(file, destination, from, source string) (e api.Explanation, without string, err error) {
	q, err := api.ParseQuestion(destination, from, source)
	if err != nil {
		return e, "", err
	}
	packet := lookup.Packet{Dst: q.Prefix.Addr(), Src: q.Source}
	e = api.Explanation{Prefix: q.Destination(), From: from, Kernel: []lookup.Report{}, Lines: []string{}}
	c, err := confirm.Files{Config: file}.Load()
	spaces, table := []config.NetNS{""}, defaultTable
	if err == nil {
		table = c.Firewall.Table
	} else {
		without = fmt.Sprintf("without a configuration (%v): this namespace alone, no guests by their names, and whether a firewall should be there is not known", err)
	}
	switch {
	case err == nil && from != "":
		spaces = []config.NetNS{comesFrom(c, from, &packet)}
	case err == nil:
		spaces = nil
		for _, n := range c.Namespaces() {
			spaces = append(spaces, n.NetNS)
		}
	case from != "":
		packet.IIF.Name = from
	}
	if packet.IIF.Name != "" && !packet.Src.IsValid() {
		return e, without, fmt.Errorf("no address of %s is known: name one with -source", from)
	}
	if q.Zone != "" {
		spaces = slices.DeleteFunc(spaces, func(n config.NetNS) bool { return !hasLink(n, q.Zone) })
		switch packet.OIF.Name = q.Zone; {
		case packet.IIF.Name != "" && packet.IIF.Name != q.Zone:
			return e, without, fmt.Errorf("what comes from %s cannot go to a link-local address on %s", packet.IIF.Name, q.Zone)
		case len(spaces) == 0:
			return e, without, fmt.Errorf("interface %s: %w", q.Zone, api.ErrNotFound)
		}
	}
	for _, n := range spaces {
		r := lookup.Ask(n.Path(), packet, nil, nftrace.Filter(n.Path(), table, err == nil && !c.Firewall.Off))
		r.NetNS = string(n)
		e.Kernel = append(e.Kernel, *r)
	}
	return e, without, nil
}

// hasLink reports whether a namespace has an interface of that name.
func hasLink(n config.NetNS, name string) bool {
	view, err := host.System(n)
	if err != nil {
		return false
	}
	_, ok := view.MTU(name)
	return ok
}

// comesFrom gives a packet the interface and the source of a guest that is here, or of an
// interface, and returns its namespace.
func comesFrom(c *config.Config, name string, p *lookup.Packet) config.NetNS {
	all, _ := inventory(c)
	if view, err := host.System(c.GuestNetNS()); err == nil {
		w := guest.Of(view.Links())
		w.Findings = func(int) []guest.Finding { return nil }
		for _, g := range guest.Expand(all, all.Guests, w) {
			if g.Name != name && g.Interface != name {
				continue
			}
			p.IIF.Name, p.MAC = g.Interface, g.MAC[:]
			if !p.Src.IsValid() {
				p.Src = guest.AddressOf(g, p.Dst.Is6())
			}
			return c.GuestNetNS()
		}
	}
	p.IIF.Name = name
	for _, n := range c.Namespaces() {
		if hasLink(n.NetNS, name) {
			return n.NetNS
		}
	}
	return c.GuestNetNS()
}
